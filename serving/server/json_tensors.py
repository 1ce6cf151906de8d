"""The JSON of a predict request -> one array per input of the signature.

By row, `{"instances": [...]}`: a value, a list, or an object of these per row; all rows have the
same shape. By column, `{"inputs": ...}`: one tensor, or an object of tensors.

Whole batches are converted at once where they are regular. What is not is walked value by value,
without recursion, to say what is wrong with which value.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import numpy as np

from serving.server.json_values import is_b64, rendered, type_name
from serving.server.json_walk import (
    FLOATS,
    INTEGERS,
    MAX_DIMENSIONS,
    Stack,
    invalid,
    make_array,
    walk,
)

_ROWS, _COLUMNS = "instances", "inputs"


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
        raise invalid(
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist"
        )
    if by_row:
        return _read_rows(document[_ROWS], dtypes), True
    if by_column:
        return _read_columns(document[_COLUMNS], dtypes), False
    raise invalid("Missing 'inputs' or 'instances' key")


def _read_rows(rows: Any, dtypes: Mapping[str, str]) -> dict[str, np.ndarray]:
    if type(rows) is not list:
        raise invalid(f"Expecting 'instances' to be an list/array, but got JSON {type_name(rows)}")
    if not rows:
        raise invalid("No values in 'instances' array.")
    objects = _is_object(rows[0])
    if not objects and len(dtypes) != 1:
        raise invalid(
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
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors "
                "required as per tensorinfo_map"
            )
        ((name, dtype),) = dtypes.items()
        return {name: _tensor(value, dtype)}
    arrays = {}
    for name, dtype in dtypes.items():
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
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
    stacks = {name: Stack(dtype) for name, dtype in dtypes.items()}
    for index, row in enumerate(rows):
        if not _is_object(row):
            raise invalid(f"Expecting object but got list at item {index} of 'instances' list")
        for name, value in row.items():
            if name not in stacks:
                raise invalid(
                    f"Failed to process element: {index} of 'instances' list. JSON object: "
                    f"{rendered(row)} does not have named input: {name}"
                )
            with_key = f"{index} key: {name}"
            stacks[name].add(value, with_key)
        if len(row) != len(dtypes):
            raise invalid(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{rendered(row)} keys must be equal to: {','.join(sorted(dtypes))}"
            )
    return {name: stack.array() for name, stack in stacks.items()}


def _walk_values(rows: list[Any], dtype: str) -> np.ndarray:
    stack = Stack(dtype)
    for index, row in enumerate(rows):
        if _is_object(row):
            raise invalid(
                f"Expecting value/list but got object at item {index} of 'instances' list"
            )
        stack.add(row, str(index))
    return stack.array()


def _tensor(value: Any, dtype: str) -> np.ndarray:
    array = _regular(value, dtype) if type(value) is list else None
    if array is None:
        shape, values = walk(value, dtype)
        array = make_array(values, shape, dtype)
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
        if dtype in FLOATS and types <= {float, int}:
            return make_array(level, shape, dtype)
        if dtype in INTEGERS and types <= {int}:
            low, high, _ = INTEGERS[dtype]
            if level and (min(level) < low or max(level) > high):
                return None
            return make_array(level, shape, dtype)
        if dtype == "bool" and types <= {bool}:
            return make_array(level, shape, dtype)
        if dtype == "string" and types <= {str}:
            return make_array([text.encode() for text in level], shape, dtype)
    except (OverflowError, UnicodeEncodeError):
        return None
    return None
