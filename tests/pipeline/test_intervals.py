"""Standard errors against resampling, and against their definitions written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from pipeline import intervals
from pipeline.intervals import Interval

ROWS = 1500
BINS = 200


def _rows(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels and two models' predictions that have much in common; whole bins."""
    random = np.random.default_rng(seed)
    truth = random.normal(size=ROWS)
    label = (random.random(ROWS) < 1 / (1 + np.exp(-truth))).astype(float)

    def model(noise: float) -> np.ndarray:
        score = 1 / (1 + np.exp(-(truth + random.normal(size=ROWS) * noise)))
        return (np.floor(score * BINS) + 0.5) / BINS

    return label, model(0.3), model(0.6)


def _auc(label: np.ndarray, prediction: np.ndarray) -> float:
    higher = np.subtract.outer(prediction[label == 1], prediction[label == 0])
    return float((higher > 0).mean() + (higher == 0).mean() / 2)


def _joint(label: np.ndarray, one: np.ndarray, other: np.ndarray) -> dict:
    pairs = list(zip((one * BINS).astype(int), (other * BINS).astype(int), strict=True))
    rows, positives = Counter(pairs), Counter()
    for pair, value in zip(pairs, label, strict=True):
        positives[pair] += value
    return {pair: (count, positives[pair]) for pair, count in rows.items()}


def _calibration(label: np.ndarray, prediction: np.ndarray) -> float:
    return abs(float(prediction.mean() / label.mean()) - 1)


def _bootstrap(statistic) -> float:
    """Standard deviation over 400 resamples of the rows."""
    random = np.random.default_rng(1)
    return float(np.std([statistic(random.integers(0, ROWS, ROWS)) for _ in range(400)]))


def test_the_auc_errors_agree_with_the_bootstrap_and_a_paired_change_is_known_better() -> None:
    label, one, other = _rows()
    joint = _joint(label, one, other)
    single = intervals.error_of_auc(
        {bin_: counts[0] for bin_, counts in _by_bin(label, one).items()}
    )
    change = intervals.error_of_auc_change(joint)
    assert single == pytest.approx(_bootstrap(lambda at: _auc(label[at], one[at])), rel=0.12)
    resampled = _bootstrap(lambda at: _auc(label[at], one[at]) - _auc(label[at], other[at]))
    assert change == pytest.approx(resampled, rel=0.12)
    assert change < single


def _by_bin(label: np.ndarray, prediction: np.ndarray) -> dict[int, list[tuple[int, float]]]:
    found: dict[int, list[tuple[int, float]]] = {}
    for bin_ in np.unique((prediction * BINS).astype(int)):
        inside = (prediction * BINS).astype(int) == bin_
        found[int(bin_)] = [(int(inside.sum()), float(label[inside].sum()))]
    return found


def test_the_auc_error_is_delongs() -> None:
    """Written out over all pairs, as in the paper."""
    label, one, other = (part[:60] for part in _rows(2))

    def placements(prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        difference = np.subtract.outer(prediction[label == 1], prediction[label == 0])
        above = (difference > 0) + (difference == 0) / 2
        return above.mean(axis=1), above.mean(axis=0)

    (positive, negative), (positive_2, negative_2) = placements(one), placements(other)
    expected = math.sqrt(
        np.var(positive - positive_2, ddof=1) / len(positive)
        + np.var(negative - negative_2, ddof=1) / len(negative)
    )
    assert intervals.error_of_auc_change(_joint(label, one, other)) == pytest.approx(expected)


def test_the_calibration_errors_agree_with_the_bootstrap() -> None:
    label, one, other = _rows(3)
    one, other = one * 0.9, other * 0.8  # both clearly off, in the same direction
    error = intervals.error_of_ratio(
        one.sum(), (one**2).sum(), (one * label).sum(), label.sum(), ROWS
    )
    resampled = _bootstrap(lambda at: one[at].mean() / label[at].mean())
    assert error == pytest.approx(resampled, rel=0.12)
    change = intervals.error_of_calibration_change(
        (one.sum() / label.sum(), other.sum() / label.sum()),
        ((one**2).sum(), (other**2).sum()),
        ((one * label).sum(), (other * label).sum()),
        (one * other).sum(),
        label.sum(),
        ROWS,
    )
    resampled = _bootstrap(
        lambda at: _calibration(label[at], one[at]) - _calibration(label[at], other[at])
    )
    assert change == pytest.approx(resampled, rel=0.12)
    assert change < error


def test_the_error_of_a_mean_is_that_of_the_textbook() -> None:
    values = np.array([1.0, 4.0, 2.0, 8.0])
    error = intervals.error_of_mean(values.sum(), (values**2).sum(), 4)
    assert error == pytest.approx(values.std(ddof=1) / 2)
    assert math.isnan(intervals.error_of_mean(3.0, 9.0, 1))


def test_what_is_undefined_has_no_interval() -> None:
    assert math.isnan(intervals.error_of_auc({1: (10, 10.0)}))
    assert math.isnan(intervals.error_of_auc({}))
    for positives in (0.0, 9.0):  # none, and too few for the delta method
        assert math.isnan(intervals.error_of_ratio(20.0, 10.0, 5.0, positives, 500))
    assert intervals.error_of_ratio(20.0, 10.0, 5.0, 10.0, 500) > 0
    assert intervals.around(math.nan, 0.1) is None
    assert intervals.around(0.5, math.nan) is None
    assert intervals.wilson(0, 0) is None


def test_intervals_stay_where_the_metric_can_be() -> None:
    assert intervals.of_share(0.99, 0.1) == Interval(0.99 - intervals.Z * 0.1, 1.0)
    across = intervals.of_calibration(1.01, 0.02)
    assert across is not None and across.low == 0 and across.high == pytest.approx(0.0492, abs=1e-4)
    apart = intervals.of_calibration(0.9, 0.02)
    assert apart is not None
    assert (apart.low, apart.high) == pytest.approx((0.0608, 0.1392), abs=1e-4)


def test_wilsons_interval_is_the_published_one() -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I."""
    for positives, rows, low, high in ((81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611)):
        found = intervals.wilson(positives, rows)
        assert found is not None
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
