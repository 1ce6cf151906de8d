"""The Pusher: what it pushes, what it refuses, and what it writes down."""

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_executor
from tfx.dsl.components.common import importer
from tfx.dsl.io import filesystem, filesystem_registry
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner
from tfx.orchestration.local import local_dag_runner
from tfx.types import channel, standard_artifacts

import pipeline
from pipeline import schema_file
from pipeline.components.provenance import weights_digest
from pipeline.components.pusher import AtomicPusher, AtomicPusherExecutor
from pipeline.components.remote_registry import RemoteRegistry
from pipeline.errors import RunError
from serving.layout import MANIFEST, RegistryError
from serving.manifest import Provenance, hash_folder, parse_manifest
from serving.registry import Registry

pytestmark = pytest.mark.tfx

SCHEMA = 'feature { name: "fare" type: FLOAT }'
DECLARED = {"code_sha256": "code", "config_sha256": "config", "git_revision": "abc", "own": 1}


class FakeStore(filesystem.Filesystem):  # type: ignore[misc]
    """An object store at `fake://`: folders are prefixes, nothing can be renamed."""

    SUPPORTED_SCHEMES = ["fake://"]
    root = Path()
    written: list[str] = []
    damaged: str | None = None

    @classmethod
    def path(cls, url: str) -> Path:
        return cls.root / url.removeprefix("fake://")

    @classmethod
    def open(cls, name: str, mode: str = "r") -> Any:
        if "w" in mode:
            cls.path(name).parent.mkdir(parents=True, exist_ok=True)
            cls.written.append(name.rpartition("/m/")[2])
            if cls.damaged and name.endswith(cls.damaged):
                cls.path(name).touch()
                return open(os.devnull, mode)
        return open(cls.path(name), mode)

    @classmethod
    def exists(cls, path: str) -> bool:
        return cls.path(path).exists()

    @classmethod
    def isdir(cls, path: str) -> bool:
        return cls.path(path).is_dir()

    @classmethod
    def listdir(cls, path: str) -> list[str]:
        return [p.name + "/" * p.is_dir() for p in cls.path(path).iterdir()]

    @classmethod
    def makedirs(cls, path: str) -> None:
        pass

    @classmethod
    def remove(cls, path: str) -> None:
        cls.path(path).unlink()

    @classmethod
    def rmtree(cls, path: str) -> None:
        shutil.rmtree(cls.path(path))

    @classmethod
    def walk(cls, top: str, **_: object) -> Iterator[tuple[str, list[str], list[str]]]:
        for root, folders, names in os.walk(cls.path(top)):
            yield "fake://" + Path(root).relative_to(cls.root).as_posix(), folders, names

    @classmethod
    def _unsupported(cls, *_: object, **__: object) -> Any:
        raise AssertionError("an object store cannot do that")

    copy = glob = mkdir = rename = stat = _unsupported


filesystem_registry.DEFAULT_FILESYSTEM_REGISTRY.register(FakeStore, priority=0)


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeStore, "root", tmp_path / "store")
    monkeypatch.setattr(FakeStore, "written", [])
    monkeypatch.setattr(FakeStore, "damaged", None)


