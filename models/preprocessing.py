"""Raw columns → what the network sees, as a TensorFlow graph that serving runs too.

`preprocessing_fn` packs all features into few tensors, so that a single request costs few
operations and training tables have few columns:

* `numeric`, float32 [batch, numbers]: where each value lies between the training window's
  quantiles, in [0, `edges.BINS`]; NaN where it is missing.
* `categorical`, int64 [batch, categoricals]: 0 where missing, then the out-of-vocabulary buckets,
  then the vocabulary by falling frequency.
* `<name>_tokens`, int64 [batch, max_tokens], of each text feature: ids as above, 0 after the end.
* the label, int64 [batch], under its own name, if it is among the inputs.

A tensor that would have no columns is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from models import edges, timestamps
from models.config import (
    MISSING_FLOAT,
    MISSING_INT,
    MISSING_STRING,
    Categorical,
    Elapsed,
    Features,
    HighCardinality,
    Numeric,
    RawType,
    Scale,
    Text,
    Timestamp,
    features_from_json,
    raw_columns,
)

NUMERIC, CATEGORICAL = "numeric", "categorical"

_UNIT_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}

DTYPES: dict[RawType, tf.DType] = {"float": tf.float32, "int": tf.int64, "string": tf.string}
MISSING: dict[RawType, float | int | str] = {
    "float": MISSING_FLOAT,
    "int": MISSING_INT,
    "string": MISSING_STRING,
}

_TOKENS = "_tokens"

T = TypeVar("T")
Vocabulary = Categorical | HighCardinality | Text


def preprocessing_fn(
    inputs: Mapping[str, tf.Tensor | tf.SparseTensor], custom_config: Mapping[str, Any]
) -> dict[str, tf.Tensor]:
    """TensorFlow Transform's entry point.

    Args:
        inputs: one tensor per column, sparse or dense, one value a row. Columns that are no
            feature (those that give the label away) may be there and are not read.
        custom_config: `features` (`models.config.features_to_json`) and `label`, its column.

    Returns:
        The tensors described at the head of this module.
    """
    features = features_from_json(custom_config["features"])
    label = custom_config["label"]
    kinds = raw_columns(features)
    shape = _one_a_row([inputs[name] for name in (*kinds, label) if name in inputs])
    raw = {name: _dense(inputs[name], kind, shape) for name, kind in kinds.items()}
    known = {name: _present(inputs[name]) for name in raw}
    outputs: dict[str, tf.Tensor] = {}
    if numbers := _numbers(features, raw):
        values = tf.stack(list(numbers.values()), axis=1)
        outputs[NUMERIC] = edges.position(values, _clips(features, numbers), _scales(features))
    if categories := _categories(features, raw, known):
        outputs[CATEGORICAL] = tf.stack(list(categories.values()), axis=1)
    for name, feature in features.items():
        if isinstance(feature, Text):
            outputs[tokens_name(name)] = _tokens(raw[name], name, feature)
    if label in inputs:
        outputs[label] = _dense(inputs[label], "int", shape)
    return outputs


def tokens_name(feature: str) -> str:
    """The tensor that holds a text feature's token ids."""
    return f"{feature}{_TOKENS}"


def model_inputs(tensors: Mapping[str, T]) -> list[T]:
    """The network's inputs, in its order, out of the tensors of `preprocessing_fn`."""
    tokens = [tensor for name, tensor in tensors.items() if name.endswith(_TOKENS)]
    return [tensors[name] for name in (NUMERIC, CATEGORICAL) if name in tensors] + tokens


def numeric_names(features: Features) -> list[str]:
    """The columns of `numeric`, in order."""
    names: list[str] = []
    for name, feature in features.items():
        match feature:
            case Numeric() | Elapsed():
                names.append(name)
            case Timestamp():
                names += [f"{name}_{part}" for part in feature.parts if not _is_category(part)]
    return names


def category_counts(features: Features, transformed: tft.TFTransformOutput) -> dict[str, int]:
    """The columns of `categorical`, in order, with the number of ids each may take."""
    counts: dict[str, int] = {}
    for name, feature in features.items():
        match feature:
            case Categorical() | HighCardinality():
                counts[name] = token_count(name, feature, transformed)
            case Timestamp():
                for part in feature.parts:
                    if _is_category(part):
                        counts[f"{name}_{part}"] = 1 + timestamps.CATEGORICAL_PARTS[part]
    return counts


def token_count(name: str, feature: Vocabulary, transformed: tft.TFTransformOutput) -> int:
    """Ids a feature with a vocabulary may take: missing, the vocabulary, the buckets."""
    # An empty vocabulary's file holds one placeholder, so that the lookup table is never empty.
    known = max(1, transformed.vocabulary_size_by_name(name))
    return int(1 + known + feature.oov_buckets)


def _is_category(part: str) -> bool:
    return part in timestamps.CATEGORICAL_PARTS


def _one_a_row(columns: Sequence[tf.Tensor | tf.SparseTensor]) -> tf.Tensor | None:
    """The shape [batch, 1] of a batch's columns; None if none is sparse.

    TFT traces `preprocessing_fn` some ten times a run, and each request runs it: each operation
    less counts. The width is set because it is 0 where a whole batch lacks the column.
    """
    for column in columns:
        if isinstance(column, tf.SparseTensor):
            return tf.maximum(column.dense_shape, [0, 1])
    return None


def _dense(
    column: tf.Tensor | tf.SparseTensor, kind: RawType, shape: tf.Tensor | None
) -> tf.Tensor:
    """One value a row, [batch], with the missing value of its kind where there is none."""
    if isinstance(column, tf.SparseTensor):
        column = tf.raw_ops.SparseToDense(
            sparse_indices=column.indices,
            output_shape=shape,
            sparse_values=column.values,
            default_value=tf.constant(MISSING[kind], DTYPES[kind]),
        )
    return tf.reshape(column, [-1])


