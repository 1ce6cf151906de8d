"""The geometry of the charts; the templates write it down as SVG.

Why no plotting library: a chart here must be readable 390 pixels wide, so its text must not shrink
with it. Lengths across are per cent of whatever width there is, heights and text are pixels; no
library draws so. Measured, for the same pair of histograms of 12 bins: pygal 3.1.3 needs 0.05 s to
import and 6 ms a chart, and writes 21 kB, of which most is a style sheet and a script with all its
settings in every single chart; matplotlib's SVG takes 0.6 s to import, 43 ms and 14 kB, with the
colours fixed, where ours must follow the reader's light or dark. Neither gives a chart a role, a
name and a description. What is needed of one is bars and dots: some 2 kB each.

All x and widths are per cent of the chart's width, all y and heights pixels from its top.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline import intervals
from pipeline.report.formats import Bin, Change, CurveBin, Feature, Past
from pipeline.report.text import clip, fixed, percent, signed

#: Rows drawn of a category; the rest is folded into one. Columns drawn of a number; where there
#: are more bins, neighbours are joined.
MAX_ROWS, MAX_COLUMNS = 24, 48
#: Bins that are no place on a scale.
_SPECIAL = frozenset({"missing", "unseen", "others"})


@dataclass(frozen=True)
class Tick:
    """A line across or a mark below, with its text."""

    at: float
    text: str
    anchor: str = "middle"


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
    ticks: list[Tick] = field(default_factory=list)
    labels: list[Tick] = field(default_factory=list)
    folded: int = 0


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from at most `low` to at least `high`, in steps of 1, 2 or 5 times 10ⁿ."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


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


_TOP, _COLUMNS, _FOOT = 16.0, 120.0, 20.0
_LEFT, _RIGHT = 11.0, 1.0
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
        ticks = nice_ticks(0.0, top, 3)
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
    width = (100 - _LEFT - _RIGHT) / len(bins)
    scale = _COLUMNS / ticks[-1]
    base = _TOP + _COLUMNS
    pairs = [
        Pair(
            label=b.label,
            at=_LEFT + width * index,
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
        at = {"start": pairs[index].at, "end": 100 - _RIGHT}.get(
            anchor, pairs[index].at + width / 2
        )
        labels.append(Tick(at, clip(bins[index].label, 14), anchor))
    return Histogram(
        True,
        pairs,
        height=base + _FOOT,
        base=base,
        ticks=[Tick(base - scale * tick, percent(tick, 0)) for tick in ticks],
        labels=labels,
    )


@dataclass(frozen=True)
class Dot:
    """A point, and the interval around it (y of its ends)."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True)
class Lines:
    """Points joined by lines, over an axis of named places."""

    dots: list[Dot]
    height: float
    ticks: list[Tick] = field(default_factory=list)
    labels: list[Tick] = field(default_factory=list)
    threshold: float | None = None


