"""`headrace vertex submit|status|cancel|logs` as typed, with the twin in the same process."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline import config_file
from pipeline.cli.main import headrace
from pipeline.cli.vertex import jobs as commands
from pipeline.config import Config
from pipeline.vertex import jobs
from pipeline.vertex.twin.rehearse import Twin, twin

pytestmark = pytest.mark.tfx

ROOT = Path(__file__).resolve().parents[3]

_spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parent / "tiny.py")
assert _spec and _spec.loader
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)


Call = Callable[..., Result]


@pytest.fixture
def file(configure: Any, tmp_path: Path) -> Path:
    """A configuration of the test's own."""
    values = tomllib.loads((ROOT / "headrace.toml").read_text())
    schema = ROOT / values["data"].get("schema_file", "schema/schema.pbtxt")
    text = (ROOT / "headrace.toml").read_text()
    vertex = configure().vertex.model_dump(mode="json", exclude_defaults=True)
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / schema.name).write_bytes(schema.read_bytes())
    (tmp_path / "data").symlink_to(ROOT / "data")
    path = tmp_path / "headrace.toml"
    path.write_text(text + _toml("vertex", vertex))
    return path


def _toml(name: str, table: dict[str, Any]) -> str:
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    lines = [f"\n[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in plain.items())]
    inner = [_toml(f"{name}.{key}", each) for key, each in table.items() if isinstance(each, dict)]
    return "\n".join([*lines, *inner])


@pytest.fixture
def config(file: Path) -> Config:
    return config_file.load(file)


@pytest.fixture
def running(config: Config) -> Iterator[Twin]:
    with twin(config) as found:
        yield found


@pytest.fixture
def call(file: Path) -> Call:
    def invoke(*arguments: str) -> Result:
        command = ["vertex", *arguments, "--config", str(file)]
        return CliRunner().invoke(headrace, command, prog_name="headrace")

    return invoke


@pytest.fixture
def failing(running: Twin, job: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Twin:
    """Every task of the compiled job fails at once: what is looked at here is the way to it."""
    monkeypatch.setattr(commands, "compiled", lambda config: job)
    for name in job["pipelineSpec"]["root"]["dag"]["tasks"]:
        running.faults.tasks[name] = "fail"
    return running


def ended(config: Config, name: str) -> None:
    jobs.wait(config, name, lambda task: None, poll_seconds=0.02)


def refused(result: Result, *parts: str, code: int = 1) -> None:
    """It ended with this code and one message, which holds these parts and no trace."""
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output and "fault of Headrace's own" not in result.output
    for part in parts:
        assert part in result.stderr


# --- submit ----------------------------------------------------------------------------------


def test_a_job_is_sent_looked_at_and_read(failing: Twin, call: Call, config: Config) -> None:
    sent = call("submit", "--job-id", "mine", "--span", "2019-12")
    assert sent.exit_code == 0, sent.output
    assert sent.stdout.startswith("submitted: mine\nhttps://console.cloud.google.com/vertex-ai/")
    assert "next: headrace vertex status mine --config" in sent.stderr
    ended(config, "mine")

    seen = call("status", "mine")
    assert seen.exit_code == 1
    assert "failed  job mine (FAILED)" in seen.stdout
    assert "SpanExampleGen: The replica exited" in seen.stdout
    told = json.loads(call("status", "mine", "--json").stdout)
    assert (told["job"], told["status"], told["exit_code"]) == ("mine", "failed", 1)

    written = call("logs", "mine", "--node", "SpanExampleGen")
    assert written.exit_code == 0
    assert set(written.stdout.splitlines()) == {"SpanExampleGen: this failure was asked for"}
    refused(call("logs", "mine", "--node", "Pusher"), "no machine has run Pusher", "SpanExampleGen")


def test_sync_waits_and_ends_as_the_job_does(failing: Twin, call: Call) -> None:
    sent = call("submit", "--sync", "--json")
    assert sent.exit_code == 1
    told = json.loads(sent.stdout.splitlines()[-1])
    assert told["status"] == "failed" and "this failure was asked for" in told["message"]


@pytest.mark.parametrize(
    "code, remedy",
    [(403, "roles/aiplatform.user on my-project"), (429, "A quota of my-project in europe-west4")],
)
def test_a_refusal(failing: Twin, call: Call, code: int, remedy: str) -> None:
    failing.faults.refusals.append(code)
    refused(call("submit", "--job-id", "mine"), f"cannot submit the job mine: {code}", remedy)


def test_an_id_twice(failing: Twin, call: Call) -> None:
    assert call("submit", "--job-id", "mine").exit_code == 0
    refused(call("submit", "--job-id", "mine"), "409", "taken. Leave --job-id out")


def test_an_id_that_is_none(call: Call) -> None:
    refused(call("submit", "--job-id", "My_Job"), "--job-id 'My_Job'", "a-z, 0-9 and -")


def test_a_job_with_findings_is_not_sent(failing: Twin, call: Call, job: dict[str, Any]) -> None:
    job["labels"]["Team"] = "rides"
    refused(call("submit", "--job-id", "mine"), "the job is not sent (1 finding)", "'Team'")
    refused(call("status", "mine"), "The PipelineJob mine does not exist")


def test_options_that_beam_would_refuse_are_told_before_anything_is_compiled(
    file: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(file.read_text() + '\n[beam]\noptions = { job_nam = "x" }\n')
    monkeypatch.setitem(sys.modules, "pipeline.vertex.compile", None)
    for command in ("compile", "submit", "lint"):
        refused(call(command), "beam.options.job_nam", "Did you mean 'job_name'?", code=2)


# --- schedules -------------------------------------------------------------------------------


def test_a_schedule(failing: Twin, call: Call, config: Config) -> None:
    from google.cloud import aiplatform

    made = call("submit", "--schedule", "--cron", "0 6 2 * *")
    assert made.exit_code == 0, made.output
    (schedule,) = aiplatform.PipelineJobSchedule.list()
    assert made.stdout == f"scheduled: {schedule.resource_name}\n"
    assert schedule.cron == "0 6 2 * *"


@pytest.mark.parametrize("cron", [("--cron", "daily"), ()])
def test_a_schedule_without_a_moment(call: Call, cron: tuple[str, ...]) -> None:
    refused(
        call("submit", "--schedule", *cron), "vertex.schedule: must be five fields", "0 6 2", code=2
    )


@pytest.mark.parametrize(
    "arguments",
    [("--cron", "0 6 2 * *"), ("--schedule", "--span", "2019-12"), ("--schedule", "--sync")],
)
def test_options_that_do_not_go_together(call: Call, arguments: tuple[str, ...]) -> None:
    refused(call("submit", *arguments), "--schedule", code=2)


# --- status, cancel, logs --------------------------------------------------------------------


@pytest.mark.parametrize("command", ["status", "cancel", "logs"])
def test_no_such_job(running: Twin, call: Call, command: str) -> None:
    refused(call(command, "nobody"), "The PipelineJob nobody does not exist", "vertex.project")


def test_a_job_is_cancelled(running: Twin, call: Call, config: Config) -> None:
    job = tiny.Tiny().task("a", "time.sleep(30)").job()
    jobs.submit(config, job, span=None, job_id="long")
    while "RUNNING" not in (seen := call("status", "long")).stdout:
        assert seen.exit_code == 0
        time.sleep(0.02)
    stopped = call("cancel", "long")
    assert stopped.exit_code == 0 and stopped.stdout.startswith("cancelling: long\n")
    ended(config, "long")
    seen = call("status", "long")
    assert seen.exit_code == 1 and "cancelled  job long (CANCELLED)" in seen.stdout


# --- what is missing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module, command",
    [
        ("google.cloud.aiplatform", ("submit",)),
        ("google.cloud.aiplatform", ("status", "x")),
        ("google.cloud.aiplatform", ("cancel", "x")),
        ("google.cloud.aiplatform", ("logs", "x")),
        ("google.cloud.storage", ("rehearse",)),
        ("kfp", ("compile",)),
        ("celpy", ("lint",)),
    ],
)
def test_without_the_extra(
    call: Call, module: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    refused(call(*command), f"{module} is not installed: pip install 'headrace[vertex]'")


@pytest.mark.parametrize("command", [("submit",), ("status", "x"), ("cancel", "x"), ("logs", "x")])
def test_without_credentials(
    call: Call,
    command: tuple[str, ...],
    job: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(commands, "compiled", lambda config: job)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    refused(call(*command), "cannot connect to my-project", "gcloud auth application-default login")
