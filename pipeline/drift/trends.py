"""Numbers that move with time: brought to the newest span's level before they are compared.

A price that grows by two percent a month, or a column that counts days, lies far from any window
of the past though nothing has happened. What is news of it is how far it lies from where its trend
leads, so the window's values are moved along the trend; the newest span's stay as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pipeline.drift.bins import Array
from pipeline.drift.columns import Column

#: Spans of a year of months: half of a season looks like a trend.
_SEASON = 12
#: A line that is as straight as this is no season either.
_STRAIGHT, _STRAIGHT_SPANS = 0.99, 4
#: Of the medians' variance a trend explains so much, and chance would not do that.
_EXPLAINED, _CHANCE = 0.8, 1e-3
#: A trend that moves the window's middle by less than this share of the values' spread is left.
_MATTERS = 0.1


@dataclass(frozen=True)
class Trend:
    """Where a number's median goes.

    Attributes:
        slope: by so much each span, or by so large a factor's logarithm.
        ratio: whether values grow by a factor.
    """

    slope: float
    ratio: bool

    def moved(self, values: Array, steps: float) -> Array:
        """Values as they would be so many spans later."""
        later: Array = (
            values * np.exp(self.slope * steps) if self.ratio else values + self.slope * steps
        )
        return later

    def __str__(self) -> str:
        if self.ratio:
            return f"{np.expm1(self.slope):+.3g} of itself a span"
        return f"{self.slope:+.3g} a span"


def of(parts: Sequence[Array], *, wanted: bool = False) -> Trend | None:
    """The trend of a number's medians; None if there is none that matters.

    Args:
        parts: its values in each span, oldest first, NaN where missing.
        wanted: it is known to have one, however crooked the line is in these spans.
    """
    known = [part[np.isfinite(part)] for part in parts]
    if len(parts) < (2 if wanted else _STRAIGHT_SPANS) or not all(len(part) for part in known):
        return None
    middles = np.array([np.median(part) for part in known])
    spread = float(np.median([stats.iqr(part) for part in known]))
    found = []
    for ratio in (False, True):
        if ratio and (middles <= 0).any():
            continue
        line = np.log(middles) if ratio else middles
        if np.ptp(line) > 0:
            slope, explained, sure = _line(line)
            found.append((explained, sure, Trend(slope, ratio)))
    if not found:
        return None
    _, sure, trend = max(found, key=lambda one: one[0])
    travelled = abs(middles[-1] - middles[0]) / 2
    return trend if wanted or (sure and travelled > _MATTERS * spread) else None


def _line(middles: Array) -> tuple[float, float, bool]:
    """Slope (Theil & Sen), share of the variance explained, and whether that is surely a trend."""
    steps = np.arange(len(middles))
    slope, start, _, _ = stats.theilslopes(middles, steps)
    rest = middles - (start + slope * steps)
    explained = 1 - float((rest**2).sum() / ((middles - middles.mean()) ** 2).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        by_chance = float(stats.linregress(steps, middles).pvalue)
    long = len(middles) >= _SEASON and explained >= _EXPLAINED and by_chance < _CHANCE
    return float(slope), explained, bool(long or explained >= _STRAIGHT)


def levelled(parts: Sequence[Column], trend: Trend | None, newest: int) -> list[Column]:
    """Spans of one feature, oldest first, as they would be at the level of span number `newest`."""
    if trend is None:
        return list(parts)
    # Whole numbers stay whole: bins of single values would not meet those of a fraction more.
    whole = all(
        (part.values == np.floor(part.values))[~np.isnan(part.values)].all() for part in parts
    )

    def moved(part: Column, steps: int) -> Column:
        later = trend.moved(part.values, steps)
        return replace(part, values=np.round(later) if whole else later)

    return [
        moved(part, newest - position) if position < newest else part
        for position, part in enumerate(parts)
    ]
