"""Logged requests become rows again, whichever way they were asked."""

from pathlib import Path
from typing import Any

import pytest

from models.config import features_from_json
from pipeline.drift import requests
from pipeline.errors import DataError

pytestmark = pytest.mark.tfx

FEATURES = features_from_json(
    '{"fare": {"kind": "numeric"}, "place": {"kind": "high_cardinality", "type": "int"},'
    ' "flag": {"kind": "categorical"}}'
)
WANTED = [
    {"fare": 2.5, "place": 7, "flag": "Y"},
    {"fare": None, "place": None, "flag": None},
]


@pytest.fixture
def log(tmp_path: Path) -> Any:
    """Writes PredictionLogs; the pattern they are found by."""
    import tensorflow as tf

    def write(*logs: Any, name: str = "requests-1.tfrecord") -> str:
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            for one in logs:
                writer.write(one.SerializeToString())
        return str(tmp_path / "*.tfrecord")

    return write


def by_columns() -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    made = prediction_log_pb2.PredictionLog()
    inputs = made.predict_log.request.inputs
    inputs["fare"].CopyFrom(tf.make_tensor_proto([2.5, float("nan")], tf.float32))
    inputs["place"].CopyFrom(tf.make_tensor_proto([7, -1], tf.int64))
    inputs["flag"].CopyFrom(tf.make_tensor_proto([b"Y", b""]))
    return made


def examples() -> list[Any]:
    from tensorflow.core.example import example_pb2

    full, empty = example_pb2.Example(), example_pb2.Example()
    full.features.feature["fare"].float_list.value.append(2.5)
    full.features.feature["place"].int64_list.value.append(7)
    full.features.feature["flag"].bytes_list.value.append(b"Y")
    empty.features.feature["fare"].float_list.SetInParent()
    empty.features.feature["other"].int64_list.value.append(1)
    return [full, empty]


def by_examples() -> Any:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    made = prediction_log_pb2.PredictionLog()
    texts = [one.SerializeToString() for one in examples()]
    made.predict_log.request.inputs["examples"].CopyFrom(tf.make_tensor_proto(texts))
    return made


def classified() -> Any:
    from tensorflow_serving.apis import prediction_log_pb2

    made = prediction_log_pb2.PredictionLog()
    made.classify_log.request.input.example_list.examples.extend(examples())
    return made


@pytest.mark.parametrize("kind", [by_columns, by_examples, classified])
def test_rows_of_requests(log: Any, kind: Any) -> None:
    assert requests.read(log(kind()), FEATURES, 100).to_pylist() == WANTED


def test_the_newest_files_come_first_and_no_more_than_asked(log: Any) -> None:
    log(by_columns(), name="requests-1.tfrecord")
    pattern = log(classified(), by_columns(), name="requests-2.tfrecord")
    assert requests.read(pattern, FEATURES, 100).num_rows == 6
    assert requests.read(pattern, FEATURES, 3).to_pylist() == [*WANTED, WANTED[0]]


def test_no_file_is_no_row(tmp_path: Path) -> None:
    assert requests.read(str(tmp_path / "*.tfrecord"), FEATURES, 9).num_rows == 0


def test_a_damaged_file_is_named(log: Any, tmp_path: Path) -> None:
    pattern = log(by_columns())
    file = tmp_path / "requests-1.tfrecord"
    file.write_bytes(file.read_bytes()[:-3])
    with pytest.raises(DataError, match=r"requests-1\.tfrecord: is not a readable log"):
        requests.read(pattern, FEATURES, 9)


def test_requests_of_another_model_are_named(log: Any) -> None:
    import tensorflow as tf

    made = by_columns()
    made.predict_log.request.inputs["fare"].CopyFrom(tf.make_tensor_proto([b"cheap", b"dear"]))
    with pytest.raises(DataError, match="column fare: b'cheap' is not a number"):
        requests.read(log(made), FEATURES, 9)
