"""Conditions of tasks, in the Common Expression Language, as Vertex evaluates them.

https://github.com/google/cel-spec/blob/master/doc/langdef.md
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import celpy
from celpy.adapter import json_to_cel
from celpy.celparser import CELParseError
from celpy.evaluation import CELEvalError

#: `inputs.artifacts['key'].artifacts[0].metadata['property']`, TFX's only way to name a property.
_PROPERTY = re.compile(
    r"inputs\.artifacts\['(?P<key>[^']+)'\]\.artifacts\[0\]\.metadata\['(?P<property>[^']+)'\]"
)


class CelError(Exception):
    """A condition that is not CEL, or that has no value for these inputs."""


@functools.lru_cache(maxsize=64)
def program(condition: str) -> Any:
    """A condition, parsed.

    Raises:
        CelError: it does not parse.
    """
    environment = celpy.Environment()
    try:
        return environment.program(environment.compile(condition))
    except CELParseError as error:
        where = f" at column {error.column}" if error.column else ""
        raise CelError(f"does not parse{where}") from error


def properties(condition: str) -> set[tuple[str, str]]:
    """Input key and property of each artifact property that a condition asks for."""
    return {(found["key"], found["property"]) for found in _PROPERTY.finditer(condition)}


def evaluate(condition: str, artifacts: Mapping[str, Sequence[Mapping[str, Any]]]) -> bool:
    """The value of a condition.

    Args:
        condition: the expression.
        artifacts: input key → artifacts, each as JSON (`uri`, `metadata`, …). Numbers count as
            doubles, as in the protocol buffers Vertex evaluates over.

    Raises:
        CelError: it does not parse, asks for what is not there, or is no truth value.
    """
    tree = {"artifacts": {key: {"artifacts": list(each)} for key, each in artifacts.items()}}
    try:
        value = program(condition).evaluate({"inputs": json_to_cel(_doubles(tree))})
    except CELEvalError as error:
        raise CelError(f"has no value: {error.args[0] if error.args else error}") from error
    if not isinstance(value, celpy.celtypes.BoolType):
        raise CelError(f"is no truth value but {value!r}")
    return bool(value)


def _doubles(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return float(value)
    if isinstance(value, Mapping):
        return {key: _doubles(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_doubles(item) for item in value]
    return value
