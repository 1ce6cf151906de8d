"""How well each column predicts the label all by itself, on rows it was not fitted on.

A column that needs no company is rarely a good feature and often the answer in other words:
written down when the outcome was known, or computed from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

#: Area under the ROC curve from which a column is taken for the answer in other words, and from
#: which it is worth a look.
SUSPECT, STRONG = 0.98, 0.9
#: Rows of the rarer class that a suspicion takes. By the rule of three, so many rows that are all
#: ranked right show that at most one in fifty is not; fewer show an easy question as well as a
#: leak, and a good feature is not thrown away for it.
EVIDENCE = round(3 / (1 - SUSPECT))
#: Rows looked at, and the fewest held-out rows of either class that a figure may rest on.
_ROWS, FEWEST = 60_000, 10
_BINS = 64
#: Weight of the mean in a bin's estimate, in rows: a bin of one row says little.
_PRIOR = 5.0


def scores(rows: pa.Table, label: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """AUC of each column alone.

    Each column is cut into bins (quantiles of a number, values of anything else, one for
    missing); a row's score is the smoothed label mean of its bin among the fitted rows.

    Args:
        rows: a column each.
        label: 0 or 1, [rows].
        held_out: true for the rows the figures are of, [rows].

    Returns:
        AUC by column; none at all where too few rows of a class are held out.
    """
    if len(label) > _ROWS:
        kept = np.random.default_rng(0).permutation(len(label))[:_ROWS]
        rows, label, held_out = rows.take(pa.array(kept)), label[kept], held_out[kept]
    counts = [np.sum(label[mask] == value) for mask in (held_out, ~held_out) for value in (0, 1)]
    if min(counts) < FEWEST:
        return {}
    return {
        name: auc(score(bins(rows.column(name)), label, ~held_out)[held_out], label[held_out])
        for name in rows.column_names
    }


def auc(scores: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve by the rank sum (Mann–Whitney U), ties counted half."""
    values, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    del values
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positives = int(np.sum(label == 1))
    negatives = len(label) - positives
    above = float(np.sum(ranks[label == 1])) - positives * (positives + 1) / 2
    return above / (positives * negatives)


def bins(column: pa.ChunkedArray) -> np.ndarray:
    """The number of each row's bin, 0 where the value is missing."""
    missing = np.asarray(pc.is_null(column))
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = np.asarray(pc.fill_null(column, 0)).astype(np.float64)
        known = values[~missing]
        if not len(known):
            return np.zeros(len(values), np.int64)
        if len(np.unique(known)) > _BINS:
            edges = np.unique(np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]))
        else:
            edges = np.unique(known)
        found = 1 + np.searchsorted(edges, values, side="right")
    else:
        encoded = column.combine_chunks().dictionary_encode()
        found = 1 + np.asarray(pc.fill_null(encoded.indices, 0)).astype(np.int64)
    return np.where(missing, 0, found)


def score(places: np.ndarray, label: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """The smoothed label mean of each row's bin, among the fitted rows."""
    size = int(places.max()) + 1
    rows = np.bincount(places[fitted], minlength=size)
    positives = np.bincount(places[fitted], weights=label[fitted], minlength=size)
    mean = label[fitted].mean()
    return np.take((positives + _PRIOR * mean) / (rows + _PRIOR), places)


def sums(
    rows: pa.Table, answer: str, suspects: Sequence[str], parts: Sequence[str]
) -> dict[str, str]:
    """Columns that hold `answer` as one part of a sum: total = fare + tolls + tip.

    Such a column alone tells little, but beside the other parts it is the answer.

    Args:
        rows: a column each.
        answer: a number that the label is made of.
        suspects: numbers that may be such a sum.
        parts: other numbers that may be a part of it.

    Returns:
        Name of a suspect → the sum it is, in words.
    """
    names = [*suspects, *(name for name in parts if name not in suspects)]
    matrix = np.stack([_number(rows.column(name)) for name in (answer, *names)], axis=1)
    matrix = matrix[np.all(np.isfinite(matrix), axis=1)][:20_000]
    if len(matrix) < 10 * len(names) + 50:
        return {}
    found = {}
    for index, name in enumerate(suspects, start=1):
        target = matrix[:, index]
        others = [i for i in range(matrix.shape[1]) if i != index]
        inputs = np.c_[matrix[:, others], np.ones(len(matrix))]
        # A few rows that break the sum (a fee, a typing error) must not hide it: fit, keep the
        # nine tenths that fit best, fit again.
        kept = np.ones(len(matrix), bool)
        for _ in range(3):
            solved, *_rest = np.linalg.lstsq(inputs[kept], target[kept], rcond=None)
            wrong = np.abs(inputs @ solved - target)
            kept = wrong <= np.quantile(wrong, 0.9)
        # It gives the answer away if the answer can be had from it, not if it fits well: most of
        # a sum may be other things.
        spread = float(np.std(matrix[kept, 0]))
        if spread and np.quantile(wrong, 0.8) < 0.2 * spread and abs(solved[0] - 1) < 0.05:
            terms = [
                ([answer, *names][i])
                for i, weight in zip(others, solved, strict=False)
                if abs(weight - 1) < 0.3
            ]
            found[name] = " + ".join(terms[:6])
    return found


def _number(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")))
