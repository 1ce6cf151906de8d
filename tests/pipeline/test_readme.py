"""The README's configuration table and example are those of the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pipeline.config import Config
from pipeline.config_file import parse

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
VERTEX = (ROOT / "serving" / "deploy" / "vertex.md").read_text(encoding="utf-8")


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and prefix != "evaluation.":
            yield from _keys(kind, f"{prefix}{name}.")
        elif name != "features":
            yield f"{prefix}{name}", field


def test_every_key_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([a-z0-9_.]+)` \| (.+?) \|", README + VERTEX, re.MULTILINE))
    for key, field in _keys(Config):
        assert key in rows, f"README's table lacks {key}"
        default = field.default
        if isinstance(default, int | float | str) and not isinstance(default, bool):
            assert rows[key] == (f"`{default}`" if default != "" else "none"), key
        if field.is_required():
            assert rows[key] == "required", key


def test_the_example_for_other_data_is_a_valid_configuration(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.+?)```", README, re.DOTALL)
    config = parse(tomllib.loads(example), source="README.md", folder=tmp_path)
    assert config.name == "churn" and "complaint" in config.features
