"""The committed matrix is whole, and a worse one is told apart from a better one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pipeline.audit import catalog, matrix, observed
from pipeline.audit.fault import CONTROL
from pipeline.audit.matrix import Matrix
from pipeline.audit.observed import Observation
from pipeline.cli.main import headrace
from pipeline.local.result import RunResult

COMMITTED = Path(__file__).resolve().parents[3] / "pipeline" / "audit" / "MATRIX.json"


@pytest.fixture(scope="module")
def committed() -> Matrix:
    return Matrix.from_json(COMMITTED.read_text())


def test_the_committed_matrix_has_every_fault(committed: Matrix) -> None:
    assert [one.fault for one in committed.observations] == [CONTROL, *catalog.FAULTS]
    assert committed.by_name()[CONTROL].status == "pushed"


def test_nothing_escapes_that_is_not_said_to(committed: Matrix) -> None:
    assert matrix.undeclared(committed.observations) == []


def test_what_is_said_to_escape_does(committed: Matrix) -> None:
    seen = committed.by_name()
    stopped = [
        f.name
        for f in catalog.FAULTS.values()
        if not f.expected and (seen[f.name].gates or seen[f.name].named)
    ]
    assert stopped == [], "these are caught after all: give them their gates"


def test_each_fault_meets_a_gate_that_was_expected(committed: Matrix) -> None:
    seen = committed.by_name()
    for fault in catalog.FAULTS.values():
        if fault.expected and seen[fault.name].outcome != "not_applicable":
            met = {*seen[fault.name].gates, *seen[fault.name].named}
            assert met & set(fault.expected), seen[fault.name]


def test_the_page_shows_the_committed_matrix(committed: Matrix) -> None:
    assert COMMITTED.with_suffix(".md").read_text() == committed.to_page()
    assert COMMITTED.read_text() == committed.to_json()


_SEEN = Observation("noisy-labels", "caught", ("drift", "evaluation"), "said", "blocked", 1.0)


@pytest.mark.parametrize(
    "now, told",
    [
        (_SEEN, False),
        (replace(_SEEN, gates=("schema",)), False),
        (replace(_SEEN, said="other words"), False),
        (replace(_SEEN, outcome="not_applicable", gates=()), False),
        (replace(_SEEN, gates=("evaluation",)), True),
        (replace(_SEEN, outcome="warned", gates=(), named=("drift",)), True),
        (replace(_SEEN, outcome="escaped", gates=()), True),
    ],
)
def test_worse_is_let_pass_or_seen_later(now: Observation, told: bool) -> None:
    before = Matrix(("a",), 10, (_SEEN,))
    assert bool(list(matrix.worse(before, [now]))) is told


def test_a_control_that_is_not_pushed_is_worse() -> None:
    pushed = Observation(CONTROL, "escaped", (), "pushed", "pushed", 1.0)
    blocked = replace(pushed, outcome="caught", gates=("drift",), status="blocked")
    assert list(matrix.worse(Matrix(("a",), 10, (pushed,)), [blocked]))


def test_text_from_data_cannot_break_the_page() -> None:
    name = "mojibake"
    said = "a | b <script> *c* `d` [e](f)"
    seen = [
        Observation(CONTROL, "escaped", (), "pushed", "pushed", 1.0),
        Observation(name, "caught", ("schema",), said, "blocked", 1.0),
    ]
    page = Matrix(("a", "b"), 10, tuple(seen)).to_page()
    assert "<script>" not in page.replace(r"\<script\>", "")
    assert r"a \| b \<script\> \*c\*" in page


def _result(**values: Any) -> RunResult:
    return RunResult(**{"status": "pushed", "run_id": "r", **values})


def _finding(kind: str, policy: str) -> dict[str, Any]:
    return {"kind": kind, "feature": "fare", "split": "2019-12", "message": "m", "policy": policy}


@pytest.mark.parametrize(
    "result, outcome, gates",
    [
        (_result(), "escaped", ()),
        (
            _result(gates={"data": {"findings": [_finding("drift", "warn")]}}),
            "warned",
            ("drift",),
        ),
        (
            _result(gates={"data": {"findings": [_finding("prediction", "retrain")]}}),
            "warned",
            ("prediction",),
        ),
        (
            _result(gates={"data": {"findings": [_finding("drift", "allowed")]}}),
            "escaped",
            (),
        ),
        (
            _result(
                status="blocked",
                gates={
                    "data": {
                        "findings": [_finding("new_column", "block"), _finding("drift", "warn")]
                    }
                },
            ),
            "caught",
            ("schema",),
        ),
        (
            _result(
                status="not_blessed",
                gates={
                    "evaluation": {"findings": [{"message": "auc"}]},
                    "proof": {"findings": [{"check": "load", "message": "no"}]},
                },
            ),
            "caught",
            ("evaluation", "proof"),
        ),
        (
            _result(status="failed", message="Trainer failed: ValueError: x"),
            "caught",
            ("training",),
        ),
        (_result(status="failed", message="label.expression: all"), "caught", ("ingestion",)),
        (_result(status="up_to_date", message="the model is identical"), "caught", ("pusher",)),
    ],
)
def test_a_result_is_read_as_the_gates_meant_it(
    result: RunResult, outcome: str, gates: tuple[str, ...]
) -> None:
    seen = observed.of_result("fault", result, 1.0)
    assert (seen.outcome, seen.gates or seen.named) == (outcome, gates)
    assert bool(seen.gates) is (outcome == "caught")


def test_what_was_named_before_another_gate_caught_it_is_kept() -> None:
    findings = [_finding("label", "warn"), _finding("prediction", "retrain")]
    refused = {"findings": [{"message": "auc"}]}
    gates = {"data": {"findings": findings}, "evaluation": refused}
    seen = observed.of_result("fault", _result(status="not_blessed", gates=gates), 1.0)
    assert seen.gates == ("evaluation",) and seen.named == ("label", "prediction")
    page = Matrix(("a",), 1, (_PUSHED, replace(seen, fault="prior-shifted"))).to_page()
    (row,) = (line for line in page.splitlines() if line.startswith("| prior-shifted"))
    assert row.count("□") == 2 and row.count("■") == 1


def test_the_list_names_faults_without_loading_anything_heavy() -> None:
    done = CliRunner().invoke(headrace, ["audit", "--list"])
    assert done.exit_code == 0
    assert "miles-to-kilometres" in done.output and "stale-model" in done.output


@pytest.mark.parametrize(
    "arguments, code, told",
    [
        (["mile-to-kilometres"], 2, "Did you mean miles-to-kilometres?"),
        (["--rows", "3"], 2, "--rows"),
        (["--baseline", "no/such.json"], 1, "Write one with --write"),
        (["--config", "no/such.toml"], 2, "no/such.toml"),
    ],
)
def test_bad_arguments_are_told_at_once(arguments: list[str], code: int, told: str) -> None:
    done = CliRunner().invoke(headrace, ["audit", *arguments])
    assert done.exit_code == code, done.output
    assert told in done.output


def test_a_baseline_that_is_no_matrix_is_told(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text(json.dumps({"spans": []}))
    done = CliRunner().invoke(headrace, ["audit", "--baseline", str(tmp_path / "m.json")])
    assert done.exit_code == 1 and "is no matrix" in done.output


@pytest.fixture
def audited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the command on observations that are made up instead of made."""
    from pipeline.audit import rehearsal, workshop

    def run(*observations: Observation, arguments: tuple[str, ...] = ()) -> Any:
        def audit(shop: Any, names: Any, *, workers: int, told: Any) -> list[Observation]:
            for one in observations:
                told(one)
            return list(observations)

        shop = workshop.Workshop(tmp_path, None, ("2019-11", "2019-12"))  # type: ignore[arg-type]
        monkeypatch.setattr(workshop, "set_up", lambda *a, **k: shop)
        monkeypatch.setattr(rehearsal, "audit", audit)
        config = str(COMMITTED.parents[2] / "headrace.toml")
        return CliRunner().invoke(headrace, ["audit", "--config", config, *arguments])

    return run


