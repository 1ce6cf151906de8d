"""Numbers placed between edges that TensorFlow Transform learns from the training window."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models.config import MISSING_FLOAT, Scale

#: Quantiles asked of the data, of which BINS + 1 edges are used: evenly spread, and the
#: outermost too, because that is where distributions of money, time and distance have a tail.
_QUANTILES = 256
_EDGES = np.unique(np.r_[0, 1, 3, np.arange(5, 250, 5), 251, 253, 254])
BINS = len(_EDGES) - 1

#: Sketch error of a quantile's rank. 256 quantiles are worth no less than a tenth of a step.
_RANK_ERROR = 1 / (10 * _QUANTILES)


def position(values: tf.Tensor, clips: tf.Tensor, scales: list[Scale]) -> tf.Tensor:
    """Where numbers lie: edges passed, and the way to the next as a fraction.

    Values beyond the outermost edges, infinite ones too, count as lying on them. Edges that
    coincide (a value that many rows share) count once: a step of many bins would be learnt as
    many times faster as the others, and made the network unsteady.

    Args:
        values: float32 [batch, numbers], NaN where missing.
        clips: lowest and highest value of each number, float32 [2, numbers].
        scales: how each number's edges are spaced.

    Returns:
        float32 [batch, numbers] in [0, BINS], NaN where missing.
    """
    values = tf.clip_by_value(values, clips[0], clips[1])
    edges = _edges(values, scales)
    new = tf.cast(edges[:, 1:] > edges[:, :-1], tf.float32)
    rank = tf.concat([tf.zeros_like(edges[:, :1]), tf.cumsum(new, axis=1)], axis=1)
    columns = tf.transpose(values)
    inside = tf.clip_by_value(columns, edges[:, :1], edges[:, -1:])
    below = tf.maximum(tf.searchsorted(edges, inside, side="right") - 1, 0)  # NaN lies nowhere
    above = tf.minimum(below + 1, BINS)
    low, high = (tf.gather(edges, index, batch_dims=1) for index in (below, above))
    way = tf.math.divide_no_nan(inside - low, high - low)
    passed = tf.gather(rank, below, batch_dims=1) + way
    return tf.transpose(tf.where(tf.math.is_nan(columns), MISSING_FLOAT, passed))


def _edges(values: tf.Tensor, scales: list[Scale]) -> tf.Tensor:
    """[numbers, BINS + 1], each row rising; zeros for a number without a value.

    One analyzer does for all numbers: an analyzer costs more Beam stages than rows. It passes NaN
    over. A row of zeros that weighs next to nothing is added to each batch, because a number that
    is missing throughout would otherwise have no quantiles at all.
    """
    finite = tf.where(tf.math.is_finite(values), values, MISSING_FLOAT)
    rows = tf.concat([finite, tf.zeros([1, len(scales)])], axis=0)
    weights = tf.concat([tf.ones_like(finite[:, 0]), [1e-6]], axis=0)
    quantiles = tft.quantiles(
        rows, _QUANTILES, epsilon=_RANK_ERROR, weights=weights, reduce_instance_dims=False
    )
    edges = tf.gather(tf.reshape(quantiles, [len(scales), -1]), _EDGES, axis=1)
    if "linear" in scales:
        edges = tf.where(_rows_of(scales, "linear"), _evenly(edges), edges)
    if "log" in scales:
        powers = tf.sign(edges) * tf.math.log1p(tf.abs(edges))
        spaced = _evenly(powers)
        spaced = tf.sign(spaced) * tf.math.expm1(tf.abs(spaced))
        edges = tf.where(_rows_of(scales, "log"), spaced, edges)
    return edges


def _rows_of(scales: list[Scale], scale: Scale) -> tf.Tensor:
    return tf.constant([[chosen == scale] for chosen in scales])


def _evenly(edges: tf.Tensor) -> tf.Tensor:
    """Edges evenly spaced between the outermost ones of each row."""
    way = tf.linspace(0.0, 1.0, BINS + 1)
    return edges[:, :1] + (edges[:, -1:] - edges[:, :1]) * way
