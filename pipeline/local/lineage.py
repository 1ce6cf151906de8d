"""Where a pushed version comes from, read from ML Metadata by walking its events upstream."""

from __future__ import annotations

from collections import deque
from typing import Any

from google.protobuf import json_format
from google.protobuf.message import Message
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.errors import RunError

_OUTPUTS = (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT)


def of_version(
    store: metadata_store.MetadataStore, version: int, run_id: str | None
) -> dict[str, Any]:
    """The lineage of a pushed version.

    Args:
        store: ML Metadata.
        version: number of the version.
        run_id: the run its manifest names, to tell it from a version of an older serving folder
            that had the same number; None if unknown.

    Returns:
        `version`, `nodes` (in the order they ran; each with its state, parameters and outputs with
        path and properties).

    Raises:
        RunError: no push of that version is recorded.
    """
    pushes = [
        artifact
        for artifact in store.get_artifacts_by_type("PushedModel")
        if artifact.custom_properties["pushed_version"].string_value == str(version)
        and artifact.custom_properties["pushed"].int_value == 1
    ]
    ours = [artifact for artifact in pushes if run_id and run_id in _runs(store, artifact.id)]
    chosen = max(ours or pushes, key=lambda artifact: artifact.id, default=None)
    if chosen is None:
        raise RunError(
            f"version {version}: the metadata store has no push of it. `headrace models` lists "
            "the versions; one pushed by another output folder has its lineage there."
        )
    executions = _upstream(store, chosen.id)
    return {"version": version, "nodes": [_node(store, e) for e in sorted(executions, key=_id)]}


def _id(execution: mlmd.Execution) -> int:
    return int(execution.id)


def _runs(store: metadata_store.MetadataStore, artifact: int) -> set[str]:
    return {
        context.name
        for context in store.get_contexts_by_artifact(artifact)
        if context.type == "pipeline_run"
    }


def _upstream(store: metadata_store.MetadataStore, artifact: int) -> list[mlmd.Execution]:
    """Executions that led to an artifact, its own first."""
    waiting, seen = deque([artifact]), {artifact}
    found: dict[int, mlmd.Execution] = {}
    while waiting:
        events = store.get_events_by_artifact_ids([waiting.popleft()])
        # A cached execution publishes the artifact again; the one that made it came first.
        makers = sorted(e.execution_id for e in events if e.type in _OUTPUTS)[:1]
        for execution in store.get_executions_by_id(makers):
            if execution.id in found:
                continue
            found[execution.id] = execution
            for event in store.get_events_by_execution_ids([execution.id]):
                if event.type not in _OUTPUTS and event.artifact_id not in seen:
                    seen.add(event.artifact_id)
                    waiting.append(event.artifact_id)
    return list(found.values())


def _node(store: metadata_store.MetadataStore, execution: mlmd.Execution) -> dict[str, Any]:
    contexts = store.get_contexts_by_execution(execution.id)
    names = {context.type: context.name for context in contexts}
    events = store.get_events_by_execution_ids([execution.id])
    artifacts = {
        artifact.id: artifact
        for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])
    }
    types = {t.id: t.name for t in store.get_artifact_types()}
    sides: dict[str, list[dict[str, Any]]] = {"inputs": [], "outputs": []}
    for event in events:
        artifact = artifacts[event.artifact_id]
        sides["outputs" if event.type in _OUTPUTS else "inputs"].append(
            {
                "key": event.path.steps[0].key if event.path.steps else "",
                "type": types[artifact.type_id],
                "path": artifact.uri,
                "properties": _plain(artifact.custom_properties),
            }
        )
    return {
        "node": names.get("node", execution.name).split(".", 1)[-1],
        "run_id": names.get("pipeline_run", ""),
        "state": mlmd.Execution.State.Name(execution.last_known_state),
        "parameters": _plain(execution.custom_properties),
        **sides,
    }


def _plain(properties: Any) -> dict[str, Any]:
    plain = {}
    for key, value in properties.items():
        kind = value.WhichOneof("value")
        found = getattr(value, kind)
        plain[key] = json_format.MessageToDict(found) if isinstance(found, Message) else found
    return plain