def _present(column: tf.Tensor | tf.SparseTensor) -> tf.Tensor:
    """The values that are there, [values]."""
    return column.values if isinstance(column, tf.SparseTensor) else column


def _numbers(features: Features, raw: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Every number, float32 [batch], NaN where missing; in the order of `numeric_names`."""
    numbers: dict[str, tf.Tensor] = {}
    for name, feature in features.items():
        match feature:
            case Numeric():
                numbers[name] = raw[name]
            case Elapsed():
                seconds = raw[feature.end] - raw[feature.start]
                units = tf.cast(seconds, tf.float32) / _UNIT_SECONDS[feature.unit]
                missing = _is_missing(raw[feature.start]) | _is_missing(raw[feature.end])
                numbers[name] = tf.where(missing, MISSING_FLOAT, units)
            case Timestamp():
                for part in feature.parts:
                    if not _is_category(part):
                        value = tf.cast(timestamps.part(raw[name], part), tf.float32)
                        missing = _is_missing(raw[name])
                        numbers[f"{name}_{part}"] = tf.where(missing, MISSING_FLOAT, value)
    return numbers


def _clips(features: Features, names: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Lowest and highest value of each number, float32 [2, numbers]."""
    bounds = []
    for name in names:
        feature = features.get(name)
        clip = feature.clip if isinstance(feature, Numeric | Elapsed) else None
        bounds.append(clip or (-np.inf, np.inf))
    return tf.constant(np.transpose(bounds), tf.float32)


def _scales(features: Features) -> list[Scale]:
    """How each number's edges are spaced, in the order of `numeric_names`."""
    chosen = [features.get(name) for name in numeric_names(features)]
    return [f.scale if isinstance(f, Numeric | Elapsed) else "quantile" for f in chosen]


def _categories(
    features: Features, raw: Mapping[str, tf.Tensor], known: Mapping[str, tf.Tensor]
) -> dict[str, tf.Tensor]:
    """Every id, int64 [batch], 0 where missing; in the order of `category_counts`."""
    looked_up: dict[str, tf.Tensor] = {}
    for alike in _alike(features):
        looked_up |= _looked_up(alike, raw, known)
    categories: dict[str, tf.Tensor] = {}
    for name, feature in features.items():
        match feature:
            case Categorical() | HighCardinality():
                categories[name] = looked_up[name]
            case Timestamp():
                missing = _is_missing(raw[name])
                for part in feature.parts:
                    if _is_category(part):
                        ids = 1 + timestamps.part(raw[name], part)
                        categories[f"{name}_{part}"] = tf.where(missing, tf.zeros_like(ids), ids)
    return categories


def _alike(features: Features) -> list[dict[str, Categorical | HighCardinality]]:
    """Categorical columns that one operation can do for: of one type, with as many buckets."""
    groups: dict[tuple[RawType, int], dict[str, Categorical | HighCardinality]] = {}
    for name, feature in features.items():
        if isinstance(feature, Categorical | HighCardinality):
            groups.setdefault((feature.type, feature.oov_buckets), {})[name] = feature
    return list(groups.values())


def _looked_up(
    features: Mapping[str, Vocabulary],
    raw: Mapping[str, tf.Tensor],
    known: Mapping[str, tf.Tensor],
) -> dict[str, tf.Tensor]:
    """Ids of columns that are alike, int64 [batch] each, 0 where missing."""
    values = tf.stack([raw[name] for name in features])
    # As the vocabularies' files have them.
    texts = values if values.dtype == tf.string else tf.strings.as_string(values)
    ids = _ids(texts, known, features)
    ids = tf.where(_is_missing(values), tf.zeros_like(ids), ids)
    return dict(zip(features, tf.unstack(ids), strict=True))


def _tokens(texts: tf.Tensor, name: str, feature: Text) -> tf.Tensor:
    """Ids of the first `max_tokens` words of each text, int64 [batch, max_tokens]."""
    lower = tf.strings.lower(texts, encoding="utf-8")
    words = tf.strings.split(tf.strings.regex_replace(lower, r"[^\p{L}\p{N}]+", " "))
    words = words[:, : feature.max_tokens]
    values = words.flat_values
    ids = _ids(values[tf.newaxis], {name: values}, {name: feature})[0]
    tokens = words.with_flat_values(ids).to_tensor(shape=[None, feature.max_tokens])
    return tf.ensure_shape(tokens, [None, feature.max_tokens])


def _ids(
    texts: tf.Tensor, known: Mapping[str, tf.Tensor], features: Mapping[str, Vocabulary]
) -> tf.Tensor:
    """Ids from 1, int64 of the shape of `texts`.

    Args:
        texts: string [columns, values].
        known: of each column, the values that its vocabulary is learnt from.
        features: of each column, all with as many buckets.
    """
    places = []
    for column, (name, feature) in zip(tf.unstack(texts), features.items(), strict=True):
        vocabulary = tft.vocabulary(
            known[name],
            top_k=feature.max_vocabulary,
            frequency_threshold=feature.min_count if feature.min_count > 1 else None,
            vocab_filename=name,
        )
        places.append(tft.apply_vocabulary(column, vocabulary, default_value=-1))
    place = tf.stack(places)
    buckets = next(iter(features.values())).oov_buckets
    bucket = tf.strings.to_hash_bucket_fast(texts, buckets)
    return 1 + tf.where(place < 0, bucket, place + buckets)


def _is_missing(column: tf.Tensor) -> tf.Tensor:
    return column == (MISSING_STRING if column.dtype == tf.string else MISSING_INT)
