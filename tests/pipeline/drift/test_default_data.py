"""The committed months by the committed thresholds: quiet ones pass, what happened is told."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline import config_file, schema_file
from pipeline.cli.drift import drift
from pipeline.config import Config
from pipeline.drift import calibration, compare, reference, words
from pipeline.drift.columns import columns
from pipeline.drift.report import Calibration, Comparison, Report, Side

ROOT = Path(__file__).resolve().parents[3]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def compared() -> Callable[[str], Comparison]:
    """The comparison of a month with the twelve before it, as the gate makes it."""
    config = config_file.load(str(ROOT / "headrace.toml"))
    found = reference.discovered(config)
    rows = reference.samples(config, found, lambda span: None)
    made = {name: columns(t, config.features, config.label.name) for name, t in rows.items()}
    measured = Calibration.model_validate_json(calibration.text(config))
    contract = schema_file.thresholds(schema_file.read(config.data.schema_file))
    names = list(made)

    def compare_(span: str) -> Comparison:
        position = names.index(span)
        window = names[max(0, position - config.window.train_spans) : position]
        features = compare.together([made[name] for name in window], [made[span]])
        bounds = compare.thresholds(
            features, measured.thresholds, contract, current_rows=10_000, false_alarms=50
        )
        sides = (Side(label="window", rows=1, sampled=1), Side(label=span, rows=1, sampled=1))
        return compare.compare("drift", sides, features, bounds, config.drift.known_after)

    return compare_


QUIET = [f"2018-{month:02d}" for month in range(4, 13)]
QUIET += [f"2019-{month:02d}" for month in range(7, 13)]


@pytest.mark.parametrize("span", [*QUIET, "2020-01", "2020-02"])
def test_quiet_months_pass(compared: Any, alarms: Any, span: str) -> None:
    assert alarms(compared(span)) == []


def test_the_surcharge_is_named_when_it_arrives(compared: Any, alarms: Any) -> None:
    assert alarms(compared("2019-01"))[0] == "congestion_surcharge"
    comparison = compared("2019-02")
    assert alarms(comparison)[0] == "congestion_surcharge"
    told = next(iter(words.findings(Report(comparisons=(comparison,)))))
    assert "values arrive: missing in 9" in told.message


@pytest.mark.parametrize("span", ["2020-03", "2020-04", "2020-05", "2020-06"])
def test_the_spring_of_2020_alarms(compared: Any, alarms: Any, span: str) -> None:
    assert alarms(compared(span)) != []


def test_the_right_features_are_told_of_it(compared: Any, alarms: Any) -> None:
    wanted = {"payment_type", "vendor_id", "pickup_location_id", "pickup_datetime.hour"}
    for span in ("2020-04", "2020-05"):
        assert wanted <= set(alarms(compared(span))), span
    assert {"trip_minutes", "dropoff_location_id"} <= set(alarms(compared("2020-04")))


def test_calibrate_writes_the_committed_thresholds(tmp_path: Path) -> None:
    """The file is what the command of its own header gives, on any machine."""
    for name in ("headrace.toml", "schema"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    (tmp_path / "data").symlink_to(ROOT / "data")
    done = CliRunner().invoke(
        drift,
        ["calibrate", "--config", str(tmp_path / "headrace.toml"), "--spans", "2018-01:2019-12"],
        catch_exceptions=False,
    )
    assert done.exit_code == 0
    assert "at most one false alarm in 50 quiet spans" in done.output
    assert "not quiet, and not counted: 2019-02: congestion_surcharge, extra" in done.output
    config: Config = config_file.load(str(tmp_path / "headrace.toml"))
    again = Calibration.model_validate_json(calibration.text(config))
    committed = Calibration.model_validate_json((ROOT / "schema" / "drift.json").read_text())
    assert again.spans == committed.spans
    assert again.outliers == committed.outliers
    for feature, by_measure in committed.thresholds.items():
        assert again.thresholds[feature] == pytest.approx(by_measure, rel=1e-3)
    ours, theirs = ROOT / "schema/schema.pbtxt", tmp_path / "schema/schema.pbtxt"
    assert theirs.read_text() == ours.read_text()


def test_show_tells_without_a_run(tmp_path: Path) -> None:
    config = str(ROOT / "headrace.toml")
    done = CliRunner().invoke(
        drift, ["show", "--config", config, "--span", "2020-04", "--top", "3"]
    )
    assert done.exit_code == 0, done.output
    assert "2020-04 (9,942 rows) against 2019-04 … 2020-03" in done.output
    assert "and 1" in done.output and "more: --top" in done.output
    wrong = CliRunner().invoke(drift, ["show", "--config", config, "--span", "2020-13"])
    assert "2020-13" in str(wrong.exception)
    few = CliRunner().invoke(drift, ["calibrate", "--config", config, "--spans", "2018-01:2018-03"])
    assert "3 span(s) are too few" in str(few.exception)
    none = CliRunner().invoke(drift, ["calibrate", "--config", config, "--spans", "1999-01:"])
    assert "there is no span 1999-01" in str(none.exception)
