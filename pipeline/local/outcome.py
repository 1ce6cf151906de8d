"""What really happened, asked of ML Metadata: LocalDagRunner itself ends well too often.

It returns normally when a node was skipped because its inputs could not be resolved, and a
`Cond` that is false looks the same. Here each node must have an execution that completed, and a
missing one needs a closed gate that explains it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ml_metadata import errors as mlmd_errors
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import evaluation, findings, schema_file
from pipeline.config import Config
from pipeline.drift import report as drift_report
from pipeline.ingest import sample
from pipeline.ingest.summary import FILE as INGEST_FILE
from pipeline.ingest.summary import Ingested
from pipeline.local.result import RunResult
from serving.proof.verdict import FILE as PROOF_FILE

_DONE = (mlmd.Execution.COMPLETE, mlmd.Execution.CACHED)


@dataclass(frozen=True)
class NodeOutcome:
    """A node's execution in one run."""

    state: int
    outputs: dict[str, mlmd.Artifact]


def connect(path: str) -> metadata_store.MetadataStore:
    """Opens the metadata store of a local run."""
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = path
    return metadata_store.MetadataStore(config)


def nodes_of_run(store: metadata_store.MetadataStore, run_id: str) -> dict[str, NodeOutcome]:
    """Every node of a run that has an execution, by node id."""
    try:
        context = store.get_context_by_type_and_name("pipeline_run", run_id)
    except mlmd_errors.NotFoundError:
        context = None
    if context is None:
        return {}
    outcomes = {}
    for execution in store.get_executions_by_context(context.id):
        names = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
        node = names[0].split(".", 1)[-1] if names else execution.name
        outcomes[node] = NodeOutcome(execution.last_known_state, outputs(store, execution.id))
    return outcomes


def outputs(store: metadata_store.MetadataStore, execution: int) -> dict[str, mlmd.Artifact]:
    """An execution's output artifacts by key."""
    events = [
        event
        for event in store.get_events_by_execution_ids([execution])
        if event.type in (mlmd.Event.OUTPUT, mlmd.Event.DECLARED_OUTPUT)
    ]
    artifacts = store.get_artifacts_by_id([event.artifact_id for event in events])
    by_id = {artifact.id: artifact for artifact in artifacts}
    return {
        event.path.steps[0].key: by_id[event.artifact_id] for event in events if event.path.steps
    }


def write_schema(config: Config, nodes: dict[str, NodeOutcome]) -> None:
    """Writes what a run as far as a schema inferred as the file to review.

    Raises:
        DataError: the file cannot be written.
    """
    examples = nodes["SpanExampleGen"].outputs["examples"].uri
    with open(os.path.join(examples, INGEST_FILE), encoding="utf-8") as file:
        spans = list(Ingested.from_json(file.read()).spans)
    parts = sample.in_order(examples, spans, config.drift.sample_rows)
    schema_file.write_inferred(config, nodes["SchemaGen"].outputs["schema"].uri, parts)


def fill(result: RunResult, store: metadata_store.MetadataStore, expected: Iterable[str]) -> None:
    """Completes a run's result from the metadata store."""
    fill_from(result, nodes_of_run(store, result.run_id), expected)


def fill_from(result: RunResult, nodes: dict[str, NodeOutcome], expected: Iterable[str]) -> None:
    """Completes a run's result from what its nodes came to; outputs must be local."""
    result.cached = [n for n, o in nodes.items() if o.state == mlmd.Execution.CACHED]
    _fill_rows(result, nodes)
    drift = _told(nodes, "DistributionValidator", "drift", drift_report.FILE)
    if drift and drift.get("uncalibrated") and drift["uncalibrated"] not in result.notes:
        result.notes.append(drift["uncalibrated"])
    verdict = _verdict(nodes)
    if verdict:
        result.gates["data"] = verdict
    _fill_evaluation(result, nodes)
    _fill_proof(result, nodes)

    failed = [n for n, o in nodes.items() if o.state not in _DONE]
    missing = [n for n in expected if n not in nodes]
    closed = verdict is not None and not verdict["passed"]
    if failed:
        result.status = "failed"
        result.message = result.message or f"{', '.join(failed)} did not complete"
    elif closed:
        result.status = "blocked"
        blocking = [f for f in verdict["findings"] if f["policy"] == "block"] if verdict else []
        result.message = "\n".join(
            [*(_sentence(finding) for finding in blocking), *_hint(blocking)]
        )
    elif missing:
        result.status = "failed"
        result.message = (
            f"{', '.join(missing)} did not run: an input could not be resolved, though no gate "
            "closed"
        )
    else:
        _fill_push(result, nodes)


