"""What went on over the spans: the label's rate, and each feature's distance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline import intervals
from pipeline.report.charts import axis
from pipeline.report.formats import Past
from pipeline.report.text import clip, percent


@dataclass(frozen=True)
class Lines:
    """Points joined by lines, over an axis of named places."""

    dots: list[axis.Dot]
    height: float
    ticks: list[axis.Tick] = field(default_factory=list)
    labels: list[axis.Tick] = field(default_factory=list)
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
    ticks = axis.nice_ticks(min([*rates, *ends]), max([*rates, *ends]), 3)
    base = axis.TOP + axis.AREA

    def y(value: float) -> float:
        return base - axis.AREA * (value - ticks[0]) / (ticks[-1] - ticks[0])

    step = (100 - axis.LEFT - 6) / (len(known) - 1)
    dots = [
        axis.Dot(
            x=axis.LEFT + 2 + step * index,
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
        height=base + axis.FOOT,
        ticks=[axis.Tick(y(tick), percent(tick, digits)) for tick in ticks],
        labels=[
            axis.Tick(
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
        axis.Dot(x=3 + step * index, y=y(value))
        for index, value in enumerate(values)
        if value is not None
    ]
    return Lines(dots, height, threshold=y(1.0))
