"""Values of a column as the signature's type wants them.

A missing value (None, NaN, pandas' NA and NaT, the empty text where a number is wanted) becomes
the signature's default if it has one, else NaN, -1 or "": what Headrace's models take for missing.
A column left out is written out as well, over gRPC too: a server that batches requests wants all
inputs of one length.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from serving.client import moments
from serving.client.errors import RowError
from serving.client.signature import Tensor, TensorSpec

_FLOATS = ("DT_FLOAT", "DT_DOUBLE")
_INTEGERS = {
    "DT_INT8": (-(2**7), 2**7 - 1),
    "DT_INT16": (-(2**15), 2**15 - 1),
    "DT_INT32": (-(2**31), 2**31 - 1),
    "DT_INT64": (-(2**63), 2**63 - 1),
    "DT_UINT8": (0, 2**8 - 1),
    "DT_UINT16": (0, 2**16 - 1),
    "DT_UINT32": (0, 2**32 - 1),
    "DT_UINT64": (0, 2**64 - 1),
}
_TRUTHS = {"true": True, "false": False, "1": True, "0": False}


class _Unfit(ValueError):
    """A value does not fit; the message goes on after "row 3, column x: "."""


def tensor(name: str, values: Sequence[Any], spec: TensorSpec, first_row: int) -> Tensor:
    """A column's rows as one tensor, [rows, …].

    Args:
        name: of the column.
        values: one a row.
        spec: of the input.
        first_row: number of the first row in messages, from 1.

    Raises:
        RowError: a value does not fit; names row and column.
    """
    convert = _converter(name, spec)
    inner = (-1,) if spec.shape is None else spec.shape[1:]
    if inner == ():
        flat = _plain(values, spec)
        if flat is None:
            flat = [
                _checked(convert, value, name, row) for row, value in enumerate(values, first_row)
            ]
        return Tensor(spec.dtype, (len(flat),), flat)
    return _nested(name, values, spec, convert, first_row)


def missing_value(spec: TensorSpec) -> Any:
    """What stands for "missing" in this input; None if nothing can."""
    if spec.default is not None:
        return spec.default
    if spec.dtype in _FLOATS:
        return math.nan
    if spec.dtype in _INTEGERS:
        return -1 if _INTEGERS[spec.dtype][0] < 0 else None
    return "" if spec.dtype == "DT_STRING" else None


def _plain(values: Sequence[Any], spec: TensorSpec) -> list[Any] | None:
    """The values as they are if all of them fit; None if one has to be looked at closely."""
    kinds = set(map(type, values))
    if spec.dtype in _FLOATS and kinds <= {float}:
        default = missing_value(spec)
        if not math.isnan(default) and any(map(math.isnan, values)):
            return None
        return list(values)
    if spec.dtype in _INTEGERS and kinds <= {int}:
        low, high = _INTEGERS[spec.dtype]
        return list(values) if not values or (low <= min(values) and max(values) <= high) else None
    if spec.dtype == "DT_STRING" and kinds <= {str, bytes}:
        return list(values)
    return None


def _nested(
    name: str,
    values: Sequence[Any],
    spec: TensorSpec,
    convert: Callable[[Any], Any],
    first_row: int,
) -> Tensor:
    flat: list[Any] = []
    common: tuple[int, ...] | None = None
    for row, value in enumerate(values, first_row):
        shape = _shape(value)
        if shape == () and spec.shape is not None and all(size in (-1, 1) for size in spec.shape):
            shape = (1,) * (len(spec.shape) - 1)  # a bare value for a column of width one
        if common is None:
            common = shape
        if shape != common or -2 in shape or not _allowed(shape, spec):
            raise RowError(
                f"row {row}, column {name}: {_of_shape(shape)}, must be {_wanted(common, spec)}."
            )
        flat += [_checked(convert, item, name, row) for item in _flatten(value)]
    return Tensor(spec.dtype, (len(values), *(common or ())), flat)


def _of_shape(shape: tuple[int, ...]) -> str:
    if -2 in shape:
        return "has values of shapes that differ"
    return f"has values of shape {list(shape)}"


def _wanted(common: tuple[int, ...], spec: TensorSpec) -> str:
    """Shape of a row's values: what the model asks for, or that of the rows before."""
    if _allowed(common, spec) and -2 not in common:
        return f"{list(common)}"
    inner = () if spec.shape is None else spec.shape[1:]
    return f"[{', '.join('any' if size < 0 else str(size) for size in inner)}]"


