"""Values of a task's inputs: constants, runtime parameters, and what tasks before it made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.vertex.lint import graph
from pipeline.vertex.twin import inputs
from pipeline.vertex.twin.job import Artifacts, Job, Outcome, Tree


@dataclass(frozen=True)
class Scope:
    """A task, and what its inputs may refer to.

    Attributes:
        task: as in the spec.
        parameters, artifacts: inputs of the DAG that it is in.
        upstream: what became of the tasks that it waits for.
        outcomes: what became of all tasks that have ended.
    """

    task: Tree
    parameters: Tree
    artifacts: Artifacts
    upstream: Mapping[str, Outcome]
    outcomes: Mapping[str, Outcome]


def of_inputs(job: Job, name: str, scope: Scope) -> tuple[Tree, Artifacts]:
    """Parameters and artifacts that a task is given."""
    return _parameters(job, name, scope), _artifacts(scope)


def _parameters(job: Job, name: str, scope: Scope) -> Tree:
    known = _known(job, name)
    found: Tree = {}
    for key, value in scope.task.get("inputs", {}).get("parameters", {}).items():
        if "componentInputParameter" in value:
            found[key] = scope.parameters[value["componentInputParameter"]]
        elif "taskOutputParameter" in value:
            origin = value["taskOutputParameter"]
            made = scope.outcomes[origin["producerTask"]].parameters
            found[key] = made[origin["outputParameterKey"]]
        elif "taskFinalStatus" in value:
            ended = scope.outcomes[value["taskFinalStatus"]["producerTask"]]
            found[key] = json.dumps(_final_status(job, name, ended))
        else:
            found[key] = inputs.constant(value["runtimeValue"]["constant"], known)
    declared = graph.component_of(job.spec, scope.task).get("inputDefinitions", {})
    for key, parameter in declared.get("parameters", {}).items():
        if key not in found and "defaultValue" in parameter:
            found[key] = parameter["defaultValue"]
    return found


def _artifacts(scope: Scope) -> Artifacts:
    found: Artifacts = {}
    for key, value in scope.task.get("inputs", {}).get("artifacts", {}).items():
        if "componentInputArtifact" in value:
            found[key] = scope.artifacts[value["componentInputArtifact"]]
        else:
            origin = value["taskOutputArtifact"]
            made = scope.outcomes[origin["producerTask"]].artifacts
            found[key] = made.get(origin["outputArtifactKey"], [])
    return found


def _known(job: Job, name: str) -> dict[str, str]:
    """What Vertex puts into constants, by the name between the braces."""
    return {
        "pipeline_job_name": job.id,
        "pipeline_job_resource_name": job.name,
        "pipeline_job_uuid": hashlib.sha256(job.id.encode()).hexdigest()[:16],
        "pipeline_job_create_time_utc": job.created,
        "pipeline_task_name": name,
        "pipeline_root": job.root,
    }


def _final_status(job: Job, name: str, ended: Outcome) -> Tree:
    """`PipelineTaskFinalStatus`, what an exit handler is told."""
    told: Tree = {
        "state": ended.state,
        "pipelineJobResourceName": job.name,
        "pipelineTaskName": name,
    }
    if ended.error:
        told["error"] = {"code": 9, "message": ended.error}
    return told
