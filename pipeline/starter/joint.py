"""How well all columns together predict the label: a small boosted forest, in numpy.

Columns that give the answer away together (what was due, and what was paid) need not do so alone.
The model is no more than a look: some thousand rows, cut into bins, trees of three questions
(Friedman, "Greedy function approximation: a gradient boosting machine", 2001).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from pipeline.starter import leaks

_ROWS, _COLUMNS = 9_000, 40
_ROUNDS, _DEPTH, _RATE, _BINS = 60, 3, 0.25, 66
#: Added to a leaf's curvature, so that a leaf of few rows says little.
_SHRINK = 3.0


@dataclass(frozen=True)
class Together:
    """What columns do together.

    Attributes:
        auc: on rows that were not fitted on.
        columns: those that do most of it, most important first.
    """

    auc: float
    columns: tuple[str, ...]


def together(
    rows: pa.Table, label: np.ndarray, held_out: np.ndarray, names: Sequence[str]
) -> Together | None:
    """Fits a small model on the columns `names`; None where rows of a class are too few.

    Args:
        rows: a column each.
        label: 0 or 1, [rows].
        held_out: true for the rows the figure is of, [rows].
        names: of columns, the strongest first; so many of them are taken.
    """
    names = list(names)[:_COLUMNS]
    kept = np.random.default_rng(0).permutation(len(label))[:_ROWS]
    label, held_out, rows = label[kept], held_out[kept], rows.select(names).take(pa.array(kept))
    counts = [np.sum(label[mask] == value) for mask in (held_out, ~held_out) for value in (0, 1)]
    if len(names) < 2 or min(counts) < leaks.FEWEST:
        return None
    bins = np.stack([_ordered(rows.column(n), label, ~held_out) for n in names], axis=1)
    score, gains = _boosted(bins, label.astype(float), ~held_out)
    order = np.argsort(-gains)
    most = 1 + int(np.searchsorted(np.cumsum(gains[order]), 0.9 * gains.sum()))
    return Together(
        leaks.auc(score[held_out], label[held_out]),
        tuple(names[at] for at in order[: min(most, 5)]),
    )


def _ordered(column: pa.ChunkedArray, label: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Bins in an order that a threshold can cut: of texts by their share of the label."""
    bins = leaks.bins(column)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        means = leaks.score(bins, label, fitted)
        edges = np.unique(np.quantile(means, np.linspace(0, 1, _BINS - 2)[1:-1]))
        bins = np.searchsorted(edges, means, side="right")
    return np.asarray(np.minimum(bins, _BINS - 1))


def _boosted(
    bins: np.ndarray, label: np.ndarray, fitted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Scores of all rows, and the gain of each column."""
    score = np.zeros(len(label))
    gains = np.zeros(bins.shape[1])
    for _ in range(_ROUNDS):
        chance = 1 / (1 + np.exp(-score))
        slope, curve = label - chance, chance * (1 - chance)
        leaf = np.zeros(len(label), np.int64)
        for _ in range(_DEPTH):
            leaf = _split(bins, leaf, np.where(fitted, slope, 0), np.where(fitted, curve, 0), gains)
        size = int(leaf.max()) + 1
        top = np.bincount(leaf[fitted], slope[fitted], size)
        bottom = np.bincount(leaf[fitted], curve[fitted], size)
        score = score + _RATE * (top / (bottom + _SHRINK))[leaf]
    return score, gains


def _split(
    bins: np.ndarray, leaf: np.ndarray, slope: np.ndarray, curve: np.ndarray, gains: np.ndarray
) -> np.ndarray:
    """Cuts each leaf in two where that explains most; adds what it explains to `gains`."""
    leaves, columns = int(leaf.max()) + 1, bins.shape[1]
    place = (leaf[:, None] * columns + np.arange(columns)) * _BINS + bins
    shape = (leaves, columns, _BINS)
    size = leaves * columns * _BINS
    tops = np.bincount(place.ravel(), np.repeat(slope, columns), size).reshape(shape).cumsum(2)
    bottoms = np.bincount(place.ravel(), np.repeat(curve, columns), size).reshape(shape).cumsum(2)
    all_top, all_bottom = tops[:, :, -1:], bottoms[:, :, -1:]
    gain = (
        tops**2 / (bottoms + _SHRINK)
        + (all_top - tops) ** 2 / (all_bottom - bottoms + _SHRINK)
        - all_top**2 / (all_bottom + _SHRINK)
    ).reshape(leaves, -1)
    best = gain.argmax(1)
    column, cut = best // _BINS, best % _BINS
    np.add.at(gains, column, np.maximum(gain[np.arange(leaves), best], 0))
    right = bins[np.arange(len(leaf)), column[leaf]] > cut[leaf]
    return np.asarray(2 * leaf + right)
