"""Predict requests in JSON -> arrays, and arrays -> JSON."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from serving.server.errors import Code, ServingError
from serving.server.json_numbers import float_texts
from serving.server.json_response import write_columns, write_rows
from serving.server.json_tensors import read_predict
from serving.server.json_text import parse

MULTI = {"a": "float", "b": "int64", "s": "string"}
NAMES = {
    "float": np.float32, "double": np.float64, "int32": np.int32, "int64": np.int64,
    "int8": np.int8, "uint8": np.uint8, "int16": np.int16, "uint32": np.uint32,
    "uint64": np.uint64, "bool": np.bool_,
}  # fmt: skip


def read(document: object, **dtypes: str) -> dict[str, np.ndarray]:
    return read_predict(document, dtypes)[0]  # type: ignore[arg-type]


def problem(document: object, **dtypes: str) -> str:
    with pytest.raises(ServingError) as raised:
        read(document, **dtypes)
    return f"{raised.value.code.name}: {raised.value.message}"


@given(st.data())
def test_tensors_survive_the_way_there_and_back(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(NAMES)))
    by_row = data.draw(st.booleans())
    shapes = hnp.array_shapes(min_dims=1 if by_row else 0, max_dims=4, max_side=4)
    array = data.draw(hnp.arrays(NAMES[name], shapes))
    write, key, ask = (
        (write_rows, "predictions", "instances") if by_row else (write_columns, "outputs", "inputs")
    )
    answer = parse(write({"y": array}).encode())
    back = read({ask: answer[key]}, y=name)["y"]
    assert back.dtype == array.dtype and back.shape == array.shape
    np.testing.assert_array_equal(back, array)


@given(st.lists(st.binary(max_size=8), min_size=1, max_size=5))
def test_bytes_survive_in_base64(values: list[bytes]) -> None:
    array = np.empty(len(values), object)
    array[:] = values
    answer = json.loads(write_rows({"y_bytes": array}))
    assert read({"instances": answer["predictions"]}, y="string")["y"].tolist() == values


@given(st.lists(st.text(max_size=8), min_size=1, max_size=5))
def test_text_survives_as_it_is(values: list[str]) -> None:
    array = np.empty(len(values), object)
    array[:] = [value.encode() for value in values]
    answer = parse(write_rows({"y": array}).encode())
    assert answer["predictions"] == values
    assert read({"instances": values}, y="string")["y"].tolist() == array.tolist()


@given(hnp.arrays(np.float32, 20, elements=st.floats(width=32)))
def test_floats_are_written_by_the_rule(values: np.ndarray) -> None:
    for value, text in zip(values.tolist(), float_texts(values), strict=True):
        if not np.isfinite(value):
            assert text in ("NaN", "Infinity", "-Infinity")
            continue
        short = f"{value:.6g}"
        wanted = short if np.float32(short) == np.float32(value) else f"{value:.9g}"
        assert text == (wanted if "." in wanted or "e" in wanted else f"{wanted}.0")
        assert np.float32(text) == np.float32(value)


@given(hnp.arrays(np.float64, 20, elements=st.floats()))
def test_doubles_are_written_by_the_rule(values: np.ndarray) -> None:
    for value, text in zip(values.tolist(), float_texts(values), strict=True):
        if np.isfinite(value):
            short = f"{value:.6g}"
            wanted = short if float(short) == value else f"{value:.17g}"
            assert text == (wanted if "." in wanted or "e" in wanted else f"{wanted}.0")


def test_float_texts_as_documented() -> None:
    values = [3, 0.5, 9e6, 999999, 3e-5, 555557.5, 16777216, 2.1666667, np.nan, np.inf, -np.inf]
    assert (
        float_texts(np.array(values, np.float32))
        == (
            "3.0 0.5 9e+06 999999.0 3e-05 555557.5 16777216.0 2.16666675 NaN Infinity -Infinity"
        ).split()
    )


def test_rows_of_several_inputs() -> None:
    rows = [{"a": [1, 2], "b": 3, "s": "x"}, {"a": [4, 5.5], "b": 6, "s": {"b64": "aGk"}}]
    arrays = read({"instances": rows}, **MULTI)
    assert arrays["a"].tolist() == [[1, 2], [4, 5.5]]
    assert arrays["b"].tolist() == [3, 6] and arrays["s"].tolist() == [b"x", b"hi"]


@pytest.mark.parametrize(
    "value, shape",
    [(1.0, ()), ([], (0,)), ([[]], (1, 0)), ([[[1]], [[2]]], (2, 1, 1)), (float("nan"), ())],
)
def test_shapes_of_columns(value: object, shape: tuple[int, ...]) -> None:
    assert read({"inputs": value}, x="float")["x"].shape == shape
    assert read({"inputs": {"x": value, "junk": "z"}}, x="float")["x"].shape == shape


def test_a_signature_without_inputs() -> None:
    assert read({"inputs": {}}) == {} and read({"instances": [{}]}) == {}


def test_integers_wrap_within_int32() -> None:
    assert read({"instances": [300, -1]}, x="uint8")["x"].tolist() == [44, 255]


def test_a_float_beyond_its_range_is_infinite() -> None:
    assert read({"instances": [1e300]}, x="float")["x"].tolist() == [np.inf]


@pytest.mark.parametrize(
    "document, dtypes, phrase",
    [
        ({}, {"x": "float"}, "Missing 'inputs' or 'instances' key"),
        ({"instances": [1], "inputs": [1]}, {"x": "float"}, "Not formatted correctly expecting"),
        ({"instances": 1.0}, {"x": "float"}, "Expecting 'instances' to be an list/array"),
        ({"instances": []}, {"x": "float"}, "No values in 'instances' array."),
        ({"instances": ["x"]}, {"x": "float"},
         'element: 0 of \'instances\' list. Error: INVALID_ARGUMENT: JSON Value: "x" Type: String '
         "is not of expected type: float"),
        ({"instances": [None]}, {"x": "float"}, "Type: Null is not of expected type: float"),
        ({"instances": [True]}, {"x": "float"}, "is not of expected type: float"),
        ({"instances": [{"b64": "aGk="}]}, {"x": "float"}, "Type: Object is not of expected"),
        ({"instances": [1.0]}, {"x": "int32"}, "is not of expected type: int32"),
        ({"instances": [1e2]}, {"x": "int64"}, "is not of expected type: int64"),
        ({"instances": [2**31]}, {"x": "int8"}, "is not of expected type: int8"),
        ({"instances": [-1]}, {"x": "uint32"}, "is not of expected type: uint32"),
        ({"instances": [2**63]}, {"x": "int64"}, "is not of expected type: int64"),
        ({"instances": [1]}, {"x": "bool"}, "is not of expected type: bool"),
        ({"instances": [1]}, {"x": "string"}, "is not of expected type: string"),
        ({"instances": [{"b64": "!"}]}, {"x": "string"}, "Unable to base64 decode"),
        ({"instances": [{"b64": "aGk=="}]}, {"x": "string"}, "Unable to base64 decode"),
        ({"instances": [10**400]}, {"x": "float"}, "Number too big"),
        ({"instances": [[1, 2], [3, 4], [5, 6, 7]]}, {"x": "float"},
         "element: 2 of 'instances' list. Error: INVALID_ARGUMENT: "
         "Expecting tensor size: 2 but got: 3"),
        ({"instances": [[1, 2], [[1, 2]]]}, {"x": "float"}, "Expecting shape [2] but got: [1,2]"),
        ({"inputs": [[1, 2], [3]]}, {"x": "float"},
         "Encountered list at unexpected size: 1 at level: 1 expected size: 2"),
        ({"inputs": [[1], 2]}, {"x": "float"}, "found at incorrect level: 1"),
        ({"inputs": [1, [2]]}, {"x": "float"}, "Encountered list at unexpected level: 1"),
        ({"instances": [{"x": 1.0}, [2.0]]}, {"x": "float"},
         "Expecting object but got list at item 1"),
        ({"instances": [1.0, {"x": 2.0}]}, {"x": "float"},
         "Expecting value/list but got object at item 1"),
        ({"instances": [{"a": [1, 2], "b": 3}]}, MULTI, "keys must be equal to: a,b,s"),
        ({"instances": [{"z": 1}]}, {"x": "float"}, "does not have named input: z"),
        ({"instances": [{"x": "a"}]}, {"x": "float"}, "element: 0 key: x of 'instances' list."),
        ({"instances": [1.0]}, MULTI, "expecting list of objects as multiple input tensors"),
        ({"inputs": [1.0]}, MULTI, "inputs is a plain value/list, but expecting an object"),
        ({"inputs": {"a": [[1, 2]], "b": [3]}}, MULTI, "Missing named input: s in 'inputs'"),
        ({"instances": [1.0]}, {"x": "half"}, "Error: UNIMPLEMENTED: "),
    ],
)  # fmt: skip
def test_refusals(document: object, dtypes: dict[str, str], phrase: str) -> None:
    text = problem(document, **dtypes)
    assert text.startswith("INVALID_ARGUMENT: ") and phrase in text


def test_a_dtype_that_json_has_no_form_for() -> None:
    text = problem({"inputs": [1.0]}, x="half")
    assert text.startswith("UNIMPLEMENTED: ") and "half" in text


@pytest.mark.parametrize("depth", [65, 10_000])
def test_more_dimensions_than_arrays_have(depth: int) -> None:
    value: Any = 1.0
    for _ in range(depth):
        value = [value]
    assert "dimensions" in problem({"inputs": value}, x="float")


def test_several_outputs_by_row_and_by_column() -> None:
    tags = np.array([b"foo", b"hello"], object)
    outputs = {"sum": np.array([6, 12], np.float32), "tag": tags, "tag_bytes": tags}
    assert json.loads(write_columns(outputs))["outputs"] == {
        "sum": [6.0, 12.0],
        "tag": ["foo", "hello"],
        "tag_bytes": [{"b64": "Zm9v"}, {"b64": "aGVsbG8="}],
    }
    assert json.loads(write_rows(outputs))["predictions"][1] == {
        "sum": 12.0, "tag": "hello", "tag_bytes": {"b64": "aGVsbG8="}
    }  # fmt: skip


def test_outputs_without_rows_need_columns() -> None:
    scalar = {"total": np.array(3.0, np.float32), "n": np.arange(2, dtype=np.int32)}
    assert json.loads(write_columns(scalar))["outputs"] == {"n": [0, 1], "total": 3.0}
    with pytest.raises(ServingError, match="Tensor name: total has no shape information"):
        write_rows(scalar)
    uneven = {"a": np.zeros(2), "b": np.zeros(3)}
    with pytest.raises(ServingError, match="b has inconsistent batch size: 3"):
        write_rows(uneven)
    assert json.loads(write_rows({"a": np.zeros((0, 2))})) == {"predictions": []}


def test_outputs_that_json_cannot_hold() -> None:
    with pytest.raises(ServingError, match="Failed to write JSON value for tensor type: half"):
        write_rows({"y": np.zeros(1, np.float16)})
    with pytest.raises(ServingError, match="not UTF-8") as raised:
        write_rows({"y": np.array([b"\xff"], object)})
    assert raised.value.code == Code.INVALID_ARGUMENT
