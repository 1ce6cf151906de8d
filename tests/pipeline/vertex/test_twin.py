"""The twin behaves as Vertex does: google-cloud-aiplatform submits to it and asks it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, RunError
from pipeline.vertex import api, jobs, prepare
from pipeline.vertex.api_errors import ApiError
from pipeline.vertex.jobs import JobStatus
from pipeline.vertex.twin.faults import Faults
from pipeline.vertex.twin.rehearse import Twin, folder_of, twin

_spec = importlib.util.spec_from_file_location("tiny", Path(__file__).parent / "tiny.py")
assert _spec and _spec.loader
tiny = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(tiny)
Tiny = tiny.Tiny

PASSED = "inputs.artifacts['in'].artifacts[0].metadata['passed'] == 1.0"


class Bench:
    """A twin, and a client that talks to it as `headrace vertex` does."""

    def __init__(self, config: Any, running: Twin) -> None:
        self.config, self.twin = config, running
        self.count = 0

    def run(self, job: Any, *, span: str | None = None, job_id: str | None = None) -> JobStatus:
        name = self.send(job, span=span, job_id=job_id)
        return jobs.wait(self.config, name, lambda task: None, poll_seconds=0.02)

    def send(self, job: Any, *, span: str | None = None, job_id: str | None = None) -> str:
        self.count += 1
        name = job_id or f"tiny-{self.count}"
        made = job.job() if isinstance(job, Tiny) else job
        jobs.submit(self.config, made, span=span, job_id=name)
        return name

    def states(self, status: JobStatus) -> dict[str, str]:
        return {task.name: task.state for task in status.tasks}

    def task(self, status: JobStatus, name: str) -> Any:
        (found,) = [task for task in status.tasks if task.name == name]
        return found

    def log(self, name: str, node: str | None = None) -> list[str]:
        return [line for _, line in jobs.logs(self.config, name, node)]


@pytest.fixture
def config(configure: Any, tmp_path: Path) -> Any:
    made = configure(vertex={"failure_policy": "slow"})
    return made.model_copy(update={"output": str(tmp_path / "runs")})


@pytest.fixture
def bench(config: Any) -> Iterator[Bench]:
    with twin(config) as running:
        yield Bench(config, running)


def gated(value: float) -> Any:
    gate = f"metadata['passed'] = {value}"
    return (
        Tiny()
        .task("gate", gate, output="pipeline.GateVerdict")
        .task(
            "train",
            inputs={"in": ("gate", "out", "pipeline.GateVerdict")},
            output="tfx.Model",
            triggerPolicy={"condition": PASSED},
        )
        .task("push", inputs={"model": ("train", "out", "tfx.Model")})
    )


def test_tasks_run_in_order_and_hand_over_artifacts(bench: Bench) -> None:
    status = bench.run(gated(1.0))
    assert status.state == "SUCCEEDED"
    assert bench.states(status) == dict.fromkeys(("gate", "train", "push"), "SUCCEEDED")
    made = bench.task(status, "gate").outputs["out"]
    assert made["metadata"] == {"passed": 1.0}
    assert made["uri"].startswith("gs://my-bucket/pipelines/my-project/tiny-1/gate_")
    assert (Path(bench.twin.buckets.local(made["uri"])) / "content").read_text() == "made"


def test_a_closed_gate_triggers_nothing_and_fails_nothing(bench: Bench) -> None:
    status = bench.run(gated(0.0))
    assert status.state == "SUCCEEDED"
    assert bench.states(status) == {
        "gate": "SUCCEEDED",
        "train": "NOT_TRIGGERED",
        "push": "NOT_TRIGGERED",
    }


def test_a_condition_without_a_value_fails_its_task(bench: Bench) -> None:
    job = gated(1.0)
    job.tasks["train"]["triggerPolicy"]["condition"] = PASSED.replace("passed", "past")
    status = bench.run(job)
    assert status.state == "FAILED" and bench.states(status)["train"] == "FAILED"
    assert "no such key" in bench.task(status, "train").error


def test_a_failed_task_fails_the_job_in_its_last_words(bench: Bench) -> None:
    job = Tiny().task("a", "raise ValueError('no such column')").task("b")
    status = bench.run(job)
    assert (status.state, status.status, status.exit_code) == ("FAILED", "failed", 1)
    assert bench.states(status) == {"a": "FAILED", "b": "SUCCEEDED"}
    assert status.message == (
        "a: The replica exited with a non-zero status of 1: ValueError: no such column"
    )
    assert any("no such column" in line for line in bench.log("tiny-1", "a"))


def test_fail_fast_starts_nothing_more(configure: Any, tmp_path: Path) -> None:
    config = configure(vertex={"failure_policy": "fast"})
    config = config.model_copy(update={"output": str(tmp_path)})
    job = Tiny().task("a", "raise SystemExit(3)").task("b", "time.sleep(1)", output="tfx.Model")
    job.task("c", inputs={"in": ("b", "out", "tfx.Model")})
    with twin(config) as running:
        bench = Bench(config, running)
        states = bench.states(bench.run(job))
    assert states == {"a": "FAILED", "b": "SUCCEEDED", "c": "NOT_TRIGGERED"}


def test_a_machine_that_goes_away_is_replaced(bench: Bench) -> None:
    bench.twin.faults.tasks["a"] = "preempt"
    job = Tiny().task("a", "print('at work'); time.sleep(1.5)", retryPolicy={"maxRetryCount": 1})
    status = bench.run(job)
    assert status.state == "SUCCEEDED"
    task = bench.task(status, "a")
    assert task.state == "SUCCEEDED" and len(task.job_ids) == 2


def test_without_retries_it_is_not(bench: Bench) -> None:
    bench.twin.faults.tasks["a"] = "preempt"
    status = bench.run(Tiny().task("a", "time.sleep(5)"))
    assert status.state == "FAILED"
    assert "terminated by signal 9" in bench.task(status, "a").error


def test_a_task_that_always_fails_is_tried_as_often_as_the_policy_says(bench: Bench) -> None:
    bench.twin.faults.tasks["a"] = "fail"
    status = bench.run(Tiny().task("a", retryPolicy={"maxRetryCount": 2}))
    assert status.state == "FAILED" and len(bench.task(status, "a").job_ids) == 3


def test_the_cache_answers_for_the_same_work_and_no_other(bench: Bench) -> None:
    def job(value: str) -> Any:
        made = Tiny().task(
            "a",
            output="tfx.Model",
            parameters={"x": value},
            cachingOptions={"enableCache": True},
        )
        return made.task("b", inputs={"in": ("a", "out", "tfx.Model")})

    first, second, other = (bench.run(job(value)) for value in ("1", "1", "2"))
    assert bench.states(first) == bench.states(other) == {"a": "SUCCEEDED", "b": "SUCCEEDED"}
    assert bench.states(second) == {"a": "SKIPPED", "b": "SUCCEEDED"}
    assert bench.task(second, "a").outputs == bench.task(first, "a").outputs


def test_resolvers_find_nothing_first_and_the_blessed_model_then(config: Any) -> None:
    def job() -> Any:
        by_name = (
            'schema_title="tfx.Model" AND state=LIVE AND '
            "name=\"{{$.inputs.artifacts['input'].metadata['current_model_id']}}\""
        )
        blessed = (
            'schema_title="tfx.ModelBlessing" AND state=LIVE AND metadata.blessed.number_value=1'
        )
        resolved = ("blessing", "out", "tfx.ModelBlessing")
        return (
            Tiny()
            .other(
                "blessing",
                {"resolver": {"outputArtifactQueries": {"out": {"filter": blessed}}}},
                output="tfx.ModelBlessing",
            )
            .other(
                "champion",
                {"resolver": {"outputArtifactQueries": {"out": {"filter": by_name}}}},
                inputs={"input": resolved},
                output="tfx.Model",
            )
            .task("train", output="tfx.Model")
            .task(
                "judge",
                "found = inputs['artifacts']['baseline']['artifacts'];"
                "print([a['uri'] for a in found]);"
                "name = inputs['artifacts']['model']['artifacts'][0]['name'];"
                "metadata.update(blessed=1, current_model_id=name)",
                inputs={
                    "model": ("train", "out", "tfx.Model"),
                    "baseline": ("champion", "out", "tfx.Model"),
                },
                output="tfx.ModelBlessing",
            )
        )

    seen = []
    for number in (1, 2):  # each in a service of its own: metadata lasts
        with twin(config) as running:
            bench = Bench(config, running)
            status = bench.run(job(), job_id=f"tiny-{number}")
            assert status.state == "SUCCEEDED"
            seen.append((bench.log(f"tiny-{number}", "judge"), bench.task(status, "train").outputs))
    assert seen[0][0] == ["[]"]
    assert seen[1][0] == [f"['{bench.twin.buckets.to_local(seen[0][1]['out']['uri'])}']"]


def test_an_importer_registers_once(bench: Bench) -> None:
    def job() -> Any:
        executor = {
            "importer": {
                "artifactUri": {"constant": "gs://my-bucket/there"},
                "typeSchema": {"instanceSchema": "title: tfx.Schema\ntype: object\n"},
                "metadata": {"reviewed": 1},
            }
        }
        made = Tiny().other("import", executor, output="tfx.Schema")
        shown = "a = inputs['artifacts']['in']['artifacts'][0]; print(a['name'], a['metadata'])"
        return made.task("a", shown, inputs={"in": ("import", "out", "tfx.Schema")})

    bench.run(job())
    bench.run(job())
    assert bench.log("tiny-1", "a") == bench.log("tiny-2", "a") != []
    assert bench.log("tiny-1", "a")[0].endswith("{'reviewed': 1.0}")


def test_parameters_are_filled_in(bench: Bench) -> None:
    parameters = {
        "span": {"componentInputParameter": "span"},
        "job": "{{$.pipeline_job_name}}",
        "where": "gs://my-bucket/data",
    }
    job = Tiny().task("a", "print(json.dumps(parameters, sort_keys=True))", parameters=parameters)
    bench.run(job, span="2019-12")
    (line,) = bench.log("tiny-1", "a")
    assert json.loads(line) == {
        "span": "2019-12",
        "job": "tiny-1",
        "where": os.path.join(bench.twin.buckets.root, "my-bucket/data"),
    }


@pytest.mark.parametrize("runner", ["direct", "dataflow", "flink", "spark"])
def test_beam_works_here_whatever_the_job_says(runner: Any) -> None:
    """Else a rehearsal would start Dataflow jobs, with the credentials of whoever rehearses."""
    from pipeline.beam_options import beam_arguments
    from pipeline.config import BeamConfig
    from pipeline.vertex.twin import inputs

    said = beam_arguments(BeamConfig(runner=runner))
    (given,) = [inputs.filled(each, {}) for each in said if each.startswith("--runner")]
    assert given == "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"


def test_the_driver_runs_before_the_cache_is_asked(bench: Bench) -> None:
    def job(value: str) -> Any:
        made = Tiny().task("a", output="tfx.Model", cachingOptions={"enableCache": True})
        program = (
            "import json, sys; told = json.loads(sys.argv[1]);"
            "file = open(told['outputs']['outputFile'], 'w');"
            f"json.dump({{'parameterValues': {{'fingerprint': '{value}'}}}}, file)"
        )
        driver = {"command": [sys.executable, "-c", program], "args": ["{{$}}"]}
        # The same bytes in the spec: only what the driver finds differs.
        made.executors["a"]["container"]["lifecycle"] = {"preCacheCheck": driver}
        return made

    states = []
    for value in ("x", "x", "y"):
        made = job(value)
        states.append(bench.states(bench.run(made))["a"])
    assert states == ["SUCCEEDED", "SKIPPED", "SUCCEEDED"]


def test_the_exit_handler_is_told_how_it_ended(bench: Bench) -> None:
    def job(script: str) -> Any:
        made = Tiny().task("a", script)
        inner = {"dag": {"tasks": dict(made.tasks)}}
        made.tasks.clear()
        made.components["tfx-dag"] = inner
        made.tasks["tfx-dag"] = {
            "taskInfo": {"name": "tfx-dag"},
            "componentRef": {"name": "tfx-dag"},
        }
        status = {"taskFinalStatus": {"producerTask": "tfx-dag"}}
        return made.task(
            "exit",
            "print(parameters['status'])",
            parameters={"status": status},
            dependentTasks=["tfx-dag"],
            triggerPolicy={"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"},
        )

    for number, (script, ended) in enumerate(
        (("pass", "SUCCEEDED"), ("raise SystemExit(1)", "FAILED")), start=1
    ):
        status = bench.run(job(script))
        assert status.state == ended
        told = json.loads(bench.log(f"tiny-{number}", "exit")[0])
        assert told["state"] == ended
        assert told["pipelineJobResourceName"].endswith(f"pipelineJobs/tiny-{number}")
        assert ("error" in told) == (ended == "FAILED")


def test_a_job_can_be_cancelled(bench: Bench) -> None:
    job = Tiny().task("a", "time.sleep(30)", output="tfx.Model")
    name = bench.send(job.task("b", inputs={"in": ("a", "out", "tfx.Model")}))
    running = threading.Event()

    def watch(task: Any) -> None:
        if task.name == "a" and task.state == "RUNNING" and not running.is_set():
            running.set()
            jobs.cancel(bench.config, name)

    status = jobs.wait(bench.config, name, watch, poll_seconds=0.05)
    assert (status.state, status.status, status.exit_code) == ("CANCELLED", "cancelled", 1)
    assert bench.states(status) == {"a": "CANCELLED", "b": "CANCELLED"}


# --- errors ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, remedy",
    [
        (403, "roles/aiplatform.user on my-project"),
        (429, "A quota of my-project in europe-west4 is used up"),
        (503, "Wait a minute"),
    ],
)
def test_a_refusal_is_a_sentence_with_a_remedy(bench: Bench, code: int, remedy: str) -> None:
    bench.twin.faults.refusals.append(code)
    with pytest.raises(ApiError, match=remedy) as caught:
        bench.run(gated(1.0))
    assert caught.value.code == code
    assert str(caught.value).startswith(f"cannot submit the job tiny-1: {code} ")
    assert bench.run(gated(1.0)).state == "SUCCEEDED"


def test_an_id_can_be_used_once(config: Any) -> None:
    with twin(config) as running:
        Bench(config, running).run(gated(1.0), job_id="mine")
    with twin(config) as running, pytest.raises(ApiError, match="taken") as caught:
        Bench(config, running).run(gated(1.0), job_id="mine")
    assert caught.value.code == 409


def test_a_job_that_is_none_is_refused(bench: Bench) -> None:
    job = gated(1.0).job()
    job["pipelineSpec"]["root"]["dag"]["tasks"]["gate"]["colour"] = "red"
    with pytest.raises(ApiError, match=r"colour.*headrace vertex lint") as caught:
        bench.run(job)
    assert caught.value.code == 400


def test_no_such_job(bench: Bench) -> None:
    api.connect(bench.config.vertex)
    with pytest.raises(ApiError, match="no-such-job does not exist") as caught:
        jobs.status(bench.config, "no-such-job")
    assert caught.value.code == 404


def test_another_project_is_refused(bench: Bench, configure: Any) -> None:
    other = configure(vertex={"project": "other-project"})
    with pytest.raises(ApiError, match=r"403.*other-project"):
        jobs.submit(other, gated(1.0).job(), span=None, job_id="x")


def test_a_bucket_that_is_not_there(bench: Bench, configure: Any) -> None:
    other = configure(vertex={"root": "gs://no-such-bucket/root"})
    with pytest.raises(ApiError, match="gcloud storage buckets create gs://no-such-bucket"):
        jobs.submit(other, gated(1.0).job(), span=None, job_id="x")


def test_no_credentials(config: Any, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(ApiError, match="gcloud auth application-default login"):
        api.connect(config.vertex)


def test_no_network(config: Any, monkeypatch: Any) -> None:
    # A port that nobody listens on, because it was just given back.
    with twin(config) as running:
        address = running.service.address
    monkeypatch.setenv(api.EMULATOR, address)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setattr(api, "_PATIENCE", api.Retry(timeout=0.2))
    with pytest.raises(ApiError, match="no answer from Google's API in europe-west4"):
        jobs.submit(config, gated(1.0).job(), span=None, job_id="x")


@pytest.mark.parametrize("text", ["504x", "Trainer", "Trainer=explode", "=fail"])
def test_a_fault_that_is_none(text: str) -> None:
    with pytest.raises(RunError, match="is none of"):
        Faults.parse([text])


@pytest.mark.parametrize("name", ["", "1abc", "My-Job", "a_b", "a" * 129])
def test_an_id_that_vertex_does_not_take(name: str) -> None:
    with pytest.raises(RunError, match="--job-id"):
        jobs.check_id(name)


@pytest.mark.parametrize("span", ["", "2019-12", "Week 7"])
def test_ids_of_our_own_are_taken(config: Any, span: str) -> None:
    assert jobs.check_id(jobs.new_id(config, span))


# --- schema, schedules, lock -----------------------------------------------------------------


def test_the_schema_is_uploaded_once_under_its_digest(bench: Bench) -> None:
    uri = prepare.schema_uri(bench.config)
    bench.run(gated(1.0))
    stored = Path(bench.twin.buckets.local(uri))
    assert stored.read_bytes() == Path(bench.config.data.schema_file).read_bytes()
    assert api.upload_schema(bench.config, uri) is False
    reviewed = stored.read_bytes()
    stored.write_bytes(b"# edited in the bucket\n" + reviewed)
    assert api.upload_schema(bench.config, uri) is True
    assert stored.read_bytes() == reviewed


def test_a_schedule_takes_the_place_of_the_one_before(bench: Bench) -> None:
    from google.cloud import aiplatform

    for cron in ("0 6 2 * *", "TZ=Europe/Berlin 0 7 2 * *"):
        jobs.schedule(bench.config, gated(1.0).job(), cron=jobs.check_cron(cron))
    (schedule,) = aiplatform.PipelineJobSchedule.list()
    assert schedule.cron == "TZ=Europe/Berlin 0 7 2 * *"
    request = schedule.gca_resource.create_pipeline_job_request
    assert request.pipeline_job.service_account == bench.config.vertex.service_account
    assert dict(request.pipeline_job.runtime_config.parameter_values) == {"span": ""}


@pytest.mark.parametrize("cron", ["", "daily", "* * * *", "1 2 3 4 5 6"])
def test_a_cron_expression_that_is_none(cron: str) -> None:
    with pytest.raises(ConfigError, match=r"vertex\.schedule"):
        jobs.check_cron(cron)


def test_one_rehearsal_at_a_time(config: Any) -> None:
    with twin(config), pytest.raises(RunError, match="is running there"), twin(config):
        pass
    assert os.path.isdir(folder_of(config))


def test_logs_of_a_task_that_did_not_run(bench: Bench) -> None:
    bench.run(gated(0.0))
    with pytest.raises(RunError, match=r"no machine has run train.*gate"):
        list(jobs.logs(bench.config, "tiny-1", "train"))
