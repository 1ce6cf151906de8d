"""Tasks, components and executors: everything that is referred to must be there, and fit."""

from __future__ import annotations

import graphlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline.vertex.lint.finding import Finding

Tree = dict[str, Any]

_REMEDY = "Compile it anew; a component's inputs and outputs are wired in pipeline/graph.py."

#: Values that Vertex fills in; the constants of kfp.dsl that end in _PLACEHOLDER.
_PLACEHOLDERS = frozenset(
    f"{{{{$.{name}}}}}"
    for name in (
        "pipeline_job_name",
        "pipeline_job_resource_name",
        "pipeline_job_uuid",
        "pipeline_job_create_time_utc",
        "pipeline_job_schedule_time_utc",
        "pipeline_task_name",
        "pipeline_task_uuid",
        "pipeline_root",
    )
)

_TYPES: dict[str, type | tuple[type, ...]] = {
    "STRING": str,
    "NUMBER_INTEGER": (int, float),
    "NUMBER_DOUBLE": (int, float),
    "BOOLEAN": bool,
    "LIST": list,
    "STRUCT": dict,
    "TASK_FINAL_STATUS": str,
}


@dataclass(frozen=True)
class Dag:
    """Tasks that run together: the root's, or those of a component that is itself a DAG.

    Attributes:
        owner: name of the component, `""` for the root.
        tasks: by name.
        definition: component whose inputs the tasks may refer to.
    """

    owner: str
    tasks: dict[str, Tree]
    definition: Tree


def dags(spec: Tree) -> list[Dag]:
    """The root's DAG and those of components."""
    named = {"": spec.get("root", {}), **spec.get("components", {})}
    return [
        Dag(name, component["dag"].get("tasks", {}), component)
        for name, component in named.items()
        if "dag" in component
    ]


def component_of(spec: Tree, task: Tree) -> Tree:
    """The component of a task; empty if there is none of that name."""
    found: Tree = spec.get("components", {}).get(task.get("componentRef", {}).get("name", ""), {})
    return found


def executor_of(spec: Tree, task: Tree) -> Tree:
    """The executor of a task; empty for a DAG, or if there is none of that name."""
    label = component_of(spec, task).get("executorLabel", "")
    found: Tree = spec.get("deploymentSpec", {}).get("executors", {}).get(label, {})
    return found


def check(job: Tree) -> Iterator[Finding]:
    """All references, types and the order of tasks."""
    spec = job["pipelineSpec"]
    yield from _components(spec)
    found = dags(spec)
    if not found or not found[0].tasks:
        yield Finding("tasks", "", "the pipeline has no task", _REMEDY)
    for dag in found:
        for name, task in dag.tasks.items():
            yield from _task(spec, dag, name, task)
        yield from _order(dag)


def _components(spec: Tree) -> Iterator[Finding]:
    executors = spec.get("deploymentSpec", {}).get("executors", {})
    for name, component in spec.get("components", {}).items():
        label = component.get("executorLabel", "")
        if "dag" not in component and label not in executors:
            yield Finding(
                "executor-label", name, f"its executor {label!r} is not in deploymentSpec", _REMEDY
            )


def _task(spec: Tree, dag: Dag, name: str, task: Tree) -> Iterator[Finding]:
    reference = task.get("componentRef", {}).get("name", "")
    if reference not in spec.get("components", {}):
        yield Finding("component-ref", name, f"its component {reference!r} does not exist", _REMEDY)
        return
    if task.get("taskInfo", {}).get("name") != name:
        found = task.get("taskInfo", {}).get("name")
        yield Finding("task-name", name, f"its taskInfo calls it {found!r}", _REMEDY)
    for upstream in task.get("dependentTasks", []):
        if upstream not in dag.tasks:
            yield Finding(
                "dependent-task", name, f"it waits for {upstream!r}, which does not exist", _REMEDY
            )
    declared = component_of(spec, task).get("inputDefinitions", {})
    given = task.get("inputs", {})
    for kind in ("artifacts", "parameters"):
        yield from _declared(name, kind, given.get(kind, {}), declared.get(kind, {}))
    for key, value in given.get("artifacts", {}).items():
        yield from _artifact(spec, dag, name, key, value, declared)
    for key, value in given.get("parameters", {}).items():
        parameter = declared.get("parameters", {}).get(key)
        if parameter:
            yield from _parameter(spec, dag, name, key, value, parameter)
    yield from _covered(spec, name, task)


def _declared(name: str, kind: str, given: Tree, declared: Tree) -> Iterator[Finding]:
    one = kind.removesuffix("s")
    for key in given.keys() - declared.keys():
        yield Finding(
            f"undeclared-{one}",
            name,
            f"its {one} {key!r} is not an input of its component",
            _REMEDY,
        )
    for key in declared.keys() - given.keys():
        if not (declared[key].get("isOptional") or "defaultValue" in declared[key]):
            yield Finding(
                f"missing-{one}", name, f"its component needs {one} {key!r}, not given", _REMEDY
            )


