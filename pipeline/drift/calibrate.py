"""Thresholds from the noise of quiet spans: what `headrace drift calibrate` does."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.config import Config
from pipeline.drift import noise, trends
from pipeline.drift.bins import Array, Binned
from pipeline.drift.columns import Column
from pipeline.drift.compare import known_distances, restless, together, within_reach
from pipeline.drift.measures import measure
from pipeline.drift.noise import Test
from pipeline.drift.report import Calibration

#: Spans are compared with at least so many before them.
MIN_WINDOW = 3
#: Fewer comparisons tell nothing of how spans differ.
MIN_SPANS = MIN_WINDOW + 3
_REPLICATES = 1_000
#: A distance so many times what chance explains is no noise, if it is known already.
_NEWS = 3.0
#: Shares of rows that are changed to see whether it is found.
_SHARES = np.geomspace(0.001, 1, 31)


def calibrate(
    spans: Sequence[str],
    columns: Sequence[Sequence[Column]],
    config: Config,
    today: dt.date,
) -> Calibration:
    """Measures thresholds.

    Args:
        spans: labels of quiet spans, oldest first.
        columns: what is compared of each.
        config: window, false alarms.
        today: the date that is noted.
    """
    moving = _trends(columns)
    trending = {one.name: one.name in moving for one in columns[0]}
    features = together(columns, trending=trending)
    rows = [max(len(column.values) for column in part if column.by_row) for part in columns]
    median = int(np.median(rows))
    window = config.window.train_spans
    recent = together(columns[-window - 1 :], trending=trending)
    null = noise.permuted(recent, median, replicates=_REPLICATES, seed=0)
    chance = noise.by_chance(null, config.drift.false_alarms)
    seen, positions = _rolling(features, columns, window, config.drift.known_after, chance)
    quiet, out = noise.without_outliers(seen)
    wanted = noise.with_spans(chance, null, quiet, config.drift.false_alarms)
    bounds = within_reach(wanted)
    # A feature without any threshold is named too: it was looked at.
    thresholds: dict[str, dict[str, float]] = {feature.name: {} for feature in features}
    for (feature, name), bound in bounds.items():
        thresholds[feature][name] = float(f"{bound:.4g}")
    outliers: dict[str, set[str]] = {}
    for test, left in out.items():
        for number in left:
            outliers.setdefault(spans[positions[test][number]], set()).add(test[0])
    return Calibration(
        date=today,
        spans=tuple(spans),
        span_rows=median,
        false_alarms=config.drift.false_alarms,
        correction=noise.CORRECTION,
        thresholds=thresholds,
        detectable=_detectable(features, columns, bounds),
        trends={name: str(trend) for name, trend in moving.items()},
        restless=tuple(restless({feature for feature, _ in wanted}, bounds)),
        outliers={span: tuple(sorted(outliers[span])) for span in sorted(outliers)},
    )


def _trends(columns: Sequence[Sequence[Column]]) -> dict[str, trends.Trend]:
    """Numbers that move in a line over all spans."""
    parts: dict[str, list[Array]] = {}
    for column in (one for part in columns for one in part if one.type == "numeric"):
        parts.setdefault(column.name, []).append(column.values)
    found = {name: trends.of(values) for name, values in parts.items()}
    return {name: trend for name, trend in found.items() if trend}


def _rolling(
    features: Sequence[Binned],
    columns: Sequence[Sequence[Column]],
    window: int,
    known_after: int,
    chance: Mapping[Test, float],
) -> tuple[dict[Test, list[float]], dict[Test, list[int]]]:
    """Each span against those before it, as the gate compares; and which span each figure is of.

    A shift that is known by then, as the gate understands it, is not noise and is left out.
    """
    seen: dict[Test, list[float]] = {}
    positions: dict[Test, list[int]] = {}
    for feature in features:
        counts = feature.counts()
        for position in range(MIN_WINDOW, len(counts)):
            first = max(0, position - window)
            before, newest = counts[first:position], counts[position]
            if feature.trend:  # as it was known then, not as the spans after it tell
                parts = [[one for one in part if one.name == feature.name] for part in columns]
                then = together(parts[first:position], [parts[position]], {feature.name: True})
                *earlier, newest = then[0].counts()
                before = np.stack(earlier)
            reference = before.sum(axis=0)
            known = known_distances(feature.type, before, known_after)
            for name, value in measure(feature.type, reference, newest).items():
                test = (feature.name, name)
                far = float(value) > _NEWS * chance.get(test, np.inf)
                if far and value <= known.get(name, 0.0):
                    continue
                seen.setdefault(test, []).append(float(value))
                positions.setdefault(test, []).append(position)
    return seen, positions


def _detectable(
    features: Sequence[Binned],
    columns: Sequence[Sequence[Column]],
    bounds: Mapping[Test, float],
) -> dict[str, str]:
    """The smallest shift of each feature that is found in nine spans of ten."""
    told = {}
    for feature in features:
        counts = feature.counts()
        if feature.edges is not None:
            parts = [one for part in columns for one in part if one.name == feature.name]
            if feature.trend:
                trend = trends.of([part.values for part in parts], wanted=True)
                parts = trends.levelled(parts, trend, len(parts) - 1)
            told[feature.name] = _shifted(feature, [one.values for one in parts], counts, bounds)
        else:
            told[feature.name] = _moved(feature, counts, bounds)
    return told


def _shifted(
    feature: Binned, parts: Sequence[Array], counts: Array, bounds: Mapping[Test, float]
) -> str:
    """Some rows of a number moved by its standard deviation."""
    known = np.concatenate([part[~np.isnan(part)] for part in parts])
    deviation = float(known.std()) if len(known) else 0.0
    if not deviation:
        return "any second value (it has only one)"
    size = len(feature.labels)
    higher = [feature.place(part + deviation) for part in parts]
    as_is = [feature.place(part) for part in parts]
    draws = [np.random.default_rng(0).random(len(part)) for part in parts]
    for share in _SHARES:
        moved = [
            np.bincount(np.where(drawn < share, up, same), minlength=size)
            for up, same, drawn in zip(higher, as_is, draws, strict=True)
        ]
        if _found(feature, counts, np.stack(moved), bounds) >= 0.9:
            return f"{share:.1%} of the values higher by a standard deviation ({deviation:.3g})"
    return "not even all values higher by a standard deviation"


def _moved(feature: Binned, counts: Array, bounds: Mapping[Test, float]) -> str:
    """Rows of a category moved from its most frequent value to the second."""
    total = counts.sum(axis=0)[:-1]
    if (total > 0).sum() < 2:
        return "any second value (it has only one)"
    first, second = np.argsort(-total)[:2]
    for share in _SHARES:
        moved = counts.copy()
        taken = np.minimum((share * counts.sum(axis=1)).astype(np.int64), counts[:, first])
        moved[:, first] -= taken
        moved[:, second] += taken
        if _found(feature, counts, moved, bounds) >= 0.9:
            one, other = feature.labels[first], feature.labels[second]
            return f"{share:.1%} of the rows moved from {one} to {other}"
    return "not even all rows moved from the most frequent value to the second"


def _found(feature: Binned, counts: Array, moved: Array, bounds: Mapping[Test, float]) -> float:
    """Share of the spans whose changed rows are too far from the other spans."""
    rest = counts.sum(axis=0) - counts
    found = [
        value > bounds.get((feature.name, name), np.inf)
        for name, value in measure(feature.type, rest, moved).items()
    ]
    return float(np.any(found, axis=0).mean())
