"""Thresholds without calibration: what the window's own spans differ by.

Each span of the window is compared with all others, and with those before it: a season, a trend and
the noise between spans show in that as they will in the newest span. Where the window has too few
spans to tell, only what convention calls a large shift is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.drift import noise
from pipeline.drift.bins import Array, Binned
from pipeline.drift.measures import measure
from pipeline.drift.noise import Distances, Test
from pipeline.drift.report import Compared

#: Fewer spans do not tell what is usual.
MIN_SPANS = 6
#: Spans before one that make a past to compare it with.
_MIN_COMPARED = 3
#: So large a part of the spans may be like no other.
_FEW = 1 / 3
#: Times of what chance explains, where it is not known how much more spans differ by.
_TIMES = 3.0
#: Spans of a year of months, which have seen a season's both ends.
_YEAR = 12
#: A threshold allows for so many times the furthest span: of a year, and of fewer spans.
_TIMES_FURTHEST, _TIMES_FURTHEST_OF_FEW = 2.5, 4.0
#: Of few spans it is hardly seen that they differ by a little more than chance.
_CHANCE_OF_FEW = 1.3
#: What is called a large shift where nothing is known. Of the population stability index 0.25 is
#: the custom (Siddiqi, Credit Risk Scorecards, 2006); a normal shifted so far, by half a standard
#: deviation, has the others' order.
LARGE: Mapping[str, float] = {
    "kolmogorov_smirnov": 0.15,
    "jensen_shannon": 0.04,
    "l_infinity": 0.07,
    "chi_square": 0.15,
    "psi": 0.25,
    "missing_rate": 0.03,
    "unseen_rate": 0.03,
    "label_rate": 0.07,
}


def thresholds(
    features: Sequence[Binned], null: Distances, false_alarms: int, kind: Compared
) -> dict[Test, float]:
    """Thresholds of features that were not calibrated.

    Args:
        features: binned; the last part is the current one, the others are the reference.
        null: distances by chance, of `noise.permuted`.
        false_alarms: comparisons of which one may alarm.
        kind: what is compared. Requests are of other moments than a span, and a table's splits have
            no past: three times what chance explains is the least for them.
    """
    bounds = {test: _TIMES * one for test, one in noise.by_chance(null, false_alarms).items()}
    if kind == "splits":
        return bounds
    spans = from_window(features, null, false_alarms)
    if kind in ("drift", "profile"):
        return spans
    return {test: max(bound, spans[test]) for test, bound in bounds.items()}


def from_window(
    features: Sequence[Binned], null: Distances, false_alarms: int
) -> dict[Test, float]:
    """Thresholds of features whose last part is the newest span and whose others are the window.

    Args:
        features: binned.
        null: distances by chance, of `noise.permuted`.
        false_alarms: comparisons of which one may alarm.
    """
    spans = len(features[0].sizes) - 1
    chance = noise.by_chance(null, false_alarms)
    if spans < MIN_SPANS:
        chance = {test: max(bound, LARGE.get(test[1], 0.0)) for test, bound in chance.items()}
    elif spans < _YEAR:
        chance = {test: _CHANCE_OF_FEW * bound for test, bound in chance.items()}
    if spans < 2:
        return chance
    seen: dict[Test, list[float]] = {}
    for feature in features:
        seen |= _quiet(feature, feature.counts()[:-1])
    times = _TIMES_FURTHEST if spans >= _YEAR else _TIMES_FURTHEST_OF_FEW
    return noise.with_spans(chance, null, seen, false_alarms, times_furthest=times)


def _quiet(feature: Binned, spans: Array) -> dict[Test, list[float]]:
    """What a feature's spans differ by, but for a few that are like no other.

    An odd span is left out of what the others are compared with, too.
    """
    for _ in range(2):
        found = _differences(feature, spans)
        seen = {(feature.name, name): values.tolist() for name, values in found.items()}
        seen, out = noise.without_outliers(seen)
        odd = sorted({position for left in out.values() for position in left})
        if not odd or len(odd) > len(spans) * _FEW or len(spans) - len(odd) < _MIN_COMPARED:
            break
        spans = np.delete(spans, odd, axis=0)
    return seen


def _differences(feature: Binned, spans: Array) -> dict[str, Array]:
    """How far each span lies from all others, or from those before it if that is further."""
    total = spans.sum(axis=0)
    found = measure(feature.type, total - spans, spans)
    if len(spans) <= _MIN_COMPARED:
        return found
    before = np.cumsum(spans, axis=0)[_MIN_COMPARED - 1 : -1]
    for name, values in measure(feature.type, before, spans[_MIN_COMPARED:]).items():
        found[name][_MIN_COMPARED:] = np.maximum(found[name][_MIN_COMPARED:], values)
    return found
