"""Jobs and schedules on Vertex AI Pipelines: send, look, wait, stop, read the logs."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from google.cloud import aiplatform

from pipeline.config import Config
from pipeline.errors import ConfigError, Fault, RunError, shorten
from pipeline.local.result import EXIT_CODES
from pipeline.vertex import api, prepare
from pipeline.vertex.api_errors import explained

Job = dict[str, Any]

_JOB_ID = re.compile(r"[a-z][-a-z0-9]{0,127}")
_CRON = re.compile(r"((CRON_)?TZ=\S+\s+)?(\S+\s+){4}\S+")

_ENDED = {"SUCCEEDED", "FAILED", "CANCELLED"}


@dataclass
class Task:
    """A task of a job.

    Attributes:
        name: of the node.
        state: as Vertex says, such as `RUNNING`, `SKIPPED` (from the cache), `NOT_TRIGGERED`.
        seconds: from start to end, or till now.
        error: why it failed.
        job_ids: numbers of the custom jobs that ran it, for the logs.
        outputs: output key → `uri` and `metadata` of the artifact.
    """

    name: str
    state: str
    seconds: float = 0.0
    error: str = ""
    job_ids: list[str] = field(default_factory=list)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass
class JobStatus:
    """A job as Vertex sees it, and what came of it as `headrace run` says it.

    Attributes:
        job: id.
        state: as Vertex says, such as `RUNNING`.
        status: `pushed`, `up_to_date`, `not_blessed`, `blocked`, `failed`, `cancelled`, `running`.
        message: the error, why nothing was pushed, or where a pushed model is registered.
        model_version: version pushed, or found up to date.
        tasks: in the order of their start.
        exit_code: of the command, as of `headrace run`; 0 while it runs.
    """

    job: str
    state: str
    status: str = "running"
    message: str = ""
    model_version: int | None = None
    tasks: list[Task] = field(default_factory=list)
    exit_code: int = 0

    def to_json(self) -> str:
        """One JSON object on one line."""
        tasks = [vars(task) for task in self.tasks]
        return json.dumps({**vars(self), "tasks": tasks})


def new_id(config: Config, span: str) -> str:
    """An id for a job: pipeline, span, second."""
    parts = [config.name, *([re.sub(r"[^a-z0-9]+", "-", span.lower())] if span else [])]
    moment = f"{dt.datetime.now(dt.UTC):%Y%m%d%H%M%S}"
    return f"{'-'.join(parts)[:110].rstrip('-')}-{moment}"


def check_id(job_id: str) -> str:
    """An id that Vertex takes.

    Raises:
        RunError: it is none.
    """
    if not _JOB_ID.fullmatch(job_id):
        raise RunError(
            f"--job-id {shorten(job_id)}: must begin with a-z and hold only a-z, 0-9 and -, at "
            "most 128. Choose another, or leave it out."
        )
    return job_id


def check_cron(cron: str) -> str:
    """A cron expression, if it looks like one; Vertex reads it for good.

    Raises:
        ConfigError: it does not.
    """
    if not _CRON.fullmatch(cron.strip()):
        fault = Fault(
            "vertex.schedule",
            shorten(cron),
            "must be five fields: minute, hour, day, month, weekday",
            'Such as "0 6 2 * *", or "TZ=Europe/Berlin 0 6 2 * *".',
        )
        raise ConfigError("--schedule", [fault])
    return cron.strip()


def submit(config: Config, job: Job, *, span: str | None, job_id: str) -> str:
    """Uploads the schema and sends the job.

    Args:
        config: as it is written.
        job: compiled from it.
        span: label of the newest span, `""` for the newest there is then; None for that of
            `vertex.parameters`.
        job_id: for the new job.

    Returns:
        The job's page in Google's console.

    Raises:
        ApiError: the API or the bucket refuses.
    """
    api.connect(config.vertex)
    api.upload_schema(config, prepare.schema_uri(config))
    with explained(f"submit the job {job_id}", config.vertex), _silent():
        made = _made(config, job, span=span, job_id=job_id)
        resource = made._gca_resource  # not shown in public before the job is there
        if config.vertex.service_account:
            resource.service_account = config.vertex.service_account
        if config.vertex.network:
            resource.network = config.vertex.network
        # Not PipelineJob.submit(): that makes the bucket where there is none. The schema's upload
        # has shown that it is there, and a name that is wrong must not become a bucket.
        made.api_client.create_pipeline_job(
            parent=parent(config), pipeline_job=resource, pipeline_job_id=job_id, timeout=60
        )
        return page(config, job_id)


def parent(config: Config) -> str:
    """Resource name of project and region."""
    return f"projects/{config.vertex.project}/locations/{config.vertex.region}"


def page(config: Config, job_id: str) -> str:
    """A job's page in Google's console."""
    vertex = config.vertex
    return (
        "https://console.cloud.google.com/vertex-ai/locations/"
        f"{vertex.region}/pipelines/runs/{job_id}?project={vertex.project}"
    )


def schedule(config: Config, job: Job, *, cron: str) -> str:
    """Makes the schedule of this pipeline, in place of one it has already.

    Returns:
        Its resource name.

    Raises:
        ApiError: the API or the bucket refuses.
    """
    api.connect(config.vertex)
    api.upload_schema(config, prepare.schema_uri(config))
    with explained(f"schedule {config.name}", config.vertex), _silent():
        query = f'display_name="{config.name}"'
        earlier = aiplatform.PipelineJobSchedule.list(filter=query)
        made = _made(config, job, span=None, job_id=None).create_schedule(
            cron=cron,
            display_name=config.name,
            max_concurrent_run_count=config.vertex.max_concurrent_runs,
            service_account=config.vertex.service_account or None,
            network=config.vertex.network or None,
            create_request_timeout=60,
        )
        # Two schedules of one pipeline would train twice; the old goes once the new is there.
        for old in earlier:
            old.delete()
    return str(made.resource_name)


def status(config: Config, job_id: str) -> JobStatus:
    """Looks at a job.

    Raises:
        ApiError: there is none, or the API refuses.
    """
    with explained(f"look at the job {job_id}", config.vertex), _silent():
        job = aiplatform.PipelineJob.get(job_id)
        return read(job_id, type(job.gca_resource).to_dict(job.gca_resource))


def wait(
    config: Config,
    job_id: str,
    watch: Callable[[Task], None],
    *,
    poll_seconds: float,
) -> JobStatus:
    """Looks at a job until it has ended.

    Args:
        config: names project and region.
        job_id: of the job.
        watch: is told each task whose state has changed.
        poll_seconds: between two looks.
    """
    known: dict[str, str] = {}
    while True:
        found = status(config, job_id)
        for task in found.tasks:
            if known.get(task.name) != task.state:
                known[task.name] = task.state
                watch(task)
        if found.state in _ENDED:
            return found
        time.sleep(poll_seconds)


def cancel(config: Config, job_id: str) -> None:
    """Asks Vertex to stop a job; tasks that run are ended, nothing half-done is published.

    Raises:
        ApiError: there is none, or the API refuses.
    """
    with explained(f"cancel the job {job_id}", config.vertex), _silent():
        aiplatform.PipelineJob.get(job_id).cancel()


def logs(config: Config, job_id: str, node: str | None) -> Iterator[tuple[str, str]]:
    """Node and line of the logs of a job, oldest first.

    Raises:
        RunError: no task of it has run, or none of that name.
    """
    tasks = status(config, job_id).tasks
    chosen = [task for task in tasks if node is None or task.name == node]
    owners = {number: task.name for task in chosen for number in task.job_ids}
    if not owners:
        known = ", ".join(task.name for task in tasks if task.job_ids) or "none yet"
        raise RunError(f"{job_id}: no machine has run {node or 'a task'}. Tasks that ran: {known}.")
    for entry in api.log_entries(config.vertex, list(owners)):
        number = entry.get("resource", {}).get("labels", {}).get("job_id", "")
        text = entry.get("textPayload") or entry.get("jsonPayload", {}).get("message", "")
        for line in str(text).splitlines():
            yield owners.get(number, ""), line


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """google-cloud-aiplatform tells on the error stream what it does, with links; we tell it."""
    logger = logging.getLogger("google.cloud.aiplatform")
    before = logger.disabled
    logger.disabled = True
    disabled = []
    for name, child in logging.root.manager.loggerDict.items():
        if name.startswith("google.cloud.aiplatform.") and isinstance(child, logging.Logger):
            disabled.append((child, child.disabled))
            child.disabled = True
    try:
        yield
    finally:
        logger.disabled = before
        for child, was in disabled:
            child.disabled = was


def _made(config: Config, job: Job, *, span: str | None, job_id: str | None) -> Any:
    """The SDK's job; it reads the compiled one from a file."""
    with tempfile.TemporaryDirectory(prefix="headrace-vertex-") as folder:
        path = os.path.join(folder, "job.json")
        with open(path, "w", encoding="utf-8") as file:
            json.dump(job, file)
        return aiplatform.PipelineJob(
            display_name=job["displayName"],
            template_path=path,
            job_id=job_id,
            parameter_values=None if span is None else {"span": span},
            labels=job["labels"],
            failure_policy=config.vertex.failure_policy,
            encryption_spec_key_name=config.vertex.encryption_key or None,
        )


