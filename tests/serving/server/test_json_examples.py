"""Classify and Regress in JSON."""

import pytest
from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

from serving.server.errors import ServingError
from serving.server.json_examples import (
    read_examples,
    write_classifications,
    write_regressions,
)


def read(document: dict[str, object]) -> input_pb2.Input:
    given = input_pb2.Input()
    read_examples(document, given)
    return given


def test_kinds_follow_from_how_values_are_written() -> None:
    given = read({"examples": [
        {"f": 2.0, "i": 2, "b": "x", "raw": {"b64": "aGk="}, "t": [True, False], "none": []}
    ]})  # fmt: skip
    feature = given.example_list.examples[0].features.feature
    assert feature["f"].float_list.value == [2.0]
    assert feature["i"].int64_list.value == [2]
    assert feature["b"].bytes_list.value == [b"x"]
    assert feature["raw"].bytes_list.value == [b"hi"]
    assert feature["t"].int64_list.value == [1, 0]
    assert feature["none"].WhichOneof("kind") is None


def test_a_context_goes_with_all_examples() -> None:
    given = read({"context": {"c": "x"}, "examples": [{"a": 1}, {"a": 2}]})
    listed = given.example_list_with_context
    assert listed.context.features.feature["c"].bytes_list.value == [b"x"]
    assert len(listed.examples) == 2


@pytest.mark.parametrize(
    "features, phrase",
    [
        ([10, None], "unexpected JSON type: Null"),
        ([10, 10.0], "Unexpected element type in feature: f expecting type: int64"),
        ([10, {"t": 1}], "unexpected JSON type: Object"),
        ([[10], 20], "unexpected JSON type: Array"),
        ([20, 18446744073709551603], "Only int64_t is supported."),
        ([10.0, float("nan"), 3], "expecting type: float"),
        (["a", 1], "expecting type: bytes"),
        ([{"b64": "!"}], "Unable to base64 decode"),
    ],
)
def test_features_that_are_refused(features: object, phrase: str) -> None:
    with pytest.raises(ServingError) as raised:
        read({"examples": [{"f": features}]})
    assert phrase in raised.value.message


@pytest.mark.parametrize(
    "document, phrase",
    [
        ({}, "key 'examples' is expected and was not found"),
        ({"examples": 1}, "'examples' value to be an list/array"),
        ({"examples": []}, "'examples' value is an empty array"),
        ({"examples": [1]}, "Example must be JSON object but got JSON Number"),
        ({"examples": [{}], "context": []}, "Example must be JSON object but got JSON Array"),
        ({"context": []}, "Example must be JSON object but got JSON Array"),
        ({"context": {}}, "key 'examples' is expected and was not found"),
    ],
)
def test_forms_that_are_refused(document: dict[str, object], phrase: str) -> None:
    with pytest.raises(ServingError) as raised:
        read(document)
    assert phrase in raised.value.message


def test_answers() -> None:
    classes = classification_pb2.ClassificationResult()
    row = classes.classifications.add().classes
    row.add(label='"neg"', score=0.75)
    row.add(score=0.25)
    assert '[[["\\"neg\\"", 0.75], ["", 0.25]]]' in write_classifications(classes)
    values = regression_pb2.RegressionResult()
    values.regressions.add(value=42)
    values.regressions.add(value=0.1)
    assert '"results": [42.0, 0.1]' in write_regressions(values)
