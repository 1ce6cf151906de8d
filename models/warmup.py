"""Warm-up requests: TensorFlow Serving runs them before a version takes traffic.

Without them the first real requests pay for the graph's first run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from models import samples
from models.config import Features, raw_columns
from models.preprocessing import DTYPES, MISSING

WARMUP_FILE = "assets.extra/tf_serving_warmup_requests"

_BATCHES = (1, 32)


def write(directory: str, features: Features, patterns: Sequence[str]) -> None:
    """Writes requests from the first rows of some examples into a SavedModel.

    Args:
        directory: of the SavedModel.
        features: the features.
        patterns: file patterns of gzip TFRecords of raw examples; if they hold no row, nothing
            is written.
    """
    examples = samples.read(patterns, max(_BATCHES), features)
    if not examples:
        return
    path = os.path.join(directory, WARMUP_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for rows in _BATCHES:
            for log in _requests(examples[:rows], features):
                writer.write(log.SerializeToString(deterministic=True))


def _requests(
    examples: Sequence[tf.train.Example], features: Features
) -> Iterator[prediction_log_pb2.PredictionLog]:
    log = prediction_log_pb2.PredictionLog
    raw = predict_pb2.PredictRequest()
    raw.model_spec.signature_name = "serving_default"
    for name, kind in raw_columns(features).items():
        values = [_value(example, name, MISSING[kind]) for example in examples]
        raw.inputs[name].CopyFrom(tf.make_tensor_proto(values, DTYPES[kind]))
    yield log(predict_log=prediction_log_pb2.PredictLog(request=raw))

    serialized = [example.SerializeToString() for example in examples]
    predict = predict_pb2.PredictRequest()
    predict.model_spec.signature_name = "serve_tf_examples"
    predict.inputs["examples"].CopyFrom(tf.make_tensor_proto(serialized, tf.string))
    yield log(predict_log=prediction_log_pb2.PredictLog(request=predict))

    classify = log()
    request = classify.classify_log.request
    request.model_spec.signature_name = "classify"
    request.input.example_list.examples.extend(examples)
    yield classify


def _value(
    example: tf.train.Example, name: str, missing: float | int | str
) -> float | int | str | bytes:
    if name in example.features.feature:
        feature = example.features.feature[name]
        for values in (feature.float_list, feature.int64_list, feature.bytes_list):
            if values.value:
                value: float | int | bytes = values.value[0]
                return value
    return missing