def read(job_id: str, resource: dict[str, Any]) -> JobStatus:
    """A job's status from its resource, as proto-plus turns it into a dict."""
    state = _state(aiplatform.gapic.PipelineState, resource.get("state"))
    details = (resource.get("job_detail") or {}).get("task_details", [])
    details.sort(key=lambda detail: str(detail.get("start_time") or "9"))
    found = JobStatus(job_id, state, tasks=[_task(detail) for detail in details])
    _judge(found, (resource.get("error") or {}).get("message", ""))
    return found


def _state(kind: Any, value: Any) -> str:
    return str(kind(value or 0).name).removeprefix("PIPELINE_STATE_")


def _task(detail: dict[str, Any]) -> Task:
    kind = aiplatform.gapic.PipelineTaskDetail.State
    started, ended = _moment(detail.get("start_time")), _moment(detail.get("end_time"))
    seconds = ((ended or dt.datetime.now(dt.UTC)) - started).total_seconds() if started else 0.0
    container = (detail.get("executor_detail") or {}).get("container_detail") or {}
    ran = [container.get("main_job"), *container.get("failed_main_jobs", [])]
    return Task(
        name=detail["task_name"],
        state=_state(kind, detail.get("state")),
        seconds=round(seconds, 2),
        error=(detail.get("error") or {}).get("message", ""),
        job_ids=[name.rsplit("/", 1)[-1] for name in ran if name],
        outputs={
            key: {
                "uri": each["artifacts"][0].get("uri", ""),
                "metadata": dict(each["artifacts"][0].get("metadata") or {}),
            }
            for key, each in (detail.get("outputs") or {}).items()
            if each.get("artifacts")
        },
    )


