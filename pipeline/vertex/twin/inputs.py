"""What a container is told: `ExecutorInput`, filled in as Vertex does it.

https://github.com/kubeflow/pipelines/blob/master/api/v2alpha1/pipeline_spec.proto
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline.beam_options import beam_arguments
from pipeline.config import BeamConfig
from pipeline.vertex.lint import graph

Tree = dict[str, Any]
Artifacts = Mapping[str, list[Tree]]

_PLACEHOLDER = re.compile(
    r"\{\{\$\.(?P<side>inputs|outputs)\.(?P<kind>artifacts|parameters)"
    r"\['(?P<key>[^']+)'\](?:\.(?P<field>uri|value|output_file))?\}\}"
)


#: A rehearsal starts nothing in anybody's project or cluster: what Beam does is done here.
_RUNNER = "--runner="
_HERE = next(each for each in beam_arguments(BeamConfig()) if each.startswith(_RUNNER))


def runtime(artifact: Tree) -> Tree:
    """An artifact of the store as `RuntimeArtifact`."""
    return {key: artifact[key] for key in ("name", "uri", "type", "metadata")}


def executor_input(
    parameters: Mapping[str, Any], artifacts: Artifacts, outputs: Artifacts, folder: str, spec: Tree
) -> Tree:
    """`ExecutorInput` as JSON.

    Args:
        parameters: values of the inputs.
        artifacts: input key → artifacts of the store; empty where a resolver found none.
        outputs: output key → the artifact that the task is to write.
        folder: of this task, unique to it.
        spec: the component, for its output parameters.
    """
    told: Tree = {"artifacts": _lists(outputs), "outputFile": f"{folder}/executor_output.json"}
    declared = spec.get("outputDefinitions", {}).get("parameters", {})
    if declared:
        told["parameters"] = {key: {"outputFile": f"{folder}/{key}"} for key in declared}
    return {
        "inputs": {"parameterValues": dict(parameters), "artifacts": _lists(artifacts)},
        "outputs": told,
    }


def _lists(artifacts: Artifacts) -> Tree:
    return {key: {"artifacts": list(map(runtime, each))} for key, each in artifacts.items()}


def filled(argument: str, told: Tree) -> str:
    """An argument of a command with its placeholders replaced; Beam's runner is the local one."""
    if argument.startswith(_RUNNER):
        return _HERE
    if argument == "{{$}}":
        return json.dumps(told)

    def replace(found: re.Match[str]) -> str:
        side, kind, key = told[found["side"]], found["kind"], found["key"]
        if kind == "artifacts":
            artifacts = side["artifacts"].get(key, {}).get("artifacts", [])
            return str(artifacts[0]["uri"]) if artifacts else ""
        if found["side"] == "outputs":
            return str(side["parameters"][key]["outputFile"])
        value = side["parameterValues"].get(key, "")
        return value if isinstance(value, str) else json.dumps(value)

    return _PLACEHOLDER.sub(replace, argument)


def constant(value: Any, known: Mapping[str, str]) -> Any:
    """A constant with what Vertex knows of the job put in: `{{$.pipeline_job_name}}` and others."""
    if isinstance(value, str):
        for name, text in known.items():
            value = value.replace(f"{{{{$.{name}}}}}", text)
    return value


def title_of(definitions: Tree, key: str) -> str:
    """Title of the type of an output."""
    return graph.title(definitions[key].get("artifactType", {}))
