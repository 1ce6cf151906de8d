"""What a finding does to a run."""

import datetime as dt
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import GatesConfig, Kind
from pipeline.findings import Finding, Policies, judge, of_ingestion
from pipeline.ingest.summary import Ingested, SpanRows

TODAY = dt.date(2020, 3, 1)


def policies(**gates: Any) -> Policies:
    return Policies(
        gates=GatesConfig.model_validate(gates),
        max_share=0.02,
        min_rows_share=0.1,
        max_repeated_share=0.02,
    )


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
    assert set(get_args(Kind)) == set(GatesConfig.model_fields) - {"features", "allow"}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_policies_decide_kind_by_kind(kind: Kind) -> None:
    blocked, warned, retrained = (
        judge([finding(kind)], policies(**{kind: policy}), TODAY)
        for policy in ("block", "warn", "retrain")
    )
    assert (blocked["passed"], blocked["retrain"]) == (False, False)
    assert (warned["passed"], warned["retrain"]) == (True, False)
    assert (retrained["passed"], retrained["retrain"]) == (True, True)
    assert blocked["findings"][0]["policy"] == "block"
    told = {"policy": "warn", "allowed_until": None, "reason": ""}
    assert warned["findings"][0] == finding(kind).model_dump() | told


def test_a_feature_can_have_policies_of_its_own() -> None:
    gates = {"drift": "block", "features": {"fare": {"drift": "warn"}}}
    mild, hard = (
        judge([finding("drift", feature=name)], policies(**gates), TODAY)
        for name in ("fare", "tolls")
    )
    assert (mild["passed"], hard["passed"]) == (True, False)


def test_what_is_allowed_passes_until_its_last_day() -> None:
    allowed = {"kind": "drift", "feature": "fare", "until": TODAY, "reason": "new tariff"}
    gates = policies(drift="block", allow=[allowed])
    on_the_day = judge([finding("drift")], gates, TODAY)
    assert on_the_day["passed"]
    told = on_the_day["findings"][0]
    assert (told["policy"], told["allowed_until"]) == ("allowed", TODAY.isoformat())
    assert told["reason"] == "new tariff"
    day_after = judge([finding("drift")], gates, TODAY + dt.timedelta(days=1))
    assert not day_after["passed"]
    assert "which is over" in day_after["findings"][0]["reason"]
    others = [finding("drift", feature="tolls"), finding("anomaly")]
    assert not any(judge([one], gates, TODAY)["passed"] for one in others)


def test_an_entry_without_a_feature_allows_all_of_its_kind() -> None:
    allowed = {"kind": "drift", "until": TODAY, "reason": "a holiday"}
    found_ = [finding("drift", feature=name) for name in ("fare", "tolls")]
    assert judge(found_, policies(drift="block", allow=[allowed]), TODAY)["passed"]


def test_nothing_found_passes() -> None:
    assert judge([], policies(), TODAY) == {"passed": True, "retrain": False, "findings": []}


@given(
    kinds=st.lists(st.sampled_from(get_args(Kind)), max_size=12),
    gates=st.fixed_dictionaries(dict.fromkeys(get_args(Kind), st.sampled_from(["block", "warn"]))),
)
def test_what_blocks_comes_first_and_nothing_is_lost(
    kinds: list[Kind], gates: dict[str, str]
) -> None:
    given_ = [finding(kind, value=float(n)) for n, kind in enumerate(kinds)]
    verdict = judge(given_, policies(**gates), TODAY)
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


def test_a_rule_can_have_a_limit_of_its_own() -> None:
    strict = policies().model_copy(update={"rule_shares": {"low": 0.005}})
    (only,) = of_ingestion(ingested(a=rows(99, low=1), b=rows(99, odd=1)), strict)
    assert (only.kind, only.split, only.value, only.threshold) == ("quarantine", "a", 0.01, 0.005)
    assert "1 of 100 rows (1.0%) break the rule 'low', for example a.csv, row 3" in only.message


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
