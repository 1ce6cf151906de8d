"""The one pipeline compiles for both runners, and every way to the push goes through the gates."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.tfx

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pipeline():
    from pipeline import config_file
    from pipeline.graph import create_pipeline
    from pipeline.run_plan import plan_run

    config = config_file.load(ROOT / "headrace.toml")
    return create_pipeline(config, plan_run(config, span="2019-12", root="gs://bucket/root"))


@pytest.mark.parametrize("version_2_1", [True, False])
def test_it_compiles_for_vertex(pipeline, tmp_path: Path, version_2_1: bool) -> None:
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as vertex

    file = tmp_path / "pipeline.json"
    vertex.KubeflowV2DagRunner(
        config=vertex.KubeflowV2DagRunnerConfig(
            default_image="image", use_pipeline_spec_2_1=version_2_1
        ),
        output_filename=str(file),
    ).run(pipeline, write_out=True)
    tasks = json.loads(file.read_text())["pipelineSpec"]["root"]["dag"]["tasks"]
    gated = {"Transform", "Trainer", "Evaluator", "InfraValidator", "Pusher"}
    for name in gated:
        condition = tasks[name]["triggerPolicy"]["condition"]
        assert "metadata['passed'] == 1" in condition and "DataGate" in condition, name
    for name in ("SpanExampleGen", "StatisticsGen", "ExampleValidator", "DataGate"):
        assert "triggerPolicy" not in tasks[name], name


def test_the_push_depends_on_gate_evaluation_and_proof(pipeline) -> None:
    nodes = {node.id: node for node in pipeline.components}

    def upstream(name: str) -> set[str]:
        direct = {node.id for node in nodes[name].upstream_nodes}
        return direct.union(*(upstream(node) for node in direct)) if direct else direct

    assert {"Evaluator", "InfraValidator", "Trainer", "Transform"} <= upstream("Pusher")
    assert {"SpanExampleGen", "StatisticsGen", "ExampleValidator"} <= upstream("DataGate")


@pytest.mark.parametrize(
    "serving, registry, expected",
    [
        ("gs://bucket/serving", True, True),
        ("gs://bucket/serving", False, False),
        # A run that pushes to this disk has nothing that Vertex could read.
        ("runs/serving", True, False),
    ],
)
def test_a_push_is_registered_where_that_is_configured(
    serving: str, registry: bool, expected: bool
) -> None:
    from pipeline import config_file
    from pipeline.graph import create_pipeline
    from pipeline.run_plan import plan_run

    values = tomllib.loads((ROOT / "headrace.toml").read_text())
    values["serving"]["path"] = serving
    if registry:
        section = {"model": "nyc_yellow", "image": "serving:1"}
        values["vertex"] = {"project": "my-project", "region": "europe-west4", "registry": section}
    config = config_file.parse(values, source="headrace.toml", folder=ROOT)
    made = create_pipeline(config, plan_run(config, span="2019-12", root="gs://bucket/root"))
    nodes = {node.id: node for node in made.components}
    assert ("VertexRegistrar" in nodes) == expected
    if expected:
        assert nodes["Pusher"] in nodes["VertexRegistrar"].upstream_nodes


def test_beam_runs_where_it_is_told_to(pipeline) -> None:
    assert (
        "--runner=apache_beam.runners.portability.fn_api_runner.FnApiRunner"
        in pipeline.beam_pipeline_args
    )
