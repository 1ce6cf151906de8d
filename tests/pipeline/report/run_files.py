"""Runs as they lie on a disk, made by hand: history, ML Metadata, artifacts.

`metrics.json` is of a real run on 2020-06 (some slices left out). `drift.json` compares the real
months 2019-12 and 2020-04, counted by SQL; the distances follow from the counts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipeline.local.places import Places
from pipeline.local.result import EXIT_CODES, RunResult

HERE = Path(__file__).parent

CONFIG: dict[str, Any] = {
    "name": "trips",
    "output": "runs",
    "data": {"path": "data", "pattern": "{span:%Y-%m}.parquet", "schema_file": "schema.pbtxt"},
    "label": {"expression": "tip > 0.2 * fare"},
    "features": {"fare": {"kind": "numeric"}, "payment_type": {"kind": "categorical"}},
    "quarantine": {"rules": {"negative_fare": "fare_amount < 0"}, "max_share": 0.02},
    "evaluation": {"slices": ["payment_type"]},
    "serving": {"path": "serving", "model_name": "trips"},
}


def drift() -> dict[str, Any]:
    """A DistributionValidator's file."""
    parsed: dict[str, Any] = json.loads((HERE / "drift.json").read_text())
    return parsed


def metrics() -> dict[str, Any]:
    """An Evaluator's file."""
    parsed: dict[str, Any] = json.loads((HERE / "metrics.json").read_text())
    return parsed


def ingested() -> dict[str, Any]:
    """A SpanExampleGen's file."""
    sample = '/data/2020-03.parquet, row 740: {"vendor_id":2,"fare_amount":-2.5,"note":null}'
    return {
        "fingerprint": "f1" * 32,
        "rows": {"train": 19_917, "eval": 9_942, "quarantine": 141},
        "positives": {"train": 11_000, "eval": 4_215, "quarantine": 2},
        "spans": {
            "2020-02": {
                "kept": 9_967,
                "quarantined": 33,
                "reasons": {"negative_fare": 30, "outside its span": 3},
                "samples": {},
            },
            "2020-03": {
                "kept": 9_950,
                "quarantined": 50,
                "reasons": {"negative_fare": 50},
                "samples": {"negative_fare": sample},
            },
            "2020-04": {
                "kept": 9_942,
                "quarantined": 58,
                "reasons": {"negative_fare": 58},
                "samples": {},
            },
        },
        "new_columns": {},
    }


def finding(kind: str, feature: str, policy: str, **more: Any) -> dict[str, Any]:
    """A finding of the data gate."""
    return {
        "kind": kind,
        "feature": feature,
        "split": "eval",
        "message": f"{feature} is not as it was",
        "value": 0.25,
        "threshold": 0.1,
        "policy": policy,
    } | more


def proof(*, passed: bool = True) -> dict[str, Any]:
    """An InfraValidator's file."""
    return {
        "passed": passed,
        "findings": [
            {"check": "size", "passed": True, "message": "0.9 MB", "figures": {"size_mb": 0.855}},
            {
                "check": "latency grpc",
                "passed": passed,
                "message": "p99 14.6 ms for one row",
                "figures": {"p50_ms": 2.03, "p99_ms": 14.616},
            },
        ],
    }


FILES: dict[tuple[str, str], dict[str, Any]] = {
    ("SpanExampleGen", "examples"): {"ingest.json": ingested()},
    ("DistributionValidator", "drift"): {"drift.json": drift()},
    ("DataGate", "verdict"): {
        "verdict.json": {
            "passed": True,
            "retrain": False,
            "findings": [finding("drift", "payment_type", "warn")],
        }
    },
    ("Evaluator", "evaluation"): {"metrics.json": metrics()},
    ("InfraValidator", "blessing"): {"proof.json": proof()},
}


class Runs:
    """An output folder with runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = Places(str(folder / "runs"))
        os.makedirs(self.places.history)

    def add(
        self,
        status: Any = "pushed",
        run_id: str = "20260401-120000-abcd",
        files: dict[tuple[str, str], dict[str, Any]] | None = None,
        states: dict[str, str] | None = None,
        config: dict[str, Any] | None = None,
        **values: Any,
    ) -> RunResult:
        """A run.

        Args:
            status: what it came to.
            run_id: its id.
            files: node and output key → files of the artifact (texts, or what becomes JSON).
            states: node → state in ML Metadata, where it is not complete.
            config: the configuration, where it is another.
            values: of the result.
        """
        files = FILES if files is None else files
        nodes = dict.fromkeys([*(node for node, _ in files), *(states or {})])
        result = RunResult(
            **{
                "status": status,
                "run_id": run_id,
                "span": "2020-04",
                "window": {"train": ["2020-02", "2020-03"], "eval": ["2020-04"]},
                "rows": {"train": 19_917, "eval": 9_942, "quarantine": 141},
                "model_version": 4 if status == "pushed" else None,
                "seconds": dict.fromkeys(nodes, 1.5),
                "wall_seconds": 47.11,
                "exit_code": EXIT_CODES[status],
            }
            | values
        )
        os.makedirs(self.places.run(run_id))
        told = CONFIG if config is None else config
        told = told | {"serving": told["serving"] | {"path": str(self.folder / "serving")}}
        Path(self.places.run(run_id, "config.json")).write_text(json.dumps(told))
        Path(self.places.run(run_id, "result.json")).write_text(result.to_json())
        self._record(run_id, list(nodes), files, states or {})
        return result

    def _record(
        self,
        run_id: str,
        nodes: list[str],
        files: dict[tuple[str, str], dict[str, Any]],
        states: dict[str, str],
    ) -> None:
        from ml_metadata.proto import metadata_store_pb2 as mlmd

        from pipeline.local import outcome

        store = outcome.connect(self.places.metadata)

        def type_of(kind: str, name: str) -> int:
            made = getattr(mlmd, f"{kind}Type")(name=name)
            number: int = getattr(store, f"put_{kind.lower()}_type")(made)
            return number

        def context(kind: str, name: str) -> mlmd.Context:
            return mlmd.Context(type_id=type_of("Context", kind), name=name)

        run = context("pipeline_run", run_id)
        for node in nodes:
            state = getattr(mlmd.Execution, states.get(node, "complete").upper())
            execution = mlmd.Execution(
                type_id=type_of("Execution", node), last_known_state=state, name=f"{run_id}.{node}"
            )
            outputs = []
            for (owner, key), content in files.items():
                if owner != node:
                    continue
                uri = self.folder / "artifacts" / run_id / node / key
                uri.mkdir(parents=True)
                for name, value in content.items():
                    text = value if isinstance(value, str) else json.dumps(value)
                    (uri / name).write_text(text)
                artifact = mlmd.Artifact(type_id=type_of("Artifact", key.title()), uri=str(uri))
                event = mlmd.Event(type=mlmd.Event.OUTPUT)
                event.path.steps.add().key = key
                outputs.append((artifact, event))
            store.put_execution(execution, outputs, [run, context("node", f"trips.{node}")], True)
