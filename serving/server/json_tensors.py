"""The JSON of a predict request -> one array per input of the signature.

By row, `{"instances": [...]}`: a value, a list, or an object of these per row; all rows have the
same shape. By column, `{"inputs": ...}`: one tensor, or an object of tensors.

Whole batches are converted at once where they are regular. What is not is walked value by value,
without recursion, to say what is wrong with which value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from serving.server.errors import Code, ServingError
from serving.server.json_values import from_b64, is_b64, rendered, to_bytes, type_name

#: numpy cannot hold more dimensions.
MAX_DIMENSIONS = 64

_STEP = 1 << 18  # values that are converted at a time

_ROWS, _COLUMNS = "instances", "inputs"
_FLOATS = {"float": np.float32, "double": np.float64}
# Name -> what holds its values, the range of the integer literals, what they are cast to.
_INT32, _UINT32 = np.iinfo(np.int32), np.iinfo(np.uint32)
_INTEGERS: dict[str, tuple[int, int, Any]] = {
    "int8": (_INT32.min, _INT32.max, np.int8),
    "int16": (_INT32.min, _INT32.max, np.int16),
    "uint8": (_INT32.min, _INT32.max, np.uint8),
    "int32": (_INT32.min, _INT32.max, np.int32),
    "int64": (-(2**63), 2**63 - 1, np.int64),
    "uint32": (0, _UINT32.max, np.uint32),
    "uint64": (0, 2**64 - 1, np.uint64),
}


def read_predict(
    document: Mapping[str, Any], dtypes: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], bool]:
    """The arrays that a request holds.

    Args:
        document: the request's object.
        dtypes: alias of each input of the signature -> TensorFlow's name of its dtype.

    Returns:
        Alias -> array (strings are objects of `bytes`); whether the request is by row.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a dtype that JSON has no form for.
    """
    by_row, by_column = _ROWS in document, _COLUMNS in document
    if by_row and by_column:
        raise _invalid(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if by_row:
        return _read_rows(document[_ROWS], dtypes), True
    if by_column:
        return _read_columns(document[_COLUMNS], dtypes), False
    raise _invalid("Missing 'inputs' or 'instances' key")


def _read_rows(rows: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if type(rows) is not list:
        raise _invalid(f"Expecting 'instances' to be an list/array, but got JSON {type_name(rows)}")
    if not rows:
        raise _invalid("No values in 'instances' array.")
    objects = _is_object(rows[0])
    if not objects and len(dtypes) != 1:
        raise _invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if objects:
        return _regular_columns(rows, dtypes) or _walk_objects(rows, dtypes)
    ((name, dtype),) = dtypes.items()
    array = _regular(rows, dtype)
    return {name: _walk_values(rows, dtype) if array is None else array}


def _read_columns(value: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if not _is_object(value):
        if len(dtypes) != 1:
            raise _invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, dtype),) = dtypes.items()
        return {name: _tensor(value, dtype)}
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in value:
            raise _invalid(f"Missing named input: {name} in 'inputs' object.")
        arrays[name] = _tensor(value[name], dtype)
    return arrays


def _is_object(value: Any) -> bool:
    return type(value) is dict and not is_b64(value)


def _regular_columns(rows: list[Any], dtypes: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """All rows at once, each an object of the signature's inputs; None if one is not."""
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(dtypes)}:
        return None
    arrays = {}
    for name, dtype in dtypes.items():
        try:
            column = [row[name] for row in rows]
        except KeyError:
            return None
        array = _regular(column, dtype)
        if array is None:
            return None
        arrays[name] = array
    return arrays


