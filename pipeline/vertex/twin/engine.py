"""Runs one job: the order of tasks, conditions, cache, retries, states, as Vertex has them.

States of a task: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, SKIPPED (its result came from the
cache), NOT_TRIGGERED (its condition is false, or a task it waits for did not succeed). A job fails
if a task failed; a closed gate is no failure.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs
"""

from __future__ import annotations

import datetime as dt
import hashlib
import itertools
import json
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Any

from pipeline.vertex import cel, filters
from pipeline.vertex.lint import graph
from pipeline.vertex.twin import faults, inputs, processes
from pipeline.vertex.twin.bucket import Buckets
from pipeline.vertex.twin.store import MetadataStore

Tree = dict[str, Any]
Artifacts = dict[str, list[Tree]]

#: An attempt that is to lose its machine runs so long before.
_PREEMPT_SECONDS = 0.5

_GOOD = {"SUCCEEDED", "SKIPPED"}
_ALL_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"

_numbers = itertools.count(1)


def now() -> str:
    """The moment, as the API writes it."""
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


class TaskFailed(Exception):
    """A task ended badly; the text is what the API says of it."""


@dataclass
class Outcome:
    """What became of a task: its state, and what those after it can take."""

    state: str
    artifacts: Artifacts = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass
class Machinery:
    """What all jobs of a service share.

    Attributes:
        store: metadata.
        buckets: folders behind gs://.
        processes: runs commands.
        faults: what is to go wrong.
        environment: of every task.
        logs: folder for the logs of tasks, one file a custom job.
        parallel: tasks that may run at a time.
    """

    store: MetadataStore
    buckets: Buckets
    processes: processes.Processes
    faults: faults.Faults
    environment: Mapping[str, str]
    logs: str
    parallel: int = 2


