"""A worker learns from the runner what to do, as Beam's own `boot` would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from apache_beam.portability.api import beam_provision_api_pb2 as api
from apache_beam.portability.api import beam_provision_api_pb2_grpc as services
from apache_beam.runners.worker import sdk_worker_main

from pipeline import beam_worker


class Runner(services.ProvisionServiceServicer):
    """Tells every worker the same, and remembers who asked."""

    def __init__(self) -> None:
        self.info = api.ProvisionInfo()
        self.asked: list[str] = []

    def GetProvisionInfo(self, request: Any, context: Any) -> Any:  # noqa: N802 - Beam's name
        self.asked += [value for key, value in context.invocation_metadata() if key == "worker_id"]
        return api.GetProvisionInfoResponse(info=self.info)


@pytest.fixture
def runner() -> Iterator[Runner]:
    """A runner; its address is `runner.address`."""
    servicer = Runner()
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    services.add_ProvisionServiceServicer_to_server(servicer, server)
    servicer.address = f"localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    yield servicer
    server.stop(None)


def test_beams_worker_understands_what_the_runner_said(runner: Runner) -> None:
    runner.info.control_endpoint.url = "localhost:1"
    runner.info.pipeline_options.update({"beam:option:job_name:v1": "one"})
    runner.info.runner_capabilities.append("beam:protocol:control_response_elements_embedding:v1")
    found = beam_worker.environment(["--id=7", f"--provision_endpoint={runner.address}"])
    assert runner.asked == ["7"]
    # With `dry_run` it reads everything and connects to nobody.
    assert sdk_worker_main.create_harness(found, dry_run=True) is None
    options = sdk_worker_main._parse_pipeline_options(found["PIPELINE_OPTIONS"])
    assert options.get_all_options()["job_name"] == "one"
    assert found["CONTROL_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:1"'
    assert found["RUNNER_CAPABILITIES"].startswith("beam:protocol:control_response")


def test_the_older_way_names_endpoints_as_arguments(runner: Runner) -> None:
    told = ["--id=1", f"--provision_endpoint={runner.address}", "--artifact_endpoint=localhost:4"]
    found = beam_worker.environment(
        [*told, "--control_endpoint=localhost:2", "--logging_endpoint=localhost:3"]
    )
    assert json.loads(found["PIPELINE_OPTIONS"]) == {}
    assert found["CONTROL_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:2"'
    assert found["LOGGING_API_SERVICE_DESCRIPTOR"] == 'url: "localhost:3"'
    assert "STATUS_API_SERVICE_DESCRIPTOR" not in found


def test_without_a_runner_there_is_no_worker(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        beam_worker.environment(["--id=1"])
    assert "--provision_endpoint" in capsys.readouterr().err
