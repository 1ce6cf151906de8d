"""`[beam]`: what each runner needs is asked for, by name, before anything starts."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from pipeline.beam_options import beam_arguments, check, faults
from pipeline.config import BeamConfig
from pipeline.errors import ConfigError

DATAFLOW = {
    "project": "my-project",
    "region": "europe-west1",
    "temp_location": "gs://bucket/temp",
    "sdk_container_image": "host/worker:1",
}


def said(_runner: Any, **options: Any) -> dict[str, str]:
    """Faults by the option they are about."""
    return {f.key: str(f) for f in faults(BeamConfig(runner=_runner, options=options))}


def test_the_default_needs_nothing() -> None:
    assert not said("direct")


@pytest.mark.parametrize("missing", sorted(DATAFLOW))
def test_dataflow_names_what_is_missing_with_an_example(missing: str) -> None:
    options = {name: value for name, value in DATAFLOW.items() if name != missing}
    ((key, text),) = said("dataflow", **options).items()
    assert key == f"beam.options.{missing}"
    assert f"is required for dataflow. Add {missing} = " in text


def test_dataflow_with_all_it_needs_is_right() -> None:
    more = {"num_workers": 2, "max_num_workers": 50, "dataflow_service_options": ("a", "b")}
    assert not said("dataflow", **DATAFLOW, **more, autoscaling_algorithm="THROUGHPUT_BASED")


@pytest.mark.parametrize(
    "name,value,rule",
    [
        ("temp_location", "/tmp/x", "must be in a bucket"),
        ("staging_location", "gs://Not_A_Bucket/x", "must be in a bucket"),
        ("project", "123456", "must be a project's id"),
        ("num_workers", 60, "must not be above max_num_workers (50)"),
    ],
)
def test_dataflow_values(name: str, value: Any, rule: str) -> None:
    found = said("dataflow", **{**DATAFLOW, "max_num_workers": 50, name: value})
    assert rule in found[f"beam.options.{name}"]


@pytest.mark.parametrize(
    "runner,master", [("flink", "flink_master"), ("spark", "spark_master_url")]
)
def test_a_cluster_has_an_address_and_workers_an_environment(runner: str, master: str) -> None:
    found = said(runner)
    assert set(found) == {f"beam.options.{master}", "beam.options.sdk_container_image"}
    assert "make image TARGET=worker" in found["beam.options.sdk_container_image"]
    assert not said(runner, **{master: "spark://h:1", "environment_type": "LOOPBACK"})
    assert not said(runner, job_endpoint="localhost:8099", environment_type="LOOPBACK")


@pytest.mark.parametrize(
    "kind,setting,right",
    [
        ("PROCESS", None, True),
        ("PROCESS", "/opt/apache/beam/boot", False),
        ("PROCESS", '{"command": "/opt/apache/beam/boot"}', True),
        ("EXTERNAL", None, False),
        ("EXTERNAL", "localhost", False),
        ("EXTERNAL", "localhost:50000", True),
    ],
)
def test_an_environment_has_its_setting(kind: str, setting: str | None, right: bool) -> None:
    options = {"flink_master": "h:8081", "environment_type": kind}
    found = said("flink", **options, **({"environment_config": setting} if setting else {}))
    assert set(found) == (set() if right else {"beam.options.environment_config"})


@pytest.mark.parametrize(
    "name,value,rule",
    [
        ("max_num_worker", 3, "Did you mean 'max_num_workers'?"),
        ("runner", "FlinkRunner", "is said by beam.runner"),
        ("disk_size_gb", "big", "invalid int value"),
        ("flink_version", "1.2", "invalid choice"),
    ],
)
def test_names_and_values_go_by_beams_own_parser(name: str, value: Any, rule: str) -> None:
    assert rule in said("direct", **{name: value})[f"beam.options.{name}"]


def test_workers_that_would_stay_one_are_told() -> None:
    found = said("direct", direct_num_workers=2)
    assert "multi_processing" in found["beam.options.direct_num_workers"]
    assert not said("direct", direct_num_workers=2, direct_running_mode="multi_processing")


def test_all_faults_come_at_once() -> None:
    with pytest.raises(ConfigError) as raised:
        check(BeamConfig(runner="dataflow", options={"regoin": "x"}))
    assert raised.value.exit_code == 2
    assert len(raised.value.faults) == 5


def test_lists_repeat_a_flag_and_false_is_left_out() -> None:
    options = {"experiments": ("a", "b"), "save_main_session": False, "no_use_public_ips": True}
    assert beam_arguments(BeamConfig(runner="dataflow", options=options)) == [
        "--runner=DataflowRunner",
        "--experiments=a",
        "--experiments=b",
        "--no_use_public_ips",
    ]


def test_workers_beside_this_process_get_no_package_of_tfx() -> None:
    beside = BeamConfig(runner="flink", options={"environment_type": "LOOPBACK"})
    assert "--sdk_container_image=none" in beam_arguments(beside)
    assert "--sdk_container_image=none" not in beam_arguments(BeamConfig(runner="flink"))


def test_worker_processes_come_out_of_this_environment_unless_told() -> None:
    (setting,) = [
        argument.removeprefix("--environment_config=")
        for argument in beam_arguments(
            BeamConfig(runner="flink", options={"environment_type": "PROCESS"})
        )
        if argument.startswith("--environment_config=")
    ]
    command = json.loads(setting)["command"]
    assert os.access(command, os.X_OK)
    told = {"environment_type": "PROCESS", "environment_config": '{"command": "/opt/boot"}'}
    arguments = beam_arguments(BeamConfig(runner="flink", options=told))
    assert [a for a in arguments if "environment_config" in a] == [
        '--environment_config={"command": "/opt/boot"}'
    ]


def test_work_needs_a_slot() -> None:
    options = {"flink_master": "h:8081", "environment_type": "PROCESS"}
    assert not said("flink", **options, parallelism=2)
    assert "at least 1" in said("flink", **options, parallelism=0)["beam.options.parallelism"]
