"""What a comparison tells of two sets of rows."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from models.config import features_from_json
from pipeline.drift import words
from pipeline.drift.bins import NUMERIC_BINS
from pipeline.drift.columns import columns
from pipeline.drift.compare import history, together
from pipeline.drift.report import Report

ROWS = 1_500


def window(ground: Any, spans: int = 6) -> Any:
    return [ground.columns(ROWS) for _ in range(spans)]


def by_name(comparison: Any) -> dict[str, Any]:
    return {one.feature: one for one in comparison.features}


def test_a_quiet_span_is_quiet_without_calibration(ground: Any, alarms: Any) -> None:
    assert alarms(ground.compare(window(ground), ground.columns(ROWS))) == []


SPOILT: dict[str, tuple[str, Any, str]] = {
    "a unit changed": (
        "amount",
        lambda made: made.update(amount=made["amount"] * 100),
        "'> ",
    ),
    "values went missing": (
        "amount",
        lambda made: made.update(amount=np.where(np.arange(ROWS) % 3, made["amount"], np.nan)),
        "missing in",
    ),
    "a new value": (
        "flag",
        lambda made: made.update(flag=np.where(np.arange(ROWS) % 10, made["flag"], "maybe")),
        "1 value(s) never seen in window: 'maybe' (150)",
    ),
    "a category renamed": (
        "flag",
        lambda made: made.update(flag=np.where(made["flag"] == "N", "no", "Y")),
        "'no' (",
    ),
    "the clock moved": ("at.hour", lambda made: made.update(at=made["at"] + 5 * 3600), "went from"),
    "another label": (
        "label",
        lambda made: made.update(label=1 - made["label"]),
        "change of the label's rate",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_what_has_moved_comes_first_and_is_told(ground: Any, alarms: Any, case: str) -> None:
    name, change, fragment = SPOILT[case]
    comparison = ground.compare(window(ground), ground.columns(ROWS, change=change))
    assert alarms(comparison)[0] == name
    told = [one for one in words.findings(Report(comparisons=(comparison,))) if one.feature == name]
    assert fragment in told[0].message
    assert told[0].kind == ("label" if name == "label" else "drift")
    assert told[0].value is not None and told[0].threshold is not None
    assert told[0].value > told[0].threshold
    assert told[0].worst_bin is not None
    assert by_name(comparison)[name].chance < 1e-6


def test_chance_is_told_of_what_has_not_moved(ground: Any) -> None:
    features = by_name(ground.compare(window(ground), ground.columns(ROWS)))
    assert all(one.chance > 1e-4 for one in features.values())


def test_counts_are_those_of_the_rows(ground: Any) -> None:
    features = by_name(ground.compare(window(ground), ground.columns(ROWS)))
    for feature in features.values():
        assert sum(one.reference for one in feature.bins) == 6 * ROWS
        assert sum(one.current for one in feature.bins) == ROWS
    assert len(features["amount"].bins) <= NUMERIC_BINS + 3
    worst = features["flag"].worst_bin
    (same,) = (one for one in features["flag"].bins if one.label == worst.label)
    assert (worst.reference, worst.current) == (same.reference, same.current)


def test_values_that_arrive_are_named_for_what_they_are(ground: Any) -> None:
    def absent(made: dict[str, Any]) -> None:
        made["amount"] = np.full(ROWS, np.nan)

    old = [ground.columns(ROWS, change=absent) for _ in range(4)]
    comparison = ground.compare(old, ground.columns(ROWS))
    (told,) = words.findings(Report(comparisons=(comparison,)))
    assert told.feature == "amount"
    assert "values arrive: missing in 100.0% of 6,000 rows of window" in told.message
    gone = ground.compare(
        [ground.columns(ROWS) for _ in range(4)], ground.columns(ROWS, change=absent)
    )
    (told,) = words.findings(Report(comparisons=(gone,)))
    assert "values are gone: missing in" in told.message


def test_a_shift_is_news_until_the_window_holds_some_of_it(ground: Any, alarms: Any) -> None:
    def moved(made: dict[str, Any]) -> None:
        made["flag"] = np.where(ground.random.random(ROWS) < 0.6, "Y", "N")

    spans = [ground.columns(ROWS) for _ in range(8)]
    news = []
    for _ in range(5):
        newest = ground.columns(ROWS, change=moved)
        news.append("flag" in alarms(ground.compare(spans[-8:], newest, known_after=3)))
        spans.append(newest)
    assert news == [True, True, True, False, False]


def test_history_compares_each_span_with_those_before_it(ground: Any) -> None:
    def flipped(made: dict[str, Any]) -> None:
        made["label"] = np.ones(ROWS, int)

    spans = [*window(ground, 3), ground.columns(ROWS, change=flipped)]
    features = together(spans)
    bounds = {("label", "label_rate"): 0.05}
    past = history([(name, ROWS) for name in "abcd"], features, bounds)
    assert [one.span for one in past] == list("abcd")
    assert past[0].distances == past[2].distances == {}
    assert past[3].excess["label"] > 1
    assert past[3].label_rate == 1.0
    assert past[0].label_rate == pytest.approx(0.4, abs=0.05)


def test_parts_of_a_moment_are_those_of_the_model(ground: Any) -> None:
    import tensorflow as tf

    from models.timestamps import part

    moments = [0, 951_782_400, 1_583_020_799, -1, 1_709_164_800, None]
    features = features_from_json(
        '{"at": {"kind": "timestamp", "parts": '
        '["hour", "minute_of_day", "weekday", "day_of_month", "month", "year"]}}'
    )
    made = {c.name: c.values for c in columns(pa.table({"at": moments}), features, None)}
    assert len(made) == 6
    for name, values in made.items():
        wanted = part(tf.constant(moments[:-1], tf.int64), name.split(".")[1]).numpy().tolist()
        assert [int(v) for v in values.tolist()[:-1]] == wanted, name
        assert values.tolist()[-1] is None or np.isnan(values.tolist()[-1])


def test_elapsed_clipped_and_text_are_compared_as_the_model_sees_them() -> None:
    features = features_from_json(
        '{"a": {"kind": "timestamp", "parts": []}, "b": {"kind": "timestamp", "parts": []},'
        ' "took": {"kind": "elapsed", "start": "a", "end": "b", "unit": "minutes"},'
        ' "fare": {"kind": "numeric", "clip": [0, 9]}, "note": {"kind": "text"}}'
    )
    rows = pa.table(
        {"a": [0, 60], "b": [90, None], "fare": [-5.0, 50.0], "note": ["To the Gate!", None]}
    )
    made = {column.name: column for column in columns(rows, features, None)}
    assert set(made) == {"took", "fare", "note"}
    assert made["took"].values[0] == 1.5 and np.isnan(made["took"].values[1])
    assert made["fare"].values.tolist() == [0, 9]
    assert made["note"].values.to_pylist() == ["to", "the", "gate", None]
    assert not made["note"].by_row
