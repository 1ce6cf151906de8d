"""What charts share: margins, ticks, points."""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Pixels above the area where values are drawn, its height, and those below it for labels.
TOP, AREA, FOOT = 16.0, 120.0, 20.0
#: Per cent of the width left of it, for ticks, and right of it.
LEFT, RIGHT = 11.0, 1.0


@dataclass(frozen=True)
class Tick:
    """A line across or a mark below, with its text."""

    at: float
    text: str
    anchor: str = "middle"


@dataclass(frozen=True)
class Dot:
    """A point, and the interval around it (y of its ends)."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""


def nice_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers from at most `low` to at least `high`, in steps of 1, 2 or 5 times 10ⁿ."""
    if not high > low:
        high = low + (abs(low) or 1.0)
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]
