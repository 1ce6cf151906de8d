"""Thresholds hold what they promise: quiet spans pass, shifts of known size are found."""

import datetime as dt
import re
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pipeline.drift.calibrate import calibrate

ROWS, WINDOW, QUIET = 1_500, 12, 300
TODAY = dt.date(2026, 1, 2)


def calibrated(ground: Any, spans: int, **options: Any) -> Any:
    columns = [ground.columns(ROWS, **options) for _ in range(spans)]
    return calibrate([f"{n:02d}" for n in range(spans)], columns, ground.config, TODAY), columns


@pytest.mark.slow
@pytest.mark.parametrize("between", [0.0, 1.0], ids=["chance alone", "spans differ"])
def test_of_300_quiet_spans_as_many_alarm_as_were_allowed(
    ground: Any, alarms: Any, between: float
) -> None:
    measured, columns = calibrated(ground, 36, between=between)
    alarmed = 0
    for _ in range(QUIET):
        columns.append(ground.columns(ROWS, between=between))
        window = columns[-1 - WINDOW : -1]
        alarmed += bool(alarms(ground.compare(window, columns[-1], measured)))
    low, high = stats.binom.interval(0.99, QUIET, 1 / ground.config.drift.false_alarms)
    # Thresholds that allow for spans' own differences promise "at most".
    assert (low if between == 0 else 0) <= alarmed <= high, alarmed


@pytest.mark.slow
def test_a_shift_is_found_from_the_size_that_is_promised(ground: Any, alarms: Any) -> None:
    measured, columns = calibrated(ground, 24)
    promised = {
        name: float(re.match(r"([\d.]+)% of", text)[1]) / 100  # type: ignore[index]
        for name, text in measured.detectable.items()
    }
    deviation = float(re.search(r"deviation \((.+)\)", measured.detectable["amount"])[1])  # type: ignore[index]

    def found(name: str, share: float, change: Any) -> float:
        hits = []
        for _ in range(60):
            newest = ground.columns(ROWS, change=lambda made: change(made, share))
            hits.append(name in alarms(ground.compare(columns[-WINDOW:], newest, measured)))
        return float(np.mean(hits))

    def higher(made: dict[str, Any], share: float) -> None:
        moved = ground.random.random(ROWS) < share
        made["amount"] = made["amount"] + moved * deviation

    def renamed(made: dict[str, Any], share: float) -> None:
        turned = (ground.random.random(ROWS) < share / 0.8) & (made["flag"] == "N")
        made["flag"] = np.where(turned, "Y", made["flag"])

    for name, change in (("amount", higher), ("flag", renamed)):
        assert found(name, promised[name], change) >= 0.75, name
        assert found(name, promised[name] / 4, change) <= 0.25, name


def test_a_span_that_is_not_quiet_is_told_and_not_taken_for_noise(ground: Any, alarms: Any) -> None:
    def arrives(made: dict[str, Any]) -> None:
        made["flag"] = np.where(ground.random.random(ROWS) < 0.5, "Y", "N")

    columns = [ground.columns(ROWS) for _ in range(16)]
    columns[9] = ground.columns(ROWS, change=arrives)
    spoilt = calibrate([str(n) for n in range(16)], columns, ground.config, TODAY)
    assert spoilt.outliers["9"] == ("flag",)
    again = ground.columns(ROWS, change=arrives)
    window = [ground.columns(ROWS) for _ in range(WINDOW)]
    assert "flag" in alarms(ground.compare(window, again, spoilt))
    flag = next(f for f in ground.compare(window, again, spoilt).features if f.feature == "flag")
    assert flag.excess is not None and flag.excess > 3


def test_spans_that_differ_raise_the_threshold_of_what_differs(ground: Any) -> None:
    steady, _ = calibrated(ground, 24)
    moving, _ = calibrated(ground, 24, between=1.5)
    assert moving.thresholds["flag"]["l_infinity"] > 1.5 * steady.thresholds["flag"]["l_infinity"]
    same = moving.thresholds["count"]["kolmogorov_smirnov"]
    assert same < 1.3 * steady.thresholds["count"]["kolmogorov_smirnov"]


def test_the_same_spans_give_the_same_thresholds(ground: Any) -> None:
    first, columns = calibrated(ground, 12)
    again = calibrate([f"{n:02d}" for n in range(12)], columns, ground.config, TODAY)
    assert first == again
    assert first.spans[0] == "00"
    assert first.span_rows == ROWS
    assert "Westfall" in first.correction
    assert set(first.detectable) == set(first.thresholds)
