"""What a run left behind, from here or from the twin, in one form: for people and for parity."""

from __future__ import annotations

import json
import os
from typing import Any

from google.protobuf import json_format
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from pipeline.drift.report import FILE as DRIFT_FILE
from pipeline.local import outcome
from pipeline.local.outcome import NodeOutcome
from pipeline.local.result import RunResult

Tree = dict[str, Any]

_STATISTICS_FILE, _ANOMALIES_FILE = "FeatureStats.pb", "SchemaDiff.pb"

#: Resolvers have other names there, and what is pushed here is not registered.
_ONE_SIDED = ("Champion", "VertexRegistrar")

_STATES = {
    "SUCCEEDED": mlmd.Execution.COMPLETE,
    "SKIPPED": mlmd.Execution.CACHED,
    "FAILED": mlmd.Execution.FAILED,
    "CANCELLED": mlmd.Execution.CANCELED,
}


def of_tasks(tasks: list[Tree], gs: str) -> dict[str, NodeOutcome]:
    """The tasks of a job of the twin, as a local run's nodes; `gs` is the folder behind gs://."""
    return {
        task["name"]: NodeOutcome(
            _STATES[task["state"]],
            {key: _artifact(output, gs) for key, output in task["outputs"].items()},
        )
        for task in tasks
        if task["state"] in _STATES
    }


def _artifact(output: Tree, gs: str) -> mlmd.Artifact:
    artifact = mlmd.Artifact(uri=output["uri"].replace("gs://", f"{gs}/"))
    for key, value in output["metadata"].items():
        if isinstance(value, str):
            artifact.custom_properties[key].string_value = value
        elif isinstance(value, int | float):
            artifact.custom_properties[key].int_value = int(value)
    return artifact


def result_of(status: Tree, gs: str) -> RunResult:
    """A job of the twin as `headrace run` would tell it."""
    nodes = of_tasks(status["tasks"], gs)
    result = RunResult("failed", status["job"])
    outcome.fill_from(result, nodes, expected=())
    examples = (
        nodes["SpanExampleGen"].outputs.get("examples") if "SpanExampleGen" in nodes else None
    )
    if examples is not None and "spans" in examples.custom_properties:
        result.span = examples.custom_properties["span_label"].string_value
        result.window = json.loads(examples.custom_properties["spans"].string_value)
    if status["status"] in ("failed", "cancelled"):
        result.status, result.message = "failed", status["message"]
    result.seconds = {task["name"]: task["seconds"] for task in status["tasks"]}
    return result


def collect(result: RunResult, nodes: dict[str, NodeOutcome]) -> Tree:
    """Everything that two runs of the same pipeline on the same data can be compared by."""
    return {
        "status": result.status,
        "window": result.window,
        "rows": result.rows,
        "quarantined": result.quarantined,
        "statistics": _by_split(nodes, "StatisticsGen", "statistics", _statistics),
        "anomalies": _by_split(nodes, "ExampleValidator", "anomalies", _anomalies),
        "drift": _drift(nodes),
        "verdict": {
            "passed": result.gates.get("data", {}).get("passed"),
            "findings": sorted(
                f"{f['policy']} {f['kind']} {f['feature']} {f['split']}".strip()
                for f in result.gates.get("data", {}).get("findings", [])
            ),
        },
        "metrics": result.metrics,
        "champion": bool(result.champion_metrics),
        "champion_metrics": result.champion_metrics,
        "blessed": result.gates.get("evaluation", {}).get("passed"),
        "servable": result.gates.get("proof", {}).get("passed"),
        "version": result.model_version,
        "triggered": sorted(name for name in nodes if not name.startswith(_ONE_SIDED)),
    }


def _output(nodes: dict[str, NodeOutcome], node: str, key: str) -> str:
    found = nodes[node].outputs.get(key) if node in nodes else None
    return found.uri if found is not None else ""


def _by_split(nodes: dict[str, NodeOutcome], node: str, key: str, read: Any) -> Tree:
    folder = _output(nodes, node, key)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    return {
        name.removeprefix("Split-"): read(os.path.join(folder, name))
        for name in names
        if name.startswith("Split-")
    }


def _statistics(folder: str) -> Tree:
    """Rows, and for each feature the numbers that describe it."""
    parsed = statistics_pb2.DatasetFeatureStatisticsList()
    with open(os.path.join(folder, _STATISTICS_FILE), "rb") as file:
        parsed.ParseFromString(file.read())
    (dataset,) = parsed.datasets
    found: Tree = {"rows": dataset.num_examples}
    for feature in dataset.features:
        name = ".".join(feature.path.step) or feature.name
        kind = feature.WhichOneof("stats")
        stats = getattr(feature, kind)
        found[name] = {
            "missing": stats.common_stats.num_missing,
            "values": stats.common_stats.tot_num_values,
        }
        if kind == "num_stats":
            for key in ("mean", "std_dev", "min", "median", "max", "num_zeros"):
                found[name][key] = getattr(stats, key)
        elif kind == "string_stats":
            top = [(value.value, value.frequency) for value in stats.top_values]
            found[name] |= {"unique": stats.unique, "top": dict(top)}
    return found


def _anomalies(folder: str) -> list[str]:
    parsed = anomalies_pb2.Anomalies()
    with open(os.path.join(folder, _ANOMALIES_FILE), "rb") as file:
        parsed.ParseFromString(file.read())
    told = json_format.MessageToDict(parsed).get("anomalyInfo", {})
    return sorted(f"{name}: {info.get('description', '')}" for name, info in told.items())


def _drift(nodes: dict[str, NodeOutcome]) -> Tree:
    """Comparison and feature → each measure's value."""
    path = os.path.join(_output(nodes, "DistributionValidator", "drift") or os.devnull, DRIFT_FILE)
    if not os.path.exists(path):
        return {}
    with open(path, encoding="utf-8") as file:
        report = json.load(file)
    return {
        f"{comparison['kind']} {feature['feature']}": {
            measure["name"]: measure["value"] for measure in feature["measures"]
        }
        for comparison in report["comparisons"]
        for feature in comparison["features"]
        # What the champion predicts depends on its weights, and these are compared by metrics.
        if feature["type"] != "prediction"
    }