def _allowed(shape: tuple[int, ...], spec: TensorSpec) -> bool:
    if spec.shape is None:
        return True
    inner = spec.shape[1:]
    return len(shape) == len(inner) and all(
        want in (-1, size) for size, want in zip(shape, inner, strict=True)
    )


def _shape(value: Any) -> tuple[int, ...]:
    value = _without_numpy(value)
    if not isinstance(value, list | tuple):
        return ()
    shapes = {_shape(item) for item in value}
    # Ragged lists have no shape; -2 equals no size.
    inner = shapes.pop() if len(shapes) == 1 else (() if not shapes else (-2,))
    return (len(value), *inner)


def _flatten(value: Any) -> list[Any]:
    value = _without_numpy(value)
    if not isinstance(value, list | tuple):
        return [value]
    return [item for part in value for item in _flatten(part)]


def _checked(convert: Callable[[Any], Any], value: Any, name: str, row: int) -> Any:
    try:
        return convert(value)
    except _Unfit as error:
        raise RowError(f"row {row}, column {name}: {error}") from None


def _converter(name: str, spec: TensorSpec) -> Callable[[Any], Any]:
    if spec.shape == ():
        raise RowError(
            f"column {name}: this input takes one value, not one a row. Choose another signature."
        )
    by_type: Callable[[Any], Any]
    if spec.dtype in _FLOATS:
        by_type = _float
    elif spec.dtype in _INTEGERS:
        by_type = _integer_within(spec.dtype)
    elif spec.dtype == "DT_STRING":
        by_type = _text
    elif spec.dtype == "DT_BOOL":
        by_type = _truth
    else:
        raise RowError(f"column {name}: this client cannot send values of type {spec.dtype}.")
    missing = missing_value(spec)
    is_text, is_whole = spec.dtype == "DT_STRING", spec.dtype in _INTEGERS

    def convert(value: Any) -> Any:
        value = _without_numpy(value)
        none = is_whole and isinstance(value, str) and moments.is_missing(value)
        if _is_missing(value) or none or (value == "" and not is_text):
            if missing is None:
                raise _Unfit(f"is missing, and {spec.dtype} has no value that means so.")
            return missing
        if isinstance(value, list | tuple | dict):
            raise _Unfit(f"must be one value, got {_shown(value)}.")
        return by_type(value)

    return convert


def _is_missing(value: Any) -> bool:
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | Decimal) and value != value


def _without_numpy(value: Any) -> Any:
    """A numpy array as lists and a numpy scalar as Python's own; anything else unchanged."""
    if type(value).__module__ != "numpy":
        return value
    if type(value).__name__ == "datetime64":
        value = value.astype("datetime64[s]")
    return value.tolist()


def _float(value: Any) -> float:
    if isinstance(value, int | float | Decimal):
        return float(value)
    if isinstance(value, str):
        try:
            if "_" not in value:
                return float(value)
        except ValueError:
            pass
    raise _Unfit(f"must be a number, got {_shown(value)}.")


def _integer_within(dtype: str) -> Callable[[Any], int]:
    low, high = _INTEGERS[dtype]

    def convert(value: Any) -> int:
        number = _integer(value)
        if not low <= number <= high:
            raise _Unfit(f"must be from {low} to {high}, got {number}.")
        return number

    return convert


def _integer(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    if isinstance(value, dt.date):
        return moments.of_date(value)
    if isinstance(value, str):
        return _integer_of_text(value)
    if isinstance(value, float | Decimal) and math.isfinite(value) and value == int(value):
        return int(value)
    raise _Unfit(f"must be a whole number or a moment, got {_shown(value)}.")


def _integer_of_text(text: str) -> int:
    try:
        if "_" not in text:
            return int(text)
    except ValueError:
        pass
    try:
        number = float(text)
        if "_" not in text and math.isfinite(number) and number == int(number):
            return int(number)
    except ValueError:
        pass
    seconds = moments.of_text(text)
    if seconds is None:
        raise _Unfit(f"must be a whole number or a moment, got {_shown(text)}.")
    return seconds


def _text(value: Any) -> str | bytes:
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float | Decimal):
        return str(value)
    raise _Unfit(f"must be a text, got {_shown(value)}.")


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    truth = _TRUTHS.get(str(value).lower())
    if truth is None:
        raise _Unfit(f"must be true or false, got {_shown(value)}.")
    return truth


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
