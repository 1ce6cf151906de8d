"""The command line: what it prints, what it ends with, and what it does not load."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline import __version__
from pipeline.cli.main import headrace
from pipeline.errors import RunError
from pipeline.local import run as local
from pipeline.local.result import EXIT_CODES, RunResult
from serving.manifest import Provenance
from serving.registry import Registry

CONFIG = """
name = "trips"
data = { path = "data", pattern = "{span:%Y-%m}.csv" }
label = { expression = "tip > 0.2 * fare", leaks = { tip = "float" } }
features = { fare = { kind = "numeric" } }
"""
COMMANDS = ["run", "runs", "report", "models", "lineage"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a configuration and nothing else."""
    (tmp_path / "headrace.toml").write_text(CONFIG)
    return tmp_path


@pytest.fixture
def call(project: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command in the project."""
    monkeypatch.chdir(project)

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(headrace, list(arguments), prog_name="headrace")

    return invoke


# --- what is loaded ----------------------------------------------------------------------

LOADED = """
import sys
from pipeline.cli.main import headrace
try:
    headrace(sys.argv[1:], prog_name="headrace")
except SystemExit as end:
    code = end.code
heavy = "tensorflow tfx tfx_bsl apache_beam ml_metadata pandas keras duckdb pyarrow".split()
print("\\n", code, *(name for name in heavy if name in sys.modules))
"""


@pytest.mark.parametrize(
    "arguments, code, allowed",
    [
        (["--help"], 0, set()),
        (["--version"], 0, set()),
        (["run", "--help"], 0, {"duckdb", "pyarrow"}),
        (["runs"], 0, {"duckdb"}),
        (["models"], 0, {"duckdb"}),
        (["run"], 1, {"duckdb", "pyarrow"}),  # there is no data
    ],
)
def test_what_needs_no_tensorflow_does_not_load_it(
    project: Path, root: Path, arguments: list[str], code: int, allowed: set[str]
) -> None:
    if arguments in (["runs"], ["models"], ["run"]):
        arguments = [*arguments, "--config", str(project / "headrace.toml")]
    answer = subprocess.run(
        [sys.executable, "-c", LOADED, *arguments],
        capture_output=True,
        text=True,
        cwd=root,
        check=True,
    )
    ended, *loaded = answer.stdout.splitlines()[-1].split()
    assert ended == str(code), answer.stderr
    assert set(loaded) <= allowed


# --- usage -------------------------------------------------------------------------------


def test_help_names_every_command_and_the_exit_codes(call: Callable[..., Result]) -> None:
    said = call("--help").stdout
    for command in COMMANDS:
        assert f"\n  {command} " in said
    for code in ("2 usage or configuration", "3 blocked by a gate", "4 not blessed"):
        assert code in " ".join(said.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(call: Callable[..., Result], command: str) -> None:
    answer = call(command, "--help")
    assert answer.exit_code == 0
    assert "--config FILE" in answer.stdout
    assert "--json" in answer.stdout
    # The line in the list of commands is the command's own first line.
    (line,) = (line for line in call("--help").stdout.splitlines() if f"  {command} " in line)
    assert " ".join(line.split()[1:]) in " ".join(answer.stdout.split())


def test_the_version(call: Callable[..., Result]) -> None:
    assert call("--version").stdout == f"headrace, version {__version__}\n"


@pytest.mark.parametrize(
    "arguments, culprit",
    [
        (["run", "--spam", "x"], "--spam"),
        (["runn"], "'runn'"),
        (["lineage"], "'VERSION'"),
        (["lineage", "newest"], "'newest'"),
        (["run", "--wait", "long"], "'long'"),
        (["run", "2019-12"], "2019-12"),
    ],
)
def test_wrong_usage_ends_with_2(
    call: Callable[..., Result], arguments: list[str], culprit: str
) -> None:
    answer = call(*arguments)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert culprit in answer.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "arguments, code, printed", [(["--spam"], 2, ""), (["runs", "--json"], 0, "[]\n")]
)
def test_the_process_ends_with_the_code_and_loses_no_output(
    project: Path, root: Path, arguments: list[str], code: int, printed: str
) -> None:
    """It ends in a hurry, past Python's own clearing up."""
    answer = subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=project,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    assert (answer.returncode, answer.stdout) == (code, printed)


# --- configuration faults ----------------------------------------------------------------


@pytest.mark.parametrize("command", [["run"], ["runs"], ["models"], ["lineage", "3"]])
def test_a_fault_of_the_configuration_ends_with_2_and_a_message(
    project: Path, call: Callable[..., Result], command: list[str]
) -> None:
    (project / "headrace.toml").write_text(CONFIG + "window = { train_span = 3 }\n")
    answer = call(*command)
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        "headrace: headrace.toml: 1 fault",
        "  window.train_span: is not a known key (found 3). Did you mean 'train_spans'?",
    ]


