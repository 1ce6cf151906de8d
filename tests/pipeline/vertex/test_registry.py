"""What was pushed becomes a version in the registry and on the endpoint, each step once.

The executor itself runs, and talks through google-cloud-aiplatform to the twin's service.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, RunError
from pipeline.vertex import api, traffic
from pipeline.vertex.api_errors import ApiError, explained
from pipeline.vertex.twin.rehearse import Twin, twin
from serving.manifest import Manifest, Provenance, hash_folder

pytestmark = pytest.mark.tfx

PARENT = "projects/my-project/locations/europe-west4"
REGISTRY = {
    "model": "nyc_yellow",
    "image": "europe-docker.pkg.dev/vertex-ai/prediction/tf2-cpu.2-15:latest",
    "endpoint": "trips",
    "labels": {"team": "rides"},
    "aliases": ["candidate"],
}


class Bench:
    """A twin, versions in its bucket, and the executor."""

    def __init__(self, running: Twin, configure: Any, folder: Path) -> None:
        self.twin, self._configure, self._folder = running, configure, folder

    def push(self, version: int, *, pushed: bool = True, content: str = "weights") -> Any:
        """What the Pusher leaves behind."""
        from tfx.types import standard_artifacts

        uri = f"gs://my-bucket/serving/nyc_yellow/{version}"
        model = Path(self.twin.buckets.local(uri))
        model.mkdir(parents=True, exist_ok=True)
        (model / "saved_model.pb").write_text(f"{content} {version}")
        origin = Provenance(span=f"2019-1{version}", run_id=f"run-{version}")
        manifest = Manifest.of(version, "nyc_yellow", hash_folder(model), origin)
        artifact = standard_artifacts.PushedModel()
        artifact.uri = str(self._folder / f"pushed-{version}")
        Path(artifact.uri).mkdir(exist_ok=True)
        (Path(artifact.uri) / "headrace_manifest.json").write_text(manifest.to_json())
        artifact.set_int_custom_property("pushed", int(pushed))
        artifact.set_string_custom_property("pushed_version", str(version))
        # Where the Pusher of a rehearsal says it is: in the folder that stands for the bucket.
        artifact.set_string_custom_property("pushed_destination", str(model))
        return artifact

    def register(self, artifact: Any, **settings: Any) -> dict[str, Any]:
        """Runs the executor as TFX does; its output's custom properties."""
        from pipeline.components.registered_model import RegisteredModel
        from pipeline.components.vertex_registrar import VertexRegistrar, VertexRegistrarExecutor

        vertex = self._configure(vertex={"registry": {**REGISTRY, **settings}}).vertex
        component = VertexRegistrar(vertex, pushed_model=_channel(artifact))
        output = RegisteredModel()
        VertexRegistrarExecutor().Do(
            {"pushed_model": [artifact]}, {"registered_model": [output]}, component.exec_properties
        )
        return {
            key: value.string_value or value.int_value
            for key, value in output.mlmd_artifact.custom_properties.items()
        }

    @property
    def versions(self) -> list[Any]:
        from google.cloud import aiplatform

        return list(
            aiplatform.Model(f"{PARENT}/models/nyc_yellow").versioning_registry.list_versions()
        )

    @property
    def endpoint(self) -> Any:
        from google.cloud import aiplatform

        (found,) = aiplatform.Endpoint.list()
        return found

    @property
    def split(self) -> dict[str, int]:
        """Version of our model → per cent of the requests, of all that is deployed."""
        endpoint = self.endpoint
        shares = endpoint.traffic_split
        return {e.model_version_id: shares.get(e.id, 0) for e in endpoint.list_models()}


def _channel(artifact: Any) -> Any:
    from tfx import types

    return types.Channel(type=type(artifact)).set_artifacts([artifact])


@pytest.fixture
def bench(configure: Any, tmp_path: Path) -> Iterator[Bench]:
    config = configure().model_copy(update={"output": str(tmp_path / "runs")})
    with twin(config) as running:
        api.connect(config.vertex)
        yield Bench(running, configure, tmp_path)


def test_the_first_version_gets_everything(bench: Bench) -> None:
    told = bench.register(bench.push(1), traffic=10)
    assert told["uploaded"] == 1
    assert told["model"] == f"{PARENT}/models/nyc_yellow@1"
    assert told["endpoint"] == bench.endpoint.resource_name
    assert json.loads(told["traffic"]) == {told["deployed_model"]: 100}
    (version,) = bench.versions
    assert {"default", "candidate"} <= set(version.version_aliases)
    assert version.version_description.startswith("nyc_yellow version 1: span 2019-11, run run-1")
    from google.cloud import aiplatform

    model = aiplatform.Model("nyc_yellow@1")
    assert model.uri == "gs://my-bucket/serving/nyc_yellow/1"
    assert model.labels == {"team": "rides"}
    (deployed,) = bench.endpoint.list_models()
    assert deployed.dedicated_resources.machine_spec.machine_type == "n1-standard-2"