def _walk_objects(rows: list[Any], dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    stacks = {name: _Stack(dtype) for name, dtype in dtypes.items()}
    for index, row in enumerate(rows):
        if not _is_object(row):
            raise _invalid(f"Expecting object but got list at item {index} of 'instances' list")
        for name, value in row.items():
            if name not in stacks:
                raise _invalid(
                    f"Failed to process element: {index} of 'instances' list. JSON object: "
                    f"{rendered(row)} does not have named input: {name}"
                )
            with_key = f"{index} key: {name}"
            stacks[name].add(value, with_key)
        if len(row) != len(dtypes):
            raise _invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{rendered(row)} keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {name: stack.array() for name, stack in stacks.items()}


def _walk_values(rows: list[Any], dtype: str) -> np.ndarray:
    stack = _Stack(dtype)
    for index, row in enumerate(rows):
        if _is_object(row):
            raise _invalid(
                f"Expecting value/list but got object at item {index} of 'instances' list"
            )
        stack.add(row, str(index))
    return stack.array()


class _Stack:
    """Collects the tensors of rows, which must have one shape."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype
        self._values: list[Any] = []
        self._shape: list[int] | None = None
        self._rows = 0

    def add(self, value: Any, where: str) -> None:
        """Adds a row; `where` says which one it is, in messages."""
        try:
            shape, values = _walk(value, self._dtype)
            self._check(shape)
        except ServingError as error:
            raise _invalid(
                f"Failed to process element: {where} of 'instances' list. Error: {error}"
            ) from error
        self._rows += 1
        self._values += values

    def _check(self, shape: list[int]) -> None:
        if self._shape is None:
            self._shape = shape
        elif math.prod(shape) != math.prod(self._shape):
            raise _invalid(
                f"Expecting tensor size: {math.prod(self._shape)} but got: {math.prod(shape)}"
            )
        elif shape != self._shape:
            raise _invalid(f"Expecting shape {_shape(self._shape)} but got: {_shape(shape)}")

    def array(self) -> np.ndarray:
        """The rows, stacked on a new first axis."""
        return _array(self._values, [self._rows, *(self._shape or [])], self._dtype)


def _tensor(value: Any, dtype: str) -> np.ndarray:
    array = _regular(value, dtype) if type(value) is list else None
    if array is None:
        shape, values = _walk(value, dtype)
        array = _array(values, shape, dtype)
    return array


def _regular(value: list[Any], dtype: str) -> np.ndarray | None:
    """Nested lists as an array, level by level; None if anything about them is unusual."""
    shape = [len(value)]
    level = value
    types = set(map(type, level))
    while types == {list}:
        sizes = set(map(len, level))
        if len(sizes) != 1 or len(shape) >= MAX_DIMENSIONS:
            return None
        shape.append(sizes.pop())
        level = list(chain.from_iterable(level))
        types = set(map(type, level))
    try:
        if dtype in _FLOATS and types <= {float, int}:
            return _array(level, shape, dtype)
        if dtype in _INTEGERS and types <= {int}:
            low, high, _ = _INTEGERS[dtype]
            if level and (min(level) < low or max(level) > high):
                return None
            return _array(level, shape, dtype)
        if dtype == "bool" and types <= {bool}:
            return _array(level, shape, dtype)
        if dtype == "string" and types <= {str}:
            return _array([text.encode() for text in level], shape, dtype)
    except (OverflowError, UnicodeEncodeError):
        return None
    return None


def _walk(value: Any, dtype: str) -> tuple[list[int], list[Any]]:
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
                    raise _invalid(
                        f"Encountered list at unexpected level: {level} expected < {len(shape)}"
                    )
                if len(item) != shape[level]:
                    raise _invalid(
                        f"Encountered list at unexpected size: {len(item)} at level: {level} "
                        f"expected size: {shape[level]}"
                    )
                levels.append(iter(item))
                break
            if level != len(shape):
                raise _invalid(
                    f"JSON Value: {rendered(item)} found at incorrect level: {level} in the JSON "
                    f"list. Expected at level: {len(shape)}"
                )
            values.append(convert(item))
        else:
            levels.pop()
    if len(shape) >= MAX_DIMENSIONS:
        raise _invalid(
            f"A tensor of {len(shape)} dimensions is not supported; at most "
            f"{MAX_DIMENSIONS} are, the rows included."
        )
    return shape, values


def _array(values: list[Any], shape: list[int], dtype: str) -> np.ndarray:
    if dtype == "string":
        strings = np.empty(len(values), object)
        strings[:] = values
        return strings.reshape(shape)
    if dtype in _INTEGERS:
        low, high, narrow = _INTEGERS[dtype]
        # Literals may be wider than the dtype; like the stock server's, they wrap around.
        wide = np.uint64 if high > _INT32.max and low == 0 else np.int64
        return _filled(values, wide).astype(narrow, copy=False).reshape(shape)
    if dtype in _FLOATS:
        with np.errstate(over="ignore"):  # beyond a float is infinite
            return _filled(values, _FLOATS[dtype]).reshape(shape)
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
    if dtype in _FLOATS:
        kind = "number"
    elif dtype in _INTEGERS:
        kind = "integer"
        low, high, _ = _INTEGERS[dtype]
    else:
        kind = dtype

    def convert(value: Any) -> Any:
        if kind == "number" and type(value) in (int, float):
            try:
                return float(value)
            except OverflowError:
                raise _invalid("JSON Parse error: Number too big to be stored in double.") from None
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
        raise _invalid(
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


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
