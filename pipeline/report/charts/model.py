"""The model against the champion, and its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import intervals
from pipeline.report.charts import axis
from pipeline.report.formats import Change, CurveBin
from pipeline.report.text import fixed, percent, signed


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
    ticks: list[axis.Tick]


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
        ticks=[axis.Tick(x(0), "as good"), axis.Tick(x(1), "allowed")],
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

    dots: dict[str, list[axis.Dot]]
    height: float
    left: float
    right: float
    top: float
    base: float
    ticks: list[axis.Tick]
    labels: list[axis.Tick]


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
            axis.Dot(
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
        ticks=[axis.Tick(y(mark), percent(mark, 0)) for mark in marks],
        labels=[axis.Tick(x(m), percent(m, 0), a) for m, a in zip(marks, anchors, strict=True)],
    )
