"""A run with a fault ends when its outcome is known, and no sooner."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.audit.fault import Fault, Gate

pytestmark = pytest.mark.tfx

NODES = (
    "SpanExampleGen",
    "DataGate",
    "Transform",
    "Trainer",
    "InfraValidator",
    "Evaluator",
    "Pusher",
)


class Ran(list[str]):
    """The nodes that ran, and what each leaves behind."""

    def __init__(self, left: dict[str, dict[str, Any]]) -> None:
        super().__init__()
        self.left = left


def finding(kind: str, policy: str) -> dict[str, Any]:
    return {"kind": kind, "feature": "fare", "split": "2019-12", "message": "m", "policy": policy}


def verdict(*findings: dict[str, Any]) -> dict[str, Any]:
    return {"data": {"passed": True, "findings": list(findings)}}


REFUSED = {"evaluation": {"passed": False, "findings": [{"message": "auc"}]}}
UNPROVEN = {"proof": {"passed": False, "findings": [{"check": "load", "message": "no"}]}}


def run(monkeypatch: pytest.MonkeyPatch, expected: tuple[Gate, ...], **left: Any) -> Ran:
    """Runs nodes that leave behind what is given for them; those that ran."""
    from pipeline.audit import audit_runner
    from pipeline.local import runner

    ran = Ran(left)

    def launcher(self: Any, pipeline: Any) -> Any:
        return lambda node: ran.append(node.node_info.id)

    def fill(result: Any, store: Any, nodes: Any) -> None:
        for name in ran:
            result.gates |= left.get(name, {})

    monkeypatch.setattr(runner.ProgressRunner, "launcher", launcher)
    monkeypatch.setattr(audit_runner.outcome, "fill", fill)
    monkeypatch.setattr(audit_runner.outcome, "connect", lambda path: None)
    nodes = [SimpleNamespace(node_info=SimpleNamespace(id=name)) for name in NODES]
    pipeline: Any = SimpleNamespace(nodes=[SimpleNamespace(pipeline_node=node) for node in nodes])
    fault = Fault("a-fault", "It went wrong.", expected)
    made = audit_runner.AuditRunner(fault, "metadata.db", "run", lambda name, seconds: None)
    try:
        made.run_with_ir(pipeline)
    except audit_runner.Decided as known:
        ran.append(f"decided {sorted(known.result.gates)}")
    return ran


def test_without_an_objection_all_of_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    assert sorted(run(monkeypatch, ("drift",))) == sorted(NODES)
    assert run(monkeypatch, ())[-1] == "Pusher"


@pytest.mark.parametrize(
    "expected, found, ends",
    [
        (("drift",), "drift", True),
        (("schema", "drift"), "drift", True),
        (("drift", "evaluation"), "drift", False),  # it may yet be caught
        (("label",), "drift", False),  # something else was named
        ((), "drift", False),
    ],
)
def test_what_a_gate_named_ends_it_if_nothing_further_on_was_to_catch_it(
    monkeypatch: pytest.MonkeyPatch, expected: tuple[Gate, ...], found: str, ends: bool
) -> None:
    ran = run(monkeypatch, expected, DataGate=verdict(finding(found, "warn")))
    assert (ran[-1] == "decided ['data']") is ends
    assert ("Transform" in ran) is not ends


def test_the_judge_that_is_to_catch_it_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = run(monkeypatch, ("evaluation",), Evaluator=REFUSED, InfraValidator=UNPROVEN)
    assert ran[-2:] == ["Evaluator", "decided ['evaluation']"]
    ran = run(monkeypatch, ("proof",), Evaluator=REFUSED, InfraValidator=UNPROVEN)
    assert ran[-2:] == ["InfraValidator", "decided ['proof']"]
    ran = run(monkeypatch, ("proof",), Evaluator=REFUSED)
    assert ran[-3:] == ["InfraValidator", "Evaluator", "decided ['evaluation']"]