def _hint(blocking: list[dict[str, Any]]) -> Iterator[str]:
    """What settles it, if the data are right and the schema is not."""
    if any(finding["kind"] == "anomaly" for finding in blocking):
        yield (
            "If that is how the data should be, change the schema: `headrace schema diff` shows "
            "what would change, `headrace schema accept` writes it."
        )


def _sentence(finding: dict[str, Any]) -> str:
    where = ", ".join(part for part in (finding["feature"], finding["split"]) if part)
    return f"{finding['kind']} ({where}): {finding['message']}" if where else finding["message"]


def _fill_rows(result: RunResult, nodes: dict[str, NodeOutcome]) -> None:
    examples = _output(nodes, "SpanExampleGen", "examples")
    path = os.path.join(examples.uri, INGEST_FILE) if examples else ""
    if not os.path.exists(path):
        return
    with open(path, encoding="utf-8") as file:
        ingested = Ingested.from_json(file.read())
    result.rows = ingested.rows
    for span in ingested.spans.values():
        for reason, count in span.reasons.items():
            result.quarantined[reason] = result.quarantined.get(reason, 0) + count


def _verdict(nodes: dict[str, NodeOutcome]) -> dict[str, Any] | None:
    return _told(nodes, "DataGate", "verdict", findings.FILE)


def _fill_evaluation(result: RunResult, nodes: dict[str, NodeOutcome]) -> None:
    evaluated = _told(nodes, "Evaluator", "evaluation", evaluation.METRICS_FILE)
    if evaluated is None:
        return
    models = evaluated["models"]
    result.metrics = models[evaluation.CANDIDATE][evaluation.OVERALL]
    result.champion_metrics = models.get(evaluation.CHAMPION, {}).get(evaluation.OVERALL, {})
    result.notes += [note for note in evaluated.get("notes", []) if note not in result.notes]
    checks = evaluated["checks"]
    result.gates["evaluation"] = {
        "passed": evaluated["blessed"],
        "checked": len(checks),
        "findings": [check for check in checks if not check["passed"]],
    }


def _fill_proof(result: RunResult, nodes: dict[str, NodeOutcome]) -> None:
    proof = _told(nodes, "InfraValidator", "blessing", PROOF_FILE)
    if proof is None:
        return
    findings = proof["findings"]
    result.gates["proof"] = {
        "passed": proof["passed"],
        "checked": len(findings),
        "findings": [finding for finding in findings if not finding["passed"]],
        "figures": {finding["check"]: finding["figures"] for finding in findings},
    }


def _fill_push(result: RunResult, nodes: dict[str, NodeOutcome]) -> None:
    artifact = _output(nodes, "Pusher", "pushed_model")
    if artifact is None:
        result.status, result.message = "failed", "Pusher published nothing"
        return
    properties = artifact.custom_properties
    version = properties["pushed_version"].string_value
    result.model_version = int(version) if version else None
    if properties["pushed"].int_value:
        result.status = "pushed"
    elif result.model_version is not None:
        result.status = "up_to_date"
        result.message = f"the model is {properties['reason'].string_value}"
    else:
        result.status = "not_blessed"
        judged = result.gates.get("evaluation", {}).get("findings", [])
        proven = result.gates.get("proof", {}).get("findings", [])
        failures = [check["message"] for check in judged]
        failures += [f"{finding['check']}: {finding['message']}" for finding in proven]
        result.message = "\n".join(failures) or properties["reason"].string_value


def _output(nodes: dict[str, NodeOutcome], node: str, key: str) -> mlmd.Artifact | None:
    return nodes[node].outputs.get(key) if node in nodes else None


def _told(nodes: dict[str, NodeOutcome], node: str, key: str, file: str) -> dict[str, Any] | None:
    """The JSON file in an output artifact; None if the node did not come to write it."""
    artifact = _output(nodes, node, key)
    path = os.path.join(artifact.uri, file) if artifact else ""
    if not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as opened:
        told: dict[str, Any] = json.load(opened)
    return told