def save_model(folder: Path, weight: float = 1.0) -> Path:
    module = tf.Module()
    module.weight = tf.Variable(weight)
    module.f = tf.function(lambda x: x * module.weight, [tf.TensorSpec([None])])
    tf.saved_model.save(module, str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The URI of a Model artifact."""
    save_model(tmp_path / "model" / "Format-Serving")
    return tmp_path / "model"


class Push:
    """One execution of the Pusher and what it left behind."""

    def __init__(
        self,
        model: object,
        base: object,
        *,
        keep_versions: int = 5,
        run_id: str | None = "run-1",
        declared: dict[str, object] = DECLARED,
        **inputs: Any,
    ) -> None:
        artifacts = {"model": [standard_artifacts.Model()], **inputs}
        artifacts["model"][0].uri = str(model)
        self.output = standard_artifacts.PushedModel()
        self.output.uri = str(FakeStore.root.parent / "pushed_model")
        serving = {"base_path": str(base), "model_name": "m", "keep_versions": keep_versions}
        context = base_executor.BaseExecutor.Context(pipeline_run_id=run_id)
        AtomicPusherExecutor(context).Do(
            artifacts,
            {"pushed_model": [self.output]},
            {"serving": json.dumps(serving), "provenance": json.dumps(declared)},
        )

    @property
    def pushed(self) -> int:
        return int(self.output.get_int_custom_property("pushed"))

    def text(self, key: str) -> str:
        return str(self.output.get_string_custom_property(key))


def blessing(kind: type, blessed: int) -> list[Any]:
    artifact = kind()
    artifact.set_int_custom_property("blessed", blessed)
    return [artifact]


def test_a_blessed_model_becomes_a_version_with_its_manifest_beside_the_metadata(
    model: Path, tmp_path: Path
) -> None:
    push = Push(
        model,
        tmp_path / "base",
        model_blessing=blessing(standard_artifacts.ModelBlessing, 1),
        infra_blessing=blessing(standard_artifacts.InfraBlessing, 1),
    )
    registry = Registry(tmp_path / "base", "m")
    assert (push.pushed, push.text("pushed_version")) == (1, "1")
    assert push.text("pushed_destination") == registry.location(1)
    assert registry.verify(1) == []
    assert hash_folder(registry.folder / "1") == hash_folder(model / "Format-Serving")
    kept = parse_manifest((Path(push.output.uri) / MANIFEST).read_bytes(), "artifact")
    assert kept == registry.manifest(1)
    assert (kept.run_id, kept.git_revision) == ("run-1", "abc")
    assert kept.model_extra == {"own": 1}
    assert kept.tensorflow_version == tf.__version__


@pytest.mark.parametrize(
    "inputs, judge",
    [
        ({"model_blessing": blessing(standard_artifacts.ModelBlessing, 0)}, "Evaluator"),
        ({"model_blessing": []}, "Evaluator"),
        ({"infra_blessing": blessing(standard_artifacts.InfraBlessing, 0)}, "InfraValidator"),
        (
            {
                "model_blessing": blessing(standard_artifacts.ModelBlessing, 1),
                "infra_blessing": [standard_artifacts.InfraBlessing()],
            },
            "InfraValidator",
        ),
    ],
)
def test_without_every_blessing_nothing_is_pushed(
    model: Path, tmp_path: Path, inputs: dict[str, Any], judge: str
) -> None:
    push = Push(model, tmp_path / "base", **inputs)
    assert (push.pushed, push.text("reason")) == (0, f"not blessed by the {judge}")
    assert not push.output.has_custom_property("pushed_version")
    assert not (tmp_path / "base").exists()


def test_the_manifest_tells_of_data_schema_and_metrics(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_metrics(uri: str) -> dict[str, dict[str, float]]:
        assert uri == "evaluation"
        return {"candidate": {"auc": 0.8}}

    evaluation = SimpleNamespace(read_metrics=read_metrics)
    monkeypatch.setitem(sys.modules, "pipeline.evaluation", evaluation)
    monkeypatch.setattr(pipeline, "evaluation", evaluation, raising=False)
    examples, schema = standard_artifacts.Examples(), standard_artifacts.Schema()
    metrics = standard_artifacts.ModelEvaluation()
    examples.set_string_custom_property("span_label", "2019-12")
    examples.set_string_custom_property("window", '["2019-11", "2019-12"]')
    examples.set_string_custom_property("rows", '{"train": 10, "eval": 5}')
    examples.set_string_custom_property("input_fingerprint", "f1")
    schema.uri, metrics.uri = str(tmp_path), "evaluation"
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    Push(model, tmp_path / "base", examples=[examples], schema=[schema], evaluation=[metrics])
    manifest = Registry(tmp_path / "base", "m").manifest(1)
    assert (manifest.span, manifest.window) == ("2019-12", ("2019-11", "2019-12"))
    assert (manifest.rows, manifest.data_fingerprint) == ({"train": 10, "eval": 5}, "f1")
    assert manifest.schema_sha256 == schema_file.digest(str(tmp_path / "schema.pbtxt"))
    assert (manifest.metrics, manifest.champion_metrics) == ({"auc": 0.8}, {})


def test_the_same_model_is_not_pushed_again(model: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    Push(model, base)
    retried, later = Push(model, base), Push(model, base, run_id="run-2")
    # The same run again: killed after the rename, before ML Metadata knew. It did push.
    assert (retried.pushed, retried.text("pushed_version")) == (1, "1")
    assert (later.pushed, later.text("pushed_version")) == (0, "1")
    assert later.text("reason") == "identical to version 1"
    assert later.text("pushed_destination") == retried.text("pushed_destination")
    assert parse_manifest((Path(later.output.uri) / MANIFEST).read_bytes(), "").run_id == "run-1"
    assert len(Registry(base, "m").versions()) == 1


def test_a_damaged_newest_version_is_replaced_by_a_new_one(model: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "base", "m")
    Push(model, tmp_path / "base")
    (registry.folder / "1" / "saved_model.pb").unlink()
    push = Push(model, tmp_path / "base")
    assert (push.pushed, push.text("pushed_version")) == (1, "2")
    assert registry.verify(2) == []


def test_equal_weights_are_pushed_again_only_if_the_code_changed(
    model: Path, tmp_path: Path
) -> None:
    base, schema = tmp_path / "base", standard_artifacts.Schema()
    schema.uri = str(tmp_path)
    (tmp_path / "schema.pbtxt").write_text(SCHEMA)
    Push(model, base, run_id="run-1", schema=[schema])
    (model / "Format-Serving" / "fingerprint.pb").write_text("of another export")
    again = Push(model, base, run_id="run-2", schema=[schema])
    edited = Push(
        model, base, run_id="run-3", schema=[schema], declared={**DECLARED, "code_sha256": "new"}
    )
    assert (again.pushed, again.text("pushed_version")) == (0, "1")
    assert (edited.pushed, edited.text("pushed_version")) == (1, "2")


def test_old_versions_are_deleted_after_a_push(model: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "base", "m")
    for number in range(4):
        (model / "Format-Serving" / "assets" / "vocabulary").write_text(str(number))
        Push(model, tmp_path / "base", keep_versions=2)
        if number == 0:
            registry.assign_labels({"stable": 1})
    assert [version.number for version in registry.versions()] == [1, 3, 4]


def test_a_push_stands_even_if_old_versions_cannot_be_deleted(model: Path, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "base", "m")
    registry.push(save_model(tmp_path / "other", 2.0), Provenance())
    (registry.folder / "labels.json").write_text("damaged")
    push = Push(model, tmp_path / "base", keep_versions=1)
    assert (push.pushed, push.text("pushed_version")) == (1, "2")
    assert registry.verify(1) == registry.verify(2) == []


def test_a_folder_that_refuses_fails_the_run(model: Path, tmp_path: Path) -> None:
    (tmp_path / "base").touch()
    with pytest.raises(RunError, match="Not a directory"):
        Push(model, tmp_path / "base")


@pytest.mark.parametrize("wrong", [{"keep_versions": 0}, {"model_name": "a/b"}])
def test_wiring_is_checked_when_the_pipeline_is_built(wrong: dict[str, Any]) -> None:
    right = {"base_path": "b", "model_name": "m", "keep_versions": 1, "provenance": {}}
    with pytest.raises((ValueError, RegistryError)):
        AtomicPusher(model=channel.Channel(type=standard_artifacts.Model), **{**right, **wrong})


# Weights


def test_the_weights_digest_ignores_names_order_and_export(tmp_path: Path) -> None:
    for name, weight in (("a", 1.0), ("b", 1.0), ("c", 2.0)):
        save_model(tmp_path / name, weight)
    digests = [weights_digest(tmp_path / name) for name in "abc"]
    assert digests[0] == digests[1] != digests[2]
    one, two = tf.Variable(1.0), tf.Variable(["text", "2"])
    for name, values in (("d", {"x": one, "y": two}), ("e", {"x": two, "y": one})):
        tf.train.Checkpoint(**values).write(str(tmp_path / name / "variables" / "variables"))
    assert weights_digest(tmp_path / "d") == weights_digest(tmp_path / "e")
    (tmp_path / "e" / "assets").mkdir()
    (tmp_path / "e" / "assets" / "vocabulary").write_text("a")
    assert weights_digest(tmp_path / "d") != weights_digest(tmp_path / "e")
    assert weights_digest(tmp_path) is None


# Object stores


def test_in_an_object_store_what_makes_a_version_loadable_comes_last(
    model: Path, tmp_path: Path
) -> None:
    push = Push(model, "fake://base")
    assert (push.pushed, push.text("pushed_destination")) == (1, "fake://base/m/1")
    assert FakeStore.written[:2] == [".highest-version", f"1/{MANIFEST}"]
    assert FakeStore.written[-1] == "1/saved_model.pb"
    assert hash_folder(FakeStore.path("fake://base/m/1")) == hash_folder(model / "Format-Serving")
    again = Push(model, "fake://base", run_id="run-2")
    assert (again.pushed, again.text("reason")) == (0, "identical to version 1")
    other = save_model(tmp_path / "other" / "Format-Serving", 2.0).parent
    assert Push(other, "fake://base").text("pushed_version") == "2"


def test_in_an_object_store_an_unfinished_version_is_cleared_and_its_number_lost(
    model: Path,
) -> None:
    FakeStore.damaged = "variables.index"
    with pytest.raises(RunError, match=r"variables\.index differs"):
        Push(model, "fake://base")
    versions = FakeStore.path("fake://base/m")
    assert (versions / "1").is_dir() and not (versions / "1" / "saved_model.pb").exists()
    FakeStore.damaged = None
    assert Push(model, "fake://base").text("pushed_version") == "2"
    assert not (versions / "1").exists()
    (versions / "2" / MANIFEST).write_text("damaged")
    assert Push(model, "fake://base").text("pushed_version") == "3"


def test_in_an_object_store_retention_spares_the_same_versions(model: Path) -> None:
    registry = RemoteRegistry("fake://base", "m")
    for _ in range(4):
        registry.push(model / "Format-Serving", Provenance())
    versions = FakeStore.path("fake://base/m")
    (versions / "labels.json").write_text('{"stable": 2}')
    (versions / "0").mkdir()
    assert registry.retain(1) == [1, 3]
    assert sorted(p.name for p in versions.iterdir() if p.is_dir()) == ["0", "2", "4"]


def test_a_model_in_an_object_store_is_fetched_for_a_local_base(
    model: Path, tmp_path: Path
) -> None:
    shutil.copytree(model, FakeStore.path("fake://model"))
    assert Push("fake://model", tmp_path / "base").pushed == 1
    assert Registry(tmp_path / "base", "m").verify(1) == []


# In a pipeline


def make_pipeline(model: Path, root: Path) -> tfx_pipeline.Pipeline:
    load = importer.Importer(source_uri=str(model), artifact_type=standard_artifacts.Model)
    bless = importer.Importer(
        source_uri=str(model),
        artifact_type=standard_artifacts.ModelBlessing,
        custom_properties={"blessed": 1},
    )
    pusher = AtomicPusher(
        model=load.with_id("model").outputs["result"],
        model_blessing=bless.with_id("blessing").outputs["result"],
        base_path=str(root / "base"),
        model_name="m",
        keep_versions=3,
        provenance={"code_sha256": "code"},
    )
    return tfx_pipeline.Pipeline(
        pipeline_name="push",
        pipeline_root=str(root / "pipeline"),
        components=[load, bless, pusher],
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "mlmd")),
    )


def run_locally(built: tfx_pipeline.Pipeline) -> Any:
    """Custom properties of the PushedModel that a run leaves in ML Metadata."""
    local_dag_runner.LocalDagRunner().run(built)
    with metadata.Metadata(built.metadata_connection_config) as handle:
        artifacts = handle.store.get_artifacts_by_type("PushedModel")
    return max(artifacts, key=lambda artifact: artifact.id).custom_properties


def test_it_runs_as_a_node_and_metadata_knows_the_version(model: Path, tmp_path: Path) -> None:
    properties = run_locally(make_pipeline(model, tmp_path))
    assert properties["pushed"].int_value == 1
    assert properties["pushed_version"].string_value == "1"
    manifest = Registry(tmp_path / "base", "m").manifest(1)
    assert manifest.run_id and manifest.code_sha256 == "code"


def test_the_cache_does_not_answer_for_the_serving_folder(model: Path, tmp_path: Path) -> None:
    built = make_pipeline(model, tmp_path)
    assert run_locally(built)["pushed"].int_value == 1
    assert run_locally(built)["reason"].string_value == "identical to version 1"
    shutil.rmtree(tmp_path / "base" / "m" / "1")
    assert run_locally(built)["pushed_version"].string_value == "2"


def test_it_compiles_for_vertex(model: Path, tmp_path: Path) -> None:
    output = tmp_path / "pipeline.json"
    kubeflow_v2_dag_runner.KubeflowV2DagRunner(
        config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(),
        output_dir=str(tmp_path),
        output_filename=output.name,
    ).run(make_pipeline(model, tmp_path), write_out=True)
    assert "pipeline.components.pusher.AtomicPusherExecutor" in output.read_text()
