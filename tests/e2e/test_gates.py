"""Data that must not become a model: the gate closes, the run ends with exit code 3."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_BREAKS = {
    "a new column": (
        "SELECT *, 1 AS airport_fee FROM trips",
        ["new_column (airport_fee", "[features]"],
    ),
    "all nulls in a required column": (
        "SELECT * REPLACE (CAST(NULL AS DOUBLE) AS trip_distance) FROM trips",
        ["anomaly (trip_distance"],
    ),
    "unexpected values": (
        "SELECT * REPLACE ('maybe' AS store_and_fwd_flag) FROM trips",
        ["anomaly (store_and_fwd_flag", "maybe"],
    ),
    "a column whose type changed": (
        "SELECT * REPLACE ('fare ' || fare_amount AS fare_amount) FROM trips",
        ["quarantine (2019-12", "100.0%", "type: fare_amount is not float", "2019-12.parquet"],
    ),
    "infinity everywhere": (
        "SELECT * REPLACE (CAST('inf' AS DOUBLE) AS trip_distance) FROM trips",
        ["quarantine (2019-12", "not finite: trip_distance"],
    ),
    "half a span": (
        "SELECT * FROM trips LIMIT 100",
        ["rows (2019-12", "100 rows", "window.min_rows_share"],
    ),
}


@pytest.mark.parametrize("case", _BREAKS)
def test_the_gate_closes_and_says_why(changeable, case: str) -> None:
    query, fragments = _BREAKS[case]
    changeable.write(query, "2019-12", "FORMAT parquet")
    blocked = changeable.run()
    assert blocked.code == 3, blocked.out + blocked.err
    result = blocked.result
    assert result["status"] == "blocked" and not result["gates"]["data"]["passed"]
    for fragment in fragments:
        assert fragment in result["message"], result["message"]
    assert "Trainer" not in result["seconds"] or result["seconds"]["Trainer"] < 1
    assert changeable.versions() == [1]


def test_one_class_only_is_an_error(changeable) -> None:
    changeable.configure(
        lambda text: text.replace("tip_amount > 0.2 * fare_amount", "fare_amount > -1")
    )
    failed = changeable.run()
    assert failed.code == 1
    assert "label.expression" in failed.result["message"]
    assert "both classes" in failed.result["message"]
    assert changeable.versions() == [1]


def test_a_warning_lets_the_run_pass_and_is_shown(changeable) -> None:
    changeable.write("SELECT *, 1 AS airport_fee FROM trips", "2019-12", "FORMAT parquet")
    changeable.configure(lambda text: text + '\n[gates]\nnew_column = "warn"\n')
    passed = changeable.headrace("run")
    assert passed.code in (0, 4), passed.out + passed.err
    assert "warning: new_column airport_fee" in passed.out


def test_a_model_that_answers_too_slowly_is_not_pushed(changeable) -> None:
    changeable.configure(lambda text: text + "\n[proof]\nlatency_p99_ms = 0.001\n")
    refused = changeable.run()
    assert refused.code == 4, refused.out + refused.err
    result = refused.result
    assert result["status"] == "not_blessed" and not result["gates"]["proof"]["passed"]
    assert result["gates"]["evaluation"]["passed"]
    assert "latency grpc: p50" in result["message"]
    assert "the budget is 0.001 ms" in result["message"]
    assert changeable.versions() == [1]
