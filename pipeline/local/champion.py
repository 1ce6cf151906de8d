"""The champion, where ML Metadata and the disk no longer say the same.

The Champion node takes the newest blessed model that ML Metadata knows. A hand may have removed
that model's artifact, or the whole database, or put an older backup in its place; what is served
is still there, with a manifest that says which run made it. Then the served copy is the champion,
and the run says so.

What TFX lacks: its resolver hands on a model whose files are gone, and every later run fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

from ml_metadata import errors as mlmd_errors
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tfx.components.evaluator import constants
from tfx.orchestration import metadata
from tfx.orchestration.portable.mlmd import context_lib, execution_lib
from tfx.types import standard_artifacts
from tfx.utils import path_utils

from pipeline import files
from pipeline.config import Config
from pipeline.local.places import Places
from serving import layout
from serving.layout import RegistryError
from serving.manifest import Manifest
from serving.proof.files import RECORD_FILE
from serving.registry import Registry

_BLESSED = constants.ARTIFACT_PROPERTY_BLESSED_KEY
_MODEL_ID = constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY


def mend(
    config: Config,
    connection: mlmd.ConnectionConfig,
    places: Places,
    run_id: str,
) -> list[str]:
    """Sees that the model that the Champion node will find is there, and is the one that serves.

    Args:
        config: names the pipeline and the serving folder.
        connection: ML Metadata's.
        places: of the output folder.
        run_id: of the run that is about to start.

    Returns:
        What was done, a sentence each; nothing where all is as it should be.
    """
    store = metadata_store.MetadataStore(connection)
    notes = []
    while model := _newest_blessed(store, config.name):
        damage = _damage(_folder(model))
        if not damage:
            break
        notes.append(_restored(store, model, config, damage) or _given_up(store, model, damage))
    notes += _adopted(config, store, connection, places, run_id)
    return notes


def _folder(model: mlmd.Artifact) -> str:
    return str(path_utils.serving_model_dir(model.uri))


def _newest_blessed(store: metadata_store.MetadataStore, name: str) -> mlmd.Artifact | None:
    """What TFX's LatestBlessedModelStrategy will choose."""
    context = _context(store, "pipeline", name)
    if context is None:
        return None
    types = {kind.id: kind.name for kind in store.get_artifact_types()}
    live = [
        artifact
        for artifact in store.get_artifacts_by_context(context.id)
        if artifact.state == mlmd.Artifact.LIVE
    ]
    blessed = {
        artifact.custom_properties[_MODEL_ID].int_value
        for artifact in live
        if types[artifact.type_id] == "ModelBlessing"
        and artifact.custom_properties[_BLESSED].int_value == 1
    }
    models = [a for a in live if types[a.type_id] == "Model" and a.id in blessed]
    return max(models, key=lambda artifact: artifact.id, default=None)


def _context(store: metadata_store.MetadataStore, kind: str, name: str) -> mlmd.Context | None:
    try:
        return store.get_context_by_type_and_name(kind, name)
    except mlmd_errors.NotFoundError:
        return None


def _damage(folder: str) -> str:
    """What is wrong with a model's files, `""` if nothing: the Trainer has left their digests."""
    if not files.is_local(folder):
        return "" if files.exists(folder) else "is gone"
    if not os.path.isdir(folder):
        return "is gone"
    try:
        recorded = json.loads(Path(folder, RECORD_FILE).read_text(encoding="utf-8"))["files"]
    except (OSError, ValueError, KeyError):
        lacks = not any(Path(folder, name).is_file() for name in layout.SAVED_MODEL_FILES)
        return "holds no saved model" if lacks else ""
    for name, digest in recorded.items():
        try:
            content = Path(folder, name).read_bytes()
        except OSError:
            return f"lacks {name}"
        if hashlib.sha256(content).hexdigest() != digest:
            return f"has another {name} than was trained"
    return ""


def _restored(
    store: metadata_store.MetadataStore, model: mlmd.Artifact, config: Config, damage: str
) -> str:
    """Copies the pushed version back to where the champion was; `""` if there is none."""
    manifest = _pushed_copy(store, model, config)
    if manifest is None:
        return ""
    folder = _folder(model)
    _copy(config, manifest.version, folder)
    return f"the champion's artifact {folder} {damage}; restored from version {manifest.version}"


