"""What a finding does to a run."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import GatesConfig
from pipeline.findings import Finding, Kind, Policies, judge, of_ingestion
from pipeline.ingest.summary import Ingested, SpanRows


def policies(**gates: str) -> Policies:
    return Policies(gates=GatesConfig.model_validate(gates), max_share=0.02, min_rows_share=0.1)


def finding(kind: Kind, **values: Any) -> Finding:
    return Finding(**{"kind": kind, "feature": "fare", "split": "", "message": "odd"} | values)


def ingested(new_columns: dict[str, list[str]] | None = None, **spans: SpanRows) -> Ingested:
    return Ingested("print", {}, {}, spans, new_columns or {})


def rows(kept: int, **reasons: int) -> SpanRows:
    samples = {reason: f"a.csv, row 3: {{{reason}}}" for reason in reasons}
    return SpanRows(kept, sum(reasons.values()), reasons, samples)


def found(total: Ingested) -> list[Finding]:
    return list(of_ingestion(total, policies()))


# --- judgement ---------------------------------------------------------------------------


def test_every_kind_of_finding_has_a_policy() -> None:
    assert set(get_args(Kind)) == set(GatesConfig.model_fields)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_policies_decide_kind_by_kind(kind: Kind) -> None:
    blocked = judge([finding(kind)], policies(**{kind: "block"}))
    warned = judge([finding(kind)], policies(**{kind: "warn"}))
    assert blocked["passed"] is False
    assert warned["passed"] is True
    assert blocked["findings"][0]["policy"] == "block"
    assert warned["findings"][0] == finding(kind).model_dump() | {"policy": "warn"}


def test_nothing_found_passes() -> None:
    assert judge([], policies()) == {"passed": True, "findings": []}


@given(
    kinds=st.lists(st.sampled_from(get_args(Kind)), max_size=12),
    gates=st.fixed_dictionaries(dict.fromkeys(get_args(Kind), st.sampled_from(["block", "warn"]))),
)
def test_what_blocks_comes_first_and_nothing_is_lost(
    kinds: list[Kind], gates: dict[str, str]
) -> None:
    given_ = [finding(kind, value=float(n)) for n, kind in enumerate(kinds)]
    verdict = judge(given_, policies(**gates))
    blocking = [f["policy"] == "block" for f in verdict["findings"]]
    assert blocking == sorted(blocking, reverse=True)
    assert verdict["passed"] == (not any(blocking))
    assert sorted(f["value"] for f in verdict["findings"]) == [f.value for f in given_]
    for policy in ("block", "warn"):  # within a policy, as they were found
        order = [f["value"] for f in verdict["findings"] if f["policy"] == policy]
        assert order == sorted(order)


def test_policies_come_from_the_configuration(bench: Any) -> None:
    config = bench.config(
        gates={"drift": "block"}, quarantine={"max_share": 0.3}, window={"min_rows_share": 0.5}
    )
    made = Policies.of(config)
    assert (made.gates.drift, made.max_share, made.min_rows_share) == ("block", 0.3, 0.5)
    assert Policies.model_validate_json(made.model_dump_json()) == made


# --- findings of ingestion ---------------------------------------------------------------


def test_good_data_has_no_findings() -> None:
    assert found(ingested(a=rows(100), b=rows(98, low=2))) == []


def test_a_share_at_the_limit_is_allowed_and_above_it_is_not() -> None:
    assert found(ingested(a=rows(98, low=2))) == []
    (only,) = found(ingested(a=rows(100), b=rows(97, low=2, odd=1)))
    assert (only.kind, only.split, only.value, only.threshold) == ("quarantine", "b", 0.03, 0.02)
    assert "3 of 100 rows (3.0%) are quarantined, most often for 'low' (2)" in only.message
    assert "a.csv, row 3: {low}" in only.message


def test_all_rows_quarantined() -> None:
    (only,) = found(ingested(a=rows(0, low=50)))
    assert only.value == 1.0
    assert "50 of 50 rows (100.0%)" in only.message


def test_a_new_column_is_told_with_a_file_and_what_to_do() -> None:
    (only,) = found(ingested({"colour": ["x.csv", "y.csv"]}, a=rows(10)))
    assert (only.kind, only.feature) == ("new_column", "colour")
    assert "x.csv has column 'colour'" in only.message
    assert "(2 file(s))" in only.message
    assert 'kind = "ignore"' in only.message


def test_half_a_span_is_told_by_its_size() -> None:
    sizes = {"a": rows(1000), "b": rows(94), "c": rows(1000), "d": rows(900)}
    (only,) = found(ingested(**sizes))
    assert (only.kind, only.split, only.threshold) == ("rows", "b", 0.1)
    assert only.value == pytest.approx(94 / 950)
    assert "94 rows; the window's spans have 950 in the median" in only.message
    assert "window.min_rows_share" in only.message
