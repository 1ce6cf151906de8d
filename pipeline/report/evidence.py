"""Everything there is of one run, gathered from its history, ML Metadata and the artifacts.

A page is written of every run, so nothing here is required: a blocked run has no evaluation, a
failed one perhaps nothing but a message, an old one may lack files that later versions write.
What is there and cannot be read is told in `problems`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from pipeline import evaluation, files, findings, schema_file
from pipeline.config import Config
from pipeline.drift.report import FILE as DRIFT_FILE
from pipeline.errors import HeadraceError
from pipeline.ingest.summary import FILE as INGEST_FILE
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.report import formats
from serving.layout import MANIFEST, RegistryError
from serving.manifest import Manifest, parse_manifest
from serving.proof.verdict import FILE as PROOF_FILE
from serving.registry import Registry, Version

_Model = TypeVar("_Model", bound=BaseModel)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Artifact:
    """An artifact in ML Metadata."""

    id: int
    key: str
    uri: str


@dataclass(frozen=True)
class Node:
    """A component in this run.

    Attributes:
        name: id of the node.
        state: `complete`, `cached`, `failed`, `canceled` …
        seconds: it took; None if unknown.
        outputs: artifacts it published.
    """

    name: str
    state: str
    seconds: float | None
    outputs: tuple[Artifact, ...]


@dataclass
class Evidence:
    """One run; what is missing is None or empty.

    Attributes:
        result: the outcome.
        config: as it was for this run.
        nodes: components, in the order they ran.
        ingested, verdict, drift, evaluated, proof: files of the artifacts.
        manifest: of the version this run pushed, or found identical.
        versions: in the serving folder now, oldest first.
        schema_sha256: of the schema this run validated against.
        problems: what is there and could not be read.
    """

    result: RunResult
    config: Config | None = None
    nodes: list[Node] = field(default_factory=list)
    ingested: formats.Ingested | None = None
    verdict: formats.Verdict | None = None
    drift: formats.Drift | None = None
    evaluated: formats.Evaluation | None = None
    proof: formats.Proof | None = None
    manifest: Manifest | None = None
    versions: list[Version] = field(default_factory=list)
    schema_sha256: str | None = None
    problems: list[str] = field(default_factory=list)

    def output(self, node: str, key: str) -> Artifact | None:
        """An artifact by node and key."""
        outputs = [item.outputs for item in self.nodes if item.name == node]
        return next((item for found in outputs for item in found if item.key == key), None)

    def path(self, node: str, key: str, file: str) -> str | None:
        """A file in an artifact, if it is there."""
        artifact = self.output(node, key)
        path = os.path.join(artifact.uri, file) if artifact else ""
        return path if path and files.exists(path) else None


def collect(result: RunResult, places: Places) -> Evidence:
    """Gathers what there is of a run.

    Args:
        result: the run's outcome.
        places: where the output folder has things.
    """
    found = Evidence(result)
    config = places.run(result.run_id, "config.json")
    if os.path.exists(config):
        found.config = _attempt(found, config, lambda: _parse(config, Config))
    if os.path.exists(places.metadata):
        nodes = _attempt(found, places.metadata, lambda: _nodes(result, places.metadata))
        found.nodes = nodes or []
    found.ingested = _file(found, "SpanExampleGen", "examples", INGEST_FILE, formats.Ingested)
    found.verdict = _file(found, "DataGate", "verdict", findings.FILE, formats.Verdict)
    found.drift = _file(found, "DistributionValidator", "drift", DRIFT_FILE, formats.Drift)
    found.evaluated = _file(
        found, "Evaluator", "evaluation", evaluation.METRICS_FILE, formats.Evaluation
    )
    found.proof = _file(found, "InfraValidator", "blessing", PROOF_FILE, formats.Proof)
    if manifest := found.path("Pusher", "pushed_model", MANIFEST):
        found.manifest = _attempt(
            found, manifest, lambda: parse_manifest(_read(manifest), manifest)
        )
    if schema := found.path("ImportSchemaGen", "schema", "schema.pbtxt"):
        found.schema_sha256 = _attempt(found, schema, lambda: schema_file.digest(schema))
    if found.config and files.is_local(found.config.serving.path):
        registry = Registry(found.config.serving.path, found.config.serving.model_name)
        found.versions = _attempt(found, str(registry.folder), registry.versions) or []
    return found


def _attempt(found: Evidence, what: str, read: Callable[[], _Value]) -> _Value | None:
    """Reads something; a failure becomes a problem on the page, not the end of it."""
    try:
        return read()
    except (OSError, ValueError, RegistryError, HeadraceError) as error:
        reason = _first_fault(error) if isinstance(error, ValidationError) else str(error)
        found.problems.append(f"{what} cannot be read: {reason[:300]}")
    return None


def _first_fault(error: ValidationError) -> str:
    fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"


def _file(found: Evidence, node: str, key: str, file: str, model: type[_Model]) -> _Model | None:
    path = found.path(node, key, file)
    return _attempt(found, path, lambda: _parse(path, model)) if path else None


def _parse(path: str, model: type[_Model]) -> _Model:
    return model.model_validate_json(_read(path))


def _read(path: str) -> bytes:
    with files.open_file(path, "rb") as file:
        content: bytes = file.read()
    return content


def _nodes(result: RunResult, metadata: str) -> list[Node]:
    from ml_metadata import errors
    from ml_metadata.proto import metadata_store_pb2 as mlmd

    from pipeline.local import outcome

    try:
        outcomes = outcome.nodes_of_run(outcome.connect(metadata), result.run_id)
    except (errors.StatusError, RuntimeError) as error:
        raise HeadraceError(str(error)) from error
    # The order in which they ended; a node that never ended comes last.
    order = [name for name in result.seconds if name in outcomes]
    order += [name for name in outcomes if name not in order]
    return [
        Node(
            name=name,
            state=mlmd.Execution.State.Name(outcomes[name].state).lower(),
            seconds=result.seconds.get(name),
            outputs=tuple(
                Artifact(artifact.id, key, artifact.uri)
                for key, artifact in outcomes[name].outputs.items()
            ),
        )
        for name in order
    ]
