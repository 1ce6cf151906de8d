"""A configuration that runs on Vertex, and the job it compiles to."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline import config_file
from pipeline.config import Config

ROOT = Path(__file__).resolve().parents[3]

VERTEX: dict[str, Any] = {
    "project": "my-project",
    "region": "europe-west4",
    "root": "gs://my-bucket/pipelines",
    "data_path": "gs://my-bucket/data",
    "serving_path": "gs://my-bucket/serving",
    "image": "europe-west4-docker.pkg.dev/my-project/headrace/pipeline:1",
    "service_account": "pipeline@my-project.iam.gserviceaccount.com",
    "labels": {"team": "rides"},
    "machines": {
        "default": {"type": "e2-standard-4"},
        "Trainer": {"type": "n1-standard-8", "accelerator": "NVIDIA_TESLA_T4"},
    },
    "registry": {
        "model": "nyc_yellow",
        "image": "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
        "endpoint": "trips",
    },
}

Configure = Callable[..., Config]


@pytest.fixture(scope="session")
def configure() -> Configure:
    """The default configuration with `[vertex]`; sections given are merged in."""
    import tomllib

    values = tomllib.loads((ROOT / "headrace.toml").read_text())

    def make(**sections: Any) -> Config:
        tree = copy.deepcopy({**values, "vertex": VERTEX})
        for name, section in sections.items():
            tree[name] = {**tree.get(name, {}), **section}
        return config_file.parse(tree, source="headrace.toml", folder=ROOT)

    return make


@pytest.fixture(scope="session")
def pipeline(configure: Configure) -> Any:
    from pipeline.vertex.compile import vertex_pipeline

    return vertex_pipeline(configure())


@pytest.fixture(scope="session")
def compiled(configure: Configure) -> str:
    from pipeline.vertex.compile import compile_job, to_bytes

    return to_bytes(compile_job(configure())).decode()


@pytest.fixture
def job(compiled: str) -> dict[str, Any]:
    """A job to change at will."""
    tree: dict[str, Any] = json.loads(compiled)
    return tree