def _artifact(
    spec: Tree, dag: Dag, name: str, key: str, value: Tree, declared: Tree
) -> Iterator[Finding]:
    wanted = declared.get("artifacts", {}).get(key, {}).get("artifactType")
    if "componentInputArtifact" in value:
        source = value["componentInputArtifact"]
        outer = dag.definition.get("inputDefinitions", {}).get("artifacts", {})
        if source not in outer:
            yield Finding(
                "component-input", name, f"{key!r} comes from input {source!r}, not there", _REMEDY
            )
        return
    origin = value.get("taskOutputArtifact", {})
    producer, output = origin.get("producerTask", ""), origin.get("outputArtifactKey", "")
    if producer not in dag.tasks:
        yield Finding(
            "producer", name, f"{key!r} comes from task {producer!r}, which does not exist", _REMEDY
        )
        return
    made = component_of(spec, dag.tasks[producer]).get("outputDefinitions", {}).get("artifacts", {})
    if output not in made:
        known = ", ".join(sorted(made)) or "none"
        yield Finding(
            "producer-output",
            name,
            f"{key!r} comes from {producer}'s output {output!r}; its outputs: {known}",
            _REMEDY,
        )
        return
    if wanted and title(made[output].get("artifactType", {})) != title(wanted):
        yield Finding(
            "artifact-type",
            name,
            f"{key!r} must be {title(wanted)}, and {producer} makes "
            f"{title(made[output].get('artifactType', {}))}",
            _REMEDY,
        )


def title(artifact_type: Tree) -> str:
    """Title of an artifact type; `""` where there is none to be read."""
    if "schemaTitle" in artifact_type:
        return str(artifact_type["schemaTitle"])
    found = re.search(r"^title:\s*(\S+)", artifact_type.get("instanceSchema", ""), re.MULTILINE)
    return found[1] if found else ""


def _parameter(
    spec: Tree, dag: Dag, name: str, key: str, value: Tree, declared: Tree
) -> Iterator[Finding]:
    wanted = declared.get("parameterType", "")
    if "componentInputParameter" in value:
        source = value["componentInputParameter"]
        outer = dag.definition.get("inputDefinitions", {}).get("parameters", {})
        if source not in outer:
            yield Finding(
                "runtime-parameter",
                name,
                f"{key!r} is runtime parameter {source!r}, which the pipeline does not declare",
                _REMEDY,
            )
        elif outer[source].get("parameterType") != wanted:
            yield Finding(
                "parameter-type",
                name,
                f"{key!r} must be {wanted}, and runtime parameter {source!r} is "
                f"{outer[source].get('parameterType')}",
                _REMEDY,
            )
    elif "taskOutputParameter" in value:
        yield from _output_parameter(spec, dag, name, key, value["taskOutputParameter"])
    elif "taskFinalStatus" in value:
        producer = value["taskFinalStatus"].get("producerTask", "")
        if producer not in dag.tasks:
            yield Finding(
                "producer",
                name,
                f"{key!r} is the status of {producer!r}, which does not exist",
                _REMEDY,
            )
    else:
        constant = value.get("runtimeValue", {}).get("constant")
        if not fits(constant, wanted):
            yield Finding(
                "parameter-type",
                name,
                f"{key!r} must be {wanted}, and is {constant!r:.60}",
                _REMEDY,
            )
        for placeholder in re.findall(
            r"\{\{\$.*?\}\}", constant if isinstance(constant, str) else ""
        ):
            if placeholder not in _PLACEHOLDERS:
                yield Finding(
                    "placeholder",
                    name,
                    f"{key!r} holds {placeholder}, which Vertex does not replace",
                    f"It knows {', '.join(sorted(_PLACEHOLDERS))}.",
                )


def _output_parameter(spec: Tree, dag: Dag, name: str, key: str, value: Tree) -> Iterator[Finding]:
    producer = value.get("producerTask", "")
    made = (
        component_of(spec, dag.tasks.get(producer, {}))
        .get("outputDefinitions", {})
        .get("parameters", {})
    )
    if value.get("outputParameterKey") not in made:
        yield Finding(
            "producer-output",
            name,
            f"{key!r} comes from parameter {value.get('outputParameterKey')!r} of {producer!r}, "
            "which does not exist",
            _REMEDY,
        )


def fits(value: Any, wanted: str) -> bool:
    """Whether a JSON value is of a parameter's type."""
    kind = _TYPES.get(wanted)
    if kind is None or not isinstance(value, kind):
        return False
    if isinstance(value, bool) != (wanted == "BOOLEAN"):
        return False
    return wanted != "NUMBER_INTEGER" or value == round(value)  # type: ignore[call-overload]


def _covered(spec: Tree, name: str, task: Tree) -> Iterator[Finding]:
    """A container starts when what it waits for has ended; inputs alone need not be waited for."""
    if "container" not in executor_of(spec, task):
        return
    waits = set(task.get("dependentTasks", []))
    for producer in sorted(producers(task) - waits):
        yield Finding(
            "dependent-task",
            name,
            f"it takes an input from {producer} and does not wait for it (dependentTasks)",
            _REMEDY,
        )


def producers(task: Tree) -> set[str]:
    """Tasks whose outputs a task takes."""
    found = set()
    for kind in ("artifacts", "parameters"):
        for value in task.get("inputs", {}).get(kind, {}).values():
            for origin in ("taskOutputArtifact", "taskOutputParameter", "taskFinalStatus"):
                if origin in value:
                    found.add(str(value[origin].get("producerTask", "")))
    return found


def upstream(dag: Dag) -> dict[str, set[str]]:
    """Task → tasks it waits for, by order or by input."""
    return {
        name: (set(task.get("dependentTasks", [])) | producers(task)) & dag.tasks.keys()
        for name, task in dag.tasks.items()
    }


def _order(dag: Dag) -> Iterator[Finding]:
    try:
        graphlib.TopologicalSorter(upstream(dag)).prepare()
    except graphlib.CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        yield Finding(
            "cycle", str(error.args[1][0]), f"tasks wait for each other: {circle}", _REMEDY
        )


def json_or_none(text: str) -> Any:
    """Parsed JSON; None if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None
