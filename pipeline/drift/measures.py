"""Distances between two distributions, all behind one interface.

Every measure takes counts by bin (the last bin is `missing`), of the reference and current, with
any number of leading dimensions, and gives a distance that is 0 for equal distributions. Missing
values have a measure of their own; the others look at the values that are there.

TFDV's own: `jensen_shannon` (the divergence to base 2, of numbers) and `l_infinity` (of
categories); on the same histograms they are what `tfdv.validate_statistics` measures, which a test
holds them to. The others: Kolmogorov-Smirnov's statistic on binned values; the population
stability index, sum of (p - q) ln(p / q), with half a row added to each bin; chi-square as
Cramér's V, which does not grow with the number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.spatial import distance
from scipy.stats import contingency

from pipeline.drift.columns import Type

Counts = np.ndarray[Any, Any]
Measure = Callable[[Counts, Counts], np.ndarray[Any, Any]]

#: A shift smaller than this is of no consequence, however sure one can be of it.
FLOORS: Mapping[str, float] = {
    "kolmogorov_smirnov": 0.01,
    "jensen_shannon": 0.001,
    "l_infinity": 0.01,
    "psi": 0.01,
    "chi_square": 0.02,
    "missing_rate": 0.005,
    "unseen_rate": 0.002,
    "label_rate": 0.01,
}

#: No distance can be larger; the population stability index alone has no such end.
RANGES: Mapping[str, float] = dict.fromkeys(set(FLOORS) - {"psi"}, 1.0)


def shares(counts: Counts) -> np.ndarray[Any, Any]:
    """Shares of the bins; zeros where there is no row at all."""
    total = counts.sum(axis=-1, keepdims=True)
    part: np.ndarray[Any, Any] = counts / np.maximum(total, 1)
    return part


def _kolmogorov_smirnov(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    gap = np.cumsum(shares(reference), axis=-1) - np.cumsum(shares(current), axis=-1)
    highest: np.ndarray[Any, Any] = np.abs(gap).max(axis=-1)
    return highest


def _jensen_shannon(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    with np.errstate(invalid="ignore"):  # a side without a row, which `_of_values` passes over
        root = distance.jensenshannon(shares(reference), shares(current), base=2, axis=-1)
    divergence: np.ndarray[Any, Any] = np.nan_to_num(root) ** 2  # scipy gives the square root
    return divergence


def _l_infinity(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    widest: np.ndarray[Any, Any] = np.abs(shares(reference) - shares(current)).max(axis=-1)
    return widest


def _psi(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    p, q = shares(reference + 0.5), shares(current + 0.5)
    index: np.ndarray[Any, Any] = ((p - q) * np.log(p / q)).sum(axis=-1)
    return index


def _cramers_v(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    """sqrt(chi2 / n) of the table of two rows; for many tables at once.

    `scipy.stats.contingency.association` takes one table and no empty column; a test compares.
    """
    both = reference + current
    n = both.sum(axis=-1, keepdims=True)
    chi2 = np.zeros(np.broadcast_shapes(reference.shape, current.shape)[:-1])
    for side in (reference, current):
        expected = both * side.sum(axis=-1, keepdims=True) / np.maximum(n, 1)
        chi2 = chi2 + (((side - expected) ** 2) / np.where(expected > 0, expected, 1)).sum(axis=-1)
    value: np.ndarray[Any, Any] = np.sqrt(chi2 / np.maximum(n[..., 0], 1))
    return value


def _unseen(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    rate: np.ndarray[Any, Any] = np.where(reference == 0, shares(current), 0).sum(axis=-1)
    return rate


def _missing(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
    gap: np.ndarray[Any, Any] = np.abs(shares(reference)[..., -1] - shares(current)[..., -1])
    return gap


def _of_values(measure: Measure) -> Measure:
    """A measure that looks at values only; 0 where one side has none."""

    def measured(reference: Counts, current: Counts) -> np.ndarray[Any, Any]:
        old, new = reference[..., :-1], current[..., :-1]
        both = (old.sum(axis=-1) > 0) & (new.sum(axis=-1) > 0)
        return np.where(both, measure(old, new), 0.0)

    return measured


_NUMERIC: dict[str, Measure] = {
    "kolmogorov_smirnov": _of_values(_kolmogorov_smirnov),
    "jensen_shannon": _of_values(_jensen_shannon),
    "psi": _of_values(_psi),
    "missing_rate": _missing,
}
_CATEGORICAL: dict[str, Measure] = {
    "l_infinity": _of_values(_l_infinity),
    "chi_square": _of_values(_cramers_v),
    "psi": _of_values(_psi),
    "unseen_rate": _of_values(_unseen),
    "missing_rate": _missing,
}
MEASURES: Mapping[Type, Mapping[str, Measure]] = {
    "numeric": _NUMERIC,
    "categorical": _CATEGORICAL,
    "prediction": {name: _NUMERIC[name] for name in ("kolmogorov_smirnov", "jensen_shannon")},
    "label": {"label_rate": _of_values(_l_infinity)},
}


def measure(kind: Type, reference: Counts, current: Counts) -> dict[str, np.ndarray[Any, Any]]:
    """All measures of a type of feature, by name."""
    return {name: one(reference, current) for name, one in MEASURES[kind].items()}


def chance(reference: Counts, current: Counts) -> float:
    """Probability of so uneven a table if both sides were one population (chi-square test)."""
    table = np.stack([reference, current])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] < 2 or not table.sum(axis=1).all():
        return 1.0
    return float(contingency.chi2_contingency(table).pvalue)
