"""A cluster that is not there is told before TensorFlow is loaded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import config_file
from pipeline.config import BeamConfig
from pipeline.errors import ConfigError
from pipeline.local import cluster, preflight

LOOPBACK = {"environment_type": "LOOPBACK"}


@pytest.fixture
def port() -> Iterator[int]:
    """Of somebody who listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def nobody() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something called java, and nothing else, on PATH."""
    (tmp_path / "java").write_text("#!/bin/sh\n")
    (tmp_path / "java").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))


def said(_runner: Any, **options: Any) -> dict[str, str]:
    return {f.key: str(f) for f in cluster.faults(BeamConfig(runner=_runner, options=options))}


def test_what_runs_here_is_not_asked_for() -> None:
    assert not said("direct")


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize("address", ["127.0.0.1:{}", "http://127.0.0.1:{}"])
def test_a_job_manager_that_answers_is_right(address: str, port: int) -> None:
    assert not said("flink", flink_master=address.format(port))


@pytest.mark.usefixtures("java")
def test_a_spark_master_that_answers_is_right(port: int) -> None:
    assert not said("spark", spark_master_url=f"spark://127.0.0.1:{port}")


@pytest.mark.usefixtures("java")
@pytest.mark.parametrize(
    "runner,option,address",
    [
        ("flink", "flink_master", "127.0.0.1:{}"),
        ("flink", "job_endpoint", "127.0.0.1:{}"),
        ("spark", "spark_master_url", "spark://127.0.0.1:{}"),
    ],
)
def test_one_that_does_not_answer_is_named(
    runner: str, option: str, address: str, nobody: int
) -> None:
    told = said(runner, **{option: address.format(nobody)})[f"beam.options.{option}"]
    assert f"does not answer on port {nobody} of 127.0.0.1 (Connection refused)" in told


@pytest.mark.usefixtures("java")
def test_a_local_master_has_no_address() -> None:
    assert not said("flink", flink_master="[local]")
    assert not said("spark", spark_master_url="local[2]")


def test_an_address_that_is_none_is_told() -> None:
    told = said("flink", job_endpoint="localhost:flink")["beam.options.job_endpoint"]
    assert "is not HOST:PORT" in told


def test_without_java_beam_cannot_start_its_job_server(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    options = {"flink_master": f"127.0.0.1:{port}"}
    told = said("flink", **options)["beam.options.flink_job_server_jar"]
    assert "none on PATH" in told and "job_endpoint" in told
    assert not said("flink", **options, flink_submit_uber_jar=True)
    assert not said("flink", **options, job_endpoint=f"127.0.0.1:{port}")


@pytest.mark.usefixtures("java")
def test_a_job_server_jar_is_a_file(port: int) -> None:
    told = said("flink", flink_master=f"127.0.0.1:{port}", flink_job_server_jar="/no/such.jar")
    assert "is no file" in told["beam.options.flink_job_server_jar"]


def test_a_run_does_not_start(root: Path, nobody: int) -> None:
    beam = BeamConfig(runner="flink", options={"job_endpoint": f"127.0.0.1:{nobody}", **LOOPBACK})
    config = config_file.load(root / "headrace.toml").model_copy(update={"beam": beam})
    with pytest.raises(ConfigError, match="does not answer"):
        preflight.check_beam(config)
