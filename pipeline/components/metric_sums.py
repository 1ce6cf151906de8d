"""What is added up over the rows of a slice; every metric and its standard error follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

#: Keras keeps probabilities this far from 0 and 1 before it takes a logarithm.
EPSILON = 1e-7

#: Predictions are told apart as finely as TFMA's AUC does by default.
BINS = 10_000

#: How finely a pair of predictions is told apart: it bounds the memory of a slice.
PAIR_BINS = 200


@dataclass(slots=True)
class Sums:
    """Sums over the rows of a slice.

    Attributes:
        rows, labels, predictions, losses: each summed.
        squares, losses_squared: of predictions and losses.
        hits: prediction * label.
        bins: bin of the prediction → rows, positive rows.
        other: the champion's, if this is a candidate and there is one.
        products: prediction * the champion's prediction.
        changes_squared: square of the loss's change.
        joint: bins of both predictions → rows, positive rows.
    """

    rows: int = 0
    labels: float = 0.0
    predictions: float = 0.0
    losses: float = 0.0
    squares: float = 0.0
    losses_squared: float = 0.0
    hits: float = 0.0
    bins: dict[int, tuple[int, float]] = field(default_factory=dict)
    other: Sums | None = None
    products: float = 0.0
    changes_squared: float = 0.0
    joint: dict[tuple[int, int], tuple[int, float]] = field(default_factory=dict)

    def add_row(self, label: float, prediction: float) -> None:
        """Takes a row that one model has predicted."""
        _, inside = self._add(label, prediction)
        _count(self.bins, int(inside * BINS), 1, label)

    def _add(self, label: float, prediction: float) -> tuple[float, float]:
        """Adds up; returns the row's loss, and the prediction as the loss takes it."""
        inside = min(max(prediction, EPSILON), 1 - EPSILON)
        loss = -label * math.log(inside) - (1 - label) * math.log1p(-inside)
        self.rows += 1
        self.labels += label
        self.predictions += prediction
        self.squares += prediction * prediction
        self.hits += prediction * label
        self.losses += loss
        self.losses_squared += loss * loss
        return loss, inside

    def add_pair(self, label: float, prediction: float, other: float) -> None:
        """Takes a row that two models have predicted."""
        if self.other is None:
            self.other = Sums()
        loss, inside = self._add(label, prediction)
        other_loss, other_inside = self.other._add(label, other)
        _count(self.bins, int(inside * BINS), 1, label)
        self.products += prediction * other
        self.changes_squared += (loss - other_loss) ** 2
        bins = int(inside * PAIR_BINS), int(other_inside * PAIR_BINS)
        _count(self.joint, bins, 1, label)

    def merge(self, part: Sums) -> None:
        """Takes the rows of another."""
        self.rows += part.rows
        self.labels += part.labels
        self.predictions += part.predictions
        self.losses += part.losses
        self.squares += part.squares
        self.losses_squared += part.losses_squared
        self.hits += part.hits
        self.products += part.products
        self.changes_squared += part.changes_squared
        for index, (rows, positive) in part.bins.items():
            _count(self.bins, index, rows, positive)
        for pair, (rows, positive) in part.joint.items():
            _count(self.joint, pair, rows, positive)
        if part.other is not None:
            if self.other is None:
                self.other = Sums()
            self.other.merge(part.other)


def _count(bins: dict[Any, tuple[int, float]], index: Any, rows: int, positive: float) -> None:
    before = bins.get(index, (0, 0.0))
    bins[index] = before[0] + rows, before[1] + positive
