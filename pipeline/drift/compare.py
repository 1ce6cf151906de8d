"""Compares two sets of rows, feature by feature, with thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline.drift import noise, own, trends
from pipeline.drift.bins import MISSING, OTHERS, Array, Binned, binned
from pipeline.drift.columns import Column, Type
from pipeline.drift.measures import RANGES, chance, measure, shares
from pipeline.drift.noise import Test
from pipeline.drift.report import (
    Bin,
    Compared,
    Comparison,
    Feature,
    Measured,
    Past,
    Side,
    WorstBin,
)

#: Dealings from which thresholds are set where none were calibrated.
_REPLICATES = 200
#: Measures of values; where these can say nothing, the population stability index cannot either.
_SHAPE = ("kolmogorov_smirnov", "l_infinity")
#: Spans before one that make a past to compare it with.
_MIN_BEFORE = 3
#: Bins that are told of a category: the most frequent ones on either side.
_SHOWN = 40


def together(
    reference: Sequence[Sequence[Column]],
    current: Sequence[Sequence[Column]] = (),
    trending: Mapping[str, bool] | None = None,
) -> list[Binned]:
    """Features that all sides have, binned.

    Args:
        reference: parts that choose the bins, such as the spans of a window; each its columns.
        current: further parts.
        trending: number → whether its spans are brought to the newest one's level; those that it
            does not name are if they move in a line. None: no number is.
    """
    parts = [{column.name: column for column in part} for part in (*reference, *current)]
    names = [column.name for column in reference[0] if all(column.name in part for part in parts)]
    split = len(reference)
    made = []
    for name in names:
        each = [part[name] for part in parts]
        trend = None if trending is None else _trend(each[:split], trending.get(name))
        each = trends.levelled(each, trend, split if current else split - 1)
        feature = binned(each[:split], each[split:])
        made.append(replace(feature, trend=str(trend)) if trend else feature)
    return made


def _trend(spans: Sequence[Column], wanted: bool | None) -> trends.Trend | None:
    if spans[0].type != "numeric" or wanted is False:
        return None
    return trends.of([part.values for part in spans], wanted=wanted is True)


def thresholds(
    features: Sequence[Binned],
    calibrated: Mapping[str, Mapping[str, float]],
    contract: Mapping[str, Mapping[str, float]],
    *,
    current_rows: int,
    false_alarms: int,
    kind: Compared = "drift",
) -> dict[Test, float]:
    """The calibrated thresholds, and for features without any what the window's spans show.

    Args:
        features: binned; the last part is the current one.
        calibrated: feature → measure → threshold.
        contract: the same, of the schema: what a reviewer set there counts.
        current_rows: rows of the current side.
        false_alarms: comparisons of which one may alarm.
        kind: what is compared; of requests, and of one table, chance is what is known.
    """
    bounds: dict[Test, float] = {}
    unknown = [feature for feature in features if feature.name not in calibrated]
    if unknown and current_rows:
        null = (
            noise.dealt(unknown, replicates=_REPLICATES, seed=0)
            if kind == "profile"
            else noise.permuted(unknown, current_rows, replicates=_REPLICATES, seed=0)
        )
        bounds = own.thresholds(unknown, null, false_alarms, kind)
    for known in (calibrated, contract):
        for name, by_measure in known.items():
            bounds |= {(name, one): bound for one, bound in by_measure.items()}
    return within_reach(bounds)


def within_reach(bounds: Mapping[Test, float]) -> dict[Test, float]:
    """The thresholds that a distance can pass; without any a feature cannot be judged."""
    beyond = {test for test, bound in bounds.items() if bound >= RANGES.get(test[1], np.inf)}
    restless = {name for name, one in beyond if one in _SHAPE}
    return {
        test: bound
        for test, bound in bounds.items()
        if test not in beyond and not (test[1] == "psi" and test[0] in restless)
    }


def restless(features: Iterable[str], bounds: Mapping[Test, float]) -> list[str]:
    """Features whose values have no threshold that a distance could pass; in their order."""
    judged = {name for name, one in bounds if one != "missing_rate"}
    return sorted(set(features) - judged)


def compare(
    kind: Compared,
    sides: tuple[Side, Side],
    features: Sequence[Binned],
    bounds: Mapping[Test, float],
    known_after: int | None = None,
    season: Sequence[int] = (),
) -> Comparison:
    """The comparison of the last part with all others.

    Args:
        kind: what is compared.
        sides: reference and current, as they are told.
        features: binned; the last part is the current one.
        bounds: threshold of each feature and measure.
        known_after: a shift is news in its first spans; once so many parts of the reference lie as
            far from it as the current one, a model trained on it has seen them. None: always news.
        season: parts of the reference of the current one's season: what is as it was then is known.
    """
    made = [_feature(feature, bounds, known_after, season) for feature in features]
    return Comparison(kind=kind, reference=sides[0], current=sides[1], features=ordered(made))


def ordered(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """What alarms first, the furthest over its threshold first."""
    return tuple(
        sorted(
            features,
            key=lambda one: (-max(m.alarms for m in one.measures), -(one.excess or 0.0)),
        )
    )


def _feature(
    feature: Binned, bounds: Mapping[Test, float], known_after: int | None, season: Sequence[int]
) -> Feature:
    counts = feature.counts()
    reference, current = counts[:-1].sum(axis=0), counts[-1]
    values = measure(feature.type, reference, current)
    known = known_distances(feature.type, counts[:-1], known_after)
    then = measure(feature.type, counts[list(season)].sum(axis=0), current) if season else {}
    measures = []
    for name, value in values.items():
        threshold = bounds.get((feature.name, name))
        measured = Measured(name=name, value=round(float(value), 6), threshold=threshold)
        if threshold is not None and value > threshold:
            seen = _is_known(float(value), known.get(name, 0.0), threshold)
            again = name in then and float(then[name]) <= threshold
            measured = measured.model_copy(update={"known": seen or again})
        measures.append(measured)
    told = [one.excess for one in measures if one.threshold]
    change = np.abs(shares(reference) - shares(current))
    worst = int(change.argmax())
    return Feature(
        feature=feature.name,
        type=feature.type,
        trend=feature.trend,
        measures=tuple(measures),
        excess=round(max(told), 4) if told else None,
        chance=chance(reference, current),
        bins=tuple(_bins(feature, reference, current)),
        worst_bin=WorstBin(
            label=feature.labels[worst],
            reference=int(reference[worst]),
            current=int(current[worst]),
            reference_share=float(shares(reference)[worst]),
            current_share=float(shares(current)[worst]),
        ),
    )


def known_distances(kind: Type, spans: Array, after: int | None) -> dict[str, float]:
    """How far the `after`-th furthest span of a window lies from the window, by measure.

    Args:
        kind: type of the feature.
        spans: its counts [spans, bins].
        after: `drift.known_after`; None, or a window of no more spans: nothing is known.
    """
    if after is None or len(spans) <= after:
        return {}
    each = measure(kind, spans.sum(axis=0), spans)
    return {name: float(np.sort(values)[-after]) for name, values in each.items()}


def _is_known(value: float, known: float, threshold: float) -> bool:
    """Whether a distance is one that the window holds already, by a quarter and its noise."""
    return value <= 1.25 * known + threshold * (known > threshold)


def history(
    spans: Sequence[tuple[str, int]], features: Sequence[Binned], bounds: Mapping[Test, float]
) -> list[Past]:
    """Each span against those before it; the first ones, with fewer than three, against none.

    Args:
        spans: label and rows of each part.
        features: binned; parts are the spans, oldest first.
        bounds: threshold of each feature and measure.
    """
    past = []
    counts = {feature.name: feature.counts() for feature in features}
    label = next((feature.name for feature in features if feature.type == "label"), None)
    for position, (span, rows) in enumerate(spans):
        distances: dict[str, dict[str, float]] = {}
        if position >= min(_MIN_BEFORE, len(spans) - 1):
            for feature in features:
                each = counts[feature.name]
                before = each[:position].sum(axis=0)
                found = measure(feature.type, before, each[position])
                distances[feature.name] = {n: round(float(v), 6) for n, v in found.items()}
        past.append(
            Past(
                span=span,
                rows=rows,
                label_rate=None if label is None else _rate(features, label, position),
                distances=distances,
                excess={
                    name: round(max(v / bounds[name, m] for m, v in judged.items()), 4)
                    for name, by in distances.items()
                    if (judged := {m: v for m, v in by.items() if (name, m) in bounds})
                },
            )
        )
    return past


def _rate(features: Sequence[Binned], label: str, position: int) -> float | None:
    (feature,) = (one for one in features if one.name == label)
    counts = feature.counts()[position]
    total = counts.sum()
    positives = counts[feature.labels.index("1")] if "1" in feature.labels else 0
    return float(positives / total) if total else None


def _bins(feature: Binned, reference: Array, current: Array) -> list[Bin]:
    """Bins for people: all of a number; of a category the largest, the rest together."""
    bins = [
        Bin(label=label, reference=int(old), current=int(new))
        for label, old, new in zip(feature.labels, reference, current, strict=True)
    ]
    *values, missing = bins
    if feature.type == "categorical" and len(values) > _SHOWN:
        share = shares(reference) + shares(current)
        order = sorted(range(len(values)), key=lambda number: -share[number])
        first = [values[number] for number in order[:_SHOWN] if values[number].label != OTHERS]
        rest = [value for value in values if value not in first]
        others = Bin(
            label=OTHERS,
            reference=sum(one.reference for one in rest),
            current=sum(one.current for one in rest),
        )
        values = [*first, others]
    if missing.reference or missing.current:
        values.append(Bin(label=MISSING, reference=missing.reference, current=missing.current))
    return values
