"""Logged serving requests → rows, as ingestion samples them.

Requests are PredictionLog TFRecords, as the embedded server, TensorFlow Serving and the warm-up
files write them. A missing value is written there as the `serving_default` signature defines it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from models.config import MISSING_FLOAT, MISSING_INT, MISSING_STRING, Features, RawType, raw_columns
from pipeline.errors import DataError

_ARROW = {"float": pa.float32(), "int": pa.int64(), "string": pa.string()}
_MISSING = {"float": MISSING_FLOAT, "int": MISSING_INT, "string": MISSING_STRING}

Row = dict[str, Any]


def read(pattern: str, features: Features, limit: int) -> pa.Table:
    """Rows of logged requests, the newest files first, at most `limit`.

    Args:
        pattern: path of the log's files, with `*`; local or remote.
        features: whose columns are read; others are passed over.
        limit: rows read at most.

    Raises:
        DataError: a file is damaged; names it.
    """
    from tfx.dsl.io import fileio

    kinds = raw_columns(features)
    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    rows = 0
    for path in sorted(fileio.glob(pattern), reverse=True):
        for row in _rows_of(path):
            if rows == limit:
                break
            rows += 1
            for name, kind in kinds.items():
                columns[name].append(_value(row.get(name), kind, f"{path}, column {name}"))
    arrays = {name: pa.array(columns[name], _ARROW[kind]) for name, kind in kinds.items()}
    return pa.table(arrays)


def _rows_of(path: str) -> Iterator[Row]:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    try:
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            yield from _rows(prediction_log_pb2.PredictionLog.FromString(record))
    except DataError:
        raise
    except Exception as error:  # TensorFlow's and protobuf's, of many kinds
        raise DataError(
            f"{path}: is not a readable log of requests (TFRecord of PredictionLog). Remove it, or "
            f"mend drift.request_log. ({str(error).splitlines()[0][:200]})"
        ) from error


def _rows(log: Any) -> Iterator[Row]:
    import tensorflow as tf

    kind = log.WhichOneof("log_type")
    if kind == "predict_log":
        inputs = {name: tf.make_ndarray(t) for name, t in log.predict_log.request.inputs.items()}
        if len(inputs) == 1 and (only := next(iter(inputs.values()))).dtype == object:
            examples = [_example(item) for item in only.ravel()]
            if all(example is not None for example in examples):
                yield from (example for example in examples if example is not None)
                return
        size = max((len(np.atleast_1d(values)) for values in inputs.values()), default=0)
        whole = {n: np.broadcast_to(np.ravel(v), size) for n, v in inputs.items() if np.size(v)}
        for number in range(size):
            yield {name: values[number] for name, values in whole.items()}
    elif kind in ("classify_log", "regress_log"):
        given = getattr(log, kind).request.input
        chosen = given.WhichOneof("kind")
        if chosen:
            for example in getattr(given, chosen).examples:
                yield _features(example)


def _example(serialized: bytes) -> Row | None:
    """The row in a serialized tf.Example; None if it is another text."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.example import example_pb2

    try:
        row = _features(example_pb2.Example.FromString(serialized))
    except DecodeError:
        return None
    return row or None


def _features(example: Any) -> Row:
    row = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = getattr(feature, kind).value if kind else []
        if values:
            row[name] = values[0]
    return row


def _value(value: Any, kind: RawType, where: str) -> Any:
    """A value in its column's type; None if missing."""
    if value is None:
        return None
    try:
        if kind == "string":
            value = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        else:
            value = float(value) if kind == "float" else int(value)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: {value!r} is not a number. Were these requests for another model?"
        ) from error
    return None if value == _MISSING[kind] or value != value else value
