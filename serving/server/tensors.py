"""TensorProto <-> numpy, by TensorFlow's rules and as the stock server writes responses.

Responses carry typed value fields (`float_val`, …), one value per element: clients read
`outputs["y"].float_val[0]`. Requests may carry those or `tensor_content`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
from tensorflow.core.framework import tensor_pb2, types_pb2

from serving.server import admission

# TensorFlow's limit; numpy has one below, and says so itself.
_MAX_RANK = 254
# Tensors up to so many bytes are not counted: there are at most as many as a signature has inputs.
_UNCOUNTED_BYTES = 4096
# No machine has a tensor of so many bytes: its shape is nonsense rather than too large.
_NO_TENSOR_BYTES = 1 << 38
# A string's place in an array of objects, and in TensorFlow's copy of it.
_STRING_BYTES = 8 + 24

# DataType -> (numpy dtype, field with the values).
_KINDS: dict[int, tuple[np.dtype[Any], str]] = {
    types_pb2.DT_FLOAT: (np.dtype(np.float32), "float_val"),
    types_pb2.DT_DOUBLE: (np.dtype(np.float64), "double_val"),
    types_pb2.DT_INT32: (np.dtype(np.int32), "int_val"),
    types_pb2.DT_INT16: (np.dtype(np.int16), "int_val"),
    types_pb2.DT_INT8: (np.dtype(np.int8), "int_val"),
    types_pb2.DT_UINT8: (np.dtype(np.uint8), "int_val"),
    types_pb2.DT_UINT16: (np.dtype(np.uint16), "int_val"),
    types_pb2.DT_INT64: (np.dtype(np.int64), "int64_val"),
    types_pb2.DT_UINT32: (np.dtype(np.uint32), "uint32_val"),
    types_pb2.DT_UINT64: (np.dtype(np.uint64), "uint64_val"),
    types_pb2.DT_BOOL: (np.dtype(np.bool_), "bool_val"),
    types_pb2.DT_STRING: (np.dtype(object), "string_val"),
    types_pb2.DT_HALF: (np.dtype(np.float16), "half_val"),
    types_pb2.DT_BFLOAT16: (np.dtype(ml_dtypes.bfloat16), "half_val"),
    types_pb2.DT_COMPLEX64: (np.dtype(np.complex64), "scomplex_val"),
    types_pb2.DT_COMPLEX128: (np.dtype(np.complex128), "dcomplex_val"),
}
_ENUMS = {dtype: enum for enum, (dtype, _) in _KINDS.items()}

# Values of these travel as they lie in memory (little-endian), so whole arrays can be copied:
# field -> first byte of a packed field on the wire.
_PACKED = {"float_val": b"\x2a", "double_val": b"\x32", "scomplex_val": b"\x4a",
           "dcomplex_val": b"\x62"}  # fmt: skip


def decode(proto: tensor_pb2.TensorProto) -> np.ndarray:
    """The array a TensorProto stands for; strings become objects of `bytes`. Read-only.

    Typed fields may hold fewer values than elements: the last value fills the rest, and no value
    at all stands for zeros. Surplus values are ignored. No shape means a scalar.

    What it takes is counted to the request that is being answered, before it is allocated.

    Raises:
        ValueError: it stands for no array.
        serving.server.errors.ServingError: RESOURCE_EXHAUSTED, it takes too much memory.
    """
    kind = _KINDS.get(proto.dtype)
    if kind is None:
        raise ValueError(f"dtype {proto.dtype} is not supported")
    dtype, field = kind
    if len(proto.tensor_shape.dim) > _MAX_RANK:
        raise ValueError(f"a shape of {len(proto.tensor_shape.dim)} dimensions is none")
    shape = [dim.size for dim in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or any(size < 0 for size in shape):
        raise ValueError(f"shape {shape} is not fully defined")
    count = math.prod(shape)
    if not count:
        if max(shape) > 2**62:
            raise ValueError(f"shape {shape} is too large")
        return np.zeros(shape, dtype)
    size = count * (_STRING_BYTES if dtype.kind == "O" else 2 * dtype.itemsize)
    if proto.tensor_content:
        # A string has a length, of a byte at least; all other content is as long as the array.
        if dtype.kind == "O" and count > len(proto.tensor_content):
            raise ValueError("tensor_content ends within the lengths of its strings")
        if dtype.kind != "O" and len(proto.tensor_content) != count * dtype.itemsize:
            raise ValueError(
                f"tensor_content has {len(proto.tensor_content)} bytes, not "
                f"{count * dtype.itemsize}"
            )
        _count(size, 0)
        return _from_content(proto.tensor_content, dtype, count).reshape(shape)
    values = getattr(proto, field)
    per_element = 2 if dtype.kind == "c" else 1
    given = len(values) // per_element
    if given < count and size > _NO_TENSOR_BYTES:
        raise ValueError(f"shape {shape} is too large for {given} values")
    _count(size, size * (count - given) // count if given < count else 0)
    flat = _from_values(values, dtype, min(given, count), per_element)
    if given < count:
        zero = b"" if dtype.kind == "O" else dtype.type(0)
        whole = np.empty(count, dtype)
        whole[:given] = flat
        whole[given:] = flat[-1] if given else zero
        flat = whole
    return flat.reshape(shape)


def encode(array: np.ndarray) -> tensor_pb2.TensorProto:
    """A TensorProto with typed value fields and a shape, whatever the array's size.

    Args:
        array: of any dtype a SavedModel gives; strings as objects of `bytes`.

    Raises:
        ValueError: there is no field for its dtype.
    """
    enum = _ENUMS.get(array.dtype)
    if enum is None:
        raise ValueError(f"dtype {array.dtype} cannot be sent")
    dtype, field = _KINDS[enum]
    proto = tensor_pb2.TensorProto(dtype=enum)
    # An empty shape is a scalar's, and is there all the same.
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    flat = array.reshape(-1)
    if not flat.size:
        return proto
    if field in _PACKED:
        payload = flat.astype(dtype.newbyteorder("<"), copy=False).tobytes()
        proto.MergeFromString(_PACKED[field] + _varint(len(payload)) + payload)
    elif field == "half_val":
        proto.half_val.extend(flat.view(np.uint16).tolist())
    else:
        getattr(proto, field).extend(flat.tolist())
    return proto


def name_of(dtype: int) -> str:
    """A DataType as TensorFlow's messages call it, such as `float` or `string`."""
    name: str = types_pb2.DataType.Name(dtype)
    return name.removeprefix("DT_").lower()


