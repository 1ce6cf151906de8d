"""Tensors in the JSON of an answer: by row (`predictions`) or by column (`outputs`)."""

from __future__ import annotations

import base64
import json.encoder
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from serving.server.errors import Code, ServingError
from serving.server.json_numbers import float_texts

_BYTES_SUFFIX = "_bytes"  # of the outputs whose strings are written in base64

#: A str -> its JSON text, quotes included.
quote: Callable[[str], str] = json.encoder.encode_basestring


def write_rows(outputs: Mapping[str, np.ndarray], deadline: float | None = None) -> str:
    """The answer to a request by row: a list with a value, or an object of values, per row.

    Args:
        outputs: alias -> array; all with the same first dimension, the rows.
        deadline: when to give up, on the clock `time.monotonic`.

    Raises:
        ServingError: INVALID_ARGUMENT, an output has no rows, or another number of them, or
            cannot be written; DEADLINE_EXCEEDED.
    """
    rows = -1
    columns: dict[str, list[str]] = {}
    for name in sorted(outputs):
        array = outputs[name]
        if array.ndim == 0:
            raise _invalid(f"Tensor name: {name} has no shape information")
        if rows not in (-1, len(array)):
            raise _invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {rows}. "
                "Ask by column (`inputs`) instead."
            )
        rows = len(array)
        columns[name] = _nested(_texts(name, array, deadline), array.shape[1:], rows)
    if len(columns) == 1:
        items: Sequence[str] = next(iter(columns.values()))
    else:
        keys = [f"{quote(name)}: " for name in columns]
        items = [
            "{" + ", ".join([key + text for key, text in zip(keys, row, strict=True)]) + "}"
            for row in zip(*columns.values(), strict=True)
        ]
    return _document("predictions", "[" + ", ".join(items) + "]")


def write_columns(outputs: Mapping[str, np.ndarray], deadline: float | None = None) -> str:
    """The answer to a request by column: a tensor, or an object of tensors.

    Args:
        outputs: alias -> array.
        deadline: as above.

    Raises:
        ServingError: INVALID_ARGUMENT, an output cannot be written; DEADLINE_EXCEEDED.
    """
    texts = {
        name: _nested(_texts(name, outputs[name], deadline), outputs[name].shape, 1)[0]
        for name in sorted(outputs)
    }
    if len(texts) == 1:
        return _document("outputs", next(iter(texts.values())))
    members = ",\n        ".join(f"{quote(name)}: {text}" for name, text in texts.items())
    return _document("outputs", "{\n        " + members + "\n    }")


def _document(key: str, text: str) -> str:
    return f'{{\n    "{key}": {text}\n}}\n'


def _nested(texts: list[str], shape: Sequence[int], count: int) -> list[str]:
    """Joins the texts of `count` tensors of a shape, innermost dimension first."""
    for axis in reversed(range(len(shape))):
        size = shape[axis]
        rows = count * math.prod(shape[:axis])
        texts = [
            "[" + ", ".join(texts[start : start + size]) + "]"
            for start in range(0, rows * size, size)
        ] if size else ["[]"] * rows  # fmt: skip
    return texts


def _texts(name: str, array: np.ndarray, deadline: float | None) -> list[str]:
    kind = array.dtype.kind
    if array.dtype in (np.float32, np.float64):
        return float_texts(array, deadline)
    flat: list[Any] = array.reshape(-1).tolist()
    if kind == "O":
        return _strings(name, flat)
    if kind == "b":
        return ["true" if value else "false" for value in flat]
    if kind in "iu" and array.dtype != np.uint16:
        return list(map(str, flat))
    from serving.server.tensors import data_type, name_of

    raise _invalid(
        f"Failed to write JSON value for tensor type: {name_of(data_type(array))} (output {name}). "
        "gRPC can return it."
    )


def _strings(name: str, values: list[bytes]) -> list[str]:
    if name.endswith(_BYTES_SUFFIX):
        return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in values]
    try:
        return [quote(value.decode()) for value in values]
    except UnicodeDecodeError as error:
        # The stock server would write the bytes as they are, which no JSON reader accepts.
        raise _invalid(
            f"Output {name} has a string that is not UTF-8, which JSON cannot hold. Give the "
            f"output a name that ends in {_BYTES_SUFFIX} to get it in base64, or use gRPC."
        ) from error


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
