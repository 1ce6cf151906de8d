"""Made-up spans whose noise is known."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.config import Features, features_from_json
from pipeline.config import Config
from pipeline.drift.columns import Column, columns
from pipeline.drift.compare import compare, thresholds, together
from pipeline.drift.report import Calibration, Comparison, Side

FEATURES: Features = features_from_json(
    '{"amount": {"kind": "numeric"}, "count": {"kind": "numeric"},'
    ' "place": {"kind": "high_cardinality", "type": "int"}, "flag": {"kind": "categorical"},'
    ' "at": {"kind": "timestamp", "parts": ["hour", "weekday"]}}'
)
DAY = 86_400


def span(
    rows: int,
    random: np.random.Generator,
    *,
    between: float = 0.0,
    change: Callable[[dict[str, Any]], None] | None = None,
) -> pa.Table:
    """Rows of one span.

    Args:
        rows: how many.
        random: where they come from.
        between: how much spans differ from each other, beyond chance.
        change: is shown the columns, to spoil them.
    """
    lift = between * random.standard_normal(3)
    places = np.arange(1, 41)
    weights = 1 / places ** (1 + 0.3 * lift[0])
    made: dict[str, Any] = {
        "amount": np.exp(1 + 0.1 * lift[1] + 0.5 * random.standard_normal(rows)).round(2),
        "count": random.choice([1.0, 2.0, 3.0, 5.0], rows, p=[0.7, 0.15, 0.1, 0.05]),
        "place": random.choice(places, rows, p=weights / weights.sum()),
        "flag": np.where(random.random(rows) < 0.2 * np.exp(0.2 * lift[2]), "Y", "N"),
        "at": (DAY * random.integers(0, 28, rows) + random.normal(50_000, 9_000, rows)).astype(int),
        "label": (random.random(rows) < 0.4).astype(int),
    }
    made["amount"] = np.where(random.random(rows) < 0.03, np.nan, made["amount"])
    if change:
        change(made)
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in made.items()})


class Ground:
    """Spans made up and compared."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.random = np.random.default_rng(7)

    def columns(self, rows: int, **options: Any) -> list[Column]:
        return columns(span(rows, self.random, **options), FEATURES, "label")

    def compare(
        self,
        window: Sequence[Sequence[Column]],
        newest: Sequence[Column],
        measured: Calibration | None = None,
        known_after: int | None = None,
    ) -> Comparison:
        features = together(window, [newest])
        bounds = thresholds(
            features,
            measured.thresholds if measured else {},
            {},
            current_rows=len(newest[0].values),
            false_alarms=self.config.drift.false_alarms,
        )
        sides = (Side(label="window", rows=1, sampled=1), Side(label="newest", rows=1, sampled=1))
        return compare("drift", sides, features, bounds, known_after)


def alarms(comparison: Comparison) -> list[str]:
    """Features that are too far."""
    return [one.feature for one in comparison.features if any(m.alarms for m in one.measures)]


@pytest.fixture(name="alarms")
def _alarms() -> Callable[[Comparison], list[str]]:
    return alarms


@pytest.fixture
def ground(bench: Any) -> Ground:
    return Ground(bench.config())
