"""What is compared of a row: the features as the model sees them, and the label.

A timestamp itself moves with every span, so its parts are compared; a time elapsed is compared
though no column holds it; numbers are clipped as for the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from models.config import (
    Categorical,
    Clip,
    Elapsed,
    Features,
    HighCardinality,
    Numeric,
    Text,
    Timestamp,
)

Type = Literal["numeric", "categorical", "label", "prediction"]

_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86_400}


@dataclass(frozen=True)
class Column:
    """Values of one feature.

    Attributes:
        name: of the feature; `pickup_datetime.hour` for a part of a timestamp.
        type: how it is compared.
        values: a numpy array of float64 with NaN where missing, if numeric; else an Arrow array.
            One a row, but for a text: one a word.
        by_row: whether there is one value a row.
    """

    name: str
    type: Type
    values: Any
    by_row: bool = True


def columns(rows: pa.Table, features: Features, label: str | None) -> list[Column]:
    """The columns that are compared.

    Args:
        rows: as sampled by ingestion, or built of requests; a column may be missing.
        features: the configuration's.
        label: its name; None if rows have none, as requests.
    """
    made = list(_features(rows, features))
    if label is not None and label in rows.column_names:
        made.append(Column(label, "label", rows[label].combine_chunks()))
    return made


def _features(rows: pa.Table, features: Features) -> Iterator[Column]:
    for name, feature in features.items():
        if isinstance(feature, Elapsed):
            if {feature.start, feature.end} <= set(rows.column_names):
                passed = _numbers(rows[feature.end]) - _numbers(rows[feature.start])
                yield Column(
                    name, "numeric", _clipped(passed / _SECONDS[feature.unit], feature.clip)
                )
            continue
        if name not in rows.column_names:
            continue
        match feature:
            case Numeric():
                yield Column(name, "numeric", _clipped(_numbers(rows[name]), feature.clip))
            case Categorical() | HighCardinality():
                yield Column(name, "categorical", rows[name].combine_chunks())
            case Timestamp():
                for part in feature.parts:
                    yield _part(name, part, rows[name])
            case Text():
                yield Column(name, "categorical", _words(rows[name], feature), by_row=False)


def _numbers(column: pa.ChunkedArray) -> np.ndarray[Any, Any]:
    return np.asarray(column.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)


def _clipped(values: np.ndarray[Any, Any], clip: Clip | None) -> np.ndarray[Any, Any]:
    return values if clip is None else np.clip(values, *clip)


def _part(name: str, part: str, column: pa.ChunkedArray) -> Column:
    seconds = _numbers(column)
    there = ~np.isnan(seconds)
    moments = np.where(there, seconds, 0).astype("int64").astype("datetime64[s]")
    days, months = moments.astype("datetime64[D]"), moments.astype("datetime64[M]")
    of_day = (moments - days).astype("int64")
    match part:
        case "hour":
            values = of_day // 3600
        case "minute_of_day":
            values = of_day // 60
        case "weekday":
            values = (days.astype("int64") + 3) % 7
        case "day_of_month":
            values = (days - months).astype("int64")
        case "month":
            values = months.astype("int64") % 12
        case _:
            values = months.astype("int64") // 12 + 1970
    if part in ("minute_of_day", "year"):
        return Column(f"{name}.{part}", "numeric", np.where(there, values.astype(float), np.nan))
    return Column(f"{name}.{part}", "categorical", pa.array(values, pa.int64(), mask=~there))


def _words(column: pa.ChunkedArray, feature: Text) -> pa.Array:
    words: list[str | None] = []
    for text in column.to_pylist():
        found = re.findall(r"[^\W_]+", text.lower()) if text else []
        words += found[: feature.max_tokens] or [None]
    return pa.array(words, pa.string())
