"""A task that is a container: driver, cache, attempts as many as its policy has, its report."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass

from pipeline.vertex.twin import inputs
from pipeline.vertex.twin.attempts import Attempts
from pipeline.vertex.twin.job import Artifacts, Job, Outcome, TaskFailed, Tree


@dataclass(frozen=True)
class Work:
    """A container task with its inputs: parts of the spec, and the values."""

    name: str
    task: Tree
    component: Tree
    container: Tree
    parameters: Tree
    artifacts: Artifacts


def contain(job: Job, work: Work, detail: Tree) -> Outcome:
    """Runs a container task, or takes its result from the cache.

    Args:
        job: that it is of.
        work: what to do.
        detail: of the task, as the API shows it; custom jobs are entered there.

    Raises:
        TaskFailed: the driver failed, or all attempts did.
    """
    folder = f"{job.root}/{job.project}/{job.id}/{work.name}_{detail['taskId']}"
    outputs = _declared(job, work.component, folder)
    told = inputs.executor_input(work.parameters, work.artifacts, outputs, folder, work.component)
    attempts = Attempts(job, work.name, told, detail)
    driver = work.container.get("lifecycle", {}).get("preCacheCheck")
    if driver and attempts.run([*driver["command"], *driver.get("args", [])], "driver") != 0:
        raise TaskFailed(f"{work.name}'s driver failed: {attempts.last_words()}")
    store, key = job.machinery.store, _cache_key(job, work, told)
    if work.task.get("cachingOptions", {}).get("enableCache"):
        kept = store.result(key)
        if kept is not None:
            return Outcome("SKIPPED", kept["artifacts"], kept["parameters"])  # type: ignore[arg-type]
    _attempted(job, work, attempts)
    outcome = _reported(job, told, outputs)
    made = {"artifacts": outcome.artifacts, "parameters": outcome.parameters}
    store.remember(key, made)  # type: ignore[arg-type]
    return outcome


def _attempted(job: Job, work: Work, attempts: Attempts) -> None:
    retries = int(work.task.get("retryPolicy", {}).get("maxRetryCount", 0))
    command = [*work.container.get("command", []), *work.container.get("args", [])]
    for left in range(retries, -1, -1):
        code = attempts.run(command, "main")
        if code == 0:
            return
        if left == 0 or job.stopping.is_set():
            raise TaskFailed(attempts.failure(code))


def _declared(job: Job, component: Tree, folder: str) -> Artifacts:
    """The artifacts that a task is to write.

    An object store has no folders to be made first, so they are there already.
    """
    store, buckets = job.machinery.store, job.machinery.buckets
    made: Artifacts = {}
    definitions = component.get("outputDefinitions", {}).get("artifacts", {})
    for key, definition in definitions.items():
        uri = f"{folder}/{key}"
        os.makedirs(buckets.local(uri), exist_ok=True)
        title = inputs.title_of(definitions, key)
        kind, metadata = definition["artifactType"], definition.get("metadata", {})
        made[key] = [store.add(job.context, title, uri, kind=kind, metadata=metadata)]
    os.makedirs(buckets.local(folder), exist_ok=True)
    return made


def _cache_key(job: Job, work: Work, told: Tree) -> str:
    """What must be the same for a result to be taken again: command, parameters, inputs.

    Artifacts count by name: one made again is another, though it may hold the same.
    """
    parts = {
        "context": job.context,
        "node": work.name,
        "container": work.container,
        "parameters": told["inputs"]["parameterValues"],
        "artifacts": {key: [each["name"] for each in all_] for key, all_ in work.artifacts.items()},
        "outputs": work.component.get("outputDefinitions", {}),
        "driver": _written(job, told),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _written(job: Job, told: Tree) -> Tree:
    """What a driver or an executor wrote to the output file, as gs:// addresses."""
    buckets = job.machinery.buckets
    path = buckets.local(told["outputs"]["outputFile"])
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        written: Tree = json.loads(buckets.to_remote(file.read()) or "{}")
    return written


def _reported(job: Job, told: Tree, outputs: Artifacts) -> Outcome:
    """Publishes what the executor reported of its outputs."""
    written = _written(job, told)
    published: Artifacts = {}
    for key, (artifact,) in outputs.items():
        reported = written.get("artifacts", {}).get(key, {}).get("artifacts", [])
        # What is not reported keeps the address and the metadata it was declared with.
        first = reported[0] if reported else {}
        uri = first.get("uri") or artifact["uri"]
        metadata = {**artifact["metadata"], **first.get("metadata", {})}
        published[key] = [job.machinery.store.publish(artifact, uri, metadata)]
    return Outcome("SUCCEEDED", published, dict(written.get("parameterValues", {})))