def data_type(array: np.ndarray) -> int:
    """The DataType of an array; DT_INVALID if there is none."""
    enum: int = _ENUMS.get(array.dtype, types_pb2.DT_INVALID)
    return enum


def _count(size: int, filled: int) -> None:
    """Counts an array and TensorFlow's copy of it, and what of it was not sent, in bytes."""
    if size > _UNCOUNTED_BYTES:
        hold = admission.current()
        hold.fill(filled)
        hold.add(size - filled)


def _from_content(content: bytes, dtype: np.dtype[Any], count: int) -> np.ndarray:
    if dtype.kind == "O":
        return _strings(content, count)
    if dtype.kind == "b":  # any byte but 0 is true; numpy would keep the byte
        return np.not_equal(np.frombuffer(content, np.uint8), 0)
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype, copy=False)


def _from_values(
    values: Sequence[Any], dtype: np.dtype[Any], count: int, per_element: int
) -> np.ndarray:
    if count * per_element < len(values):
        values = values[: count * per_element]
    if dtype.kind == "O":
        strings = np.empty(count, object)
        strings[:] = list(values)
        return strings
    if dtype.kind == "c":
        part = np.float32 if dtype.itemsize == 8 else np.float64
        return np.fromiter(values, part, 2 * count).view(dtype)
    if dtype.itemsize == 2 and dtype.kind not in "iu":  # patterns of 16 bits
        return np.fromiter(values, np.int32, count).astype(np.uint16).view(dtype)
    if dtype.kind in "iu" and dtype.itemsize < 4:  # narrower than its field: the low bits
        return np.fromiter(values, np.int32, count).astype(dtype)
    return np.fromiter(values, dtype, count)


def _strings(content: bytes, count: int) -> np.ndarray:
    """TensorFlow's packing: all lengths as varints, then all bytes."""
    lengths, position = [], 0
    for _ in range(count):
        length, shift = 0, 0
        while True:
            if position >= len(content) or shift > 28:
                raise ValueError("tensor_content ends within the lengths of its strings")
            byte = content[position]
            position += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        lengths.append(length)
    if position + sum(lengths) != len(content):
        raise ValueError("tensor_content does not have the length of its strings")
    strings = np.empty(count, object)
    for index, length in enumerate(lengths):
        strings[index] = content[position : position + length]
        position += length
    return strings


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
