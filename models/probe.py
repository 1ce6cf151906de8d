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

import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from models import samples
from models.config import Features

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
    rows = [row.SerializeToString() for row in samples.read(patterns, ROWS, features)]
    logs = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
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
