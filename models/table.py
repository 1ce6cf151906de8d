"""Examples on disk → transformed columns on disk, which minibatches are then drawn from.

Every row is parsed and transformed once, in large batches, not once a pass. The columns are
memory-mapped files: a thousand million rows need room on disk, not in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from models.config import Features, RawType, raw_columns
from models.preprocessing import DTYPES, MISSING

Array = npt.NDArray[Any]

#: Rows parsed and transformed at once: some ten megabytes.
_BATCH_ROWS = 8192

#: Read ahead of the decompression, in bytes.
_READ_BUFFER = 8 << 20


def parse(serialized: tf.Tensor, columns: Mapping[str, RawType]) -> dict[str, tf.Tensor]:
    """Raw columns out of tf.Examples.

    Args:
        serialized: string [batch].
        columns: names and types.

    Returns:
        Dense tensors [batch]; a feature that is absent, or there without a value as CsvExampleGen
        and some clients write it, is the missing value of its type.
    """
    spec = {
        name: tf.io.FixedLenSequenceFeature([], DTYPES[kind], True, MISSING[kind])
        for name, kind in columns.items()
    }
    parsed = tf.io.parse_example(serialized, spec)
    # As wide as the longest list, 0 where the whole batch lacks the column: widened by one.
    return {
        name: tf.pad(values, [[0, 0], [0, 1]], constant_values=MISSING[columns[name]])[:, 0]
        for name, values in parsed.items()
    }


class Transformer:
    """Applies the transform graph to raw columns as dense tensors.

    Whoever exports a function that calls it must track its `resources`: lookup tables.

    Args:
        transformed: output of the Transform component.
        features: the features it was made from.
    """

    def __init__(self, transformed: tft.TFTransformOutput, features: Features) -> None:
        self._layer = transformed.transform_features_layer()
        # Not the layer itself: to save a model of tf_keras is to trace it once more, for seconds.
        self.resources = list(tf.train.TrackableView.children(self._layer).values())
        spec = transformed.raw_feature_spec()
        self._spec = {name: spec[name] for name in raw_columns(features)}

    def __call__(self, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Transformed tensors of raw columns, [batch] each, `MISSING` where missing."""
        rows = tf.size(next(iter(raw.values())), out_type=tf.int64)
        indices = tf.stack([tf.range(rows), tf.zeros([rows], tf.int64)], axis=1)
        shape = tf.stack([rows, 1])
        inputs = {
            # Sparse is what a column without a fixed shape in the schema is to the graph.
            # Missing values may be among the values, so that all columns share one index.
            name: tf.SparseTensor(indices, raw[name], shape)
            if isinstance(spec, tf.io.VarLenFeature)
            else tf.reshape(raw[name], [-1, *spec.shape])
            for name, spec in self._spec.items()
        }
        outputs: dict[str, tf.Tensor] = self._layer(inputs)
        return outputs


def build(
    patterns: Sequence[str],
    transformer: Transformer,
    features: Features,
    label: str,
    folder: Path,
) -> tuple[dict[str, Array], Array]:
    """Reads all examples once; their order is that of the sorted file names.

    Args:
        patterns: file patterns of gzip TFRecords of tf.Examples.
        transformer: the transform graph.
        features: the features.
        label: column of the label.
        folder: where the columns go; it must outlive the arrays.

    Returns:
        Transformed tensors by name, and the labels, -1 where there is none.

    Raises:
        ValueError: there is no file, or no row.
    """
    files = sorted(path for pattern in patterns for path in tf.io.gfile.glob(pattern))
    if not files:
        raise ValueError(f"no examples to train on: no file matches {', '.join(patterns)}")
    kinds: dict[str, RawType] = {**raw_columns(features), label: "int"}

    def transform(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        raw = parse(serialized, kinds)
        target = raw.pop(label)
        return {**transformer(raw), label: target}

    records = tf.data.TFRecordDataset(files, compression_type="GZIP", buffer_size=_READ_BUFFER)
    # There is no Python control flow over tensors in it, and to look for it costs a second.
    plain = tf.autograph.experimental.do_not_convert(transform)
    batches = records.batch(_BATCH_ROWS).map(plain, num_parallel_calls=2).prefetch(1)
    columns: dict[str, _Column] = {}
    with contextlib.ExitStack() as files_open:
        for batch in batches.as_numpy_iterator():
            for name, values in batch.items():
                if name not in columns:
                    path = folder / f"column_{len(columns)}"
                    file = files_open.enter_context(path.open("wb"))
                    columns[name] = _Column(path, file, _narrow(values).dtype, values.shape[1:])
                _narrow(values).tofile(columns[name].file)
    if not columns:
        raise ValueError(f"no examples to train on: {len(files)} files hold no row")
    table: dict[str, Array] = {
        name: np.memmap(column.path, column.dtype, "r").reshape(-1, *column.shape)
        for name, column in columns.items()
    }
    labels = table.pop(label)
    return table, labels


class _Column(NamedTuple):
    path: Path
    file: BinaryIO
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


def _narrow(values: Array) -> Array:
    """Ids and labels need no 64 bits."""
    return values.astype(np.int32) if values.dtype == np.int64 else values
