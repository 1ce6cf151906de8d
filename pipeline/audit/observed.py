"""A run's result → which gates objected, and what they said."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any, Literal

from pipeline.audit.fault import GATES, Gate
from pipeline.errors import HeadraceError
from pipeline.local.result import RunResult

#: `warned`: pushed, but the verdict names it; `escaped`: pushed without a word.
Outcome = Literal["caught", "warned", "escaped", "not_applicable"]

#: Kinds of the DataGate's findings by the gate that the matrix shows.
_KINDS: dict[str, Gate] = {
    "anomaly": "schema",
    "new_column": "schema",
    "unreviewed": "schema",
    "drift": "drift",
    "skew": "drift",
    "splits": "drift",
    "label": "label",
    "prediction": "prediction",
    "quarantine": "quarantine",
    "rows": "rows",
    "repeats": "rows",
}

#: Components by the gate that their failure counts for.
_NODES: dict[str, Gate] = {
    "SpanExampleGen": "ingestion",
    "StatisticsGen": "ingestion",
    "Transform": "training",
    "Trainer": "training",
    "Evaluator": "evaluation",
    "InfraValidator": "proof",
    "Pusher": "pusher",
}

_SAID_MAX = 240


@dataclass(frozen=True)
class Observation:
    """What became of one fault.

    Attributes:
        fault: its name.
        outcome: see `Outcome`.
        gates: which stopped it, in the order of the flow.
        named: which named it in the verdict and let it pass, by policy.
        said: the first objection, shortened.
        status: of the run.
        seconds: it took.
    """

    fault: str
    outcome: Outcome
    gates: tuple[Gate, ...]
    said: str
    status: str
    seconds: float
    named: tuple[Gate, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Observation:
        """The inverse of `to_dict`."""
        pairs = {key: tuple(values[key]) for key in ("gates", "named")}
        return cls(**{**values, **pairs})


def of_error(fault: str, error: HeadraceError, seconds: float) -> Observation:
    """What is seen before the pipeline starts."""
    return Observation(fault, "caught", ("ingestion",), _said(str(error)), "failed", seconds)


def of_result(fault: str, result: RunResult, seconds: float) -> Observation:
    """What the run's gates found."""
    findings = result.gates.get("data", {}).get("findings", [])
    blocking = [finding for finding in findings if finding["policy"] == "block"]
    objected: dict[Gate, str] = {}

    def object_(gate: Gate, message: str) -> None:
        objected.setdefault(gate, message)

    for finding in blocking:
        object_(_KINDS[finding["kind"]], _sentence(finding))
    for check in result.gates.get("evaluation", {}).get("findings", []):
        object_("evaluation", check["message"])
    for check in result.gates.get("proof", {}).get("findings", []):
        object_("proof", f"{check['check']}: {check['message']}")
    if result.status == "failed":
        node = result.message.partition(" failed:")[0]
        object_(_NODES.get(node, "ingestion"), result.message)
    if result.status == "up_to_date":
        object_("pusher", result.message)
    weak = [finding for finding in findings if finding["policy"] in ("warn", "retrain")]
    warnings = {_KINDS[finding["kind"]]: _sentence(finding) for finding in reversed(weak)}
    named = _ordered({gate: said for gate, said in warnings.items() if gate not in objected})
    if objected and result.status != "pushed":
        gates, said = _ordered(objected), _first(objected)
        return Observation(fault, "caught", gates, said, result.status, seconds, named)
    outcome: Outcome = "warned" if named else "escaped"
    said = _first(warnings) if named else "pushed"
    return Observation(fault, outcome, (), said, result.status, seconds, named)


def _ordered(objected: dict[Gate, str]) -> tuple[Gate, ...]:
    return tuple(gate for gate in GATES if gate in objected)


def _first(objected: dict[Gate, str]) -> str:
    return _said(objected[_ordered(objected)[0]])


def _sentence(finding: dict[str, Any]) -> str:
    where = ", ".join(part for part in (finding["feature"], finding["split"]) if part)
    return f"{finding['kind']} ({where}): {finding['message']}" if where else finding["message"]


def _said(message: str) -> str:
    """One line, without addresses in memory, which differ from run to run."""
    line = re.sub(r" at 0x[0-9a-f]+", "", " ".join(message.split()))
    return line if len(line) <= _SAID_MAX else line[: _SAID_MAX - 1] + "…"
