"""Runs one job: the order of tasks, conditions, states, as Vertex has them.

States of a task: PENDING, RUNNING, SUCCEEDED, FAILED, CANCELLED, SKIPPED (its result came from the
cache), NOT_TRIGGERED (its condition is false, or a task it waits for did not succeed). A job fails
if a task failed; a closed gate is no failure.
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.pipelineJobs
"""

from __future__ import annotations

import itertools
import json
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from pipeline.vertex import cel
from pipeline.vertex.lint import graph
from pipeline.vertex.twin import inputs, lookups, processes, values
from pipeline.vertex.twin.containers import Work, contain
from pipeline.vertex.twin.job import Artifacts, Job, Machinery, Outcome, TaskFailed, Tree, now
from pipeline.vertex.twin.values import Scope

_GOOD = {"SUCCEEDED", "SKIPPED"}
_ALL_COMPLETED = "ALL_UPSTREAM_TASKS_COMPLETED"

_numbers = itertools.count(1)


class JobRun:
    """One job, from PENDING to its end. `resource` is what the API shows of it.

    Args:
        resource: the PipelineJob as it was sent, with `name`.
        machinery: shared.
    """

    def __init__(self, resource: Tree, machinery: Machinery) -> None:
        runtime = resource.setdefault("runtimeConfig", {})
        self._job = Job(resource, machinery)
        self._details: dict[str, Tree] = {}
        self._failed_fast = False
        self._fast = runtime.get("failurePolicy") in (2, "PIPELINE_FAILURE_POLICY_FAIL_FAST")
        self.resource = {
            **resource,
            "state": "PIPELINE_STATE_PENDING",
            "createTime": self._job.created,
            "updateTime": self._job.created,
        }

    def start(self) -> None:
        """Runs it in a thread of its own."""
        threading.Thread(target=self._run, name=self._job.id, daemon=True).start()

    def cancel(self) -> None:
        """Ends what runs and starts nothing more."""
        self._job.stopping.set()
        with self._job.lock:
            pids = list(self._job.pids)
        for pid in pids:
            processes.end(pid)

    def snapshot(self) -> Tree:
        """The resource as it is now."""
        with self._job.lock:
            details = [json.loads(json.dumps(each)) for each in self._details.values()]
            return {**self.resource, "jobDetail": {"taskDetails": details}}

    def _update(self, **changes: Any) -> None:
        with self._job.lock:
            self.resource.update(changes, updateTime=now())

    # --- the job ---------------------------------------------------------------------------

    def _run(self) -> None:
        self._update(state="PIPELINE_STATE_RUNNING", startTime=now())
        root = self._job.spec["root"]
        declared = root.get("inputDefinitions", {}).get("parameters", {})
        given = self.resource["runtimeConfig"].get("parameterValues", {})
        parameters = {
            key: given.get(key, parameter.get("defaultValue"))
            for key, parameter in declared.items()
        }
        try:
            outcome = self._dag(root, parameters, {})
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
        with ThreadPoolExecutor(self._job.machinery.parallel) as pool:
            while len(outcomes) < len(dag.tasks):
                begun = {*outcomes, *running.values()}
                for name in sorted(dag.tasks.keys() - begun):
                    if waits[name] <= outcomes.keys():
                        upstream = {each: outcomes[each] for each in waits[name]}
                        scope = Scope(dag.tasks[name], parameters, artifacts, upstream, outcomes)
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
        if self._job.stopping.is_set():
            return Outcome("CANCELLED", error="The job was cancelled.")
        if failed:
            return Outcome(
                "FAILED",
                error="The DAG failed because some tasks failed. The failed tasks are: "
                f"[{', '.join(failed)}].",
            )
        return Outcome("SUCCEEDED")

    # --- a task ----------------------------------------------------------------------------

    def _task(self, name: str, scope: Scope) -> Outcome:
        detail: Tree = {
            "taskId": str(next(_numbers)),
            "taskName": name,
            "createTime": now(),
            "state": "PENDING",
        }
        with self._job.lock:
            self._details[name] = detail
        try:
            outcome = self._decided(name, scope, detail)
        except TaskFailed as error:
            outcome = Outcome("FAILED", error=str(error))
        if outcome.state == "FAILED" and self._job.stopping.is_set():
            outcome.state = "CANCELLED"
        shown: Tree = {"state": outcome.state, "endTime": now()}
        if outcome.error:
            shown["error"] = {"code": 9, "message": outcome.error}
        shown["outputs"] = {
            key: {"artifacts": [_shown(each) for each in artifacts]}
            for key, artifacts in outcome.artifacts.items()
        }
        with self._job.lock:
            detail.update(shown)
        return outcome

    def _decided(self, name: str, scope: Scope, detail: Tree) -> Outcome:
        """Runs a task, or says why it is not run."""
        policy = scope.task.get("triggerPolicy", {})
        if self._job.stopping.is_set():
            return Outcome("CANCELLED")
        if policy.get("strategy") != _ALL_COMPLETED and (
            self._failed_fast or any(each.state not in _GOOD for each in scope.upstream.values())
        ):
            return Outcome("NOT_TRIGGERED")
        parameters, artifacts = values.of_inputs(self._job, name, scope)
        if not _holds(policy.get("condition", ""), artifacts):
            return Outcome("NOT_TRIGGERED")
        with self._job.lock:
            detail.update(state="RUNNING", startTime=now())
        component = graph.component_of(self._job.spec, scope.task)
        if "dag" in component:
            return self._dag(component, parameters, artifacts)
        executor = graph.executor_of(self._job.spec, scope.task)
        if "importer" in executor:
            return lookups.import_artifact(self._job, component, executor["importer"], parameters)
        if "resolver" in executor:
            return lookups.resolve(self._job, executor["resolver"], artifacts)
        work = Work(name, scope.task, component, executor["container"], parameters, artifacts)
        return contain(self._job, work, detail)


def _holds(condition: str, artifacts: Artifacts) -> bool:
    """Whether a condition is true; none is.

    Raises:
        TaskFailed: it has no value, for example of a property that is not there.
    """
    if not condition:
        return True
    given = {key: [inputs.runtime(each) for each in all_] for key, all_ in artifacts.items()}
    try:
        return bool(cel.evaluate(condition, given))
    except cel.CelError as error:
        raise TaskFailed(f"The condition {condition} {error}.") from error


def _shown(artifact: Tree) -> Tree:
    """An artifact as the API shows it."""
    return {
        "name": artifact["name"],
        "uri": artifact["uri"],
        "schemaTitle": artifact["schema_title"],
        "state": artifact["state"],
        "metadata": artifact["metadata"],
    }
