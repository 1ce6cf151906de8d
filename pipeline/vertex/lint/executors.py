"""What each task runs: commands, images, machines, retries, queries, and paths of this machine."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from pipeline.vertex import filters
from pipeline.vertex.lint.finding import Finding
from pipeline.vertex.lint.graph import component_of, dags, executor_of, json_or_none

Tree = dict[str, Any]

ENTRY_POINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"

_CLASS_FLAG, _INPUT_FLAG = "--executor_class_path", "--json_serialized_invocation_args"
_SPEC_FLAG = "--json_serialized_inputs_spec_args"
_WORKERS_FLAG = "--sdk_container_image="
_DURATION = re.compile(r"[0-9]+(\.[0-9]+)?s")
_COMPILE = "Compile it anew with `headrace vertex compile`."

#: Largest task of a pipeline: https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
_CPU_MOST, _MEMORY_MOST = 96.0, 624.0


def check(job: Tree, uncached: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """All tasks of a job.

    Args:
        job: the job.
        uncached: tasks whose result must not be taken from the cache.
    """
    spec = job["pipelineSpec"]
    for dag in dags(spec):
        for name, task in dag.tasks.items():
            executor = executor_of(spec, task)
            if "container" in executor:
                declared = component_of(spec, task).get("inputDefinitions", {})
                yield from _container(name, executor["container"], declared)
                yield from _local_paths(name, task)
            elif "resolver" in executor:
                yield from _resolver(name, executor["resolver"], task)
            yield from _retries(name, task.get("retryPolicy", {}))
            if name in uncached and task.get("cachingOptions", {}).get("enableCache"):
                yield Finding(
                    "cache",
                    name,
                    "it would answer from the cache although its files may have changed: its "
                    "driver, which looks, does not run on Vertex",
                    _COMPILE,
                )


def classes(job: Tree) -> dict[str, set[str]]:
    """Task → class paths and functions that its image must be able to import."""
    found: dict[str, set[str]] = {}
    for dag in dags(job["pipelineSpec"]):
        for name, task in dag.tasks.items():
            container = executor_of(job["pipelineSpec"], task).get("container", {})
            paths = {_after(container.get("args", []), _CLASS_FLAG)} - {None}
            for key in ("run_fn", "preprocessing_fn"):
                parameter = task.get("inputs", {}).get("parameters", {}).get(key, {})
                value = parameter.get("runtimeValue", {}).get("constant")
                paths |= {value} if isinstance(value, str) and "." in value else set()
            found[name] = {str(path) for path in paths}
    return found


def _after(arguments: list[str], flag: str) -> str | None:
    index = arguments.index(flag) + 1 if flag in arguments else 0
    return arguments[index] if 0 < index < len(arguments) else None


def _container(name: str, container: Tree, declared: Tree) -> Iterator[Finding]:
    image = container.get("image", "")
    if not _is_versioned(image):
        yield Finding(
            "image", name, f"its image {image!r} names no version", "Set vertex.image with a tag."
        )
    command, arguments = container.get("command", []), container.get("args", [])
    yield from _workers(name, image, arguments)
    if list(command) != ["python", "-m", ENTRY_POINT]:
        yield Finding(
            "command",
            name,
            f"its command is {' '.join(command)!r:.80}, not TFX's entry point",
            _COMPILE,
        )
        return
    if _after(arguments, _CLASS_FLAG) is None:
        yield Finding("command", name, f"{_CLASS_FLAG} names no executor", _COMPILE)
    if _after(arguments, _INPUT_FLAG) != "{{$}}":
        yield Finding(
            "command",
            name,
            f"{_INPUT_FLAG} must be {{{{$}}}}, which Vertex replaces by the inputs",
            _COMPILE,
        )
    told = json_or_none(_after(arguments, _SPEC_FLAG) or "")
    if told != declared:
        yield Finding(
            "command",
            name,
            f"{_SPEC_FLAG} tells the executor other inputs than the component declares",
            _COMPILE,
        )
    yield from _resources(name, container.get("resources", {}))


def _is_versioned(image: str) -> bool:
    repository, _, tag = image.rpartition(":")
    blank = any(character.isspace() for character in image)
    return bool(repository) and "/" not in tag and tag != "latest" and not blank


def _workers(name: str, image: str, arguments: list[str]) -> Iterator[Finding]:
    """Dataflow's workers unpickle what the task pickled, so they need its packages and Python.

    Without an image of ours Dataflow takes Beam's own, in which neither TFX nor our code is.
    """
    if "--runner=DataflowRunner" not in arguments:
        return
    given = [text for text in arguments if text.startswith(_WORKERS_FLAG)]
    workers = given[-1].removeprefix(_WORKERS_FLAG) if given else ""
    remedy = "Name in vertex.dataflow.image what `make image TARGET=worker` built."
    if workers in ("", "none"):
        yield Finding("workers", name, "it names no image for Dataflow's workers", remedy)
    elif workers == image:
        yield Finding(
            "workers",
            name,
            f"Dataflow's workers would run its own image {image}, which does not start as a worker",
            remedy,
        )
    elif not _is_versioned(workers):
        yield Finding("workers", name, f"the workers' image {workers!r} names no version", remedy)


def _resources(name: str, resources: Tree) -> Iterator[Finding]:
    remedy = "Choose another type in [vertex.machines]."
    for key, most in (("cpuLimit", _CPU_MOST), ("memoryLimit", _MEMORY_MOST)):
        value = resources.get(key)
        if value is not None and not 0 < value <= most:
            yield Finding(
                "resources",
                name,
                f"{key} is {value:g}; it must be above 0, at most {most:g}",
                remedy,
            )
    accelerator = resources.get("accelerator")
    if accelerator and not (accelerator.get("type") and int(accelerator.get("count", 0)) > 0):
        yield Finding("resources", name, f"accelerator {accelerator} has no type or count", remedy)


def _retries(name: str, policy: Tree) -> Iterator[Finding]:
    remedy = "Set vertex.retries to 0 … 10."
    if int(policy.get("maxRetryCount", 0)) not in range(11):
        yield Finding("retries", name, f"{policy['maxRetryCount']} retries", remedy)
    for key in ("backoffDuration", "backoffMaxDuration"):
        if not _DURATION.fullmatch(policy.get(key, "0s")):
            yield Finding("retries", name, f"{key} {policy[key]!r} is no duration", remedy)


def _resolver(name: str, resolver: Tree, task: Tree) -> Iterator[Finding]:
    for output, query in resolver.get("outputArtifactQueries", {}).items():
        text = query.get("filter", "")
        try:
            terms = filters.parse(text)
        except ValueError as error:
            yield Finding("filter", name, f"the query of {output!r} {error}", _COMPILE)
            continue
        if not any(term.field == "schema_title" for term in terms):
            yield Finding("filter", name, f"the query of {output!r} names no type", _COMPILE)
        for key in filters.inputs(text) - task.get("inputs", {}).get("artifacts", {}).keys():
            yield Finding("filter", name, f"the query refers to input {key!r}, not given", _COMPILE)


def _local_paths(name: str, task: Tree) -> Iterator[Finding]:
    """Absolute paths that exist here will not exist there."""
    for key, parameter in task.get("inputs", {}).get("parameters", {}).items():
        constant = parameter.get("runtimeValue", {}).get("constant")
        for text in _texts(constant):
            if re.fullmatch(r"(/[\w.@ -]+)+/?", text) and os.path.exists(text):
                yield Finding(
                    "local-path",
                    name,
                    f"{key!r} holds {text}, a path of this machine",
                    "Use a gs:// path, or one inside the image.",
                )


def _texts(value: Any) -> Iterator[str]:
    """All texts in a value, also in one that is JSON inside a text."""
    if isinstance(value, str):
        inner = json_or_none(value) if value[:1] in '{["' else None
        if inner is None or isinstance(inner, str):
            yield value
        else:
            yield from _texts(inner)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
