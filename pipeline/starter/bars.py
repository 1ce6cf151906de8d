"""Figures that depend on how many rows there are: evaluation bars and length of training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.starter.draft import Line, down, up


@dataclass(frozen=True)
class FirstBars:
    """Bars that a first model can be held to.

    Attributes:
        bars: `evaluation.bars`.
        change: `evaluation.change`, or nothing where the defaults fit.
        why: of the bars.
    """

    bars: dict[str, float]
    change: dict[str, float]
    why: str


def first_bars(held: np.ndarray, rest: np.ndarray, scores: Mapping[str, float]) -> FirstBars:
    """Bars from base rates, the best single column, and what so few rows can tell.

    A model must beat a guess that knows the base rate only. Each bar is let down by two standard
    errors of the figure on that many rows: of AUC under no effect (Mann–Whitney), of the mean
    log loss, of the label's mean.

    Args:
        held: labels evaluated on; both classes.
        rest: labels trained on.
        scores: AUC of each column alone.
    """
    count, rate, known = len(held), float(held.mean()), float(np.clip(rest.mean(), 1e-6, 1 - 1e-6))
    ones, zeros = count * rate, count * (1 - rate)
    chance = math.sqrt((count + 1) / (12 * ones * zeros))
    best = max(scores, key=lambda name: scores[name]) if scores else None
    floor = min(0.5 + 2 * chance, 0.6)
    auc = max(floor, scores[best] - 0.03 - 2 * chance) if best else floor
    guess = -(rate * math.log(known) + (1 - rate) * math.log(1 - known))
    wobble = abs(math.log(known / (1 - known))) * math.sqrt(rate * (1 - rate) / count)
    noise = math.sqrt((1 - rate) / ones)
    moved = abs(known / rate - 1)
    bars = {
        "auc_min": max(0.5, down(auc)),
        "log_loss_max": up(guess + 2 * wobble),
        "calibration_max": min(0.5, up(max(0.1, moved + 2 * noise))),
    }
    why = f"better than always saying {known:.1%} (log loss {guess:.3f})"
    if best and auc > floor:
        why += f"; {best} alone has AUC {scores[best]:.3f}"
    change = {}
    if count < 20_000:
        change = {
            "auc_drop_max": max(0.005, round(chance / 2, 3)),
            "log_loss_rise_max": max(0.005, round(guess * noise / 4, 3)),
            "calibration_rise_max": up(max(0.05, noise)),
        }
    return FirstBars(bars, change, why)


def training_lines(rows: int) -> list[Line]:
    """Steps enough for a small table; the defaults are measured on a hundred thousand rows."""
    if rows >= 60_000:
        return []
    batch = 2 ** round(math.log2(min(512, max(16, rows / 60))))
    epochs = min(40, max(5, math.ceil(900 * batch / max(1, rows))))
    lines = [
        Line("batch_size", batch, f"{rows:,} rows: {math.ceil(rows / batch)} steps a pass"),
        Line("epochs", epochs),
    ]
    if rows < 10_000:
        lines.append(Line("holdout", 0.15, "enough rows to see when to stop"))
    return lines
