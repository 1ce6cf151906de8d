"""How far a metric could be off by chance: standard errors from sums, 95 % intervals from those.

Everything follows from sums over the rows, so that no row is looked at twice:

* means (log loss): the normal approximation (Wald).
* calibration, |R - 1| with R = mean prediction / mean label: the delta method for a ratio.
* AUC: DeLong, DeLong and Clarke-Pearson, "Comparing the Areas under Two or More Correlated
  Receiver Operating Characteristic Curves", Biometrics 44 (1988), with equal predictions counted
  half as there. Predictions are in bins; rows of one bin count as equal.

Changes against another model on the same rows are paired: what both models find hard about a row
cancels out, so that a change is known better than either metric.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

#: Of the standard normal distribution: 95 % lie within so many standard deviations.
Z = 1.959963984540054

#: With fewer positive rows the ratio of means is too skewed for the delta method.
FEW = 10

#: Bin of a prediction → rows and positive rows in it.
Bins = Mapping[int, tuple[int, float]]
#: The same for the predictions of two models on the same rows.
JointBins = Mapping[tuple[int, int], tuple[int, float]]


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


def around(value: float, error: float) -> Interval | None:
    """The interval of an estimate with a normal error; None if either is undefined."""
    if not (math.isfinite(value) and math.isfinite(error)):
        return None
    return Interval(value - Z * error, value + Z * error)


def of_share(value: float, error: float) -> Interval | None:
    """The interval of something that lies in [0, 1]."""
    found = around(value, error)
    return found and Interval(max(0.0, found.low), min(1.0, found.high))


def of_calibration(ratio: float, error: float) -> Interval | None:
    """The interval of |ratio - 1|; it reaches down to 0 where that of the ratio spans 1."""
    found = around(ratio, error)
    if found is None:
        return None
    ends = abs(found.low - 1), abs(found.high - 1)
    return Interval(0.0 if found.low <= 1 <= found.high else min(ends), max(ends))


def wilson(positives: float, rows: float) -> Interval | None:
    """Wilson's score interval of a share: sound for few rows and for shares near 0 and 1."""
    if rows <= 0:
        return None
    share, square = positives / rows, Z * Z
    middle = (share + square / (2 * rows)) / (1 + square / rows)
    half = Z / (1 + square / rows) * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def error_of_mean(total: float, squares: float, rows: int) -> float:
    """Standard error of a mean, from the sum of the values and the sum of their squares."""
    if rows < 2:
        return math.nan
    variance = (squares - total * total / rows) / (rows - 1)
    return math.sqrt(max(0.0, variance) / rows)


def error_of_ratio(
    predictions: float, squares: float, hits: float, labels: float, rows: int
) -> float:
    """Standard error of mean prediction / mean label; NaN with fewer than `FEW` positive rows.

    Args:
        predictions: sum of the predictions.
        squares: sum of their squares.
        hits: sum of prediction * label.
        labels: sum of the labels, each 0 or 1.
        rows: number of rows.
    """
    if labels < FEW:
        return math.nan
    ratio = predictions / labels
    # The influence of a row on the ratio is (prediction - ratio * label) / mean label.
    influence = squares - 2 * ratio * hits + ratio * ratio * labels
    return error_of_mean(0.0, influence, rows) / (labels / rows)


def error_of_auc(bins: Bins) -> float:
    """DeLong's standard error of the AUC; NaN where either class has fewer than two rows.

    NaN too where the classes do not overlap: the formula then gives 0, which says nothing.
    """
    return error_of_auc_change({(index, 0): counts for index, counts in bins.items()}) or math.nan


def error_of_auc_change(joint: JointBins) -> float:
    """DeLong's standard error of the difference of two models' AUCs on the same rows."""
    first: dict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    second: dict[int, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
    for (one, other), (rows, positive) in joint.items():
        first[one] = first[one][0] + rows, first[one][1] + positive
        second[other] = second[other][0] + rows, second[other][1] + positive
    of_first, of_second = _placements(first), _placements(second)
    squares = [0.0, 0.0]
    totals = [0.0, 0.0]
    counts = [0.0, 0.0]
    for (one, other), (rows, positive) in joint.items():
        for label, count in enumerate((rows - positive, positive)):
            change = of_first[one][label] - of_second[other][label]
            counts[label] += count
            totals[label] += count * change
            squares[label] += count * change * change
    if min(counts) < 2:
        return math.nan
    return math.hypot(
        *(
            error_of_mean(total, square, round(count))
            for total, square, count in zip(totals, squares, counts, strict=True)
        )
    )


def _placements(bins: Bins) -> dict[int, tuple[float, float]]:
    """By bin: what share of the positives a negative lies below, and of the negatives above."""
    rows = sum(counts[0] for counts in bins.values())
    positives = sum(counts[1] for counts in bins.values())
    negatives = rows - positives
    above, below = positives, 0.0
    found = {}
    for index, (count, positive) in sorted(bins.items()):
        negative = count - positive
        above -= positive
        found[index] = (
            (above + positive / 2) / positives if positives else math.nan,
            (below + negative / 2) / negatives if negatives else math.nan,
        )
        below += negative
    return found


def error_of_calibration_change(
    ratios: tuple[float, float],
    squares: tuple[float, float],
    hits: tuple[float, float],
    products: float,
    labels: float,
    rows: int,
) -> float:
    """Standard error of |R₁ - 1| - |R₂ - 1| on the same rows, by the delta method.

    NaN with fewer than `FEW` positive rows.

    Args:
        ratios: R of either model.
        squares: of either model, as for `error_of_ratio`.
        hits: of either model, likewise.
        products: sum of the product of both models' predictions.
        labels: as for `error_of_ratio`.
        rows: number of rows.
    """
    if labels < FEW or not all(map(math.isfinite, ratios)):
        return math.nan
    one, other = (math.copysign(1.0, ratio - 1) for ratio in ratios)
    slope = one * ratios[0] - other * ratios[1]
    influence = (
        squares[0]
        + squares[1]
        - 2 * one * other * products
        - 2 * slope * (one * hits[0] - other * hits[1])
        + slope * slope * labels
    )
    return error_of_mean(0.0, influence, rows) / (labels / rows)
