"""The dry run of Dataflow: Beam's own translation, and what it would have sent."""

from __future__ import annotations

import os
from typing import Any

import apache_beam as beam
import pytest

from pipeline.beam_options import beam_arguments
from pipeline.config import BeamConfig
from pipeline.vertex import prepare
from pipeline.vertex.dataflow import capture, checks
from pipeline.vertex.lint.finding import Finding

IMAGE = "europe-west4-docker.pkg.dev/my-project/headrace/worker:1"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*arguments: Any, **named: Any) -> Any:
        raise AssertionError(f"a dry run connects to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def options(configure: Any) -> dict[str, Any]:
    """Dataflow's, as Vertex's configuration makes them."""
    config = configure(
        beam={"runner": "direct"}, vertex={"dataflow": {"image": IMAGE, "max_workers": 7}}
    )
    return dict(prepare.view(prepare.for_dataflow(config)).beam.options)


def graph(options: dict[str, Any], build: Any = None, *more: str) -> capture.Graph:
    arguments = [*beam_arguments(BeamConfig(runner="dataflow", options=options)), *more]
    with pytest.raises(capture.Captured) as caught, capture.make_pipeline(lambda: arguments)() as p:
        (build or small)(p)
    return caught.value.graph


def small(pipeline: beam.Pipeline) -> None:
    keyed = pipeline | beam.Create([1, 2]) | beam.Map(lambda number: (number % 2, number))
    _ = keyed | beam.GroupByKey() | beam.Map(print)


def found(options: dict[str, Any], build: Any = None, *more: str) -> list[Finding]:
    return list(checks.of_graph("Node", graph(options, build, *more), IMAGE))


def test_the_job_is_what_the_configuration_says(options: dict[str, Any]) -> None:
    made = graph(options)
    request, job = made.request, made.request["job"]
    assert (request["projectId"], request["location"]) == ("my-project", "europe-west4")
    assert job["type"] == "JOB_TYPE_BATCH"
    environment = job["environment"]
    account = "pipeline@my-project.iam.gserviceaccount.com"
    assert environment["serviceAccountEmail"] == account
    assert "/my-bucket/pipelines/dataflow/temp/" in environment["tempStoragePrefix"]
    assert made.pool["machineType"] == "e2-standard-2"
    assert made.pool["autoscalingSettings"] == {"maxNumWorkers": 7}
    assert made.pool["workerHarnessContainerImage"] == IMAGE
    assert environment["sdkPipelineOptions"]["options"]["dry_run"] is False
    urns = {each.spec.urn for each in made.pipeline.components.transforms.values()}
    assert "beam:transform:group_by_key:v1" in urns
    assert made.steps >= 4 and made.pipeline_bytes > made.steps
    assert not list(checks.of_graph("Node", made, IMAGE))
    assert "pickled_main_session" not in made.staged  # which is Beam's default on Dataflow


@pytest.mark.parametrize(
    "change, check, told",
    [
        ({"region": ""}, "option", "beam.options.region is required"),
        ({"temp_location": "/tmp/x"}, "option", "must be in a bucket"),
        ({"staging_location": "gs://B_/x"}, "option", "must be in a bucket"),
        ({"sdk_container_image": ""}, "option", "sdk_container_image is required"),
        ({"num_workers": 9}, "option", "must not be above max_num_workers"),
        ({"max_num_workers": 5000}, "workers", "4000 at most"),
        ({"worker_machine_type": "m5.large"}, "machine", "m5.large"),
        ({"subnetwork": "regions/us-east1/subnetworks/a"}, "subnetwork", "us-east1"),
    ],
)
def test_options_that_dataflow_refuses(
    options: dict[str, Any], change: dict[str, Any], check: str, told: str
) -> None:
    assert not list(checks.of_options(BeamConfig(runner="dataflow", options=options)))
    changed = BeamConfig(runner="dataflow", options={**options, **change})
    (only,) = checks.of_options(changed)
    assert only.check == check and told in str(only)


def test_a_graph_above_the_limit_is_told_with_its_size(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cargo = os.urandom(200_000)  # what is pickled is compressed, and this is not made smaller

    def heavy(pipeline: beam.Pipeline) -> None:
        _ = pipeline | beam.Create([1]) | beam.Map(lambda number: (number, cargo))

    made = graph(options, heavy)
    assert not list(checks.of_graph("Node", made, IMAGE))
    monkeypatch.setattr(checks, "GRAPH_BYTES", 200_000)
    (only,) = checks.of_graph("Node", made, IMAGE)
    assert only.check == "graph-size" and "setup()" in only.remedy


def test_a_source_without_an_end_would_stream(options: dict[str, Any]) -> None:
    from apache_beam.transforms.periodicsequence import PeriodicImpulse

    def endless(pipeline: beam.Pipeline) -> None:
        _ = pipeline | PeriodicImpulse(fire_interval=1.0) | beam.Map(print)

    assert "streaming" in {each.check for each in found(options, endless)}


def test_steps_in_another_image_are_told(options: dict[str, Any]) -> None:
    other = {**options, "sdk_container_image": "apache/beam_python3.13_sdk:2.77.0"}
    (only,) = found(other)
    assert only.check == "image" and "apache/beam_python3.13_sdk" in only.message


def test_labels_that_the_api_refuses(options: dict[str, Any]) -> None:
    (only,) = found(options, None, "--labels", "Team=Rides", "--labels", "team=rides")
    assert only.check == "label" and "Team=Rides" in only.message


def test_what_workers_would_install_is_told(options: dict[str, Any], tmp_path: Any) -> None:
    package = tmp_path / "extra-1.0.tar.gz"
    package.write_bytes(b"package")
    del options["no_save_main_session"]
    told = found(options, None, f"--extra_package={package}")
    messages = " ".join(each.message for each in told if each.check == "staged")
    assert "extra-1.0.tar.gz" in messages and "main session" in messages


def test_what_beam_validates_for_dataflow_alone_is_validated(options: dict[str, Any]) -> None:
    arguments = beam_arguments(BeamConfig(runner="dataflow", options=options))
    with pytest.raises(ValueError, match="Invalid job_name"):
        capture.make_pipeline(lambda: [*arguments, "--job_name=bad_name"])()
