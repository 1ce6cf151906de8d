"""Shapes of a request's inputs beside those of the signature.

The stock server does not compare them: it runs the graph, which may repeat a single row for all
others, or fail with a text about its own operations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.server.errors import Code, ServingError

# Of inputs, those that a message names.
_NAMED = 8


def with_rows(inputs: Mapping[str, Any]) -> tuple[str, ...]:
    """The inputs, of a signature's, whose first dimension counts rows: any number of them.

    One that is declared a scalar, or with a fixed first dimension, stands for all rows.
    """
    return tuple(
        alias
        for alias, info in sorted(inputs.items())
        if not info.tensor_shape.unknown_rank
        and info.tensor_shape.dim
        and info.tensor_shape.dim[0].size < 0
    )


def check_rows(
    aliases: Sequence[str], inputs: Mapping[str, np.ndarray], defaults: Mapping[str, np.ndarray]
) -> None:
    """Refuses one row beside several.

    Args:
        aliases: `with_rows` of the signature.
        inputs: alias -> array.
        defaults: of inputs that were left out: the same arrays, which are for all rows.

    Raises:
        ServingError: INVALID_ARGUMENT; the message names the inputs.
    """
    rows = {
        alias: array.shape[0]
        for alias in aliases
        if (array := inputs.get(alias)) is not None
        and array.ndim
        and array is not defaults.get(alias)
    }
    most = max(rows.values(), default=0)
    if most > 1 and 1 in rows.values():
        single = [alias for alias, count in rows.items() if count == 1]
        several = next(alias for alias, count in rows.items() if count == most)
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Of {_list(single)} there is 1 row, of {several} there are {most}. Send as many rows "
            "of each (--check_rows=false lets the model repeat the one).",
        )


def misfits(signature: Any, inputs: Mapping[str, np.ndarray]) -> str:
    """What of the inputs is not as the signature says; "" if nothing is. For an error's text."""
    lines = [
        f"Input {alias} has the shape {_shape(array.shape)}; the signature wants "
        f"{_wanted(signature.inputs[alias])}."
        for alias, array in inputs.items()
        if alias in signature.inputs and not _fits(signature.inputs[alias], array)
    ]
    if lines:
        return " ".join(lines[:_NAMED])
    rows = {
        alias: inputs[alias].shape[0]
        for alias in with_rows(signature.inputs)
        if _ranked(inputs.get(alias))
    }
    if len(set(rows.values())) > 1:
        told = ", ".join(f"{alias} {count}" for alias, count in list(rows.items())[:_NAMED])
        return f"Inputs have different numbers of rows: {told}."
    return ""


def _ranked(array: np.ndarray | None) -> bool:
    return array is not None and array.ndim > 0


def _fits(info: Any, array: np.ndarray) -> bool:
    shape = info.tensor_shape
    if shape.unknown_rank:
        return True
    sizes = [dim.size for dim in shape.dim]
    return len(sizes) == array.ndim and all(
        wanted < 0 or wanted == size for wanted, size in zip(sizes, array.shape, strict=True)
    )


def _wanted(info: Any) -> str:
    sizes = [dim.size for dim in info.tensor_shape.dim]
    return _shape(sizes) if sizes else "[] (a single value)"


def _shape(sizes: Sequence[int]) -> str:
    return "[" + ",".join("rows" if size < 0 else str(size) for size in sizes) + "]"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