def test_a_configuration_that_is_not_there(call: Callable[..., Result]) -> None:
    answer = call("run", "--config", "other.toml")
    assert answer.exit_code == 2
    assert "headrace: other.toml: 1 fault" in answer.stderr
    assert "No such file or directory. Name one with --config FILE." in answer.stderr


@pytest.mark.parametrize("text, faults", [("[window]\ntrain_spans = 0\n", 1), ("x = 1\ny = 2", 2)])
def test_a_program_gets_one_json_object_whatever_is_wrong(
    project: Path, call: Callable[..., Result], text: str, faults: int
) -> None:
    (project / "headrace.toml").write_text(CONFIG + text)
    answer = call("run", "--json")
    assert answer.exit_code == 2
    (line,) = answer.stdout.splitlines()
    told = json.loads(line)
    assert told["status"] == "failed"
    assert told["exit_code"] == 2
    assert f"headrace.toml: {faults} fault" in told["message"]
    assert set(told) >= {
        *("status", "run_id", "span", "window", "model_version", "metrics", "champion_metrics"),
        *("gates", "rows", "quarantined", "seconds", "wall_seconds"),
    }


def test_a_fault_of_the_data_ends_with_1(project: Path, call: Callable[..., Result]) -> None:
    answer = call("run")
    assert answer.exit_code == 1
    assert f"headrace: data.path: there is no folder {project / 'data'}" in answer.stderr
    told = json.loads(call("run", "--json").stdout)
    assert (told["status"], told["exit_code"]) == ("failed", 1)
    (project / "data").mkdir()
    for month in ("2019-01", "2019-02"):
        (project / "data" / f"{month}.csv").write_text(f"fare,tip\n1,{month[-1]}\n")
    unknown = call("run", "--span", "2031-01")
    assert unknown.exit_code == 1
    assert "there is no span 2031-01; there are 2, 2019-01 to 2019-02" in unknown.stderr


def test_what_nobody_foresaw_is_one_line_and_a_trace(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> RunResult:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(local, "run", fail)
    answer = call("run")
    assert answer.exit_code == 1
    first, second = answer.stderr.splitlines()
    assert first == "headrace: ZeroDivisionError: by zero"
    trace = Path(second.split()[-1])
    assert "in fail" in trace.read_text()
    trace.unlink()


# --- run ---------------------------------------------------------------------------------


@pytest.fixture
def outcome(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunResult], list[Any]]:
    """Makes `headrace run` come to a result without running; the calls that were made."""

    def set_to(result: RunResult) -> list[Any]:
        calls: list[Any] = []

        def run(
            config: Any, span: Any, watcher: Any, *, wait_seconds: float, config_file: str
        ) -> RunResult:
            calls.append((config.name, span, wait_seconds, config_file))
            watcher.say("waiting for run x")
            watcher.node("Trainer", None)
            watcher.node("Trainer", 12.34)
            return result

        monkeypatch.setattr(local, "run", run)
        return calls

    return set_to


def result_of(status: Any, **values: Any) -> RunResult:
    return RunResult(
        **{
            "status": status,
            "run_id": "20191201-080000-abcd",
            "span": "2019-12",
            "window": {"train": ["2019-09", "2019-10", "2019-11"], "eval": ["2019-12"]},
            "exit_code": EXIT_CODES[status],
            "wall_seconds": 61.4,
        }
        | values
    )


@pytest.mark.parametrize("status", EXIT_CODES)
def test_the_exit_code_is_the_outcome(
    call: Callable[..., Result], outcome: Any, status: str
) -> None:
    outcome(result_of(status))
    for option in ([], ["--json"]):
        assert call("run", *option).exit_code == EXIT_CODES[status]


def test_options_reach_the_run(call: Callable[..., Result], outcome: Any, project: Path) -> None:
    (project / "headrace.toml").rename(project / "other.toml")
    calls = outcome(result_of("pushed", model_version=3))
    call("run", "--config", "other.toml", "--span", "2019-12", "--wait", "1.5")
    assert calls == [("trips", "2019-12", 1.5, "other.toml")]


def test_a_program_gets_the_result_and_nothing_else(
    call: Callable[..., Result], outcome: Any
) -> None:
    result = result_of("pushed", model_version=3, metrics={"auc": 0.84}, rows={"train": 9})
    outcome(result)
    answer = call("run", "--json")
    assert RunResult.from_json(answer.stdout) == result
    assert len(answer.stdout.splitlines()) == 1


