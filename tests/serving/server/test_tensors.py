"""TensorProto <-> numpy: TensorFlow's own functions are the yardstick."""

import contextlib

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tensorflow.core.framework import tensor_pb2

from serving.server import tensors

FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int32": "int_val",
    "int16": "int_val",
    "int8": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "int64": "int64_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "bool": "bool_val",
    "float16": "half_val",
    "bfloat16": "half_val",
    "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
}


def same(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype == object:
        return one.shape == other.shape and one.tolist() == other.tolist()
    # Bit for bit: NaN and -0.0 count.
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


@st.composite
def numeric(draw: st.DrawFn) -> np.ndarray:
    name = draw(st.sampled_from(sorted(FIELDS)))
    dtype = np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))
    count = int(np.prod(shape)) * dtype.itemsize
    data = draw(st.binary(min_size=count, max_size=count))
    if dtype.kind == "b":
        data = bytes(byte & 1 for byte in data)
    array = np.frombuffer(data, dtype).reshape(shape)
    # A signalling NaN becomes a quiet one on its way through any processor register.
    with np.errstate(all="ignore"):
        return array if dtype.kind in "iub" else (array * dtype.type(1)).reshape(shape)


def without_nan(array: np.ndarray) -> bool:
    # Python's own floats may change the bits of a NaN on their way into a message.
    return array.dtype.kind in "iub" or not np.isnan(array.astype(np.complex128)).any()


@given(numeric())
def test_encoded_is_what_tensorflow_reads(array: np.ndarray) -> None:
    proto = tensors.encode(array)
    assert not proto.tensor_content
    assert proto.HasField("tensor_shape")
    values = len(getattr(proto, FIELDS[str(array.dtype)]))
    assert values == array.size * (2 if array.dtype.kind == "c" else 1)
    if without_nan(array):
        assert same(tf.make_ndarray(proto), array)
    assert same(tensors.decode(tensor_pb2.TensorProto.FromString(proto.SerializeToString())), array)


@given(numeric())
def test_content_is_decoded(array: np.ndarray) -> None:
    proto = tensor_pb2.TensorProto(
        dtype=tf.as_dtype(array.dtype).as_datatype_enum,
        tensor_shape=tf.TensorShape(array.shape).as_proto(),
        tensor_content=array.tobytes(),
    )
    assert same(tensors.decode(proto), array)


@given(
    arrays.arrays(
        object,
        arrays.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
        elements=st.binary(max_size=200),
    )
)
def test_strings_go_there_and_back(array: np.ndarray) -> None:
    proto = tensors.encode(array)
    assert same(tensors.decode(proto), array)
    parsed = tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy()
    assert np.asarray(parsed, object).tolist() == array.tolist()


def test_packed_strings_are_tensorflow_s() -> None:
    # The lengths first, then the bytes.
    proto = tensor_pb2.TensorProto(dtype=tf.string.as_datatype_enum)
    proto.tensor_shape.dim.add(size=3)
    proto.tensor_content = b"\x01\x00\xc8\x01" + b"a" + b"x" * 200
    expected = tf.io.parse_tensor(proto.SerializeToString(), tf.string).numpy().tolist()
    assert tensors.decode(proto).tolist() == expected


@pytest.mark.parametrize(
    "given_values, shape, expected",
    [
        ([2.0], [3], [2, 2, 2]),
        ([1.0, 2.0], [4], [1, 2, 2, 2]),
        ([], [2], [0, 0]),
        ([1.0, 2.0, 3.0], [2], [1, 2]),
        ([5.0], [0], []),
        ([2.0], [], 2),
    ],
)
def test_missing_values_are_filled_and_surplus_ignored(
    given_values: list[float], shape: list[int], expected: object
) -> None:
    proto = tensor_pb2.TensorProto(dtype=1, float_val=given_values)
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    decoded = tensors.decode(proto)
    assert decoded.tolist() == expected
    assert tf.io.parse_tensor(proto.SerializeToString(), tf.float32).numpy().tolist() == expected


def test_no_shape_is_a_scalar() -> None:
    assert tensors.decode(tensor_pb2.TensorProto(dtype=3, int_val=[7])).shape == ()


def shaped(*shape: int, **fields: object) -> tensor_pb2.TensorProto:
    proto = tensor_pb2.TensorProto(**fields)  # type: ignore[arg-type]
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    return proto


@pytest.mark.parametrize(
    "proto",
    [
        shaped(2, dtype=1, tensor_content=b"1234567"),
        shaped(1, dtype=0),
        shaped(1, dtype=20),
        shaped(1, dtype=101, float_val=[1.0]),
        shaped(1, dtype=9999),
        shaped(-1, dtype=1),
        shaped(2**40, dtype=1, float_val=[1.0]),
        shaped(2**62, 2**62, 0, 2**63 - 1, dtype=1),
        shaped(3, dtype=7, tensor_content=b"\x01"),
        shaped(1, dtype=7, tensor_content=b"\xff\xff\xff\xff\xff\xff"),
        tensor_pb2.TensorProto(dtype=1, tensor_shape={"unknown_rank": True}),
    ],
    ids=lambda proto: str(proto).replace("\n", " ")[:60],
)
def test_nonsense_is_a_value_error(proto: tensor_pb2.TensorProto) -> None:
    with pytest.raises(ValueError, match=r".+"):
        tensors.decode(proto)


@given(st.binary(max_size=200))
def test_random_messages_are_decoded_or_refused(data: bytes) -> None:
    proto = tensor_pb2.TensorProto()
    with contextlib.suppress(DecodeError, ValueError):
        proto.ParseFromString(data)
        tensors.decode(proto)