_PUSHED = Observation(CONTROL, "escaped", (), "pushed", "pushed", 1.0)


def test_all_is_well_when_all_is_caught_or_said_to_escape(audited: Any) -> None:
    escaping = Observation("half-missing", "escaped", (), "pushed", "pushed", 1.0)
    done = audited(_PUSHED, _SEEN, escaping)
    assert done.exit_code == 0, done.output
    assert "1 caught, 1 escaped" in done.output
    assert "A random half of a span looks like the whole" in " ".join(done.output.split())


def test_an_escape_that_nobody_declared_fails(audited: Any) -> None:
    done = audited(_PUSHED, replace(_SEEN, outcome="escaped", gates=()))
    assert done.exit_code == 1 and "noisy-labels: escaped" in done.output


def test_a_control_that_is_refused_makes_every_refusal_worthless(audited: Any) -> None:
    refused = replace(_PUSHED, outcome="caught", gates=("drift",), status="blocked", said="why")
    done = audited(refused, _SEEN, arguments=("--json",))
    assert done.exit_code == 1
    told = json.loads(done.output.splitlines()[-1])["problems"]
    assert len(told) == 1 and "--rows" in told[0]
    assert "the run without a fault is blocked, so no refusal means anything: why" in told[0]


def test_what_is_written_is_the_next_baseline(audited: Any, tmp_path: Path) -> None:
    written = audited(_PUSHED, _SEEN, arguments=("--write", str(tmp_path / "M")))
    assert written.exit_code == 0 and "noisy-labels" in (tmp_path / "M.md").read_text()
    baseline = ("--baseline", str(tmp_path / "M.json"))
    assert audited(_PUSHED, _SEEN, arguments=baseline).exit_code == 0
    worse = audited(_PUSHED, replace(_SEEN, outcome="warned"), arguments=baseline)
    assert worse.exit_code == 1
    assert "worse: noisy-labels: was caught by drift, evaluation" in " ".join(worse.output.split())