def test_a_person_gets_progress_summary_and_the_next_command(
    call: Callable[..., Result], outcome: Any, capfd: pytest.CaptureFixture[str], project: Path
) -> None:
    outcome(
        result_of(
            "pushed",
            model_version=3,
            rows={"train": 119_900, "eval": 9_990, "quarantine": 110},
            quarantined={"negative_fare": 100, "outside its span": 10},
            metrics={"auc": 0.84321, "log_loss": 0.4},
            champion_metrics={"auc": 0.83},
            gates={"data": {"passed": True, "findings": []}},
            report=str(project / "runs" / "history" / "x" / "report.html"),
        )
    )
    said = call("run").stdout
    assert "pushed  span 2019-12, run 20191201-080000-abcd, version 3, 61 s" in said
    assert "119,900 rows, spans 2019-09 … 2019-11 (3)" in said
    assert "110 rows (negative_fare 100, outside its span 10)" in said
    assert "0.8432" in said
    assert "0.8300" in said
    assert said.splitlines()[-2:] == [
        "page: runs/history/x/report.html",
        "next: headrace lineage 3",
    ]
    progress = capfd.readouterr().err
    assert "waiting for run x" in progress
    assert "Trainer" in progress
    assert "12.3 s" in progress


def test_a_failed_run_says_why_and_where_the_log_is(
    call: Callable[..., Result], outcome: Any
) -> None:
    outcome(result_of("failed", message="Trainer: [loss] is nan", log="/runs/run.log"))
    said = call("run").stdout
    assert "failed" in said
    assert "Trainer: [loss] is nan" in said
    assert "log: /runs/run.log" in said
    assert "next: headrace runs" in said


def test_the_next_command_names_the_configuration_where_it_is_another(
    call: Callable[..., Result], outcome: Any, project: Path
) -> None:
    (project / "headrace.toml").rename(project / "other.toml")
    outcome(result_of("not_blessed"))
    said = call("run", "--config", "other.toml").stdout
    assert said.splitlines()[-1] == "next: headrace runs --config other.toml"


def test_a_run_that_cannot_start_is_told_on_the_error_stream(
    call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*arguments: object, **options: object) -> RunResult:
        raise RunError("/runs: run x is running there.")

    monkeypatch.setattr(local, "run", busy)
    answer = call("run")
    assert (answer.exit_code, answer.stdout) == (1, "")
    assert answer.stderr == "headrace: /runs: run x is running there.\n"


# --- runs, models, lineage ---------------------------------------------------------------


def test_without_runs_and_models_the_next_step_is_told(call: Callable[..., Result]) -> None:
    assert call("runs").stdout == "no run yet: type headrace run\n"
    assert call("models").stdout == "no model pushed yet: type headrace run\n"
    for command in ("runs", "models"):
        answer = call(command, "--json")
        assert (answer.exit_code, json.loads(answer.stdout)) == (0, [])


def test_runs_are_listed(project: Path, call: Callable[..., Result]) -> None:
    for number, status in enumerate(("pushed", "blocked", "failed"), start=1):
        run_id = f"2019120{number}-080000-abcd"
        result = result_of(status, run_id=run_id, metrics={"auc": 0.8}, message="first\nsecond")
        folder = project / "runs" / "history" / run_id
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(result.to_json())
    lines = call("runs").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        f"2019120{number}-080000-abcd" for number in (3, 2, 1)
    ]
    assert "blocked" in lines[2]
    assert "first" in lines[1]
    assert "second" not in lines[1]
    assert len(json.loads(call("runs", "--json", "--limit", "2").stdout)) == 2


def test_models_are_listed_with_where_they_come_from(
    project: Path, call: Callable[..., Result]
) -> None:
    model = project / "model"
    (model / "variables").mkdir(parents=True)
    (model / "saved_model.pb").write_text("graph")
    registry = Registry(str(project / "runs" / "serving"), "model")
    for number in (1, 2):
        (model / "variables" / "variables.index").write_text(str(number))
        registry.push(
            str(model), Provenance(run_id=f"run-{number}", span="2019-12", metrics={"auc": 0.84})
        )
    lines = call("models").stdout.splitlines()
    newest, older = lines[1:]
    assert "(newest)" in newest
    assert "(newest)" not in older
    assert "run-2" in newest
    assert "0.8400" in newest
    told = json.loads(call("models", "--json").stdout)
    assert [(one["version"], one["newest"]) for one in told] == [(1, False), (2, True)]
    assert told[0]["manifest"]["run_id"] == "run-1"
    assert [one["changed"] for one in told] == [[], []]
    (registry.folder / "1" / "variables" / "variables.index").write_text("another")
    told = json.loads(call("models", "--json").stdout)
    assert told[1]["changed"] == [] and "variables.index" in told[0]["changed"][0]
    assert "version 1 is not what was pushed, and the server refuses it" in call("models").stdout


def test_lineage_without_a_history(project: Path, call: Callable[..., Result]) -> None:
    answer = call("lineage", "3")
    assert answer.exit_code == 1
    assert answer.stdout == ""
    assert answer.stderr == (
        f"headrace: {project / 'runs' / 'metadata.db'}: there is no metadata store. "
        "Type headrace run first.\n"
    )
