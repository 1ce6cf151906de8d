"""LocalDagRunner and the twin on the same real trips: the same numbers, verdicts and champions."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline import config_file
from pipeline.vertex import api, jobs
from pipeline.vertex.twin import parity
from pipeline.vertex.twin.rehearse import Rehearsal, twin

pytestmark = [pytest.mark.slow, pytest.mark.tfx, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[3]
SPANS = ("2019-10", "2019-11", "2019-12")
ROWS = 3000


def _write(data: Path, span: str, query: str) -> None:
    source = ROOT / "data" / "nyc_yellow" / f"yellow_tripdata_sample_{span}.parquet"
    target = data / f"yellow_tripdata_sample_{span}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE trips AS SELECT * FROM '{source}' LIMIT {ROWS}")
        connection.execute(f"COPY ({query}) TO '{target}' (FORMAT parquet)")


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: Any) -> Iterator[tuple[Rehearsal, Path]]:
    folder = tmp_path_factory.mktemp("parity")
    data = folder / "data"
    data.mkdir()
    for span in SPANS:
        _write(data, span, "SELECT * FROM trips")
    values = copy.deepcopy(tomllib.loads((ROOT / "headrace.toml").read_text()))
    values["data"] |= {"path": "data", "schema_file": str(ROOT / "schema" / "schema.pbtxt")}
    values["window"] = {"train_spans": 2}
    values["training"] = {"epochs": 2}
    values["evaluation"] = {
        "bars": {"auc_min": 0.6, "log_loss_max": 0.68, "calibration_max": 0.3},
        "slices": ["payment_type"],
        # Two trainings on few rows differ by chance; who is better is not the question here.
        "change": {
            "auc_drop_max": 0.2,
            "log_loss_rise_max": 0.2,
            "calibration_rise_max": 0.5,
        },
    }
    values["vertex"] = {
        "project": "my-project",
        "region": "europe-west4",
        "root": "gs://my-bucket/pipelines",
        "data_path": "gs://my-bucket/data",
        "serving_path": "gs://my-bucket/serving",
        "image": "europe-west4-docker.pkg.dev/my-project/headrace/pipeline:1",
        "registry": {
            "model": "nyc_yellow",
            "image": "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
            "endpoint": "trips",
            "traffic": 10,
        },
    }
    config = config_file.parse(values, source="parity.toml", folder=folder)
    with twin(config) as running:
        yield Rehearsal(config, running), data


def _both(rehearsal: Rehearsal, span: str) -> tuple[Any, dict[str, parity.Row]]:
    result, there = rehearsal.run(rehearsal.compiled(), span=span, job_id=f"parity-{span}")
    _, here = rehearsal.local(span)
    return result, {row.what: row for row in parity.compare(here, there)}


def test_the_first_model_the_second_against_it_and_a_blocked_span(
    rehearsal: tuple[Rehearsal, Path],
) -> None:
    run, data = rehearsal

    first, rows = _both(run, "2019-11")
    assert first.status == "pushed" and first.model_version == 1, first.message
    assert all(row.same for row in rows.values()), [r for r in rows.values() if not r.same]
    assert rows["statistics"].twin.endswith("numbers") and rows["champion found"].twin == "False"

    second, rows = _both(run, "2019-12")
    assert second.status == "pushed" and second.model_version == 2, second.message
    assert all(row.same for row in rows.values()), [r for r in rows.values() if not r.same]
    assert rows["champion found"].twin == "True" and second.champion_metrics

    _write(data, "2019-12", "SELECT * REPLACE (NULL::DOUBLE AS trip_distance) FROM trips")
    result, there = run.run(run.compiled(), span="2019-12", job_id="parity-blocked")
    _, here = run.local("2019-12")
    rows = {row.what: row for row in parity.compare(here, there)}
    assert result.status == "blocked" and result.exit_code == 3
    assert "anomaly (trip_distance" in result.message
    assert all(row.same for row in rows.values()), [r for r in rows.values() if not r.same]
    assert "Trainer" not in rows["nodes that ran"].twin


def test_what_is_pushed_lies_as_tensorflow_serving_polls_it(
    rehearsal: tuple[Rehearsal, Path],
) -> None:
    run, _ = rehearsal
    versions = Path(run._twin.buckets.local("gs://my-bucket/serving/nyc_yellow"))
    numbers = sorted(path.name for path in versions.iterdir() if path.is_dir())
    assert numbers == ["1", "2"]
    for number in numbers:
        assert (versions / number / "saved_model.pb").is_file()
        manifest = (versions / number / "headrace_manifest.json").read_text()
        assert f'"run_id": "parity-2019-1{number}"' in manifest


def test_what_is_pushed_is_registered_and_what_is_blocked_is_not(
    rehearsal: tuple[Rehearsal, Path],
) -> None:
    from google.cloud import aiplatform

    run, _ = rehearsal
    api.connect(run._config.vertex)
    versions = aiplatform.Model("nyc_yellow").versioning_registry.list_versions()
    described = [version.version_description for version in versions]
    assert len(described) == 2 and "run parity-2019-12" in described[1]
    (endpoint,) = aiplatform.Endpoint.list()
    shares = endpoint.traffic_split
    deployed = {each.model_version_id: shares[each.id] for each in endpoint.list_models()}
    assert deployed == {"1": 90, "2": 10}
    blocked = jobs.status(run._config, "parity-blocked")
    states = {task.name: task.state for task in blocked.tasks}
    assert states["VertexRegistrar"] == "NOT_TRIGGERED"


def test_the_job_is_found_again_by_its_id(rehearsal: tuple[Rehearsal, Path]) -> None:
    run, _ = rehearsal
    status = jobs.status(run._config, "parity-2019-12")
    assert (status.status, status.model_version, status.exit_code) == ("pushed", 2, 0)
    assert status.message.startswith("registered as projects/my-project/locations/europe-west4/")
    assert status.message.endswith("models/nyc_yellow@2, 10 % of the endpoint's traffic")
