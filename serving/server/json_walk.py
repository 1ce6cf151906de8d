"""Single tensors of a predict request, value by value: what is not regular, and what is wrong.

Nothing recurses: lists may be nested as deep as their sender likes.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from serving.server.errors import Code, ServingError
from serving.server.json_values import from_b64, is_b64, rendered, to_bytes, type_name

#: numpy cannot hold more dimensions.
MAX_DIMENSIONS = 64

_STEP = 1 << 18  # values that are converted at a time

#: dtypes that any number can be given for.
FLOATS = {"float": np.float32, "double": np.float64}
_INT32, _UINT32 = np.iinfo(np.int32), np.iinfo(np.uint32)
#: dtype -> the least and the greatest integer literal for it, what these are cast to.
INTEGERS: dict[str, tuple[int, int, Any]] = {
    "int8": (_INT32.min, _INT32.max, np.int8),
    "int16": (_INT32.min, _INT32.max, np.int16),
    "uint8": (_INT32.min, _INT32.max, np.uint8),
    "int32": (_INT32.min, _INT32.max, np.int32),
    "int64": (-(2**63), 2**63 - 1, np.int64),
    "uint32": (0, _UINT32.max, np.uint32),
    "uint64": (0, 2**64 - 1, np.uint64),
}


class Stack:
    """Collects the tensors of rows, which must have one shape."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._values: list[Any] = []
        self._shape: list[int] | None = None
        self._rows = 0

    def add(self, value: Any, where: str) -> None:
        """Adds a row; `where` says which one it is, in messages."""
        try:
            shape, values = walk(value, self._dtype)
            self._check(shape)
        except ServingError as error:
            raise invalid(
                f"Failed to process element: {where} of 'instances' list. Error: {error}"
            ) from error
        self._rows += 1
        self._values += values

    def _check(self, shape: list[int]) -> None:
        if self._shape is None:
            self._shape = shape
        elif math.prod(shape) != math.prod(self._shape):
            raise invalid(
                f"Expecting tensor size: {math.prod(self._shape)} but got: {math.prod(shape)}"
            )
        elif shape != self._shape:
            raise invalid(f"Expecting shape {_shape(self._shape)} but got: {_shape(shape)}")

    def array(self) -> np.ndarray:
        """The rows, stacked on a new first axis."""
        return make_array(self._values, [self._rows, *(self._shape or [])], self._dtype)


def walk(value: Any, dtype: str) -> tuple[list[int], list[Any]]:
    """Shape and values, in row-major order, of one tensor; its first elements set the shape."""
    shape: list[int] = []
    first = value
    while type(first) is list:
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    convert = _converter(dtype)
    values: list[Any] = []
    levels = [iter((value,))]
    while levels:
        level = len(levels) - 1
        for item in levels[-1]:
            if type(item) is list:
                if level >= len(shape):
                    raise invalid(
                        f"Encountered list at unexpected level: {level} expected < {len(shape)}"
                    )
                if len(item) != shape[level]:
                    raise invalid(
                        f"Encountered list at unexpected size: {len(item)} at level: {level} "
                        f"expected size: {shape[level]}"
                    )
                levels.append(iter(item))
                break
            if level != len(shape):
                raise invalid(
                    f"JSON Value: {rendered(item)} found at incorrect level: {level} in the JSON "
                    f"list. Expected at level: {len(shape)}"
                )
            values.append(convert(item))
        else:
            levels.pop()
    if len(shape) >= MAX_DIMENSIONS:
        raise invalid(
            f"A tensor of {len(shape)} dimensions is not supported; at most "
            f"{MAX_DIMENSIONS} are, the rows included."
        )
    return shape, values


def make_array(values: list[Any], shape: list[int], dtype: str) -> np.ndarray:
    """An array of values that were checked, in row-major order."""
    if dtype == "string":
        strings = np.empty(len(values), object)
        strings[:] = values
        return strings.reshape(shape)
    if dtype in INTEGERS:
        low, high, narrow = INTEGERS[dtype]
        # Literals may be wider than the dtype; like the stock server's, they wrap around.
        wide = np.uint64 if high > _INT32.max and low == 0 else np.int64
        return _filled(values, wide).astype(narrow, copy=False).reshape(shape)
    if dtype in FLOATS:
        with np.errstate(over="ignore"):  # beyond a float is infinite
            return _filled(values, FLOATS[dtype]).reshape(shape)
    if dtype == "bool":
        return np.array(values, np.bool_).reshape(shape)
    return _empty(shape, dtype)


def _filled(values: list[Any], dtype: Any) -> np.ndarray:
    """`values` as an array, in steps between which another thread may run."""
    array = np.empty(len(values), dtype)
    for start in range(0, len(values), _STEP):
        array[start : start + _STEP] = values[start : start + _STEP]
    return array


def _empty(shape: list[int], dtype: str) -> np.ndarray:
    """An array without elements, of a dtype whose elements JSON cannot hold."""
    import ml_dtypes

    numpy_name = {"half": "float16", "bfloat16": ml_dtypes.bfloat16}.get(dtype, dtype)
    try:
        return np.zeros(shape, numpy_name)
    except TypeError:
        raise _unimplemented("[]", dtype) from None


def _converter(dtype: str) -> Callable[[Any], Any]:
    """Checks one value of a tensor, and makes of it what the array holds."""
    if dtype in FLOATS:
        kind = "number"
    elif dtype in INTEGERS:
        kind = "integer"
        low, high, _ = INTEGERS[dtype]
    else:
        kind = dtype

    def convert(value: Any) -> Any:
        if kind == "number" and type(value) in (int, float):
            try:
                return float(value)
            except OverflowError:
                raise invalid("JSON Parse error: Number too big to be stored in double.") from None
        if kind == "integer" and type(value) is int and low <= value <= high:
            return value
        if kind == "bool" and type(value) is bool:
            return value
        if kind == "string" and type(value) is str:
            return to_bytes(value)
        if kind == "string" and is_b64(value):
            return from_b64(value)
        if kind not in ("number", "integer", "bool", "string"):
            raise _unimplemented(rendered(value), dtype)
        raise invalid(
            f"JSON Value: {rendered(value)} Type: {type_name(value)} "
            f"is not of expected type: {dtype}"
        )

    return convert


def _unimplemented(value: str, dtype: str) -> ServingError:
    return ServingError(
        Code.UNIMPLEMENTED, f"Conversion of JSON Value: {value} to type: {dtype} is not supported"
    )


def _shape(sizes: list[int]) -> str:
    return "[" + ",".join(map(str, sizes)) + "]"


def invalid(message: str) -> ServingError:
    """The error of a request that is wrong."""
    return ServingError(Code.INVALID_ARGUMENT, message)
