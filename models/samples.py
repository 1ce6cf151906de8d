"""Some real rows to make requests of, as a client would send them."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from models.config import Features, raw_columns


def read(patterns: Sequence[str], rows: int, features: Features) -> list[tf.train.Example]:
    """The first rows of some examples, without columns that are no feature.

    Clients must not send what gives the label away; neither does what is made of these.

    Args:
        patterns: file patterns of gzip TFRecords of raw examples.
        rows: at most so many.
        features: the features.
    """
    files = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    records = tf.data.TFRecordDataset(files, compression_type="GZIP").take(rows)
    parsed = map(tf.train.Example.FromString, records.as_numpy_iterator())
    return [_only(example, features) for example in parsed]


def _only(example: tf.train.Example, features: Features) -> tf.train.Example:
    kept = tf.train.Example()
    for name in raw_columns(features):
        if name in example.features.feature:
            kept.features.feature[name].CopyFrom(example.features.feature[name])
    return kept
