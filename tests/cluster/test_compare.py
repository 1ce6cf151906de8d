"""What counts as equal when a cluster's outcome is compared, and that nothing else does."""

from __future__ import annotations

import compare
import numpy as np
import pytest

from pipeline.vertex.twin.parity import Row

ROWS: compare.Arrays = {
    "place": np.array([[1], [2]]),
    "fare": np.array([[0.5], [np.nan]], np.float32),
    "flag": np.array([[b"Y"], [b""]], object),
}


def changed(name: str, values: np.ndarray) -> compare.Arrays:
    return {**ROWS, name: values}


def test_records_may_come_in_another_order_but_as_often() -> None:
    assert compare.multisets("train", [b"a", b"b", b"a"], [b"a", b"a", b"b"]).same
    row = compare.multisets("train", [b"a", b"b", b"a"], [b"a", b"b", b"b"])
    assert not row.same
    assert row.local == row.twin == "3 records, 1 of them here only"


def test_the_same_rows_are_the_same() -> None:
    row = compare.transformed("eval", ROWS, {name: array.copy() for name, array in ROWS.items()})
    assert row == Row("transformed, eval", "6 values", "largest difference 0.0e+00", True)


@pytest.mark.parametrize(
    "name,values,same",
    [
        ("fare", np.array([[0.5 + 4e-7], [np.nan]], np.float32), True),
        ("fare", np.array([[0.50001], [np.nan]], np.float32), False),
        ("fare", np.array([[0.5], [0.0]], np.float32), False),
        ("fare", np.array([[0.5], [np.nan]], np.float64), False),
        ("place", np.array([[1], [3]]), False),
        ("place", np.array([[1]]), False),
        ("flag", np.array([[b"N"], [b""]], object), False),
    ],
)
def test_only_a_sum_in_another_order_is_forgiven(name: str, values: np.ndarray, same: bool) -> None:
    row = compare.transformed("eval", ROWS, changed(name, values))
    assert row.same is same
    assert same or row.twin == name


def test_a_feature_more_or_less_is_a_difference() -> None:
    assert not compare.transformed("eval", ROWS, changed("tip", np.array([[1], [1]]))).same


def test_the_table_says_which_rows_differ() -> None:
    rows = [Row("rows", "1", "1", True), Row("metrics", "0.5", "0.6", False)]
    lines = compare.table(rows, "flink").splitlines()
    assert lines[0].split() == ["DirectRunner", "flink"]
    assert lines[1].split() == ["rows", "1", "1", "equal"]
    assert lines[2].split() == ["metrics", "0.5", "0.6", "DIFFERS"]
