"""A part of the audit, for real: what the committed matrix says of these faults still holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.audit.matrix import Matrix

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
BASELINE = ROOT / "pipeline" / "audit" / "MATRIX.json"

#: One for each gate that stands before training, and for the one right before the push; and rows
#: delivered twice and a schema edited between two runs, which are hard to see. `make audit` makes
#: them all.
FAULTS = (
    "truncated-shard",
    "schema-tightened",
    "span-cut-short",
    "events-duplicated",
    "wrong-year",
    "null-burst",
    "one-weight-changed",
)


def test_the_gates_are_no_worse_than_committed(bare_project) -> None:
    matrix = Matrix.from_json(BASELINE.read_text())
    audited = bare_project.headrace(
        "audit",
        *FAULTS,
        *("--config", str(ROOT / "headrace.toml"), "--span", matrix.spans[-1]),
        *("--rows", str(matrix.rows), "--baseline", str(BASELINE), "--json"),
        timeout=880,
    )
    assert audited.code == 0, audited.out + audited.err
    told = json.loads(audited.out)
    assert told["problems"] == []
    seen = {one["fault"]: one for one in told["observations"]}
    assert set(seen) == {"control", *FAULTS} and seen["control"]["status"] == "pushed"
    for name in FAULTS:
        assert seen[name]["outcome"] == "caught", seen[name]
    gates = {gate for one in seen.values() for gate in one["gates"]}
    assert {"ingestion", "rows", "quarantine", "schema", "proof"} <= gates
