"""A Beam worker in this environment: what Beam's `boot` is in a container.

Where `environment_type` is PROCESS a runner starts `headrace-beam-worker --id=… …` on its machines.
Beam's own program for this is written in Go and is found in its images only; it installs packages
before it starts Python. Here everything is installed already.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

import grpc
from apache_beam.portability.api import beam_provision_api_pb2, beam_provision_api_pb2_grpc
from apache_beam.runners.worker import sdk_worker_main
from google.protobuf import json_format


def environment(arguments: list[str]) -> dict[str, str]:
    """Asks the runner what to do, and says it as Beam's Python worker reads it.

    Args:
        arguments: as the runner gives them: the worker's id and the runner's endpoints.

    Raises:
        grpc.RpcError: the runner does not answer.
    """
    parser = argparse.ArgumentParser(prog="headrace-beam-worker")
    parser.add_argument("--id", required=True)
    parser.add_argument("--provision_endpoint", required=True)
    parser.add_argument("--control_endpoint", default="")
    parser.add_argument("--logging_endpoint", default="")
    known, _ = parser.parse_known_args(arguments)
    with grpc.insecure_channel(known.provision_endpoint) as channel:
        answer = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel).GetProvisionInfo(
            beam_provision_api_pb2.GetProvisionInfoRequest(),
            metadata=[("worker_id", known.id)],
            timeout=60,
        )
    info = answer.info
    variables = {
        "WORKER_ID": known.id,
        "PIPELINE_OPTIONS": json.dumps(json_format.MessageToDict(info.pipeline_options)),
        "RUNNER_CAPABILITIES": " ".join(info.runner_capabilities),
    }
    # The arguments are the older way; a runner that gives both means the same.
    endpoints = {
        "CONTROL": known.control_endpoint or info.control_endpoint.url,
        "LOGGING": known.logging_endpoint or info.logging_endpoint.url,
        "STATUS": info.status_endpoint.url,
    }
    for name, url in endpoints.items():
        if url:
            variables[f"{name}_API_SERVICE_DESCRIPTOR"] = f"url: {json.dumps(url)}"
    return variables


def main(arguments: list[str] | None = None) -> None:
    """Works until the runner hangs up."""
    os.environ.update(environment(sys.argv[1:] if arguments is None else arguments))
    sdk_worker_main.main([])
