"""Jobs of a few lines whose tasks are small programs: what a twin does, without TFX."""

import json
import sys
from typing import Any

#: What every task runs: it says what it was told, and writes its outputs as a TFX executor would.
PROGRAM = """
import json, os, sys, time
told, script = json.loads(sys.argv[1]), sys.argv[2]
inputs, outputs, metadata = told["inputs"], told["outputs"], {}
parameters = inputs["parameterValues"]
def metadata_of(key):
    return inputs["artifacts"][key]["artifacts"][0]["metadata"]
exec(script)
artifacts = {}
for key, each in outputs["artifacts"].items():
    (artifact,) = each["artifacts"]
    with open(os.path.join(artifact["uri"], "content"), "w") as file:
        file.write("made")
    artifacts[key] = {"artifacts": [{**artifact, "metadata": metadata}]}
with open(outputs["outputFile"], "w") as file:
    json.dump({"artifacts": artifacts}, file)
"""


def kind(title: str) -> dict[str, Any]:
    return {"artifactType": {"instanceSchema": f"title: {title}\ntype: object\n"}}


class Tiny:
    """Builds a job task by task."""

    def __init__(self, name: str = "tiny") -> None:
        self.tasks: dict[str, Any] = {}
        self.components: dict[str, Any] = {}
        self.executors: dict[str, Any] = {}
        self.name = name

    def task(
        self,
        name: str,
        script: str = "pass",
        *,
        inputs: dict[str, tuple[str, str, str]] | None = None,
        output: str | None = None,
        parameters: dict[str, Any] | None = None,
        **task: Any,
    ) -> "Tiny":
        """A container; `inputs`: key → producer, output, title; `output`: title of `out`."""
        self._add(name, inputs or {}, output, parameters or {}, task)
        self.executors[name] = {
            "container": {
                "image": "image:1",
                "command": [sys.executable, "-c", PROGRAM],
                "args": ["{{$}}", script],
            }
        }
        return self

    def other(
        self,
        name: str,
        executor: dict[str, Any],
        *,
        inputs: dict[str, tuple[str, str, str]] | None = None,
        output: str | None = None,
        parameters: dict[str, Any] | None = None,
    ) -> "Tiny":
        """A resolver or an importer."""
        self._add(name, inputs or {}, output, parameters or {}, {})
        self.executors[name] = executor
        return self

    def _add(
        self,
        name: str,
        inputs: dict[str, tuple[str, str, str]],
        output: str | None,
        parameters: dict[str, Any],
        task: dict[str, Any],
    ) -> None:
        component: dict[str, Any] = {"executorLabel": name}
        component["inputDefinitions"] = {
            "artifacts": {key: kind(title) for key, (_, _, title) in inputs.items()},
            "parameters": {
                key: {"parameterType": "STRING"} for key in parameters if parameters[key]
            },
        }
        if output:
            component["outputDefinitions"] = {"artifacts": {"out": kind(output)}}
        self.components[name] = component
        self.tasks[name] = {
            "taskInfo": {"name": name},
            "componentRef": {"name": name},
            "dependentTasks": sorted(producer for producer, _, _ in inputs.values()),
            "inputs": {
                "artifacts": {
                    key: {
                        "taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": made}
                    }
                    for key, (producer, made, _) in inputs.items()
                },
                "parameters": {
                    key: value if isinstance(value, dict) else {"runtimeValue": {"constant": value}}
                    for key, value in parameters.items()
                },
            },
            **task,
        }

    def job(self) -> dict[str, Any]:
        tree = {
            "displayName": self.name,
            "labels": {},
            "pipelineSpec": {
                "pipelineInfo": {"name": self.name},
                "schemaVersion": "2.1.0",
                "sdkVersion": "tfx-1.21.0",
                "components": self.components,
                "deploymentSpec": {"executors": self.executors},
                "root": {
                    "dag": {"tasks": self.tasks},
                    "inputDefinitions": {
                        "parameters": {"span": {"parameterType": "STRING", "defaultValue": ""}}
                    },
                },
            },
            "runtimeConfig": {
                "gcsOutputDirectory": "gs://my-bucket/pipelines",
                "parameterValues": {"span": ""},
            },
        }
        copied: dict[str, Any] = json.loads(json.dumps(tree))
        return copied