class JobRun:
    """One job, from PENDING to its end. `resource` is what the API shows of it.

    Args:
        resource: the PipelineJob as it was sent, with `name`.
        machinery: shared.
    """

    def __init__(self, resource: Tree, machinery: Machinery) -> None:
        self._machinery = machinery
        self._spec: Tree = resource["pipelineSpec"]
        self._lock = threading.Lock()
        self._details: dict[str, Tree] = {}
        self._pids: set[int] = set()
        self._stop = threading.Event()
        self._failed_fast = False
        runtime = resource.setdefault("runtimeConfig", {})
        self._root: str = runtime.get("gcsOutputDirectory", "").rstrip("/")
        self._fast = runtime.get("failurePolicy") in (2, "PIPELINE_FAILURE_POLICY_FAIL_FAST")
        parts = resource["name"].split("/")
        self._project, self._region, self._id = parts[1], parts[3], parts[5]
        self.resource = {
            **resource,
            "state": "PIPELINE_STATE_PENDING",
            "createTime": now(),
            "updateTime": now(),
        }

    def start(self) -> None:
        """Runs it in a thread of its own."""
        threading.Thread(target=self._run, name=self._id, daemon=True).start()

    def cancel(self) -> None:
        """Ends what runs and starts nothing more."""
        self._stop.set()
        with self._lock:
            pids = list(self._pids)
        for pid in pids:
            processes.end(pid)

    def snapshot(self) -> Tree:
        """The resource as it is now."""
        with self._lock:
            details = [json.loads(json.dumps(each)) for each in self._details.values()]
            return {**self.resource, "jobDetail": {"taskDetails": details}}

    def _update(self, **values: Any) -> None:
        with self._lock:
            self.resource.update(values, updateTime=now())

    # --- the job ---------------------------------------------------------------------------

    def _run(self) -> None:
        self._update(state="PIPELINE_STATE_RUNNING", startTime=now())
        declared = self._spec["root"].get("inputDefinitions", {}).get("parameters", {})
        given = self.resource["runtimeConfig"].get("parameterValues", {})
        values = {
            key: given.get(key, parameter.get("defaultValue"))
            for key, parameter in declared.items()
        }
        try:
            outcome = self._dag(self._spec["root"], values, {})
        except Exception as error:  # noqa: BLE001 - whatever it is, the job has failed
            outcome = Outcome("FAILED", error=f"{type(error).__name__}: {error}")
        end: Tree = {"endTime": now(), "state": f"PIPELINE_STATE_{outcome.state}"}
        if outcome.state == "FAILED":
            end["error"] = {"code": 9, "message": outcome.error}
        self._update(**end)

    def _dag(self, component: Tree, parameters: Tree, artifacts: Artifacts) -> Outcome:
        """Runs the tasks of a DAG, each as soon as those it waits for have ended."""
        dag = graph.Dag("", component["dag"]["tasks"], component)
        waits = graph.upstream(dag)
        outcomes: dict[str, Outcome] = {}
        running: dict[Future[Outcome], str] = {}
        with ThreadPoolExecutor(self._machinery.parallel) as pool:
            while len(outcomes) < len(dag.tasks):
                begun = {*outcomes, *running.values()}
                for name in sorted(dag.tasks.keys() - begun):
                    if waits[name] <= outcomes.keys():
                        upstream = {each: outcomes[each] for each in waits[name]}
                        scope = _Scope(dag.tasks[name], parameters, artifacts, upstream, outcomes)
                        running[pool.submit(self._task, name, scope)] = name
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    name = running.pop(future)
                    outcomes[name] = future.result()
                    if outcomes[name].state == "FAILED" and self._fast:
                        self._failed_fast = True
        return self._ended(outcomes)

    def _ended(self, outcomes: dict[str, Outcome]) -> Outcome:
        failed = sorted(name for name, each in outcomes.items() if each.state == "FAILED")
        if self._stop.is_set():
            return Outcome("CANCELLED", error="The job was cancelled.")
        if failed:
            return Outcome(
                "FAILED",
                error="The DAG failed because some tasks failed. The failed tasks are: "
                f"[{', '.join(failed)}].",
            )
        return Outcome("SUCCEEDED")

    # --- a task ----------------------------------------------------------------------------

    def _task(self, name: str, scope: _Scope) -> Outcome:
        detail: Tree = {
            "taskId": str(next(_numbers)),
            "taskName": name,
            "createTime": now(),
            "state": "PENDING",
        }
        with self._lock:
            self._details[name] = detail
        try:
            outcome = self._decided(name, scope, detail)
        except TaskFailed as error:
            outcome = Outcome("FAILED", error=str(error))
        if outcome.state == "FAILED" and self._stop.is_set():
            outcome.state = "CANCELLED"
        shown: Tree = {"state": outcome.state, "endTime": now()}
        if outcome.error:
            shown["error"] = {"code": 9, "message": outcome.error}
        shown["outputs"] = {
            key: {"artifacts": [_shown(each) for each in artifacts]}
            for key, artifacts in outcome.artifacts.items()
        }
        with self._lock:
            detail.update(shown)
        return outcome

    def _decided(self, name: str, scope: _Scope, detail: Tree) -> Outcome:
        """Runs a task, or says why it is not run."""
        policy = scope.task.get("triggerPolicy", {})
        if self._stop.is_set():
            return Outcome("CANCELLED")
        if policy.get("strategy") != _ALL_COMPLETED and (
            self._failed_fast or any(each.state not in _GOOD for each in scope.upstream.values())
        ):
            return Outcome("NOT_TRIGGERED")
        parameters, artifacts = self._inputs(name, scope)
        condition = policy.get("condition", "")
        if condition:
            given = {
                key: [inputs.runtime(each) for each in all_] for key, all_ in artifacts.items()
            }
            try:
                if not cel.evaluate(condition, given):
                    return Outcome("NOT_TRIGGERED")
            except cel.CelError as error:
                raise TaskFailed(f"The condition {condition} {error}.") from error
        with self._lock:
            detail.update(state="RUNNING", startTime=now())
        component = graph.component_of(self._spec, scope.task)
        if "dag" in component:
            return self._dag(component, parameters, artifacts)
        executor = graph.executor_of(self._spec, scope.task)
        if "importer" in executor:
            return self._import(component, executor["importer"], parameters)
        if "resolver" in executor:
            return self._resolve(executor["resolver"], artifacts)
        return self._contain(
            name, _Work(scope.task, component, executor["container"], parameters, artifacts), detail
        )

    def _inputs(self, name: str, scope: _Scope) -> tuple[Tree, Artifacts]:
        """Values of a task's inputs."""
        known = {
            "pipeline_job_name": self._id,
            "pipeline_job_resource_name": self.resource["name"],
            "pipeline_job_uuid": hashlib.sha256(self._id.encode()).hexdigest()[:16],
            "pipeline_job_create_time_utc": self.resource["createTime"],
            "pipeline_task_name": name,
            "pipeline_root": self._root,
        }
        given = scope.task.get("inputs", {})
        parameters: Tree = {}
        for key, value in given.get("parameters", {}).items():
            if "componentInputParameter" in value:
                parameters[key] = scope.parameters[value["componentInputParameter"]]
            elif "taskOutputParameter" in value:
                origin = value["taskOutputParameter"]
                made = scope.outcomes[origin["producerTask"]].parameters
                parameters[key] = made[origin["outputParameterKey"]]
            elif "taskFinalStatus" in value:
                ended = scope.outcomes[value["taskFinalStatus"]["producerTask"]]
                parameters[key] = json.dumps(self._final_status(name, ended))
            else:
                parameters[key] = inputs.constant(value["runtimeValue"]["constant"], known)
        declared = graph.component_of(self._spec, scope.task).get("inputDefinitions", {})
        for key, parameter in declared.get("parameters", {}).items():
            if key not in parameters and "defaultValue" in parameter:
                parameters[key] = parameter["defaultValue"]
        artifacts: Artifacts = {}
        for key, value in given.get("artifacts", {}).items():
            if "componentInputArtifact" in value:
                artifacts[key] = scope.artifacts[value["componentInputArtifact"]]
            else:
                origin = value["taskOutputArtifact"]
                made_ = scope.outcomes[origin["producerTask"]].artifacts
                artifacts[key] = made_.get(origin["outputArtifactKey"], [])
        return parameters, artifacts

    def _final_status(self, name: str, ended: Outcome) -> Tree:
        """`PipelineTaskFinalStatus`, what an exit handler is told."""
        told: Tree = {
            "state": ended.state,
            "pipelineJobResourceName": self.resource["name"],
            "pipelineTaskName": name,
        }
        if ended.error:
            told["error"] = {"code": 9, "message": ended.error}
        return told

    # --- executors -------------------------------------------------------------------------

    @property
    def _context(self) -> str:
        return str(self._spec["pipelineInfo"]["name"])

    def _import(self, component: Tree, importer: Tree, parameters: Tree) -> Outcome:
        """An artifact that exists already; registered again only if the importer says so."""
        (key,) = component["outputDefinitions"]["artifacts"]
        where = importer["artifactUri"]
        uri = where.get("constant")
        if uri is None:
            uri = parameters[where["runtimeParameter"]]
        kind = importer["typeSchema"]
        title, metadata = graph.title(kind), importer.get("metadata", {})
        terms = [filters.Term("uri", "", uri), filters.Term("schema_title", "", title)]
        found = (
            None if importer.get("reimport") else self._machinery.store.latest(self._context, terms)
        )
        artifact = found or self._machinery.store.add(
            self._context, title, uri, kind=kind, metadata=metadata, state="LIVE"
        )
        return Outcome("SUCCEEDED", {key: [artifact]})

    def _resolve(self, resolver: Tree, artifacts: Artifacts) -> Outcome:
        """The newest artifact that fits each query; nothing is no failure."""
        found: Artifacts = {}
        for key, query in resolver["outputArtifactQueries"].items():
            text = filters.filled(query["filter"], artifacts)
            try:
                terms = filters.parse(text) if text is not None else None
            except ValueError as error:
                raise TaskFailed(f"The filter {text!r} {error}.") from error
            latest = self._machinery.store.latest(self._context, terms) if terms else None
            found[key] = [latest] if latest else []
        return Outcome("SUCCEEDED", found)

    def _contain(self, name: str, work: _Work, detail: Tree) -> Outcome:
        """A container: driver, cache, and as many attempts as the retry policy has."""
        folder = f"{self._root}/{self._project}/{self._id}/{name}_{detail['taskId']}"
        outputs = self._declared(work.component, folder)
        told = inputs.executor_input(
            work.parameters, work.artifacts, outputs, folder, work.component
        )
        attempt = _Attempt(self, name, told, detail)
        driver = work.container.get("lifecycle", {}).get("preCacheCheck")
        if driver and attempt.run([*driver["command"], *driver.get("args", [])], "driver") != 0:
            raise TaskFailed(f"{name}'s driver failed: {attempt.last_words()}")
        key = self._cache_key(name, work, told)
        if work.task.get("cachingOptions", {}).get("enableCache"):
            kept = self._machinery.store.result(key)
            if kept is not None:
                return Outcome("SKIPPED", kept["artifacts"], kept["parameters"])  # type: ignore[arg-type]
        retries = int(work.task.get("retryPolicy", {}).get("maxRetryCount", 0))
        command = [*work.container.get("command", []), *work.container.get("args", [])]
        for left in range(retries, -1, -1):
            code = attempt.run(command, "main")
            if code == 0:
                break
            if left == 0 or self._stop.is_set():
                raise TaskFailed(attempt.failure(code))
        outcome = self._reported(told, outputs)
        self._machinery.store.remember(
            key,
            {"artifacts": outcome.artifacts, "parameters": outcome.parameters},  # type: ignore[dict-item]
        )
        return outcome

    def _declared(self, component: Tree, folder: str) -> Artifacts:
        """The artifacts that a task is to write.

        An object store has no folders to be made first, so they are there already.
        """
        made: Artifacts = {}
        definitions = component.get("outputDefinitions", {}).get("artifacts", {})
        for key, definition in definitions.items():
            uri = f"{folder}/{key}"
            os.makedirs(self._machinery.buckets.local(uri), exist_ok=True)
            made[key] = [
                self._machinery.store.add(
                    self._context,
                    inputs.title_of(definitions, key),
                    uri,
                    kind=definition["artifactType"],
                    metadata=definition.get("metadata", {}),
                )
            ]
        os.makedirs(self._machinery.buckets.local(folder), exist_ok=True)
        return made

    def _cache_key(self, name: str, work: _Work, told: Tree) -> str:
        """What must be the same for a result to be taken again: command, parameters, inputs.

        Artifacts count by name: one made again is another, though it may hold the same.
        """
        parts = {
            "context": self._context,
            "node": name,
            "container": work.container,
            "parameters": told["inputs"]["parameterValues"],
            "artifacts": {
                key: [each["name"] for each in all_] for key, all_ in work.artifacts.items()
            },
            "outputs": work.component.get("outputDefinitions", {}),
            "driver": self._written(told),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _written(self, told: Tree) -> Tree:
        """What a driver or an executor wrote to the output file, as gs:// addresses."""
        path = self._machinery.buckets.local(told["outputs"]["outputFile"])
        if not os.path.exists(path):
            return {}
        with open(path, encoding="utf-8") as file:
            written: Tree = json.loads(self._machinery.buckets.to_remote(file.read()) or "{}")
        return written

    def _reported(self, told: Tree, outputs: Artifacts) -> Outcome:
        """Publishes what the executor reported of its outputs."""
        written = self._written(told)
        published: Artifacts = {}
        for key, (artifact,) in outputs.items():
            reported = written.get("artifacts", {}).get(key, {}).get("artifacts", [])
            # What is not reported keeps the address and the metadata it was declared with.
            first = reported[0] if reported else {}
            uri = first.get("uri") or artifact["uri"]
            metadata = {**artifact["metadata"], **first.get("metadata", {})}
            published[key] = [self._machinery.store.publish(artifact, uri, metadata)]
        parameters = dict(written.get("parameterValues", {}))
        return Outcome("SUCCEEDED", published, parameters)


@dataclass(frozen=True)
class _Scope:
    """A task, and what its inputs may refer to."""

    task: Tree
    parameters: Tree
    artifacts: Artifacts
    upstream: Mapping[str, Outcome]
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True)
class _Work:
    """A container task with its inputs."""

    task: Tree
    component: Tree
    container: Tree
    parameters: Tree
    artifacts: Artifacts


