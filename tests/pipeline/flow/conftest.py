"""The compiled pipeline, once for all tests of this folder."""

from __future__ import annotations

import copy
import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Tests are modules without a package; `import flow_proof` works in all files of this folder.
sys.path.insert(0, str(Path(__file__).parent))

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def _compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The default configuration's pipeline as TFX IR and as Vertex specs of both versions.

    With what a configuration can add: everything that can be in a pipeline is to be proven.
    """
    from tfx.dsl.compiler.compiler import Compiler
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as vertex

    from pipeline import config_file
    from pipeline.graph import create_pipeline
    from pipeline.run_plan import plan_run

    values = tomllib.loads((ROOT / "headrace.toml").read_text())
    values["serving"]["path"] = "gs://bucket/serving"
    values["vertex"] = {
        "project": "my-project",
        "region": "europe-west4",
        "registry": {"model": "nyc_yellow", "image": "serving:1", "endpoint": "trips"},
    }
    config = config_file.parse(values, source="headrace.toml", folder=ROOT)
    plan = plan_run(config, span="2019-12", root="gs://bucket/root")
    pipeline = create_pipeline(config, plan)
    forms: dict[str, Any] = {"ir": Compiler().compile(pipeline)}
    for name, version_2_1 in (("spec 2.1", True), ("spec 2.0", False)):
        file = tmp_path_factory.mktemp("vertex") / "pipeline.json"
        vertex.KubeflowV2DagRunner(
            config=vertex.KubeflowV2DagRunnerConfig(
                default_image="image", use_pipeline_spec_2_1=version_2_1
            ),
            output_filename=str(file),
        ).run(pipeline, write_out=True)
        forms[name] = json.loads(file.read_text())["pipelineSpec"]
    return forms


@pytest.fixture
def compiled(_compiled: dict[str, Any]) -> Callable[[str], Any]:
    """A fresh copy of a form: `ir`, `spec 2.1` or `spec 2.0`."""
    return lambda form: copy.deepcopy(_compiled[form])
