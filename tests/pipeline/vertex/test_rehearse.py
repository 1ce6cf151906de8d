"""`headrace vertex rehearse` as it is typed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]

pytestmark = [pytest.mark.slow, pytest.mark.tfx, pytest.mark.timeout(300)]

_VERTEX = """
[vertex]
project = "my-project"
region = "europe-west4"
root = "gs://my-bucket/pipelines"
data_path = "gs://my-bucket/data"
serving_path = "gs://my-bucket/serving"
image = "europe-west4-docker.pkg.dev/my-project/headrace/pipeline:1"
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed project with a bucket that is only here."""
    folder = tmp_path_factory.mktemp("rehearse")
    shutil.copytree(ROOT / "schema", folder / "schema")
    (folder / "data").symlink_to(ROOT / "data")
    (folder / "headrace.toml").write_text((ROOT / "headrace.toml").read_text() + _VERTEX)
    return folder


def rehearse(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return subprocess.run(
        [sys.executable, "-m", "pipeline.cli.main", "vertex", "rehearse", *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_refusal_is_told_with_the_roles_that_are_missing(project: Path) -> None:
    refused = rehearse(project, "--fault", "403")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    assert "roles/aiplatform.user on my-project" in refused.stderr


def test_a_task_that_fails_fails_the_job(project: Path) -> None:
    failed = rehearse(project, "--fault", "SpanExampleGen=fail", "--json")
    assert failed.returncode == 1, failed.stderr
    result: dict[str, Any] = json.loads(failed.stdout.strip().splitlines()[-1])
    assert result["status"] == "failed"
    assert "SpanExampleGen" in result["message"]