def test_the_next_is_a_version_of_the_same_model_with_its_share(bench: Bench) -> None:
    bench.register(bench.push(1))
    told = bench.register(bench.push(2), traffic=10, min_replicas=2, max_replicas=5)
    assert told["model"] == f"{PARENT}/models/nyc_yellow@2"
    assert bench.split == {"1": 90, "2": 10}
    first, second = bench.versions
    assert "candidate" not in first.version_aliases and "candidate" in second.version_aliases
    resources = bench.endpoint.list_models()[1].dedicated_resources
    assert (resources.min_replica_count, resources.max_replica_count) == (2, 5)


def test_again_changes_nothing(bench: Bench) -> None:
    bench.register(bench.push(1))
    first = bench.register(bench.push(2), traffic=10)
    # Somebody gives it more; a rerun must not take that back.
    (one, two) = (each.id for each in bench.endpoint.list_models())
    bench.endpoint.update(traffic_split={one: 40, two: 60})
    again = bench.register(bench.push(2, pushed=False), traffic=10)
    assert again["uploaded"] == 0
    assert again["model"] == first["model"] and again["deployed_model"] == two
    assert len(bench.versions) == 2 and bench.split == {"1": 40, "2": 60}


def test_a_number_that_was_pushed_anew_with_another_content_is_another_version(
    bench: Bench,
) -> None:
    bench.register(bench.push(1))
    told = bench.register(bench.push(1, content="others"))
    assert (told["uploaded"], told["model"].rpartition("@")[2]) == (1, "2")


def test_idle_versions_go_and_the_newest_of_them_stays(bench: Bench) -> None:
    for version in (1, 2, 3):
        told = bench.register(bench.push(version), keep_idle=1)
    assert bench.split == {"2": 0, "3": 100}
    assert len(json.loads(told["undeployed"])) == 1
    assert len(bench.versions) == 3  # the registry forgets nothing
    bench.register(bench.push(4), keep_idle=0)
    assert bench.split == {"4": 100}


def test_a_version_without_traffic_of_its_own_stays(bench: Bench) -> None:
    bench.register(bench.push(1))
    bench.register(bench.push(2), traffic=0, keep_idle=0)
    assert bench.split == {"1": 100, "2": 0}


def test_another_model_on_the_endpoint_is_left_alone(bench: Bench) -> None:
    bench.register(bench.push(1), model="other")
    bench.register(bench.push(1), keep_idle=0)
    names = {each.model.rsplit("/")[-1] for each in bench.endpoint.list_models()}
    assert names == {"other", "nyc_yellow"}


def test_without_an_endpoint_it_is_registered_only(bench: Bench) -> None:
    from google.cloud import aiplatform

    told = bench.register(bench.push(1), endpoint="")
    assert told["uploaded"] == 1 and "endpoint" not in told
    assert aiplatform.Endpoint.list() == []


def test_nothing_pushed_nothing_registered(bench: Bench, caplog: Any) -> None:
    from google.cloud import aiplatform
    from tfx.types import standard_artifacts

    artifact = standard_artifacts.PushedModel()
    artifact.set_int_custom_property("pushed", 0)
    artifact.set_string_custom_property("reason", "not blessed by the Evaluator")
    told = bench.register(artifact)
    assert told == {"uploaded": 0, "reason": "nothing was pushed: not blessed by the Evaluator"}
    assert aiplatform.Model.list() == [] and aiplatform.Endpoint.list() == []


@pytest.mark.parametrize(
    "code, remedy",
    [
        (403, r"pipeline@my-project\S+ roles/aiplatform.user on my-project.*pushed already"),
        (429, r"A quota of my-project in europe-west4.*n1-standard-2.*Quotas"),
        (503, "Wait a minute"),
    ],
)
def test_a_refusal_names_the_remedy_and_the_next_run_goes_on(
    bench: Bench, code: int, remedy: str
) -> None:
    pushed = bench.push(1)
    bench.twin.faults.registry = code
    with pytest.raises(RunError, match=rf"cannot upload version 1 .*: {code} .*{remedy}"):
        bench.register(pushed)
    bench.twin.faults.registry = None
    assert bench.register(pushed)["uploaded"] == 1 and bench.split == {"1": 100}


