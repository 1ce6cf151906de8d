"""ML Metadata and the disk after a hand has tidied up, or a run was killed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types import Channel, standard_artifacts

from pipeline.components import provenance
from pipeline.errors import RunError
from pipeline.local import champion, dead_runs, runner
from pipeline.local.places import Places
from serving.manifest import Provenance
from serving.proof.files import RECORD_FILE
from serving.registry import Registry

pytestmark = [
    pytest.mark.tfx,
    # protobuf warns of what TFX does, and takes us for the culprit.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Store:
    """An output folder with ML Metadata and a serving folder, as runs leave them."""

    def __init__(self, folder: Path) -> None:
        self.places = Places(str(folder / "runs"))
        os.makedirs(self.places.output)
        self.connection = metadata.sqlite_metadata_connection_config(self.places.metadata)
        serving = SimpleNamespace(path=str(folder / "serving"), model_name="m")
        self.config: Any = SimpleNamespace(name="shop", serving=serving)
        self.registry = Registry(serving.path, "m")

    def mlmd(self) -> metadata_store.MetadataStore:
        return metadata_store.MetadataStore(self.connection)

    def model(self, run_id: str, weights: str) -> Any:
        """A blessed model of a run, with its files."""
        made, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
        made.uri = os.path.join(self.places.artifacts_of(run_id), "Trainer", "model", "7")
        blessing.uri = os.path.join(self.places.artifacts_of(run_id), "Evaluator", "blessing", "8")
        write_model(Path(made.uri, "Format-Serving"), weights)
        self.publish("Trainer", run_id, "model", made)
        blessing.set_int_custom_property("blessed", 1)
        blessing.set_int_custom_property("current_model_id", made.id)
        self.publish("Evaluator", run_id, "blessing", blessing)
        return made

    def push(self, run_id: str, model: Any) -> int:
        """Pushes a model and records it, as the Pusher does."""
        folder = Path(model.uri, "Format-Serving")
        version = self.registry.push(folder, Provenance(run_id=run_id)).version
        pushed = standard_artifacts.PushedModel()
        pushed.uri = os.path.join(self.places.artifacts_of(run_id), "Pusher", "pushed_model", "9")
        pushed.set_string_custom_property("pushed_version", str(version))
        pushed.set_int_custom_property("pushed", 1)
        self.publish("Pusher", run_id, "pushed_model", pushed, {"model": [model]})
        return version

    def publish(self, node: str, run_id: str, key: str, artifact: Any, inputs: Any = None) -> None:
        artifact.mlmd_artifact.state = mlmd.Artifact.LIVE
        with metadata.Metadata(self.connection) as handle:
            contexts = [
                context_lib.register_context_if_not_exists(handle, kind, name)
                for kind, name in (("pipeline", "shop"), ("pipeline_run", run_id))
            ]
            kind = mlmd.ExecutionType(name=node)
            execution = execution_lib.prepare_execution(handle, kind, mlmd.Execution.COMPLETE)
            execution_lib.put_execution(
                handle,
                execution,
                contexts,
                input_artifacts=inputs,
                output_artifacts={key: [artifact]},
            )

    def mend(self, run_id: str = "next") -> list[str]:
        return champion.mend(self.config, self.connection, self.places, run_id)

    def resolved(self, run_id: str = "next") -> str | None:
        """What TFX's own resolver gives a run: the content of the champion's saved model."""
        node = Resolver(
            strategy_class=LatestBlessedModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        ).with_id("Champion")
        pipeline = Pipeline(
            "shop",
            self.places.artifacts_of(run_id),
            components=[node],
            metadata_connection_config=self.connection,
        )
        runner.run(pipeline, run_id, lambda name, seconds: None)
        store = self.mlmd()
        (context,) = [c for c in store.get_contexts_by_type("pipeline_run") if c.name == run_id]
        (execution,) = store.get_executions_by_context(context.id)
        for event in store.get_events_by_execution_ids([execution.id]):
            if event.type == mlmd.Event.INTERNAL_OUTPUT and event.path.steps[0].key == "model":
                (found,) = store.get_artifacts_by_id([event.artifact_id])
                return read_model(Path(found.uri, "Format-Serving"))
        return None


def write_model(folder: Path, weights: str) -> None:
    """Files of a SavedModel, with the digests that the Trainer keeps beside them."""
    (folder / "assets").mkdir(parents=True)
    (folder / "saved_model.pb").write_text("graph")
    (folder / "assets" / "weights").write_text(weights)
    digests = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for name in ("saved_model.pb", "assets/weights")
    }
    (folder / RECORD_FILE).parent.mkdir()
    (folder / RECORD_FILE).write_text(json.dumps({"rows": 100, "files": digests}))


def read_model(folder: Path) -> str:
    return (folder / "assets" / "weights").read_text()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# --- the champion -------------------------------------------------------------------------


def test_nothing_is_done_where_nothing_is_amiss(store: Store) -> None:
    assert store.mend("first") == []
    store.push("run-1", store.model("run-1", "one"))
    assert store.mend() == []
    assert store.resolved() == "one"


@pytest.mark.parametrize("hand", ["removed", "emptied", "one file less", "changed"])
def test_a_champion_that_a_hand_was_at_is_restored_from_its_pushed_copy(
    store: Store, hand: str
) -> None:
    store.push("run-1", store.model("run-1", "one"))
    model = store.model("run-2", "two")
    version = store.push("run-2", model)
    folder = Path(model.uri, "Format-Serving")
    if hand == "changed":
        (folder / "assets" / "weights").write_text("tow")
    elif hand == "one file less":
        (folder / "assets" / "weights").unlink()
    else:
        shutil.rmtree(model.uri)
        if hand == "emptied":
            os.makedirs(folder)
    (note,) = store.mend()
    assert f"restored from version {version}" in note
    assert str(folder) in note
    assert store.resolved() == "two"
    assert sorted(os.listdir(folder)) == ["assets", "assets.extra", "saved_model.pb"]
    assert store.mend() == []


def test_without_a_copy_the_champion_before_is_taken_and_then_none(store: Store) -> None:
    first, second = store.model("run-1", "one"), store.model("run-2", "two")
    store.push("run-1", first)
    shutil.rmtree(second.uri)  # blessed, and never pushed
    (note,) = store.mend()
    assert "is gone, and no pushed version is a copy of it" in note
    assert store.resolved() == "one"
    shutil.rmtree(first.uri)
    shutil.rmtree(store.registry.folder)
    (note,) = store.mend("after")
    assert str(Path(first.uri, "Format-Serving")) in note
    assert store.resolved("after") is None


def test_a_version_of_another_run_with_the_same_number_is_no_copy(store: Store) -> None:
    model = store.model("run-1", "one")
    store.push("run-1", model)
    shutil.rmtree(store.registry.folder)
    other = store.model("run-2", "two")
    store.push("run-2", other)  # version 1 once more
    shutil.rmtree(other.uri)
    shutil.rmtree(model.uri)
    notes = store.mend()
    assert "restored from version 1" in notes[0]
    assert store.resolved() == "two"
    assert not os.path.exists(model.uri)


def test_what_serves_is_the_champion_where_the_database_was_removed(store: Store) -> None:
    version = store.push("run-1", store.model("run-1", "one"))
    os.remove(store.places.metadata)
    (note,) = store.mend()
    assert f"version {version}: that version was taken for the champion" in note
    assert store.resolved() == "one"
    assert store.mend("later") == []
    assert store.resolved("later") == "one"


def test_what_serves_is_the_champion_where_an_older_backup_was_put_back(
    store: Store, tmp_path: Path
) -> None:
    store.push("run-1", store.model("run-1", "one"))
    shutil.copy(store.places.metadata, tmp_path / "backup.db")
    store.push("run-2", store.model("run-2", "two"))
    shutil.copy(tmp_path / "backup.db", store.places.metadata)
    assert store.resolved("before") == "one"
    (note,) = store.mend()
    assert "does not know run run-2" in note
    assert store.resolved() == "two"


# --- folders ------------------------------------------------------------------------------


def test_each_run_writes_into_a_folder_of_its_own(store: Store) -> None:
    one, other = store.places.artifacts_of("a"), store.places.artifacts_of("b")
    assert os.path.commonpath([one, other]) not in (one, other)


def test_killed_executions_are_closed_and_what_they_half_wrote_goes(store: Store) -> None:
    store.push("run-1", store.model("run-1", "one"))
    kept = Path(store.places.artifacts_of("run-1"), "Trainer")
    before = sorted(kept.rglob("*"))
    with metadata.Metadata(store.connection) as handle:
        contexts = [context_lib.register_context_if_not_exists(handle, "pipeline_run", "run-2")]
        execution = execution_lib.put_execution(
            handle,
            execution_lib.prepare_execution(
                handle, mlmd.ExecutionType(name="Trainer"), mlmd.Execution.RUNNING
            ),
            contexts,
        )
    root = Path(store.places.artifacts_of("run-2"), "Trainer")
    half = [
        root / "model" / str(execution.id) / "Format-Serving",
        root / ".system" / "executor_execution" / str(execution.id) / ".temp",
    ]
    other = root / "model" / f"{execution.id}0"
    for folder in (*half, other):
        folder.mkdir(parents=True)
    assert dead_runs.close(store.mlmd(), store.places) == 1
    assert not any(folder.exists() for folder in half)
    assert other.exists()
    assert sorted(kept.rglob("*")) == before
    states = {e.id: e.last_known_state for e in store.mlmd().get_executions()}
    assert states.pop(execution.id) == mlmd.Execution.FAILED
    assert set(states.values()) == {mlmd.Execution.COMPLETE}
    assert dead_runs.close(store.mlmd(), store.places) == 0


# --- what was read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written, fault",
    [
        ({"train": 100, "eval": 20}, None),
        ({"train": 40, "eval": 20}, "the Trainer read 100 rows of the train split"),
        ({"train": 100, "eval": 19}, "the Evaluator read 20 rows of the eval split"),
    ],
)
def test_a_model_of_other_rows_than_ingestion_wrote_is_not_pushed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: dict[str, int], fault: str | None
) -> None:
    examples, evaluated = standard_artifacts.Examples(), standard_artifacts.ModelEvaluation()
    examples.uri, evaluated.uri = str(tmp_path / "examples"), str(tmp_path / "evaluation")
    examples.set_string_custom_property("rows", json.dumps(written))
    os.makedirs(evaluated.uri)
    metrics = {"candidate": {"overall": {"rows": 20.0}}}
    Path(evaluated.uri, "metrics.json").write_text(
        json.dumps({"blessed": True, "models": metrics, "checks": []})
    )
    write_model(tmp_path / "model", "one")
    inputs = {"examples": [examples], "evaluation": [evaluated]}
    if fault is None:
        found = provenance.collect(inputs, "{}", "run", tmp_path / "model")
        assert found.rows == written
        return
    with pytest.raises(RunError) as caught:
        provenance.collect(inputs, "{}", "run", tmp_path / "model")
    assert fault in str(caught.value)
    assert str(caught.value).startswith(f"{examples.uri}: ")