def label_rate(history: Sequence[Past]) -> Lines | None:
    """The label's rate span by span, with Wilson's 95 % intervals."""
    known = [past for past in history if past.label_rate is not None]
    if len(known) < 2:
        return None
    rates = [past.label_rate or 0.0 for past in known]
    found = [
        intervals.wilson(rate * past.rows, past.rows)
        for past, rate in zip(known, rates, strict=True)
    ]
    ends = [end for item in found if item for end in (item.low, item.high)]
    ticks = nice_ticks(min([*rates, *ends]), max([*rates, *ends]), 3)
    base = _TOP + _COLUMNS

    def y(value: float) -> float:
        return base - _COLUMNS * (value - ticks[0]) / (ticks[-1] - ticks[0])

    step = (100 - _LEFT - 6) / (len(known) - 1)
    dots = [
        Dot(
            x=_LEFT + 2 + step * index,
            y=y(rate),
            low=y(item.low) if item else None,
            high=y(item.high) if item else None,
            text=f"{past.span}: {percent(rate)}",
        )
        for index, (past, rate, item) in enumerate(zip(known, rates, found, strict=True))
    ]
    places = sorted({0, len(known) // 2, len(known) - 1})
    digits = 0 if ticks[1] - ticks[0] >= 0.01 else 1
    return Lines(
        dots,
        height=base + _FOOT,
        ticks=[Tick(y(tick), percent(tick, digits)) for tick in ticks],
        labels=[
            Tick(
                dots[index].x,
                clip(known[index].span, 12),
                "start" if index == 0 else "end" if index == len(known) - 1 else "middle",
            )
            for index in places
        ],
    )


def sparkline(values: Sequence[float | None], height: float = 26.0) -> Lines:
    """A feature's distance span by span, in multiples of its threshold, which is drawn at 1."""
    known = [value for value in values if value is not None]
    top = max([1.25, *known])
    step = 94 / max(1, len(values) - 1)

    def y(value: float) -> float:
        return 3 + (height - 6) * (1 - value / top)

    dots = [
        Dot(x=3 + step * index, y=y(value))
        for index, value in enumerate(values)
        if value is not None
    ]
    return Lines(dots, height, threshold=y(1.0))


@dataclass(frozen=True)
class Range:
    """A named interval on a line.

    Attributes:
        low_cut, high_cut: the interval goes on beyond the chart.
        beyond: `low` or `high` where the value itself does.
        value: as a text.
    """

    label: str
    y: float
    x: float
    low: float
    high: float
    low_cut: bool
    high_cut: bool
    beyond: str
    value: str
    text: str


@dataclass(frozen=True)
class Forest:
    """Changes against the champion, each as a share of what is allowed: 0 is as good, 1 the bar."""

    ranges: list[Range]
    height: float
    zero: float
    bar: float
    ticks: list[Tick]


_FOREST_LEFT, _FOREST_RIGHT, _REACH = 26.0, 2.0, 2.0


def forest(changes: Sequence[tuple[str, Change, float]]) -> Forest | None:
    """Draws changes.

    Args:
        changes: name, change (positive is worse), bound.
    """
    usable = [item for item in changes if item[2] > 0]
    if not usable:
        return None
    span = 100 - _FOREST_LEFT - _FOREST_RIGHT

    def x(share: float) -> float:
        inside = min(_REACH, max(-_REACH, share))
        return _FOREST_LEFT + span * (inside + _REACH) / (2 * _REACH)

    ranges = []
    for index, (name, change, bound) in enumerate(usable):
        low, middle, high = (v / bound for v in (change.low, change.value, change.high))
        ranges.append(
            Range(
                label=name,
                y=14 + 28.0 * index,
                x=x(middle),
                low=x(low),
                high=x(high),
                low_cut=low < -_REACH,
                high_cut=high > _REACH,
                beyond="low" if middle < -_REACH else "high" if middle > _REACH else "",
                value=signed(change.value),
                text=f"{name}: {signed(change.value)}, 95 % interval {signed(change.low)} to "
                f"{signed(change.high)}, allowed {signed(bound)}",
            )
        )
    return Forest(
        ranges,
        height=28.0 * len(ranges) + 26,
        zero=x(0),
        bar=x(1),
        ticks=[Tick(x(0), "as good"), Tick(x(1), "allowed")],
    )


@dataclass(frozen=True)
class Reliability:
    """A group of rows with similar predictions, and how often the label was 1."""

    rows: float
    prediction: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True)
class Curve:
    """Calibration: predicted against observed, for one or two models."""

    dots: dict[str, list[Dot]]
    height: float
    left: float
    right: float
    top: float
    base: float
    ticks: list[Tick]
    labels: list[Tick]


def reliability(curve: Sequence[CurveBin], groups: int = 10) -> list[Reliability]:
    """Neighbouring bins joined until each group has about the same number of rows."""
    total = sum(b.rows for b in curve)
    found: list[Reliability] = []
    rows = predictions = labels = 0.0
    for b in sorted(curve, key=lambda b: b.low):
        rows, predictions, labels = rows + b.rows, predictions + b.predictions, labels + b.labels
        if rows >= total / groups:
            found.append(_group(rows, predictions, labels))
            rows = predictions = labels = 0.0
    if rows:
        found.append(_group(rows, predictions, labels))
    return found


def _group(rows: float, predictions: float, labels: float) -> Reliability:
    observed = intervals.wilson(labels, rows)
    share = labels / rows
    low, high = (observed.low, observed.high) if observed else (share, share)
    return Reliability(rows, predictions / rows, share, low, high)


_CURVE_HEIGHT = 260.0


def calibration(models: dict[str, list[Reliability]]) -> Curve | None:
    """The calibration curves of models."""
    if not any(models.values()):
        return None
    left, right, top, base = 11.0, 98.0, 10.0, _CURVE_HEIGHT - 26

    def x(value: float) -> float:
        return left + (right - left) * value

    def y(value: float) -> float:
        return base - (base - top) * value

    dots = {
        model: [
            Dot(
                x(group.prediction),
                y(group.observed),
                y(group.low),
                y(group.high),
                f"{model}: predicted {fixed(group.prediction, 3)}, "
                f"observed {fixed(group.observed, 3)}",
            )
            for group in groups
        ]
        for model, groups in models.items()
    }
    marks = (0.0, 0.25, 0.5, 0.75, 1.0)
    anchors = ("start", "middle", "middle", "middle", "end")
    return Curve(
        dots,
        _CURVE_HEIGHT,
        left,
        right,
        top,
        base,
        ticks=[Tick(y(mark), percent(mark, 0)) for mark in marks],
        labels=[Tick(x(m), percent(m, 0), a) for m, a in zip(marks, anchors, strict=True)],
    )
