"""The `[features]`, `[model]` and `[training]` sections of the configuration.

They live here, not in `pipeline`, because the Trainer and Transform executors read them
(as JSON in `custom_config`) on machines where only `models` matters. Only pydantic is imported.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

RawType = Literal["float", "int", "string"]

#: How a missing value is written where a plain tensor must hold something: the
#: `serving_default` signature. In a tf.Example a missing value is an absent feature.
MISSING_FLOAT = float("nan")
MISSING_INT = -1
MISSING_STRING = ""
#: The years 1 to 9999 in seconds since 1970: a count beyond them is one of smaller units.
FIRST_SECOND, LAST_SECOND = -62_135_596_800, 253_402_300_799


class Section(BaseModel):
    """A frozen part of the configuration in which an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _ordered(clip: tuple[float, float]) -> tuple[float, float]:
    if not clip[0] < clip[1]:
        raise ValueError("clip must be [low, high] with low < high")
    return clip


Clip = Annotated[tuple[float, float], AfterValidator(_ordered)]


Scale = Literal["quantile", "linear", "log"]


class Numeric(Section):
    """A number. Missing is its own signal: the model sees "missing", not a made-up value.

    The model sees where a value lies between edges learnt from the training window.

    Attributes:
        scale: where the edges are: at the window's quantiles (each interval holds as many rows),
            or evenly spaced between the outermost of them, in the value or in its signed
            logarithm, sign(x) log(1 + |x|).
        clip: values are clamped to this closed interval first.
    """

    kind: Literal["numeric"]
    scale: Scale = "quantile"
    clip: Clip | None = None


class Categorical(Section):
    """One of few values. The vocabulary is learnt from the training window.

    Attributes:
        type: `int` or `string`, as the value is stored and as a client sends it.
        max_vocabulary: the most frequent values kept; the rest share the
            out-of-vocabulary buckets.
        min_count: a value seen in fewer training rows counts as out of vocabulary.
        oov_buckets: number of hash buckets for values outside the vocabulary.
    """

    kind: Literal["categorical"]
    type: Literal["int", "string"] = "string"
    max_vocabulary: int = Field(default=100, ge=1)
    min_count: int = Field(default=1, ge=1)
    oov_buckets: int = Field(default=1, ge=1)


class HighCardinality(Section):
    """One of many values (ids, places). As `Categorical`, with bounds fit for many.

    Rows with a value seen in fewer than `min_count` share the buckets: what a few rows say of
    one value is noise, and made the model too certain of rare places.
    """

    kind: Literal["high_cardinality"]
    type: Literal["int", "string"] = "string"
    max_vocabulary: int = Field(default=10_000, ge=1)
    min_count: int = Field(default=30, ge=1)
    oov_buckets: int = Field(default=8, ge=1)


TimePart = Literal["hour", "minute_of_day", "weekday", "day_of_month", "month", "year"]


class Timestamp(Section):
    """A point in time, stored and served as int64 seconds since 1970-01-01 (of the data's clock).

    Attributes:
        parts: what the model sees of it; empty if only an `elapsed` feature uses it.
    """

    kind: Literal["timestamp"]
    parts: tuple[TimePart, ...] = ("hour", "weekday")


class Elapsed(Section):
    """Time between two timestamp features, derived in the graph. Not a column of the data."""

    kind: Literal["elapsed"]
    start: str
    end: str
    unit: Literal["seconds", "minutes", "hours", "days"] = "minutes"
    scale: Scale = "quantile"
    clip: Clip | None = None


class Text(Section):
    """Words, lower-cased, split on anything but letters and digits; a bag of tokens."""

    kind: Literal["text"]
    max_vocabulary: int = Field(default=5_000, ge=1)
    min_count: int = Field(default=5, ge=1)
    oov_buckets: int = Field(default=8, ge=1)
    max_tokens: int = Field(default=64, ge=1)


class Ignore(Section):
    """A column that is known and deliberately not used; it is not ingested."""

    kind: Literal["ignore"]


Feature = Annotated[
    Numeric | Categorical | HighCardinality | Timestamp | Elapsed | Text | Ignore,
    Field(discriminator="kind"),
]
Features = dict[str, Feature]
_FEATURES: TypeAdapter[Features] = TypeAdapter(Features)


def raw_type(feature: Feature) -> RawType | None:
    """The canonical type of a feature's column, or None if it has no column of its own."""
    match feature:
        case Numeric():
            return "float"
        case Timestamp():
            return "int"
        case Categorical() | HighCardinality():
            return feature.type
        case Text():
            return "string"
        case _:
            return None


def raw_columns(features: Features) -> dict[str, RawType]:
    """Columns a request must carry, with their canonical types, in configuration order."""
    types = {name: raw_type(feature) for name, feature in features.items()}
    return {name: kind for name, kind in types.items() if kind is not None}


def features_to_json(features: Features) -> str:
    """Canonical JSON: equal features give equal text (it is part of cache keys)."""
    return json.dumps(_FEATURES.dump_python(features, mode="json"), separators=(",", ":"))


def features_from_json(text: str) -> Features:
    """The inverse of `features_to_json`."""
    value: dict[str, Any] = json.loads(text)
    return _FEATURES.validate_python(value)


class ModelConfig(Section):
    """`[model]`: the size of the network. The defaults are measured (benchmarks/quality.py).

    Attributes:
        embedding: numbers by which one feature's value is described.
        hidden: widths of the hidden layers.
        dropout: share of hidden activations dropped while training, in [0, 1); of the inputs,
            half of it.
    """

    embedding: int = Field(default=8, ge=1, le=256)
    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128, 64)
    dropout: float = Field(default=0.2, ge=0, lt=1)


class TrainingConfig(Section):
    """`[training]`: how the network is fitted.

    Attributes:
        epochs: passes over the rows at most; the learning rate falls to nothing over them.
        batch_size: rows a step.
        learning_rate: the highest, reached after half a pass.
        weight_decay: of AdamW.
        holdout: share of the training rows kept apart to decide when to stop; chosen by
            `seed`. The evaluation span is never looked at.
        patience: passes in a row with a clearly worse holdout loss than the best, after which
            training stops and the best pass's weights return.
        seed: same data, configuration and machine kind give the same weights.
    """

    epochs: int = Field(default=5, ge=1)
    batch_size: int = Field(default=512, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    holdout: float = Field(default=0.05, gt=0, lt=1)
    patience: int = Field(default=3, ge=1)
    seed: int = Field(default=0, ge=0)