def _pushed_copy(
    store: metadata_store.MetadataStore, model: mlmd.Artifact, config: Config
) -> Manifest | None:
    if not files.is_local(config.serving.path):
        return None
    registry = Registry(config.serving.path, config.serving.model_name)
    for number, runs in _pushes(store, model.id):
        try:
            if not registry.verify(number):
                manifest = registry.manifest(number)
                if manifest.run_id in runs:
                    return manifest
        except RegistryError:
            continue  # not kept any more
    return None


def _pushes(store: metadata_store.MetadataStore, model: int) -> list[tuple[int, set[str]]]:
    """Versions that a model was pushed as, each with the runs that say so."""
    found = []
    inputs = (mlmd.Event.INPUT, mlmd.Event.DECLARED_INPUT)
    readers = [
        e.execution_id for e in store.get_events_by_artifact_ids([model]) if e.type in inputs
    ]
    written = [
        event.artifact_id
        for event in store.get_events_by_execution_ids(readers)
        if event.type not in inputs
    ]
    for artifact in store.get_artifacts_by_id(written):
        version = artifact.custom_properties["pushed_version"].string_value
        if version:
            contexts = store.get_contexts_by_artifact(artifact.id)
            runs = {c.name for c in contexts if c.type == "pipeline_run"}
            found.append((int(version), runs))
    return found


def _given_up(store: metadata_store.MetadataStore, model: mlmd.Artifact, damage: str) -> str:
    """Tells ML Metadata that the model is no more, so that nothing resolves to it."""
    model.state = mlmd.Artifact.DELETED
    store.put_artifacts([model])
    return (
        f"the champion's artifact {_folder(model)} {damage}, and no pushed version is a copy of "
        "it; it is not compared with any more"
    )


def _adopted(
    config: Config,
    store: metadata_store.MetadataStore,
    connection: mlmd.ConnectionConfig,
    places: Places,
    run_id: str,
) -> list[str]:
    """Makes the newest pushed version known to ML Metadata, if the run that made it is not."""
    if not files.is_local(config.serving.path):
        return []
    served = Registry(config.serving.path, config.serving.model_name).newest_whole()
    if served is None or not served.run_id or _context(store, "pipeline_run", served.run_id):
        return []
    model, blessing = standard_artifacts.Model(), standard_artifacts.ModelBlessing()
    home = os.path.join(places.artifacts_of(run_id), "Adopted")
    model.uri, blessing.uri = os.path.join(home, "model"), os.path.join(home, "blessing")
    _copy(config, served.version, path_utils.serving_model_dir(model.uri))
    os.makedirs(blessing.uri)
    Path(blessing.uri, constants.BLESSED_FILE_NAME).touch()
    with metadata.Metadata(connection) as handle:
        contexts = [
            context_lib.register_context_if_not_exists(handle, kind, name)
            for kind, name in (("pipeline", config.name), ("pipeline_run", served.run_id))
        ]
        for key, artifact in (("model", model), ("blessing", blessing)):
            artifact.mlmd_artifact.state = mlmd.Artifact.LIVE  # resolvers see no other
            if key == "blessing":
                artifact.set_int_custom_property(_BLESSED, constants.BLESSED_VALUE)
                artifact.set_int_custom_property(_MODEL_ID, model.id)
            execution = execution_lib.prepare_execution(
                handle, mlmd.ExecutionType(name="headrace.Adopted"), mlmd.Execution.COMPLETE
            )
            execution_lib.put_execution(
                handle, execution, contexts, output_artifacts={key: [artifact]}
            )
    return [
        f"{places.metadata} does not know run {served.run_id}, which made version "
        f"{served.version}: that version was taken for the champion as it is served"
    ]


def _copy(config: Config, version: int, folder: str) -> None:
    """Copies a pushed version, its manifest apart: there whole, or not at all."""
    source = Registry(config.serving.path, config.serving.model_name).version(version).path
    partial = f"{folder}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns(layout.MANIFEST))
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(partial, folder)
