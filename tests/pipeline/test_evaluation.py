"""When a model is good enough."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import Bars, ChangeBars, EvaluationConfig
from pipeline.evaluation import (
    CEILING,
    CHAMPION,
    METRICS_FILE,
    OVERALL,
    Check,
    Metrics,
    blessed,
    completed,
    eval_config_json,
    judge,
    metrics_json,
    read_metrics,
    read_slice_metrics,
)

CONFIG = EvaluationConfig(
    bars=Bars(auc_min=0.7, log_loss_max=0.5, calibration_max=0.1),
    slice_bars=Bars(auc_min=0.5, log_loss_max=0.9, calibration_max=0.3),
    change=ChangeBars(auc_drop_max=0.01, log_loss_rise_max=0.01, calibration_rise_max=0.05),
    slice_change=ChangeBars(auc_drop_max=0.1, log_loss_rise_max=0.1, calibration_rise_max=0.2),
    min_slice_rows=100,
)
GOOD: Metrics = {"auc": 0.8, "log_loss": 0.4, "calibration": 0.05, "rows": 1000}


def failed(checks: list[Check]) -> set[tuple[str, str, str]]:
    return {(check.slice, check.metric, check.against) for check in checks if not check.passed}


# --- metrics -----------------------------------------------------------------------------


def test_calibration_is_the_distance_of_the_means() -> None:
    made = completed({"mean_prediction": 0.45, "mean_label": 0.5, "auc": 0.8})
    assert made["calibration"] == pytest.approx(0.1)
    assert made["auc"] == 0.8
    over = completed({"mean_prediction": 0.55, "mean_label": 0.5, "auc": 0.8})
    assert over["calibration"] == pytest.approx(0.1)


@pytest.mark.parametrize("label, undefined", [(0.0, {"auc", "calibration"}), (1.0, {"auc"})])
def test_where_one_class_is_absent_metrics_do_not_exist(label: float, undefined: set[str]) -> None:
    made = completed({"mean_prediction": 0.4, "mean_label": label, "auc": 0.0, "log_loss": 0.3})
    assert {name for name, value in made.items() if math.isnan(value)} == undefined


# --- judgement ---------------------------------------------------------------------------


def test_a_good_first_model_is_blessed() -> None:
    checks = judge({OVERALL: GOOD}, None, CONFIG)
    assert {check.metric for check in checks} == {"auc", "log_loss", "calibration"}
    assert blessed(checks)


@pytest.mark.parametrize(
    "metric, at, beyond",
    [("auc", 0.7, 0.699), ("log_loss", 0.5, 0.501), ("calibration", 0.1, 0.101)],
)
def test_a_bar_may_be_touched_and_not_passed(metric: str, at: float, beyond: float) -> None:
    assert blessed(judge({OVERALL: GOOD | {metric: at}}, None, CONFIG))
    checks = judge({OVERALL: GOOD | {metric: beyond}}, None, CONFIG)
    assert failed(checks) == {(OVERALL, metric, "bar")}
    assert not blessed(checks)


def test_a_model_good_only_on_average_is_not_blessed() -> None:
    slices = {OVERALL: GOOD, "vendor=1": GOOD, "vendor=2": GOOD | {"calibration": 0.4}}
    checks = judge(slices, None, CONFIG)
    assert failed(checks) == {("vendor=2", "calibration", "bar")}
    assert not blessed(checks)


def test_slices_have_bars_of_their_own() -> None:
    weak = GOOD | {"auc": 0.6, "log_loss": 0.8, "calibration": 0.2}
    assert blessed(judge({OVERALL: GOOD, "vendor=1": weak}, None, CONFIG))
    assert not blessed(judge({OVERALL: weak}, None, CONFIG))


def test_a_model_can_be_too_good_to_be_true() -> None:
    config = CONFIG.model_copy(update={"bars": Bars(auc_min=0.7, log_loss_max=0.5, auc_max=0.95)})
    perfect = GOOD | {"auc": 0.999}
    checks = judge({OVERALL: perfect, "vendor=1": perfect}, None, config)
    (wrong,) = (check for check in checks if not check.passed)
    assert (wrong.slice, wrong.metric, wrong.against) == (OVERALL, "auc", CEILING)
    assert str(wrong).startswith("auc over all rows is 0.9990 (must be ≤ 0.9500)")
    assert "auc_max" in str(wrong)
    assert blessed(judge({OVERALL: GOOD}, None, config))
    assert blessed(judge({OVERALL: perfect}, None, CONFIG))  # no such bar unless it is asked for


@pytest.mark.parametrize("rows, judged", [(99, False), (100, True)])
def test_small_slices_are_not_judged(rows: int, judged: bool) -> None:
    awful = {"auc": 0.1, "log_loss": 9.0, "calibration": 5.0, "rows": rows}
    checks = judge({OVERALL: GOOD, "vendor=1": awful}, {"vendor=1": GOOD}, CONFIG)
    assert any(check.slice == "vendor=1" for check in checks) == judged
    assert blessed(checks) != judged


def test_the_whole_is_judged_however_small() -> None:
    assert failed(judge({OVERALL: GOOD | {"auc": 0.1, "rows": 3}}, None, CONFIG))


@pytest.mark.parametrize("metric", ["auc", "log_loss", "calibration"])
def test_a_metric_that_does_not_exist_fails_over_all_rows_and_is_passed_over_in_a_slice(
    metric: str,
) -> None:
    lacking = GOOD | {metric: math.nan}
    absent = {name: value for name, value in GOOD.items() if name != metric}
    for metrics in (lacking, absent):
        whole = judge({OVERALL: metrics}, None, CONFIG)
        assert failed(whole) == {(OVERALL, metric, "bar")}
        sliced = judge({OVERALL: GOOD, "vendor=1": metrics}, None, CONFIG)
        assert blessed(sliced)
        assert (metric, "vendor=1") not in {(check.metric, check.slice) for check in sliced}


@pytest.mark.parametrize("metric", ["auc", "log_loss", "calibration"])
def test_a_champion_without_a_metric_cannot_be_beaten_in_it(metric: str) -> None:
    lacking = GOOD | {metric: math.nan}
    whole = judge({OVERALL: GOOD}, {OVERALL: lacking}, CONFIG)
    assert failed(whole) == {(OVERALL, metric, CHAMPION)}
    slices = {OVERALL: GOOD, "vendor=1": GOOD}
    assert blessed(judge(slices, {OVERALL: GOOD, "vendor=1": lacking}, CONFIG))


@pytest.mark.parametrize(
    "metric, worse", [("auc", 0.788), ("log_loss", 0.412), ("calibration", 0.08)]
)
def test_a_model_worse_than_the_champion_is_not_blessed(metric: str, worse: float) -> None:
    champion = GOOD | {"calibration": 0.0}
    candidate = champion | {metric: worse}
    checks = judge({OVERALL: candidate}, {OVERALL: champion}, CONFIG)
    assert failed(checks) == {(OVERALL, metric, CHAMPION)}
    (check,) = (check for check in checks if not check.passed)
    assert check.value > check.bound > 0
    assert "worse than the champion's" in str(check)
    assert "over all rows" in str(check)


def test_a_slice_may_lose_more_than_the_whole_but_not_anything() -> None:
    champion = {OVERALL: GOOD, "vendor=1": GOOD}
    some = {OVERALL: GOOD, "vendor=1": GOOD | {"auc": 0.72}}
    much = {OVERALL: GOOD, "vendor=1": GOOD | {"auc": 0.69}}
    assert blessed(judge(some, champion, CONFIG))
    assert failed(judge(much, champion, CONFIG)) == {("vendor=1", "auc", CHAMPION)}


def test_a_slice_the_champion_never_saw_is_held_to_the_bars_alone() -> None:
    checks = judge({OVERALL: GOOD, "vendor=9": GOOD}, {OVERALL: GOOD}, CONFIG)
    assert {check.against for check in checks if check.slice == "vendor=9"} == {"bar"}


def test_without_the_whole_nothing_is_blessed() -> None:
    assert not blessed(judge({"vendor=1": GOOD}, None, CONFIG))
    assert not blessed([])


shares = st.floats(0, 1)
losses = st.floats(0, 5)
metrics = st.fixed_dictionaries({"auc": shares, "log_loss": losses, "calibration": losses})
allowed = st.builds(
    ChangeBars,
    auc_drop_max=st.floats(0, 0.5),
    log_loss_rise_max=st.floats(0, 0.5),
    calibration_rise_max=st.floats(0, 0.5),
)


@given(candidate=metrics, champion=metrics, change=allowed)
def test_a_model_at_least_as_good_in_every_metric_never_fails_a_change(
    candidate: Metrics, champion: Metrics, change: ChangeBars
) -> None:
    """And one that is worse than allowed in any of them always does."""
    config = EvaluationConfig(change=change, slice_change=change, min_slice_rows=1)
    rises = {
        "auc": (champion["auc"] - candidate["auc"], change.auc_drop_max),
        "log_loss": (candidate["log_loss"] - champion["log_loss"], change.log_loss_rise_max),
        "calibration": (
            candidate["calibration"] - champion["calibration"],
            change.calibration_rise_max,
        ),
    }
    for name in (OVERALL, "vendor=1"):
        checks = judge({name: candidate | {"rows": 9}}, {name: champion}, config)
        against = {check.metric: check for check in checks if check.against == CHAMPION}
        assert set(against) == set(rises)
        for metric, (rise, bound) in rises.items():
            assert against[metric].passed == (rise <= bound)
            if rise <= 0:
                assert against[metric].passed


def test_checks_say_where_they_stand() -> None:
    assert str(Check("vendor=1", "auc", "bar", 0.61234, 0.7, False)) == (
        "auc where vendor=1 is 0.6123 (must be ≥ 0.7000)"
    )
    assert str(Check(OVERALL, "log_loss", "bar", 0.61234, 0.7, True)) == (
        "log_loss over all rows is 0.6123 (must be ≤ 0.7000)"
    )


# --- files -------------------------------------------------------------------------------

numbers = st.floats(allow_infinity=False, width=32)
by_slice = st.dictionaries(
    st.text(max_size=9), st.dictionaries(st.text(max_size=5), numbers, max_size=4), max_size=3
)


def same(one: Any, other: Any) -> bool:
    """Equality in which NaN equals itself."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one == other or (math.isnan(one) and math.isnan(other))


