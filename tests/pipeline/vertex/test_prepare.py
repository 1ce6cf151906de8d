"""What keeps a configuration from running on Vertex is told at once, with the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, RunError
from pipeline.vertex import machines, prepare

FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "no project": (
        {"vertex": {"project": "", "registry": {}}},
        "vertex.project",
        'project = "my-project"',
    ),
    "no region": ({"vertex": {"region": "", "registry": {}}}, "vertex.region", "europe-west4"),
    "no root": ({"vertex": {"root": ""}}, "vertex.root", "gs://"),
    "no image": ({"vertex": {"image": ""}}, "vertex.image", "required"),
    "an image without a tag": ({"vertex": {"image": "eu.pkg.dev/p/r/i"}}, "vertex.image", "tag"),
    "the latest image": ({"vertex": {"image": "eu.pkg.dev/p/r/i:latest"}}, "vertex.image", "tag"),
    "data on this disk": ({"vertex": {"data_path": ""}}, "data.path", "vertex.data_path"),
    "serving on this disk": (
        {"vertex": {"serving_path": ""}},
        "serving.path",
        "vertex.serving_path",
    ),
    "a request log on this disk": (
        {"drift": {"request_log": "logs/*.gz"}},
        "drift.request_log",
        "vertex.request_log",
    ),
    "a proof in Docker": (
        {"proof": {"server": "docker:tensorflow/serving:2.20.0"}},
        "proof.server",
        "embedded",
    ),
    "an unknown machine": (
        {"vertex": {"machines": {"Trainer": {"type": "big"}}}},
        "vertex.machines.Trainer.type",
        "n1-standard",
    ),
    "an accelerator on a machine that takes none": (
        {"vertex": {"machines": {"Trainer": {"accelerator": "NVIDIA_TESLA_T4"}}}},
        "vertex.machines.Trainer.accelerator",
        "n1",
    ),
    "workers without an image of their own": (
        {"beam": {"runner": "dataflow"}},
        "vertex.dataflow.image",
        "make image TARGET=worker",
    ),
    "the latest worker": (
        {"beam": {"runner": "dataflow"}, "vertex": {"dataflow": {"image": "h/worker:latest"}}},
        "vertex.dataflow.image",
        "tag",
    ),
    "unknown workers": (
        {"vertex": {"dataflow": {"machine": "m5.large"}}},
        "vertex.dataflow.machine",
        "families",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_names_key_and_remedy(configure: Any, name: str) -> None:
    sections, key, remedy = FAULTS[name]
    with pytest.raises(ConfigError) as caught:
        prepare.view(configure(**sections))
    (fault,) = caught.value.faults
    assert fault.key == key
    assert remedy in fault.remedy + fault.rule


def test_all_faults_are_told_at_once(configure: Any) -> None:
    config = configure(vertex={"project": "", "region": "", "data_path": "", "registry": {}})
    with pytest.raises(ConfigError, match="3 faults"):
        prepare.view(config)


@pytest.mark.parametrize(
    "section",
    [
        {"project": "My Project"},
        {"region": "europe"},
        {"root": "/tmp/root"},
        {"root": "s3://bucket"},
        {"labels": {"Team": "x"}},
        {"labels": {"team": "x y"}},
        {"service_account": "me@example.com"},
        {"network": "default"},
        {"encryption_key": "key"},
        {"parameters": {"month": "2019-12"}},
        {"retries": 11},
        {"failure_policy": "never"},
        {"machine": "e2-standard-4"},
    ],
    ids=str,
)
def test_a_value_that_cannot_be_is_refused_when_read(configure: Any, section: Any) -> None:
    with pytest.raises(ConfigError, match=r"vertex\."):
        configure(vertex=section)


def test_paths_are_those_in_the_bucket_and_the_digest_stays(configure: Any) -> None:
    config = configure()
    seen = prepare.view(config)
    assert seen.data.path == "gs://my-bucket/data"
    assert seen.serving.path == "gs://my-bucket/serving"
    assert seen.data.schema_file.startswith("gs://my-bucket/pipelines/schema/")
    assert seen.data.schema_file.endswith("/schema.pbtxt")
    assert seen.digest() == config.digest()


def test_the_schema_in_the_bucket_is_named_by_what_it_says(configure: Any, tmp_path: Any) -> None:
    config = configure()
    content = Path(config.data.schema_file).read_text()
    (tmp_path / "same.pbtxt").write_text("# another comment\n" + content)
    (tmp_path / "other.pbtxt").write_text(content + '\nfeature { name: "more" type: INT }\n')
    same = configure(data={"schema_file": str(tmp_path / "same.pbtxt")})
    other = configure(data={"schema_file": str(tmp_path / "other.pbtxt")})
    assert prepare.schema_uri(same) == prepare.schema_uri(config) != prepare.schema_uri(other)


def test_without_a_reviewed_schema_nothing_goes_to_vertex(configure: Any, tmp_path: Any) -> None:
    config = configure(data={"schema_file": str(tmp_path / "none.pbtxt")})
    with pytest.raises(RunError, match="review"):
        prepare.view(config)


def test_a_build_names_its_image_on_the_command_line(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from pipeline.cli.vertex import vertex

    text = (Path(__file__).resolve().parents[3] / "headrace.toml").read_text()
    (tmp_path / "headrace.toml").write_text(f'{text}\n[vertex]\nimage = "host/pipeline:1"\n')
    for command in ("compile", "submit"):
        told = CliRunner().invoke(
            vertex,
            [command, "--config", str(tmp_path / "headrace.toml"), "--image", "host/new:latest"],
        )
        assert "host/new:latest" in str(told.exception)


def test_dataflow_gets_what_vertex_knows_and_beam_options_win(configure: Any) -> None:
    config = configure(
        beam={"runner": "dataflow", "options": {"max_num_workers": 9}},
        vertex={"dataflow": {"image": "host/worker:1", "subnetwork": "regions/a1/subnetworks/a"}},
    )
    options = prepare.view(config).beam.options
    assert options["max_num_workers"] == 9
    assert options["project"] == "my-project" and options["region"] == "europe-west4"
    assert options["temp_location"] == "gs://my-bucket/pipelines/dataflow/temp"
    assert options["sdk_container_image"] == "host/worker:1"
    assert options["service_account_email"] == config.vertex.service_account
    assert options["no_use_public_ips"] is True


@pytest.mark.parametrize(
    "name, limits",
    [
        ("e2-standard-4", (4.0, 16.0)),
        ("n1-standard-8", (8.0, 30.0)),
        ("n1-highmem-2", (2.0, 13.0)),
        ("e2-standard-0", None),
        ("e2-standard", None),
        ("a2-highgpu-1g", None),
    ],
)
def test_machine_types_as_limits(name: str, limits: tuple[float, float] | None) -> None:
    assert machines.limits(name) == limits
