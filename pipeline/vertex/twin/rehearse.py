"""`headrace vertex rehearse`: the compiled job, sent to a service on this machine that runs it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import files
from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.local import lock
from pipeline.local.result import EXIT_CODES, RunResult
from pipeline.vertex import api, jobs, prepare
from pipeline.vertex.jobs import Task
from pipeline.vertex.twin import image_root as image_roots
from pipeline.vertex.twin.bucket import Buckets
from pipeline.vertex.twin.faults import Faults
from pipeline.vertex.twin.job import Machinery
from pipeline.vertex.twin.processes import Processes
from pipeline.vertex.twin.service import Service
from pipeline.vertex.twin.store import MetadataStore

Tree = dict[str, Any]

#: Between two looks at a job: nobody else asks this service.
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Twin:
    """A running twin.

    Attributes:
        service: the API.
        buckets: folders behind gs://.
        store: metadata.
        processes: runs the commands of tasks.
        tools: runs what the submitter does with TFX, always in this environment.
        faults: what is to go wrong.
    """

    service: Service
    buckets: Buckets
    store: MetadataStore
    processes: Processes
    tools: Processes
    faults: Faults


def _nobody(task: Task) -> None:
    """Watches nothing."""


def folder_of(config: Config) -> str:
    """Where a twin keeps its buckets, metadata and logs."""
    return os.path.join(config.output, "vertex")


@contextlib.contextmanager
def twin(
    config: Config, faults: Faults | None = None, image_root: str | None = None
) -> Iterator[Twin]:
    """A twin of the project and region in the configuration.

    While it lives, Google's clients in this process and in its tasks talk to it. Local data is seen
    at `vertex.data_path`.

    Args:
        config: as it is written.
        faults: what is to go wrong.
        image_root: root file system of the image, for tasks to run in; else they run here.

    Raises:
        RunError: the data's folder is not there, or the root is not this code's image.
    """
    folder, vertex = folder_of(config), config.vertex
    logs = os.path.join(folder, "logs")
    os.makedirs(logs, exist_ok=True)
    buckets = Buckets(os.path.join(folder, "gs"))
    for uri in (vertex.root, prepare.data_path(config), vertex.serving_path or config.serving.path):
        buckets.create(uri.removeprefix("gs://").split("/")[0])
    if vertex.data_path and files.is_local(config.data.path):
        buckets.mount(vertex.data_path, config.data.path)
    parent = f"projects/{vertex.project}/locations/{vertex.region}/metadataStores/default"
    store = MetadataStore(os.path.join(folder, "metadata.db"), parent)
    faults = faults or Faults()
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        stack.enter_context(
            lock.held(os.path.join(folder, ".lock"), f"rehearsal {os.getpid()}", wait_seconds=0)
        )
        tools = processes = stack.enter_context(Processes(os.path.join(logs, "worker.log")))
        if image_root:
            scratch = os.path.join(folder, "tmp")
            os.makedirs(scratch, exist_ok=True)
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            image = image_roots.load(image_root, _seen(config, scratch))
            processes = stack.enter_context(Processes(os.path.join(logs, "image.log"), image))
        environment: dict[str, str] = {}
        machinery = Machinery(store, buckets, processes, faults, environment, logs)
        service = stack.enter_context(Service(machinery, vertex.project, vertex.region, folder))
        environment |= {
            api.EMULATOR: service.address,
            api.BUCKETS: buckets.root,
            "STORAGE_EMULATOR_HOST": service.address,
            "GOOGLE_CLOUD_PROJECT": vertex.project,
        }
        stack.enter_context(_environment(environment))
        yield Twin(service, buckets, store, processes, tools, faults)


def _seen(config: Config, scratch: str) -> dict[str, str]:
    """What tasks in an image see of this machine: a folder for /tmp, the twin's own, the data."""
    folder = os.path.abspath(folder_of(config))
    seen = {os.path.abspath(scratch): "/tmp", folder: folder}
    if files.is_local(config.data.path):
        data = os.path.abspath(config.data.path)
        seen[data] = data
    return seen


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class Rehearsal:
    """Compiles, submits and judges on a running twin.

    Args:
        config: as it is written.
        twin: the twin of it.
    """

    def __init__(self, config: Config, twin: Twin) -> None:
        self._config, self._twin = config, twin
        self._folder = folder_of(config)
        twin.tools.warm()
        twin.processes.warm()
        self._numbers = itertools.count(1)

    def compiled(self) -> Tree:
        """The job, as it would be sent.

        Raises:
            RunError: the configuration cannot run on Vertex, or the job has findings.
        """
        answer = self._tool("compile", {"config": self._config.model_dump(mode="json")})
        if answer["findings"]:
            raise RunError("\n".join(["the job is not sent:", *answer["findings"]]))
        job: Tree = answer["job"]
        return job

    def run(
        self, job: Tree, *, span: str | None, job_id: str, watch: Callable[[Task], None] = _nobody
    ) -> tuple[RunResult, Tree]:
        """Submits a job and waits for its end.

        Returns:
            What came of it, and the evidence for parity.

        Raises:
            ApiError: the twin refuses the job.
        """
        started = time.monotonic()
        jobs.submit(self._config, job, span=span, job_id=job_id)
        status = jobs.wait(self._config, job_id, watch, poll_seconds=_POLL_SECONDS)
        told = json.loads(status.to_json())
        answer = self._tool("outcome", {"status": told, "gs": self._twin.buckets.root})
        result = RunResult.from_json(json.dumps(answer["result"]))
        result.wall_seconds = round(time.monotonic() - started, 2)
        result.exit_code = EXIT_CODES[result.status]
        result.log = os.path.join(self._folder, "logs")
        return result, answer["evidence"]

    def local(self, span: str | None) -> tuple[RunResult, Tree]:
        """The same by LocalDagRunner, in an output folder of its own; see `run`."""
        folder = os.path.join(self._folder, "local")
        tree = self._config.model_dump(mode="json")
        tree["output"] = os.path.join(folder, "runs")
        tree["serving"]["path"] = os.path.join(folder, "serving")
        answer = self._tool("local", {"config": tree, "span": span or None})
        return RunResult.from_json(json.dumps(answer["result"])), answer["evidence"]

    def _tool(self, command: str, request: Tree) -> Tree:
        """Runs one of `pipeline.vertex.twin.tools` in the warm worker."""
        name = os.path.join(self._folder, "logs", f"{command}-{os.getpid()}-{next(self._numbers)}")
        paths = [f"{name}.request.json", f"{name}.answer.json"]
        with open(paths[0], "w", encoding="utf-8") as file:
            json.dump(request, file)
        module = ["python", "-m", "pipeline.vertex.twin.tools", command, *paths]
        code = self._twin.tools.run(module, f"{name}.log", {})
        if code != 0:
            raise RunError(f"{command} failed (exit code {code}); see {name}.log.")
        with open(paths[1], encoding="utf-8") as file:
            answer: Tree = json.load(file)
        for path in paths:
            os.remove(path)
        if "error" in answer:
            error = RunError(answer["error"])
            error.exit_code = answer["exit_code"]
            raise error
        return answer
