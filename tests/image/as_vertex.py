"""Runs in the image: two components by the commands that Vertex AI would give the container.

usage: as_vertex.py CONFIG SPAN OUTPUT

The pipeline is compiled here, and each command is taken from the compiled job; only `{{$}}` is put
in, as Vertex does it: an ExecutorInput with parameters, artifacts in, artifacts out.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ARTIFACT = "projects/1/locations/l/metadataStores/default/artifacts"


def compiled(config_file: str, span: str, output: Path) -> dict[str, Any]:
    """The pipeline spec."""
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as vertex

    from pipeline import config_file as files
    from pipeline.graph import create_pipeline
    from pipeline.run_plan import plan_run

    config = files.load(config_file)
    runner = vertex.KubeflowV2DagRunner(
        config=vertex.KubeflowV2DagRunnerConfig(default_image="image", use_pipeline_spec_2_1=True),
        output_filename=str(output / "job.json"),
    )
    runner.run(create_pipeline(config, plan_run(config, span=span, root="gs://bucket/root")))
    job: dict[str, Any] = json.loads((output / "job.json").read_text())
    return job["pipelineSpec"]


def artifact(schema: dict[str, str], number: int, uri: Path, **metadata: Any) -> dict[str, Any]:
    """One artifact of an ExecutorInput."""
    entry = {"name": f"{ARTIFACT}/{number}", "uri": str(uri), "type": schema, "metadata": metadata}
    return {"artifacts": [entry]}


def run(spec: dict[str, Any], task: str, inputs: dict[str, Any], output: Path) -> dict[str, Any]:
    """Runs a task's own command; returns what it wrote to its output file."""
    component = spec["components"][task]
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    parameters = {
        name: value["runtimeValue"]["constant"]
        for name, value in spec["root"]["dag"]["tasks"][task]["inputs"]["parameters"].items()
    }
    outputs = {
        name: artifact(definition["artifactType"], 100 + number, output / task / name)
        for number, (name, definition) in enumerate(
            component["outputDefinitions"]["artifacts"].items()
        )
    }
    file = output / task / "executor_output.json"
    executor_input = {
        "inputs": {"parameterValues": parameters, "artifacts": inputs},
        "outputs": {"artifacts": outputs, "outputFile": str(file)},
    }
    arguments = [json.dumps(executor_input) if a == "{{$}}" else a for a in container["args"]]
    subprocess.run([*container["command"], *arguments], check=True)
    written: dict[str, Any] = json.loads(file.read_text())["artifacts"]
    for name, entry in written.items():  # the metadata store, not the component, knows the types
        entry["artifacts"][0]["type"] = component["outputDefinitions"]["artifacts"][name][
            "artifactType"
        ]
    return written


def main() -> None:
    """Ingestion, then statistics of what it wrote."""
    config, span, folder = sys.argv[1:]
    output = Path(folder)
    output.mkdir(parents=True)
    spec = compiled(config, span, output)
    examples = run(spec, "SpanExampleGen", {}, output)["examples"]
    schema = {"instanceSchema": "title: tfx.Schema\ntype: object\n"}
    where = output / "schema"  # TFX reads a schema from a folder that holds nothing else
    where.mkdir()
    shutil.copy(Path(config).parent / "schema" / "schema.pbtxt", where)
    written = run(
        spec, "StatisticsGen", {"examples": examples, "schema": artifact(schema, 1, where)}, output
    )
    statistics = Path(written["statistics"]["artifacts"][0]["uri"])
    for split in ("train", "eval"):
        (file,) = (statistics / f"Split-{split}").iterdir()
        print(f"as Vertex would: statistics of {split}, {file.stat().st_size:,} bytes")
    print(f"as Vertex would: {examples['artifacts'][0]['metadata']['rows']}")


if __name__ == "__main__":
    main()
