"""The network: piecewise-linear numbers and embedded categories into a small dense network.

Beside it every number and category adds a term of its own to the logit (wide & deep, Cheng et
al. 2016, https://arxiv.org/abs/1606.07792): what columns say by themselves is learnt at once, and
what is left to the dense part is how they act together.

A number, already placed between the training window's quantiles, becomes a thermometer over the
bins; a linear map of a thermometer is a piecewise-linear function of the number, so the first
layer can draw steps and bends where the data has them, which a plain dense network learns
slowly and a tree finds at once (Gorishniy et al. 2022, https://arxiv.org/abs/2203.05556).
All categories share one embedding table: one lookup, however many columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from models.config import ModelConfig


class NumberEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """[batch, numbers] in [0, bins], NaN where missing → [batch, numbers, width] and [batch].

    The second is the sum of what the numbers say by themselves.

    Args:
        bins: number of bins of every number.
        width: numbers by which one is described.
    """

    def __init__(self, bins: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins, self.width = bins, width

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = (input_shape[1], self.bins + 1, self.width)
        # Measured: smaller by the number of bins, it ends up worse.
        spread = keras.initializers.RandomNormal(stddev=8**-0.5)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=spread)
        self.bias = self.add_weight(name="bias", shape=shape[::2], initializer="zeros")
        self.direct = self.add_weight(name="direct", shape=shape[:2], initializer="zeros")

    def call(self, numbers: Any) -> tuple[Any, Any]:
        missing = ops.isnan(numbers)
        position = ops.expand_dims(ops.where(missing, 0.0, numbers), -1)
        thermometer = ops.clip(position - ops.arange(self.bins, dtype="float32"), 0.0, 1.0)
        flag = ops.cast(ops.expand_dims(missing, -1), "float32")
        inputs = ops.concatenate([thermometer, flag], axis=-1)
        embedded = ops.relu(ops.einsum("bni,niw->bnw", inputs, self.kernel) + self.bias)
        return embedded, ops.einsum("bni,ni->b", inputs, self.direct)


class CategoryEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """[batch, columns] of ids, each from 0 → [batch, columns, width] and [batch], from one table.

    The second is the sum of what the ids say by themselves.

    Args:
        counts: number of ids of each column.
        width: numbers by which an id is described.
    """

    def __init__(self, counts: Sequence[int], width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.counts, self.width = list(counts), width
        self.offsets = np.cumsum([0, *self.counts[:-1]]).astype(np.int64)

    def build(self, input_shape: Sequence[int | None]) -> None:
        del input_shape
        # Small, so that an id seen a few times weighs little: large ones made rare places
        # sound certain.
        spread = keras.initializers.RandomNormal(stddev=0.05)
        shape = (sum(self.counts), self.width)
        self.table = self.add_weight(name="table", shape=shape, initializer=spread)
        self.direct = self.add_weight(name="direct", shape=shape[:1], initializer="zeros")

    def call(self, ids: Any) -> tuple[Any, Any]:
        rows = ops.add(ids, self.offsets)
        return ops.take(self.table, rows, axis=0), ops.sum(ops.take(self.direct, rows), axis=1)


class TokenEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """[batch, tokens] of ids, 0 after the end → [batch, width], the mean over the tokens.

    Args:
        count: number of ids.
        width: numbers by which an id is described.
    """

    def __init__(self, count: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.count, self.width = count, width

    def build(self, input_shape: Sequence[int | None]) -> None:
        del input_shape
        spread = keras.initializers.RandomNormal(stddev=0.05)
        self.table = self.add_weight(
            name="table", shape=(self.count, self.width), initializer=spread
        )

    def call(self, ids: Any) -> Any:
        real = ops.cast(ops.expand_dims(ops.not_equal(ids, 0), -1), "float32")
        total = ops.sum(ops.take(self.table, ids, axis=0) * real, axis=1)
        return total / ops.maximum(ops.sum(real, axis=1), 1.0)


def build(
    config: ModelConfig,
    *,
    numbers: int,
    bins: int,
    category_counts: Sequence[int],
    token_counts: Sequence[tuple[int, int]],
) -> keras.Model:
    """An untrained network.

    Args:
        config: its size.
        numbers: columns of the `numeric` tensor; 0 if there is none.
        bins: bins of each number.
        category_counts: ids of each column of the `categorical` tensor; may be empty.
        token_counts: of each text feature, tokens a row and ids.

    Returns:
        A model from the list [numeric, categorical, tokens…] (without those that have no
        columns) to logits, float32 [batch, 1].
    """
    inputs: list[Any] = []
    parts: list[Any] = []
    terms: list[Any] = []
    if numbers:
        inputs.append(keras.Input((numbers,), name="numeric"))
        embedded, term = NumberEmbedding(bins, config.embedding)(inputs[-1])
        parts.append(keras.layers.Flatten()(embedded))
        terms.append(term)
    if category_counts:
        inputs.append(keras.Input((len(category_counts),), dtype="int64", name="categorical"))
        embedded, term = CategoryEmbedding(category_counts, config.embedding)(inputs[-1])
        parts.append(keras.layers.Flatten()(embedded))
        terms.append(term)
    for tokens, count in token_counts:
        inputs.append(keras.Input((tokens,), dtype="int64"))
        parts.append(TokenEmbedding(count, 2 * config.embedding)(inputs[-1]))
    x = parts[0] if len(parts) == 1 else keras.layers.Concatenate()(parts)
    x = keras.layers.Dropout(config.dropout / 2)(x)
    for units in config.hidden:
        x = keras.layers.Dense(units, activation="relu")(x)
        x = keras.layers.Dropout(config.dropout)(x)
    logits = keras.layers.Dense(1)(x)
    for term in terms:
        logits = logits + ops.expand_dims(term, -1)
    return keras.Model(inputs, logits, name="headrace")
