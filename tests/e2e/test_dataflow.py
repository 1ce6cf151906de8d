"""`headrace vertex dataflow` on what a real run left behind."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
VERTEX = """
[vertex]
project = "my-project"
region = "europe-west4"
root = "gs://my-bucket/pipelines"
data_path = "gs://my-bucket/data"
serving_path = "gs://my-bucket/serving"
image = "europe-west4-docker.pkg.dev/my-project/headrace/pipeline:1"

[vertex.dataflow]
image = "europe-west4-docker.pkg.dev/my-project/headrace/worker:1"
max_workers = 9
"""


def test_components_build_their_graphs_and_nothing_is_sent(changeable: Any) -> None:
    # Any connection to another machine is refused, and noted.
    noted = changeable.path / "dataflow-network.txt"
    changeable.environment |= {
        "PYTHONPATH": f"{Path(__file__).parent / 'guard'}{os.pathsep}{ROOT}",
        "HEADRACE_GUARD": str(noted),
    }
    changeable.configure(lambda text: text + VERTEX)
    outcome = changeable.headrace(
        "vertex", "dataflow", "--node", "SpanExampleGen", "--node", "Evaluator",
        "--out", "jobs", "--json",
    )  # fmt: skip
    assert outcome.code == 0, outcome.out + outcome.err
    told = json.loads(outcome.out)
    assert told["findings"] == []
    ingest, evaluator = told["jobs"]
    assert (ingest["node"], evaluator["node"]) == ("SpanExampleGen", "Evaluator")
    assert evaluator["steps"] > ingest["steps"] > 1
    for job in (ingest, evaluator):
        assert job["image"].endswith("/worker:1") and job["max_workers"] == 9
        sent = json.loads((changeable.path / "jobs" / f"{job['node']}.json").read_text())
        assert sent["projectId"] == "my-project"
        assert sent["job"]["labels"]["tfx_executor"]
    assert not noted.exists()
