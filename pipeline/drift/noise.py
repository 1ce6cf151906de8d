"""How far two samples lie apart when nothing has changed, and the thresholds that follow.

Two sources of noise. *Chance*: rows are dealt to both sides at random (a permutation test, exact
if rows are exchangeable), all features together, so that what depends on each other stays so.
*Spans*: even quiet months differ by more than chance; how much more is seen in quiet spans, each
compared with those before it, as the gate compares.

Thresholds hold for all features and measures together. For chance by the single-step maxT
procedure of Westfall & Young (Resampling-Based Multiple Testing, 1993): the alarm level is a
quantile of the largest of all standardised distances. For spans by Šidák's correction over the
features, in a Student-t predictive bound for one more span.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from pipeline.drift.bins import Array, Binned
from pipeline.drift.columns import Type
from pipeline.drift.measures import FLOORS, measure

#: Feature and measure.
Test = tuple[str, str]
Distances = Mapping[Test, Array]

CORRECTION = (
    "Westfall & Young's maxT over all features and measures (chance), Šidák over the features "
    "(differences between quiet spans)"
)


def distances(kind: Type, feature: str, reference: Array, current: Array) -> dict[Test, Array]:
    """Every measure of a feature, from counts; leading dimensions as in `measures`."""
    return {(feature, name): one for name, one in measure(kind, reference, current).items()}


def permuted(
    features: Sequence[Binned], current_rows: int, *, replicates: int, seed: int
) -> dict[Test, Array]:
    """Distances when it is left to chance which rows are the current ones.

    Args:
        features: binned rows, in the same order for all features.
        current_rows: rows that are current.
        replicates: how often rows are dealt.
        seed: of the dealing.

    Returns:
        Feature and measure → distances [replicates].
    """
    random = np.random.default_rng(seed)
    rows = max((len(feature.codes) for feature in features if feature.by_row), default=0)
    drawn = [np.empty((replicates, len(feature.labels)), np.int64) for feature in features]
    for replicate in range(replicates):
        chosen = random.permutation(rows)[:current_rows]
        for feature, counts in zip(features, drawn, strict=True):
            if feature.by_row:
                codes = feature.codes[chosen]
            else:  # words: as many as so many rows have, whichever they come from
                count = round(len(feature.codes) * current_rows / max(rows, 1))
                codes = random.choice(feature.codes, count, replace=False)
            counts[replicate] = np.bincount(codes, minlength=counts.shape[1])
    made: dict[Test, Array] = {}
    for feature, counts in zip(features, drawn, strict=True):
        total = np.bincount(feature.codes, minlength=counts.shape[1])
        made |= distances(feature.type, feature.name, total - counts, counts)
    return made


def dealt(features: Sequence[Binned], *, replicates: int, seed: int) -> dict[Test, Array]:
    """The same where rows of different features do not belong together, as those of a profile.

    Args:
        features: binned; the last part is the current one.
        replicates: how often rows are dealt.
        seed: of the dealing.

    Returns:
        Feature and measure → distances [replicates].
    """
    random = np.random.default_rng(seed)
    made: dict[Test, Array] = {}
    for feature in features:
        total = np.bincount(feature.codes, minlength=len(feature.labels))
        counts = random.multivariate_hypergeometric(total, feature.sizes[-1], size=replicates)
        made |= distances(feature.type, feature.name, total - counts, counts)
    return made


def by_chance(null: Distances, false_alarms: int) -> dict[Test, float]:
    """Thresholds that chance alone passes in one of so many comparisons, all tests together.

    Args:
        null: distances of comparisons without a change, by test; all of the same dealings.
        false_alarms: comparisons of which one may alarm.
    """
    if not null:
        return {}
    tests = list(null)
    values = np.stack([null[test] for test in tests])
    middle = np.median(values, axis=1, keepdims=True)
    spread = np.quantile(values, 0.95, axis=1, keepdims=True) - middle
    moving = spread > 0
    standard = np.where(moving, (values - middle) / np.where(moving, spread, 1), 0)
    level = np.quantile(standard.max(axis=0), 1 - 1 / false_alarms)
    bounds = (middle + level * spread)[:, 0]
    return {
        test: max(float(bound), FLOORS.get(test[1], 0.0))
        for test, bound in zip(tests, bounds, strict=True)
    }


def with_spans(
    chance: Mapping[Test, float],
    null: Distances,
    seen: Mapping[Test, Sequence[float]],
    false_alarms: int,
    *,
    times_furthest: float = np.inf,
) -> dict[Test, float]:
    """Thresholds that also allow for what quiet spans differ by beyond chance.

    The square of a shift is what chance adds and what spans add; the second is the mean square
    seen minus the mean square by chance, where the excess is itself more than chance explains.

    Args:
        chance: thresholds of `by_chance`.
        null: distances without a change, by test.
        seen: distances of quiet spans from those before them, by test.
        false_alarms: spans of which one may alarm.
        times_furthest: the bound allows for so many times the furthest span at most: a season's
            spans are not normal, and none lies far beyond the others.
    """
    features = len({feature for feature, _ in chance})
    level = 1 - (1 - 1 / false_alarms) ** (1 / max(features, 1))
    random = np.random.default_rng(0)
    bounds = dict(chance)
    for test, threshold in chance.items():
        measured = np.asarray(seen.get(test, ()))
        if len(measured) < 2:
            continue
        power = _power(test)
        square, expected = float(np.mean(measured**power)), float(np.mean(null[test] ** power))
        means = (random.choice(null[test], (1000, len(measured))) ** power).mean(axis=1)
        if square <= np.quantile(means, 0.95):
            continue
        reach = stats.t.ppf(1 - level / 2, len(measured) - 1) * np.sqrt(1 + 1 / len(measured))
        furthest = times_furthest * measured.max() ** (power / 2) / np.sqrt(square)
        bound = threshold**power + min(float(reach), float(furthest)) ** 2 * (square - expected)
        bounds[test] = float(bound ** (1 / power))
    return bounds


def _power(test: Test) -> int:
    """To which a distance grows as the square of a shift: divergences do so already."""
    return 1 if test[1] in ("psi", "jensen_shannon") else 2


def without_outliers(
    seen: Mapping[Test, Sequence[float]],
) -> tuple[dict[Test, list[float]], dict[Test, list[int]]]:
    """Quiet spans' distances without those that are not quiet.

    A span whose distance is far above the others' (more than six scaled median deviations above
    the median, Iglewicz & Hoaglin 1993) is what an alarm is for; it must not raise the threshold.

    Returns:
        The distances that are left, and the positions of those that were left out, by test.
    """
    kept: dict[Test, list[float]] = {}
    out: dict[Test, list[int]] = {}
    for test, values in seen.items():
        # As a shift, whose noise is nearly normal.
        array, floor = np.asarray(values), FLOORS.get(test[1], 0.0)
        if _power(test) == 1:
            array, floor = np.sqrt(array), floor**0.5
        middle = np.median(array) if len(array) else 0.0
        deviation = stats.median_abs_deviation(array, scale="normal") if len(array) else 0.0
        limit = middle + 6 * max(float(deviation), floor / 3)
        kept[test] = [v for v, amount in zip(values, array, strict=True) if amount <= limit]
        if left := [position for position, value in enumerate(array) if value > limit]:
            out[test] = left
    return kept, out
