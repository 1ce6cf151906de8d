"""Reads `headrace.toml`; reports every fault at once, with full key, value, rule and remedy."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from models.config import Feature
from pipeline import config_rules
from pipeline.config import Config
from pipeline.errors import ConfigError, Fault, shorten

_PATHS = (
    ("output",),
    ("data", "path"),
    ("data", "schema_file"),
    ("drift", "request_log"),
    ("serving", "path"),
    ("vertex", "image_manifest"),
)


def load(path: str | os.PathLike[str]) -> Config:
    """Reads and checks a configuration.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or breaks rules (all are listed).
    """
    source = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # Notepad begins with a mark
    except OSError as error:
        raise ConfigError(
            source,
            [Fault("file", "", error.strerror or str(error), "Name one with --config FILE.")],
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            source, [Fault("file", "", "is not UTF-8 text", "Save it as UTF-8.")]
        ) from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            source, [Fault("file", "", f"is not TOML: {error}", "Mend that line.")]
        ) from error
    return parse(values, source=source, folder=Path(path).resolve().parent)


def parse(values: Mapping[str, Any], *, source: str, folder: Path) -> Config:
    """Checks configuration values; `folder` is what relative paths are relative to.

    Sections are checked one by one, so that a fault in one does not hide those of another.

    Raises:
        ConfigError: with every fault found.
    """
    faults: list[Fault] = []
    sections: dict[str, Any] = {}
    for key in values:
        if key not in Config.model_fields:
            faults.append(_unknown((key,), values[key], list(Config.model_fields)))
    for key, field in Config.model_fields.items():
        if key not in values:
            if field.is_required():
                faults.append(Fault(key, "", "is required but missing", _example(key)))
            else:
                sections[key] = field.get_default(call_default_factory=True)
            continue
        try:
            sections[key] = _adapter(field).validate_python(values[key])
        except ValidationError as error:
            faults.extend(_fault(key, field, values[key], detail) for detail in error.errors())
    faults.extend(config_rules.faults(sections))
    if faults:
        raise ConfigError(source, sorted(faults, key=lambda fault: fault.key))
    config = Config.model_construct(**sections)
    return _absolute(config, folder)


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = field.annotation
    return TypeAdapter(Annotated[annotation, *field.metadata] if field.metadata else annotation)


def _absolute(config: Config, folder: Path) -> Config:
    """The configuration with every local path made absolute."""
    tree = config.model_dump()
    for *parents, last in _PATHS:
        node = tree
        for parent in parents:
            node = node[parent]
        if node[last] and "://" not in node[last]:
            node[last] = os.path.normpath(folder / os.path.expanduser(node[last]))
    return Config.model_validate(tree)


# --- what a fault says -----------------------------------------------------------------


def _fault(section: str, field: FieldInfo, values: Any, detail: ErrorDetails) -> Fault:
    location = _location(values, detail)
    key = ".".join([section, *map(str, location)])
    kind, context = detail["type"], detail.get("ctx", {})
    value = detail["input"]
    if kind == "extra_forbidden":
        return _unknown((section, *location), value, _known_keys(field, location))
    if kind == "missing":
        return Fault(key, "", "is required but missing", _example(key))
    if kind == "literal_error":
        return Fault(key, shorten(value), f"must be {context['expected']}", "Use one of these.")
    if kind == "union_tag_invalid":
        expected = context["expected_tags"]
        near = difflib.get_close_matches(str(context["tag"]), expected.replace("'", "").split(", "))
        hint = f"Did you mean '{near[0]}'?" if near else "Use one of these."
        return Fault(f"{key}.kind", shorten(context["tag"]), f"must be one of {expected}", hint)
    if kind == "union_tag_not_found":
        return Fault(
            f"{key}.kind", shorten(value), "is required but missing", 'Add kind = "numeric" or so.'
        )
    if kind == "string_pattern_mismatch":
        return Fault(key, shorten(value), f"must match {context['pattern']}", "Mend it.")
    rule = detail["msg"].removeprefix("Value error, ").replace("Input should", "must")
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        rule = "must be a table, { key = value, … }"
    return Fault(key, shorten(value), rule.rstrip("."), "See the configuration table in README.md.")


def _location(values: Any, detail: ErrorDetails) -> tuple[int | str, ...]:
    """Keys from the section down; what pydantic calls a union's member is none of them."""
    keys: list[int | str] = []
    for part in detail["loc"]:
        there = range(len(values)) if isinstance(values, list) else values
        if isinstance(there, dict | range) and part in there:
            values = values[part]
            keys.append(part)
    if detail["type"] == "missing":
        keys.append(detail["loc"][-1])
    return tuple(keys)


def _unknown(location: tuple[int | str, ...], value: Any, known: list[str]) -> Fault:
    near = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(known)}."
    key = ".".join(map(str, location))
    return Fault(key, shorten(value), "is not a known key", hint)


def _known_keys(field: FieldInfo, location: tuple[int | str, ...]) -> list[str]:
    """Keys that exist where an unknown one was found."""
    model: Any = field.annotation
    for part in location[:-1]:
        fields = getattr(model, "model_fields", None)
        if fields and part in fields:
            model = fields[part].annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    members: list[str] = []
    for kind in getattr(getattr(Feature, "__origin__", None), "__args__", ()):
        members.extend(kind.model_fields)
    return sorted(set(members))


def _example(key: str) -> str:
    examples = {
        "name": 'Add name = "my-pipeline".',
        "data": 'Add [data] with path and pattern, such as pattern = "{span:%Y-%m}.parquet".',
        "label": 'Add [label] with expression = "…".',
        "features": 'Add [features], such as age = { kind = "numeric" }.',
    }
    return examples.get(key, f"Add {key.rsplit('.', 1)[-1]} = ….")
