"""Filters of resolver tasks: conjunctions of comparisons, the part of the language TFX compiles to.

https://cloud.google.com/vertex-ai/docs/ml-metadata/analyzing#filtering
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_TERM = re.compile(
    r"\s*(?P<field>schema_title|state|name|uri|metadata\.(?P<property>\w+)\.\w+_value)\s*=\s*"
    r"(?:\"(?P<text>[^\"]*)\"|(?P<word>[A-Za-z_]+)|(?P<number>-?[0-9.]+))\s*"
)

_PLACEHOLDER = re.compile(
    r"\{\{\$\.inputs\.artifacts\['(?P<key>[^']+)'\]\.metadata\['(?P<property>[^']+)'\]\}\}"
)


@dataclass(frozen=True)
class Term:
    """One comparison for equality.

    Attributes:
        field: `schema_title`, `state`, `name`, `uri`, or `metadata`.
        key: of the metadata, where `field` is that.
        value: what it must be.
    """

    field: str
    key: str
    value: str | float


def parse(text: str) -> list[Term]:
    """The comparisons of a filter.

    Raises:
        ValueError: it is not such a conjunction; says where.
    """
    terms, position = [], 0
    while True:
        found = _TERM.match(text, position)
        if found is None:
            raise ValueError(f"cannot be read from {text[position : position + 40]!r}")
        value: str | float = found["text"] if found["text"] is not None else found["word"] or ""
        if found["number"] is not None:
            value = float(found["number"])
        field = "metadata" if found["property"] else found["field"]
        terms.append(Term(field, found["property"] or "", value))
        position = found.end()
        if position == len(text):
            return terms
        if not text.startswith("AND", position):
            raise ValueError(f"needs AND before {text[position : position + 40]!r}")
        position += len("AND")


def inputs(text: str) -> set[str]:
    """Keys of the input artifacts that a filter refers to."""
    return {found["key"] for found in _PLACEHOLDER.finditer(text)}


def filled(text: str, artifacts: Mapping[str, list[dict[str, Any]]]) -> str | None:
    """A filter with its placeholders replaced; None if an input artifact is not there."""
    missing = False

    def replace(found: re.Match[str]) -> str:
        nonlocal missing
        given = artifacts.get(found["key"]) or []
        if not given or found["property"] not in given[0].get("metadata", {}):
            missing = True
            return ""
        return str(given[0]["metadata"][found["property"]])

    text = _PLACEHOLDER.sub(replace, text)
    return None if missing else text


def matches(terms: list[Term], artifact: Mapping[str, Any]) -> bool:
    """Whether an artifact (`name`, `uri`, `schema_title`, `state`, `metadata`) fits."""
    return all(
        (artifact["metadata"].get(term.key) if term.field == "metadata" else artifact[term.field])
        == term.value
        for term in terms
    )