class _Attempt:
    """Runs the commands of one task, each as a custom job with a log of its own."""

    def __init__(self, run: JobRun, name: str, told: Tree, detail: Tree) -> None:
        self._run, self._name, self._told, self._detail = run, name, told, detail
        self._log = ""

    def run(self, command: list[str], part: str) -> int:
        """Runs a command; its exit code."""
        run, machinery = self._run, self._run._machinery
        number = hashlib.sha256(f"{run._id} {self._name} {next(_numbers)}".encode()).hexdigest()
        job = str(int(number[:15], 16))
        resource = f"projects/{run._project}/locations/{run._region}/customJobs/{job}"
        self._log = os.path.join(machinery.logs, f"{job}.log")
        with run._lock:
            container = self._detail.setdefault("executorDetail", {}).setdefault(
                "containerDetail", {}
            )
            slot = "mainJob" if part == "main" else "preCachingCheckJob"
            if part == "main" and "mainJob" in container:
                container.setdefault("failedMainJobs", []).append(container["mainJob"])
            container[slot] = resource
        befallen = machinery.faults.befalls(self._name) if part == "main" else None
        if befallen == faults.FAIL:
            with open(self._log, "a", encoding="utf-8") as file:
                file.write("this failure was asked for\n")
            return 1
        arguments = [
            machinery.buckets.to_local(inputs.filled(text, self._told)) for text in command
        ]
        pids: list[int] = []
        try:
            return machinery.processes.run(
                arguments, self._log, machinery.environment, self._watch(pids, befallen)
            )
        finally:
            with run._lock:
                run._pids.difference_update(pids)

    def _watch(self, pids: list[int], befallen: str | None) -> Callable[[int], None]:
        def started(pid: int) -> None:
            pids.append(pid)
            with self._run._lock:
                self._run._pids.add(pid)
            if befallen == faults.PREEMPT:
                threading.Timer(_PREEMPT_SECONDS, processes.end, [pid]).start()
            if self._run._stop.is_set():
                processes.end(pid)

        return started

    def failure(self, code: int) -> str:
        """What the API says of a failed attempt."""
        if code < 0:
            return f"The replica was terminated by signal {-code}: {self.last_words()}"
        return f"The replica exited with a non-zero status of {code}: {self.last_words()}"

    def last_words(self) -> str:
        """The last line of the log that says something."""
        try:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file if line.strip()]
        except OSError:
            lines = []
        return lines[-1][:500] if lines else "it printed nothing"


def _shown(artifact: Tree) -> Tree:
    """An artifact as the API shows it."""
    return {
        "name": artifact["name"],
        "uri": artifact["uri"],
        "schemaTitle": artifact["schema_title"],
        "state": artifact["state"],
        "metadata": artifact["metadata"],
    }
