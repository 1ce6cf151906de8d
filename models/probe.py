"""What the Trainer itself answers on real rows, kept beside the model it exports.

Whoever serves the export can send the same rows and compare: an export that answers differently
from the model that was trained must not be pushed. The answers come from the Keras model in
memory, not from what was written.

    assets.extra/headrace_probe   TFRecord of PredictionLog: `serve_tf_examples` requests of some
                                  rows each, with the trained model's `probability` in the response
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import islice

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from models.config import Features, raw_columns

PROBE_FILE = "assets.extra/headrace_probe"

#: Rows in all, and in one request.
ROWS, _BATCH = 256, 64


def write(
    directory: str,
    features: Features,
    patterns: Sequence[str],
    answer: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    """Writes the probe into a SavedModel's folder.

    Args:
        directory: of the SavedModel; local or remote.
        features: the features; other columns of the examples are left out.
        patterns: file patterns of gzip TFRecords of raw examples, none of which was trained on;
            if they hold no row, nothing is written.
        answer: serialized tf.Examples, string [batch] → the trained model's probability, [batch].
    """
    files = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").take(ROWS)
    rows = (only(tf.train.Example.FromString(r), features) for r in records.as_numpy_iterator())
    batches = iter(lambda: [row.SerializeToString() for row in islice(rows, _BATCH)], [])
    logs = []
    for batch in batches:
        log = prediction_log_pb2.PredictionLog()
        request, response = log.predict_log.request, log.predict_log.response
        request.model_spec.signature_name = "serve_tf_examples"
        request.inputs["examples"].CopyFrom(tf.make_tensor_proto(batch, tf.string))
        probability = answer(tf.constant(batch)).numpy()
        response.outputs["probability"].CopyFrom(tf.make_tensor_proto(probability, tf.float32))
        logs.append(log.SerializeToString(deterministic=True))
    if not logs:
        return
    path = os.path.join(directory, PROBE_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.TFRecordWriter(path) as writer:
        for serialized in logs:
            writer.write(serialized)


def only(example: tf.train.Example, features: Features) -> tf.train.Example:
    """The example without columns that are no feature: a client must not send them either."""
    kept = tf.train.Example()
    for name in raw_columns(features):
        if name in example.features.feature:
            kept.features.feature[name].CopyFrom(example.features.feature[name])
    return kept