def _moment(value: Any) -> dt.datetime | None:
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value


def _judge(found: JobStatus, error: str) -> None:
    """A gate that closes is no failure to Vertex: what follows is not triggered."""
    if found.state not in _ENDED:
        return
    outputs = {task.name: task.outputs for task in found.tasks}
    verdict = outputs.get("DataGate", {}).get("verdict", {}).get("metadata", {})
    pushed = outputs.get("Pusher", {}).get("pushed_model", {}).get("metadata", {})
    version = pushed.get("pushed_version")
    found.model_version = int(version) if version else None
    failed = [task for task in found.tasks if task.state == "FAILED"]
    if found.state == "CANCELLED":
        found.status, found.message = "cancelled", "cancelled; submit it again to go on"
    elif found.state == "FAILED":
        found.status = "failed"
        told = [f"{task.name}: {task.error or 'failed'}" for task in failed]
        found.message = "\n".join(told) or error
    elif verdict.get("passed") == 0:
        found.status = "blocked"
        found.message = "the data gate closed; its verdict.json says why"
    elif pushed.get("pushed") == 1:
        found.status = "pushed"
        found.message = _registered(outputs.get("VertexRegistrar", {}))
    elif found.model_version is not None:
        found.status = "up_to_date"
        found.message = f"the model is {pushed.get('reason', '')}"
    elif pushed:
        found.status, found.message = "not_blessed", str(pushed.get("reason", ""))
    else:
        found.status = "failed"
        found.message = "the job ended well, but no gate closed and nothing was pushed"
    found.exit_code = next((code for name, code in EXIT_CODES.items() if name == found.status), 1)


def _registered(outputs: dict[str, dict[str, Any]]) -> str:
    """Where a pushed model is in the registry; `""` if it is not."""
    told = outputs.get("registered_model", {}).get("metadata", {})
    if not told.get("model"):
        return ""
    share = json.loads(told.get("traffic", "{}")).get(told.get("deployed_model"), 0)
    where = f", {share} % of the endpoint's traffic" if told.get("endpoint") else ""
    return f"registered as {told['model']}{where}"
