"""The twin runs the compiled job, and comes to what a local run comes to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[3]
ROWS = 2_000

pytestmark = [pytest.mark.slow, pytest.mark.tfx, pytest.mark.timeout(600)]

_VERTEX = """
[vertex]
project = "my-project"
region = "europe-west4"
root = "gs://my-bucket/pipelines"
data_path = "gs://my-bucket/data"
serving_path = "gs://my-bucket/serving"
image = "europe-west4-docker.pkg.dev/my-project/headrace/pipeline:1"
retries = 1
"""


class Rehearsed:
    """What `headrace vertex rehearse` said."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.code, self.err = done.returncode, done.stderr
        lines = done.stdout.strip().splitlines()
        self.result: dict[str, Any] = json.loads(lines[-1]) if lines else {}

    @property
    def different(self) -> list[Any]:
        """Rows of the parity report on which the two sides do not agree."""
        return [row for row in self.result["parity"] if not row["same"]]

    def row(self, what: str) -> Any:
        (row,) = (row for row in self.result["parity"] if row["what"] == what)
        return row


class Project:
    """Four small months, the committed schema, and a bucket that is only here."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "data").mkdir(parents=True)
        shutil.copytree(ROOT / "schema", folder / "schema")
        for span in ("2019-09", "2019-10", "2019-11", "2019-12"):
            self.write(span, ROWS)
        text = (ROOT / "headrace.toml").read_text()
        for old, new in (
            ('path = "data/nyc_yellow"', 'path = "data"'),
            ("train_spans = 12", "train_spans = 2"),
            ("auc_min = 0.75, log_loss_max = 0.5", "auc_min = 0.7, log_loss_max = 0.6"),
            (
                "[evaluation]",
                "[training]\nepochs = 2\n\n[evaluation]\nchange = { auc_drop_max = 1 }",
            ),
        ):
            assert old in text
            text = text.replace(old, new)
        (folder / "headrace.toml").write_text(text + _VERTEX)

    def write(self, span: str, rows: int) -> None:
        name = f"yellow_tripdata_sample_{span}.parquet"
        source = ROOT / "data" / "nyc_yellow" / name
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (FROM '{source}' LIMIT {rows}) "
                f"TO '{self.folder / 'data' / name}' (FORMAT parquet)"
            )

    def rehearse(self, *arguments: str) -> Rehearsed:
        command = [sys.executable, "-m", "pipeline.cli.main", "vertex", "rehearse", "--json"]
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(
            [*command, *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        return Rehearsed(done)

    def served(self) -> list[str]:
        folder = self.folder / "runs" / "vertex" / "gs" / "my-bucket" / "serving" / "nyc_yellow"
        return sorted(path.name for path in folder.iterdir() if path.name.isdigit())


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("vertex") / "project")


def test_two_jobs_come_to_what_two_local_runs_come_to(project: Project) -> None:
    first = project.rehearse("--span", "2019-11", "--parity")
    assert first.code == 0, first.err
    assert first.result["status"] == "pushed" and first.different == []
    assert first.row("champion found")["twin"] == "False"
    second = project.rehearse("--span", "2019-12", "--parity")
    assert second.code in (0, 4), second.err
    assert second.different == []
    assert second.row("champion found")["twin"] == "True"
    assert "numbers" in second.row("statistics")["twin"]
    # What TensorFlow Serving polls is in the bucket, whole.
    assert "1" in project.served()
    version = project.folder / "runs/vertex/gs/my-bucket/serving/nyc_yellow/1"
    assert (version / "saved_model.pb").exists() and (version / "headrace_manifest.json").exists()


def test_a_blocked_span_blocks_in_both(project: Project) -> None:
    before = project.served()
    project.write("2019-12", 100)
    try:
        blocked = project.rehearse("--span", "2019-12", "--parity")
    finally:
        project.write("2019-12", ROWS)
    assert blocked.code == 3, blocked.err
    assert blocked.result["status"] == "blocked" and blocked.different == []
    assert "Half a span?" in blocked.result["message"]
    assert blocked.row("data gate")["twin"].startswith("closed")
    assert project.served() == before


@pytest.mark.parametrize(
    "fault, told",
    {"403": "vertex.service_account", "429": "quota"}.items(),
    ids=["no permission", "no quota"],
)
def test_what_the_api_refuses_is_told_with_a_remedy(
    project: Project, fault: str, told: str
) -> None:
    refused = project.rehearse("--fault", fault)
    assert refused.code == 1
    assert "Traceback" not in refused.err
    assert told in refused.err.lower(), refused.err


def test_an_id_is_taken_once(project: Project) -> None:
    project.rehearse("--fault", "SpanExampleGen=fail", "--job-id", "trips-1")
    twice = project.rehearse("--job-id", "trips-1")
    assert twice.code == 1
    assert "trips-1" in twice.err and "Traceback" not in twice.err


def test_a_task_that_fails_ends_the_job_and_one_that_is_preempted_is_tried_again(
    project: Project,
) -> None:
    failed = project.rehearse("--span", "2019-12", "--fault", "StatisticsGen=fail")
    assert failed.code == 1
    assert failed.result["status"] == "failed" and "StatisticsGen" in failed.result["message"]
    preempted = project.rehearse("--span", "2019-12", "--fault", "DataGate=preempt")
    assert preempted.code in (0, 4), preempted.err
    assert preempted.result["status"] in ("pushed", "up_to_date", "not_blessed")
