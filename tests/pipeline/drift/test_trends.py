"""Calibration over a trend: what trends is compared at the newest span's level."""

import datetime as dt
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.config import features_from_json
from pipeline.drift import compare, notes, trends
from pipeline.drift.calibrate import calibrate
from pipeline.drift.columns import Column, columns
from pipeline.drift.measures import RANGES
from pipeline.drift.report import Calibration, Side

ROWS, SPANS = 600, 20
FEATURES = features_from_json(
    '{"price": {"kind": "numeric"}, "counter": {"kind": "numeric"}, "steady": {"kind": "numeric"},'
    ' "month": {"kind": "categorical"}}'
)
SIDES = (Side(label="window", rows=1, sampled=1), Side(label="newest", rows=1, sampled=1))


def span(number: int, random: np.random.Generator, factor: float = 1.0) -> list[Column]:
    noise = 0.01 * random.standard_normal()
    table = pa.table(
        {
            "price": factor * np.exp(2 + 0.1 * number + noise + 0.3 * random.standard_normal(ROWS)),
            "counter": 1000.0 * number + random.integers(0, 1000, ROWS),
            "steady": random.standard_normal(ROWS),
            "month": [str(number)] * ROWS,
        }
    )
    return columns(table, FEATURES, None)


@pytest.fixture(scope="module")
def spans() -> list[list[Column]]:
    random = np.random.default_rng(1)
    return [span(number, random) for number in range(SPANS)]


@pytest.fixture
def measured(ground: Any, spans: list[list[Column]]) -> Calibration:
    labels = [f"{n:02d}" for n in range(SPANS)]
    return calibrate(labels, spans, ground.config, dt.date(2026, 1, 2))


def test_no_threshold_is_beyond_what_a_distance_can_be(measured: Calibration) -> None:
    for by_measure in measured.thresholds.values():
        assert all(bound < RANGES.get(name, np.inf) for name, bound in by_measure.items())
    assert measured.thresholds["price"]["kolmogorov_smirnov"] < 0.3
    assert measured.thresholds["counter"]["kolmogorov_smirnov"] < 0.3
    assert measured.trends["counter"].startswith("+1e+03 a span")
    assert measured.trends["price"].startswith("+0.1")
    assert set(measured.trends) == {"price", "counter"}
    assert measured.restless == ("month",)
    assert set(measured.thresholds["month"]) <= {"missing_rate"}


def test_what_trends_is_quiet_where_its_trend_leads_and_news_elsewhere(
    measured: Calibration, spans: list[list[Column]], alarms: Any
) -> None:
    random = np.random.default_rng(2)

    def told(newest: list[Column]) -> list[str]:
        features = compare.together(spans[-12:], [newest], measured.trending())
        bounds = compare.thresholds(
            features, measured.thresholds, {}, current_rows=ROWS, false_alarms=50
        )
        return list(alarms(compare.compare("drift", SIDES, features, bounds, 3)))

    assert told(span(SPANS, random)) == []
    assert told(span(SPANS, random, factor=1.5)) == ["price"]
    assert told(span(SPANS, random, factor=100)) == ["price"]
    assert "counter" in told(span(SPANS + 3, random)), "three spans ahead of its time"


def test_a_file_of_an_earlier_version_is_read(spans: list[list[Column]], alarms: Any) -> None:
    text = {
        "date": "2026-01-02",
        "spans": ["a"],
        "span_rows": 9,
        "false_alarms": 50,
        "correction": "",
        "thresholds": {"price": {"kolmogorov_smirnov": 2.77}},
        "detectable": {},
    }
    read = Calibration.model_validate_json(json.dumps(text))
    assert read.trending() == {"price": False}
    features = compare.together(spans[4:8], [spans[8]], read.trending())
    bounds = compare.thresholds(features, read.thresholds, {}, current_rows=ROWS, false_alarms=50)
    assert ("price", "kolmogorov_smirnov") not in bounds
    assert "price" not in alarms(compare.compare("drift", SIDES, features, bounds, 3))
    told = [note for note in notes.of_thresholds(features, bounds, read, ROWS) if "price" in note]
    assert len(told) == 1
    assert "beyond what a distance can be" in told[0]
    assert told[0].endswith("Measure them again: headrace drift calibrate")


def test_a_season_and_noise_are_no_trend() -> None:
    random = np.random.default_rng(3)
    season = [np.sin(n / 12 * 2 * np.pi) + random.standard_normal(500) for n in range(12)]
    assert trends.of(season) is None
    noise = [0.1 * random.standard_normal() + random.standard_normal(500) for _ in range(12)]
    assert trends.of(noise) is None
    assert trends.of([np.full(9, np.nan)] * 12) is None
    assert trends.of([np.full(9, 7.0)] * 12) is None


def test_values_are_moved_along_their_trend() -> None:
    factor = trends.of([np.array([1.0, 2.0, 3.0]) * 1.5**n for n in range(6)])
    assert factor is not None and factor.ratio
    assert factor.moved(np.array([2.0]), 2) == pytest.approx([4.5])
    line = trends.of([np.array([-1.0, 0.0, 1.0]) + 10 * n for n in range(6)])
    assert line is not None and not line.ratio
    assert line.moved(np.array([2.0, np.nan]), 3)[0] == pytest.approx(32)
