"""The compiled job: runtime parameter, machines, retries, the same bytes again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError

pytestmark = pytest.mark.tfx

ROOT = Path(__file__).resolve().parents[3]


def test_the_span_is_a_runtime_parameter(job: dict[str, Any]) -> None:
    root = job["pipelineSpec"]["root"]
    declared = {"parameterType": "STRING", "defaultValue": "", "isOptional": True}
    assert root["inputDefinitions"]["parameters"] == {"span": declared}
    given = root["dag"]["tasks"]["SpanExampleGen"]["inputs"]["parameters"]["span"]
    assert given == {"componentInputParameter": "span"}
    assert job["runtimeConfig"]["parameterValues"] == {"span": ""}


def test_no_span_is_a_constant(job: dict[str, Any]) -> None:
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    # The thresholds of drift were measured on spans, and say so.
    del tasks["DistributionValidator"]["inputs"]["parameters"]["calibration"]
    assert not re.search(r"20(19|20)-[01][0-9]", json.dumps(job))


def test_machines_accelerators_labels_and_retries(job: dict[str, Any]) -> None:
    executors = job["pipelineSpec"]["deploymentSpec"]["executors"]
    assert executors["Trainer_executor"]["container"]["resources"] == {
        "cpuLimit": 8.0,
        "memoryLimit": 30.0,
        "accelerator": {"type": "NVIDIA_TESLA_T4", "count": "1"},
    }
    assert executors["Pusher_executor"]["container"]["resources"]["memoryLimit"] == 16.0
    assert job["labels"]["team"] == "rides" and job["labels"]["tfx_version"] == "1-21-0"
    assert job["pipelineSpec"]["root"]["dag"]["tasks"]["Trainer"]["retryPolicy"] == {
        "maxRetryCount": 2,
        "backoffDuration": "60s",
        "backoffFactor": 2.0,
        "backoffMaxDuration": "3600s",
    }


def test_code_is_part_of_the_key_of_every_cached_node_of_ours(job: dict[str, Any]) -> None:
    tasks = job["pipelineSpec"]["root"]["dag"]["tasks"]
    for name in ("SpanExampleGen", "DataGate", "Evaluator", "InfraValidator"):
        assert len(tasks[name]["inputs"]["parameters"]["code"]["runtimeValue"]["constant"]) == 64
    for name in ("Transform", "Trainer"):
        config = tasks[name]["inputs"]["parameters"]["custom_config"]["runtimeValue"]["constant"]
        assert len(json.loads(config)["code"]) == 64


def test_a_machine_for_a_node_that_is_not_there(configure: Any) -> None:
    from pipeline.vertex.compile import compile_job

    with pytest.raises(ConfigError, match=r"vertex.machines.Tuner.*Trainer"):
        compile_job(configure(vertex={"machines": {"Tuner": {}}}))


@pytest.mark.slow
def test_another_process_compiles_the_same_bytes(
    configure: Any, compiled: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(configure().model_dump_json())
    program = (
        "import sys; from pipeline.config import Config; from pipeline.vertex import compile as c;"
        "config = Config.model_validate_json(open(sys.argv[1]).read());"
        "sys.stdout.buffer.write(c.to_bytes(c.compile_job(config)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(config)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == compiled