@given(st.dictionaries(st.sampled_from(["candidate", "champion"]), by_slice))
def test_metrics_survive_their_file(
    tmp_path_factory: pytest.TempPathFactory, models: dict[str, dict[str, Metrics]]
) -> None:
    folder = tmp_path_factory.mktemp("evaluation")
    text = metrics_json(models, [])
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    (folder / METRICS_FILE).write_text(text)
    assert same(read_slice_metrics(str(folder)), models)


def test_the_file_tells_every_check_and_the_verdict(tmp_path: Path) -> None:
    candidate = {OVERALL: GOOD | {"auc": math.nan}, "vendor=1": GOOD}
    checks = judge(candidate, {OVERALL: GOOD}, CONFIG)
    text = metrics_json({"candidate": candidate, "champion": {OVERALL: GOOD}}, checks)
    (tmp_path / METRICS_FILE).write_text(text)
    told = json.loads(text)
    assert told["blessed"] is False
    assert len(told["checks"]) == len(checks)
    assert told["checks"][0]["value"] is None
    assert told["checks"][0]["message"].startswith("auc over all rows is nan")
    whole = read_metrics(str(tmp_path))
    assert whole["champion"] == GOOD
    assert math.isnan(whole["candidate"]["auc"])


def test_tfma_is_asked_for_every_slice_and_every_metric() -> None:
    config = EvaluationConfig(slices=("vendor", ("vendor", "flag")), bars=CONFIG.bars)
    asked = json.loads(eval_config_json(config, "label"))
    assert asked["slicingSpecs"] == [
        {},
        {"featureKeys": ["vendor"]},
        {"featureKeys": ["vendor", "flag"]},
    ]
    (spec,) = asked["metricsSpecs"]
    assert [metric["className"] for metric in spec["metrics"]] == [
        *("RankingAuc", "LogLoss", "PredictionMean", "LabelMean", "ExampleCount"),
        *("AucError", "LogLossError", "CalibrationRatioError"),
        *("AucChangeError", "LogLossChangeError", "CalibrationChangeError"),
        "CalibrationCurve",
    ]
    thresholds = [metric.get("threshold") for metric in spec["metrics"]]
    assert thresholds[:2] == [
        {"valueThreshold": {"lowerBound": 0.7}},
        {"valueThreshold": {"upperBound": 0.5}},
    ]
    assert asked["modelSpecs"][0]["labelKey"] == "label"
