"""Two distributions over the same bins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.report.charts import axis
from pipeline.report.formats import Bin, Feature
from pipeline.report.text import clip, percent

#: Rows drawn of a category; the rest is folded into one. Columns drawn of a number; where there
#: are more bins, neighbours are joined.
MAX_ROWS, MAX_COLUMNS = 24, 48
#: Bins that are no place on a scale.
_SPECIAL = frozenset({"missing", "unseen", "others"})


@dataclass(frozen=True)
class Pair:
    """Reference and current of one bin, as lengths along the axis of values."""

    label: str
    at: float
    width: float
    reference: float
    current: float
    text: str
    worst: bool


@dataclass(frozen=True)
class Histogram:
    """Two distributions over the same bins.

    Attributes:
        upright: columns side by side (numbers), else rows below each other (categories).
        pairs: bins, in the order drawn.
        height: of the whole chart.
        base: y of the columns' foot; unused for rows.
        ticks: of the axis of shares.
        labels: below columns.
        folded: number of categories that the last row stands for.
    """

    upright: bool
    pairs: list[Pair]
    height: float
    base: float = 0.0
    ticks: list[axis.Tick] = field(default_factory=list)
    labels: list[axis.Tick] = field(default_factory=list)
    folded: int = 0


def by_frequency(bins: Sequence[Bin], worst: str | None) -> tuple[list[Bin], int]:
    """At most `MAX_ROWS` categories, and how many the last of them stands for (0: none).

    The most frequent first; those that stand for several values last; the one called `worst` is
    never folded away.
    """
    total = [sum(b.reference for b in bins) or 1.0, sum(b.current for b in bins) or 1.0]
    ordered = sorted(
        bins,
        key=lambda b: (
            b.label in _SPECIAL,
            -max(b.reference / total[0], b.current / total[1]),
        ),
    )
    if len(ordered) <= MAX_ROWS:
        return ordered, 0
    must = {i for i, b in enumerate(ordered) if b.label in _SPECIAL or b.label == worst}
    free = [i for i in range(len(ordered)) if i not in must]
    chosen = must | set(free[: max(0, MAX_ROWS - 1 - len(must))])
    rest = [b for i, b in enumerate(ordered) if i not in chosen]
    kept = [b for i, b in enumerate(ordered) if i in chosen]
    return [*kept, _joined(rest, f"{len(rest):,} more")], len(rest)


def by_value(bins: Sequence[Bin], worst: str | None) -> list[Bin]:
    """At most `MAX_COLUMNS` bins of a scale, in their order: of more, neighbours are joined."""
    scale = [b for b in bins if b.label not in _SPECIAL]
    special = [b for b in bins if b.label in _SPECIAL]
    size = math.ceil(len(scale) / MAX_COLUMNS) or 1
    found = []
    for start in range(0, len(scale), size):
        part = scale[start : start + size]
        names = [b.label for b in part]
        name = worst if worst in names else f"{names[0]} … {names[-1]}"
        found.append(part[0] if len(part) == 1 else _joined(part, name or ""))
    return found + special


def _joined(bins: Sequence[Bin], label: str) -> Bin:
    return Bin(
        label=label,
        reference=sum(b.reference for b in bins),
        current=sum(b.current for b in bins),
    )


_ROW = 24.0
_BAR_LEFT, _BAR_WIDTH = 33.0, 42.0


def histogram(feature: Feature) -> Histogram | None:
    """The two histograms of a feature; None where a side has no rows."""
    worst = feature.worst_bin.label if feature.worst_bin else None
    upright = feature.type in ("numeric", "prediction")
    bins, count = by_value(feature.bins, worst), 0
    if not upright:
        bins, count = by_frequency(feature.bins, worst)
    reference, current = sum(b.reference for b in bins), sum(b.current for b in bins)
    if not (reference > 0 and current > 0):
        return None
    shares = [(b.reference / reference, b.current / current) for b in bins]
    top = max(max(pair) for pair in shares)
    if upright:
        ticks = axis.nice_ticks(0.0, top, 3)
        return _columns(bins, shares, worst, ticks)
    pairs = [
        Pair(
            label=clip(b.label, 15),
            at=_ROW * index,
            width=_ROW,
            reference=_BAR_WIDTH * one / top,
            current=_BAR_WIDTH * other / top,
            text=f"{100 * one:.1f} → {100 * other:.1f} %",
            worst=b.label == worst,
        )
        for index, (b, (one, other)) in enumerate(zip(bins, shares, strict=True))
    ]
    return Histogram(False, pairs, height=_ROW * len(pairs), folded=count)


def _columns(
    bins: Sequence[Bin],
    shares: Sequence[tuple[float, float]],
    worst: str | None,
    ticks: Sequence[float],
) -> Histogram:
    width = (100 - axis.LEFT - axis.RIGHT) / len(bins)
    scale = axis.AREA / ticks[-1]
    base = axis.TOP + axis.AREA
    pairs = [
        Pair(
            label=b.label,
            at=axis.LEFT + width * index,
            width=width,
            reference=scale * one,
            current=scale * other,
            text=f"{b.label}: {percent(one)} → {percent(other)}",
            worst=b.label == worst,
        )
        for index, (b, (one, other)) in enumerate(zip(bins, shares, strict=True))
    ]
    labels = []
    for index in sorted({0, len(bins) // 2, len(bins) - 1}):
        anchor = "start" if index == 0 else "end" if index == len(bins) - 1 else "middle"
        at = {"start": pairs[index].at, "end": 100 - axis.RIGHT}.get(
            anchor, pairs[index].at + width / 2
        )
        labels.append(axis.Tick(at, clip(bins[index].label, 14), anchor))
    return Histogram(
        True,
        pairs,
        height=base + axis.FOOT,
        base=base,
        ticks=[axis.Tick(base - scale * tick, percent(tick, 0)) for tick in ticks],
        labels=labels,
    )
