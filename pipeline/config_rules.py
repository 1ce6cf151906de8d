"""Rules that span keys: names that must refer to each other, SQL that must parse.

Each rule takes the sections that are valid in themselves, so that all faults are found at once.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from models.config import Elapsed, Features, Timestamp, raw_columns
from pipeline import sql
from pipeline.config import (
    DataConfig,
    EvaluationConfig,
    GatesConfig,
    LabelConfig,
    QuarantineConfig,
)
from pipeline.errors import Fault, shorten
from pipeline.ingest.plan import QUARANTINE_COLUMNS
from pipeline.references import columns_of
from pipeline.spans import PatternError, SpanPattern
from pipeline.vertex import machines
from pipeline.vertex.config import VertexConfig


def faults(sections: Mapping[str, Any]) -> Iterator[Fault]:
    """Every broken rule; `sections` holds the valid ones by name."""
    data: DataConfig | None = sections.get("data")
    label: LabelConfig | None = sections.get("label")
    features: Features | None = sections.get("features")
    quarantine: QuarantineConfig | None = sections.get("quarantine")
    vertex: VertexConfig | None = sections.get("vertex")
    if data:
        yield from _pattern(data)
        if data.csv.thousands == data.csv.decimal:
            yield Fault(
                "data.csv.thousands",
                data.csv.thousands,
                "is also data.csv.decimal",
                f"Set data.csv.decimal = {',' if data.csv.decimal == '.' else '.'!r}.",
            )
    if label:
        yield from _expression("label.expression", label.expression)
    if quarantine:
        yield from _rules(quarantine)
    if vertex:
        yield from _registry(vertex)
    if label and data:
        yield from _key(data, label)
    if features is not None:
        yield from _of_features(sections, features)


def _of_features(sections: Mapping[str, Any], features: Features) -> Iterator[Fault]:
    """Rules of sections that name features."""
    data: DataConfig | None = sections.get("data")
    label: LabelConfig | None = sections.get("label")
    gates: GatesConfig | None = sections.get("gates")
    evaluation: EvaluationConfig | None = sections.get("evaluation")
    yield from _names("features", raw_columns(features))
    if label:
        yield from _names("label.leaks", label.leaks)
    if not raw_columns(features):
        yield Fault("features", "", "names no column that the model could use", "Add one.")
    yield from _elapsed(features)
    if data:
        yield from _times(data, features)
        yield from _optional(data, {*raw_columns(features), *(label.leaks if label else ())})
        yield from _texts(sections, data, features)
    if label:
        yield from _label(label, features)
    if gates:
        yield from _gated(gates, {*compared(features), *([label.name] if label else ())})
    if evaluation:
        yield from _slices(evaluation, {*raw_columns(features), *(label.leaks if label else ())})


def _key(data: DataConfig, label: LabelConfig) -> Iterator[Fault]:
    """Rows must not fall to a side by their answer."""
    if not data.row_key or sql.syntax_problem(label.expression):
        return
    answer = {name.lower() for name in (*columns_of(label.expression), *label.leaks)}
    for name in data.row_key:
        if name.lower() in answer:
            yield Fault(
                "data.row_key",
                shorten(name),
                "holds the answer, by which no row may fall to a side",
                "Name columns that say which row it is, such as an id.",
            )


def _rules(quarantine: QuarantineConfig) -> Iterator[Fault]:
    for rule, expression in quarantine.rules.items():
        yield from _expression(f"quarantine.rules.{rule}", expression)
    for rule in quarantine.rule_shares:
        if rule not in quarantine.rules:
            yield _no(f"quarantine.rule_shares.{rule}", "", "a rule", quarantine.rules)


def _names(section: str, names: Iterable[str]) -> Iterator[Fault]:
    """Names become names of tensors and of signature inputs, which allow no more than this."""
    for name in names:
        if name.lower() in QUARANTINE_COLUMNS:
            yield Fault(
                f"{section}.{name}",
                "",
                "is a column that ingestion adds to the rows it refuses",
                f'Add {name!r} = "c_{name}" to [data.rename] and call it c_{name} here.',
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_").lower() or "column"
            yield Fault(
                f"{section}.{name}",
                "",
                "may hold only letters, digits and _ (it becomes the name of a model's input)",
                f'Add {name!r} = "{plain}" to [data.rename] and call it {plain} here.',
            )


def _pattern(data: DataConfig) -> Iterator[Fault]:
    try:
        SpanPattern.parse(data.pattern)
    except PatternError as error:
        yield Fault("data.pattern", shorten(data.pattern), str(error), "Mend the pattern.")


def _expression(key: str, expression: str) -> Iterator[Fault]:
    problem = sql.syntax_problem(expression)
    if problem:
        yield Fault(key, shorten(expression), f"is not SQL: {problem}", "Mend the expression.")


def _must_be_timestamp(key: str, target: str, features: Features) -> Iterator[Fault]:
    if not isinstance(features.get(target), Timestamp):
        yield Fault(
            key,
            shorten(target),
            "must name a feature of kind 'timestamp'",
            f'Add {target} = {{ kind = "timestamp", parts = [] }} to [features].',
        )


def _elapsed(features: Features) -> Iterator[Fault]:
    for name, feature in features.items():
        if isinstance(feature, Elapsed):
            yield from _must_be_timestamp(f"features.{name}.start", feature.start, features)
            yield from _must_be_timestamp(f"features.{name}.end", feature.end, features)


def _times(data: DataConfig, features: Features) -> Iterator[Fault]:
    if data.time_column:
        yield from _must_be_timestamp("data.time_column", data.time_column, features)
    for name in data.time_formats:
        yield from _must_be_timestamp(f"data.time_formats.{name}", name, features)


def _label(label: LabelConfig, features: Features) -> Iterator[Fault]:
    columns = raw_columns(features)
    for leak in label.leaks:
        if leak in columns:
            yield Fault(
                f"label.leaks.{leak}",
                "",
                "is also a feature",
                "A column that gives the label away must not be in [features]; take it out.",
            )
    # SQL does not tell capitals from small letters.
    if label.name.lower() in {
        name.lower() for name in (*columns, *label.leaks, *QUARANTINE_COLUMNS)
    }:
        yield Fault("label.name", shorten(label.name), "is also a column", "Choose another name.")


def _slices(evaluation: EvaluationConfig, known: set[str]) -> Iterator[Fault]:
    for index, item in enumerate(evaluation.slices):
        for column in (item,) if isinstance(item, str) else item:
            if column not in known:
                yield _no_column(f"evaluation.slices.{index}", column, known)


def _optional(data: DataConfig, known: set[str]) -> Iterator[Fault]:
    for index, column in enumerate(data.optional_columns):
        if column not in known:
            yield _no_column(f"data.optional_columns.{index}", column, known)


def _texts(sections: Mapping[str, Any], data: DataConfig, features: Features) -> Iterator[Fault]:
    """Columns whose texts are read in a way of their own."""
    label: LabelConfig | None = sections.get("label")
    quarantine: QuarantineConfig | None = sections.get("quarantine")
    columns = raw_columns(features) | (dict(label.leaks) if label else {})
    numbers = {name for name, kind in columns.items() if kind != "string"}
    for name in data.number_formats:
        if name not in numbers:
            yield _no(f"data.number_formats.{name}", "", "a column of numbers", numbers)
    said = [label.expression if label else "", *(quarantine.rules.values() if quarantine else ())]
    known = {*features, *columns}
    for name in data.null_values:
        if name not in known and not any(name in expression for expression in said):
            yield _no(f"data.null_values.{name}", "", "a column", known)


def _gated(gates: GatesConfig, known: set[str]) -> Iterator[Fault]:
    for name in gates.features:
        if name not in known:
            yield _no(f"gates.features.{name}", "", "a feature", known)
    for index, allowed in enumerate(gates.allow):
        if allowed.feature is not None and allowed.feature not in known:
            yield _no(f"gates.allow.{index}.feature", allowed.feature, "a feature", known)


def _registry(vertex: VertexConfig) -> Iterator[Fault]:
    """What a registration needs, wherever the pipeline runs."""
    registry = vertex.registry
    if not registry.model:
        if registry.image or registry.endpoint:
            yield _needed("vertex.registry.model", 'the model in the registry: model = "trips"')
        return
    if not registry.image:
        yield _needed(
            "vertex.registry.image",
            "a container that serves a SavedModel: image = "
            '"europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest"',
        )
    if not vertex.project:
        yield _needed("vertex.project", 'the Google Cloud project: project = "my-project"')
    if not vertex.region:
        yield _needed("vertex.region", 'where the registry is: region = "europe-west4"')
    if registry.max_replicas < registry.min_replicas:
        yield Fault(
            "vertex.registry.max_replicas",
            str(registry.max_replicas),
            f"is below min_replicas ({registry.min_replicas})",
            "Raise it, or lower the other.",
        )
    for index, alias in enumerate(registry.aliases):
        if alias == "default" or alias.startswith("pushed-"):
            yield Fault(
                f"vertex.registry.aliases.{index}",
                shorten(alias),
                "is an alias that versions have anyway",
                "Choose another, or take it out.",
            )
    if machines.limits(registry.machine) is None:
        yield Fault(
            "vertex.registry.machine",
            shorten(registry.machine),
            "is not a known machine type",
            f"Known families: {', '.join(machines.FAMILIES)}, with -<processors> behind.",
        )


def _needed(key: str, what: str) -> Fault:
    return Fault(key, "", "is required by [vertex.registry]", f"Name {what}.")


def compared(features: Features) -> list[str]:
    """Names under which findings tell of features: columns, and what is derived of timestamps."""
    names = list(features)
    for name, feature in features.items():
        if isinstance(feature, Timestamp):
            names += [f"{name}.{part}" for part in feature.parts]
    return names


def _no_column(key: str, column: str, known: set[str]) -> Fault:
    return _no(key, column, "a column", known)


def _no(key: str, value: str, what: str, known: Iterable[str]) -> Fault:
    near = difflib.get_close_matches(value or key.rsplit(".", 1)[-1], list(known), n=1)
    hint = f"Did you mean '{near[0]}'?" if near else f"Known here: {', '.join(sorted(known))}."
    return Fault(key, shorten(value) if value else "", f"is not {what}", hint)