def test_a_refusal_that_was_waited_out_is_still_a_refusal(configure: Any) -> None:
    from google.api_core import exceptions

    last = exceptions.ResourceExhausted("Quota exceeded for requests")
    told = r"429 Quota exceeded for requests\. A quota"
    with pytest.raises(ApiError, match=told), explained("look", configure().vertex):
        raise exceptions.RetryError("Timeout of 120.0s exceeded", cause=last)


def test_a_deployment_that_was_refused_is_made_good_for_without_a_second_upload(
    bench: Bench,
) -> None:
    bench.register(bench.push(1), endpoint="")
    told = bench.register(bench.push(1, pushed=False))
    assert told["uploaded"] == 0 and bench.split == {"1": 100} and len(bench.versions) == 1


def test_a_version_that_is_gone_from_the_bucket(bench: Bench) -> None:
    artifact = bench.push(1)
    Path(bench.twin.buckets.local("gs://my-bucket/serving/nyc_yellow/1/saved_model.pb")).unlink()
    with pytest.raises(
        RunError, match=r"400 .*Model directory \"gs://my-bucket/serving/nyc_yellow/1"
    ):
        bench.register(artifact)


def test_two_endpoints_of_one_name(bench: Bench) -> None:
    from google.cloud import aiplatform

    for _ in range(2):
        aiplatform.Endpoint.create(display_name="trips")
    with pytest.raises(RunError, match=r"2 endpoints are called 'trips'.*Delete or rename"):
        bench.register(bench.push(1))


def test_a_version_on_this_disk(bench: Bench, tmp_path: Path) -> None:
    artifact = bench.push(1)
    artifact.set_string_custom_property("pushed_destination", str(tmp_path / "serving" / "1"))
    with pytest.raises(RunError, match=r"is in no bucket.*vertex\.serving_path"):
        bench.register(artifact)


def test_without_the_extra(bench: Bench, monkeypatch: Any) -> None:
    artifact = bench.push(1)
    for name in ("pipeline.vertex.registry", "pipeline.vertex.api"):
        monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.delattr("pipeline.vertex." + name.rpartition(".")[2], raising=False)
    monkeypatch.delattr("google.cloud.aiplatform")
    monkeypatch.setitem(sys.modules, "google.cloud.aiplatform", None)
    with pytest.raises(RunError, match=r"pip install 'headrace\[vertex\]'"):
        bench.register(artifact)


@pytest.mark.parametrize(
    "current, share, expected",
    [
        ({}, 10, {"0": 100}),
        ({"a": 0}, 10, {"0": 100}),
        ({"a": 100}, 10, {"0": 10, "a": 90}),
        ({"a": 100}, 0, {"0": 0, "a": 100}),
        ({"a": 60, "b": 40}, 100, {"0": 100, "a": 0, "b": 0}),
        # 33.5 each: what rounding leaves goes to one of them, not to the one that was set to 0.
        ({"idle": 0, "a": 50, "b": 50}, 33, {"0": 33, "a": 34, "b": 33}),
        ({"a": 34, "b": 33, "c": 33}, 50, {"0": 50, "a": 17, "b": 17, "c": 16}),
        ({"a": 99, "b": 1}, 50, {"0": 50, "a": 50, "b": 0}),
    ],
)
def test_shares(current: dict[str, int], share: int, expected: dict[str, int]) -> None:
    assert traffic.with_new(current, share) == expected


def test_shares_always_add_up_and_never_wake_who_was_put_to_sleep() -> None:
    for first in range(101):
        for share in range(101):
            current = {"a": first, "b": 100 - first, "idle": 0}
            split = traffic.with_new(current, share)
            assert sum(split.values()) == 100 and min(split.values()) >= 0
            assert split[traffic.NEW] == share and "idle" not in split
            assert abs(split.get("a", 0) - first * (100 - share) / 100) < 1


@pytest.mark.parametrize(
    "registry, key",
    [
        ({"image": ""}, "vertex.registry.image"),
        ({"model": ""}, "vertex.registry.model"),
        ({"machine": "big"}, "vertex.registry.machine"),
        ({"min_replicas": 3}, "vertex.registry.max_replicas"),
        ({"model": "Nyc Yellow"}, "vertex.registry.model"),
        ({"traffic": 101}, "vertex.registry.traffic"),
        ({"aliases": ["default"]}, "vertex.registry.aliases.0"),
        ({"endpoint": 'a"b'}, "vertex.registry.endpoint"),
    ],
)
def test_a_faulty_section(configure: Any, registry: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure(vertex={"registry": {**REGISTRY, **registry}})
    assert [fault.key for fault in caught.value.faults] == [key]


def test_it_needs_to_know_where(configure: Any) -> None:
    with pytest.raises(ConfigError, match=r"vertex\.project.*required by \[vertex\.registry\]"):
        configure(vertex={"registry": REGISTRY, "project": ""})
