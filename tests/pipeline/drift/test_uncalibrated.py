"""Before calibration: seasons, trends and the noise between months are no news, a break is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import features_from_json
from pipeline.config import DriftConfig
from pipeline.drift import compare, notes, seasons, words
from pipeline.drift.columns import Column, columns
from pipeline.drift.comparisons import Comparing, Comparisons
from pipeline.drift.measures import RANGES
from pipeline.drift.report import Side
from pipeline.ingest.summary import Ingested, SpanRows

ROWS, SPANS = 1_000, 27
FEATURES = features_from_json(
    '{"price": {"kind": "numeric"}, "minutes": {"kind": "numeric"}, "rate": {"kind": "numeric"},'
    ' "region": {"kind": "categorical"}, "plan": {"kind": "categorical"},'
    ' "status": {"kind": "categorical"}}'
)
SIDES = (Side(label="window", rows=1, sampled=1), Side(label="newest", rows=1, sampled=1))
Change = Callable[[dict[str, Any]], None]


def month(number: int, random: np.random.Generator, change: Change | None = None) -> list[Column]:
    """A month of a table with a season, a trend and noise between months in every column."""
    season, december = np.sin(2 * np.pi * number / 12), number % 12 == 11
    noise = random.standard_normal(6)

    def chosen(weights: list[float]) -> Any:
        shares = np.maximum(weights, 0.01) / np.maximum(weights, 0.01).sum()
        return random.choice([f"v{n}" for n in range(len(weights))], ROWS, p=shares)

    moved = 0.005 * number
    made: dict[str, Any] = {
        "price": np.exp(3 + 0.015 * number + 0.01 * noise[0] + 0.4 * random.standard_normal(ROWS)),
        "minutes": 12 + 2 * season + 0.3 * noise[1] + 5 * random.standard_normal(ROWS),
        "rate": 1 + 0.02 * number + 0.02 * noise[2] + 0.2 * random.standard_normal(ROWS),
        "region": chosen([0.4 + 0.03 * season, 0.3, 0.2 + 0.01 * noise[3], 0.1]),
        "plan": chosen([0.6 - moved, 0.3 + moved, 0.1 + 0.005 * noise[4]]),
        "status": chosen([0.8, 0.15 + 0.01 * noise[5], 0.05 + 0.12 * december]),
        "label": (random.random(ROWS) < 0.3 + 0.02 * season).astype(int),
    }
    if change:
        change(made)
    table = pa.table({name: pa.array(values) for name, values in made.items()})
    return columns(table, FEATURES, "label")


def compared(window: list[list[Column]], newest: list[Column]) -> Any:
    features = compare.together(window, [newest], {})
    bounds = compare.thresholds(features, {}, {}, current_rows=ROWS, false_alarms=50)
    season = [len(window) - 12] if len(window) >= 12 else []
    return compare.compare("drift", SIDES, features, bounds, 3, season)


@pytest.mark.parametrize("size", [3, 6, 12])
def test_months_with_seasons_and_trends_pass(alarms: Any, size: int) -> None:
    random = np.random.default_rng(3)
    months = [month(number, random) for number in range(SPANS)]
    told = [alarms(compared(months[n - size : n], months[n])) for n in range(12, SPANS)]
    assert sum(map(bool, told)) <= 1, told


@pytest.mark.parametrize("size", [6, 12])
def test_a_list_that_grows_every_month_is_no_news_until_it_grows_faster(
    alarms: Any, size: int
) -> None:
    features = features_from_json('{"company": {"kind": "high_cardinality"}}')
    random = np.random.default_rng(8)

    def grown(number: int, fresh: float) -> list[Column]:
        old = random.integers(0, 30 + 2 * number, ROWS)
        new = 1_000 * (1 + number) + random.integers(0, 4, ROWS)
        names = np.where(random.random(ROWS) < fresh, new, old)
        return columns(pa.table({"company": [f"c{name}" for name in names]}), features, None)

    months = [grown(number, 0.03) for number in range(24)]
    told = [alarms(compared(months[n - size : n], months[n])) for n in range(14, 24)]
    assert sum(map(bool, told)) <= 1, told
    assert alarms(compared(months[-size:], grown(24, 0.25))) == ["company"]


def renamed(made: dict[str, Any], name: str) -> None:
    random = np.random.default_rng(1)
    share = 0.11 / float(np.mean(made[name] == "v0"))
    made[name] = np.where((made[name] == "v0") & (random.random(ROWS) < share), "v1", made[name])


BREAKS: dict[str, tuple[str, Change]] = {
    "a unit": ("minutes", lambda made: made.update(minutes=made["minutes"] * 100)),
    "a unit of what trends": ("price", lambda made: made.update(price=made["price"] * 100)),
    "a surcharge on what trends": ("rate", lambda made: made.update(rate=made["rate"] + 0.5)),
    "a category of 11 points": ("region", lambda made: renamed(made, "region")),
    "a category that trends, of 11 points": ("plan", lambda made: renamed(made, "plan")),
    "a new value": (
        "status",
        lambda made: made.update(status=np.where(np.arange(ROWS) % 20, made["status"], "new")),
    ),
    "missing": (
        "minutes",
        lambda made: made.update(minutes=np.where(np.arange(ROWS) % 20, made["minutes"], np.nan)),
    ),
}


@pytest.mark.parametrize("case", BREAKS)
def test_a_break_is_found_among_them(alarms: Any, case: str) -> None:
    name, change = BREAKS[case]
    random = np.random.default_rng(4)
    months = [month(number, random) for number in range(2, 14)]
    assert alarms(compared(months, month(14, random, change)))[0] == name


def test_few_spans_tell_large_shifts_and_say_once_what_to_run(alarms: Any) -> None:
    random = np.random.default_rng(5)
    months = [month(number, random) for number in range(3)]
    for case in ("a unit", "a category of 11 points", "a new value", "missing"):
        name, change = BREAKS[case]
        assert name in alarms(compared(months, month(3, random, change))), case
    assert "3 span(s) do not tell what is usual" in notes.uncalibrated(3)
    assert "run headrace drift calibrate --spans" in notes.uncalibrated(3)
    assert notes.uncalibrated(6) == ""


@pytest.mark.parametrize("spans", [3, 12])
def test_a_run_says_once_what_its_thresholds_rest_on(spans: int) -> None:
    random = np.random.default_rng(9)
    labels = [f"2024-{number:02d}" for number in range(1, spans + 1)] + ["2025-01"]
    rows = {}
    for number, label in enumerate(labels):
        split = "eval" if label == labels[-1] else "train"
        price = np.exp(3 + 0.05 * number + 0.3 * random.standard_normal(ROWS))
        made = {"price": price, "label": (random.random(ROWS) < 0.3).astype(int)}
        rows[split, label] = pa.table(made)
    counts = {"train": spans * ROWS, "eval": ROWS}
    each = {label: SpanRows(ROWS, 0, {}, {}) for label in labels}
    told = Comparisons(
        Comparing(
            drift=DriftConfig(), label="label", calibration_max=0.1, pattern="{span:%Y-%m}.csv"
        ),
        features_from_json('{"price": {"kind": "numeric"}}'),
        None,
        schema_pb2.Schema(),
        Ingested("", counts, counts, each, {}),
        rows,
    ).report(None)
    assert list(words.findings(told)) == []
    assert bool(told.uncalibrated) == (spans == 3)
    assert len(told.history) == spans + 1
    assert told.history[-1].excess["price"] < 1
    if spans == 12:
        assert "what the window's 12 spans differ by" in told.notes[0]
        assert "price trends, by +0.05" in told.notes[1]


def test_a_column_that_is_the_span_itself_is_told_and_not_judged(alarms: Any) -> None:
    features = features_from_json(
        '{"month": {"kind": "categorical"}, "days": {"kind": "numeric"}, "y": {"kind": "numeric"}}'
    )
    random = np.random.default_rng(6)
    spans = [
        columns(
            pa.table(
                {
                    "month": [f"2024-{number:02d}"] * ROWS,
                    "days": 730_000.0 + 30 * number + random.integers(0, 30, ROWS),
                    "y": random.standard_normal(ROWS),
                }
            ),
            features,
            None,
        )
        for number in range(8)
    ]
    binned = compare.together(spans[:-1], spans[-1:], {})
    bounds = compare.thresholds(binned, {}, {}, current_rows=ROWS, false_alarms=50)
    assert all(bound < RANGES.get(test[1], np.inf) for test, bound in bounds.items())
    comparison = compare.compare("drift", SIDES, binned, bounds, 3)
    assert alarms(comparison) == []
    told = " ".join(notes.of_thresholds(binned, bounds, None, ROWS))
    assert "month: differ from span to span" in told
    assert 'kind = "ignore"' in told
    assert "days trends, by +30 a span" in told


@pytest.mark.parametrize("size", [2, 3, 11, 12])
def test_the_month_of_a_monthly_span_is_told_and_not_judged(alarms: Any, size: int) -> None:
    features = features_from_json('{"at": {"kind": "timestamp", "parts": ["month", "hour"]}}')
    random = np.random.default_rng(10)
    starts = [np.datetime64("2023-01") + number for number in range(16)]
    spans = [
        columns(
            pa.table(
                {"at": start.astype("datetime64[s]").astype(int) + random.integers(0, 2e6, ROWS)}
            ),
            features,
            None,
        )
        for start in starts
    ]
    for newest in range(size, 16):
        binned = compare.together(spans[newest - size : newest], [spans[newest]], {})
        bounds = compare.thresholds(binned, {}, {}, current_rows=ROWS, false_alarms=50)
        assert alarms(compare.compare("drift", SIDES, binned, bounds, 3)) == []
        assert compare.restless(["at.month", "at.hour"], bounds) == ["at.month"]


def test_a_threshold_that_no_distance_can_pass_is_none() -> None:
    """As files of earlier versions may hold it."""
    written = {"kolmogorov_smirnov": 2.77, "psi": 80.0, "missing_rate": 0.1}
    random = np.random.default_rng(7)
    spans = [month(number, random) for number in range(4)]
    features = [
        one for one in compare.together(spans[:-1], spans[-1:]) if one.name in ("price", "region")
    ]
    bounds = compare.thresholds(
        features,
        {"price": written},
        {"region": {"l_infinity": 1.0}},
        current_rows=ROWS,
        false_alarms=50,
    )
    assert [test for test in bounds if test[0] == "price"] == [("price", "missing_rate")]
    assert ("region", "l_infinity") not in bounds
    assert compare.restless(["price"], bounds) == ["price"]


def test_seasons_are_months_weekdays_and_hours() -> None:
    months = [f"2023-{number:02d}" for number in range(1, 13)]
    assert seasons.alike("{span:%Y-%m}.csv", months, "2024-03") == [2]
    days = [f"2024-01-{number:02d}" for number in range(1, 22)]
    assert seasons.alike("{span:%Y-%m-%d}/*.csv", days, "2024-01-22") == [0, 7, 14]
    hours = [f"2024010{day}{hour:02d}" for day in (1, 2) for hour in range(24)]
    assert seasons.alike("{span:%Y%m%d%H}.csv", hours, "2024010305") == [5, 29]
    assert seasons.alike("{span:%Y}.csv", ["2022", "2023"], "2024") == []
    assert seasons.alike("{span}.csv", ["1", "2"], "3") == []
    assert seasons.alike("all.csv", ["all"], "all") == []
