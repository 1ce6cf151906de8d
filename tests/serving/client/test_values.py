"""How a value becomes what the signature wants, and what is said when it cannot."""

import datetime as dt
import decimal
import math
import struct
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.client import values
from serving.client.errors import RowError
from serving.client.signature import TensorSpec, nest

MOMENT = dt.datetime(2020, 12, 1, 0, 30, 59, 999_999)
SECONDS = 1_606_782_659


def send(value: Any, dtype: str, default: Any = None) -> Any:
    (sent,) = values.tensor("c", [value], TensorSpec(dtype, (-1,), default), 1).values
    return sent


@pytest.mark.parametrize(
    "value, dtype, sent",
    [
        (1, "DT_FLOAT", 1.0),
        ("2.5", "DT_FLOAT", 2.5),
        (True, "DT_FLOAT", 1.0),
        (decimal.Decimal("0.5"), "DT_DOUBLE", 0.5),
        (np.float32(0.5), "DT_FLOAT", 0.5),
        (math.inf, "DT_FLOAT", math.inf),
        (5.0, "DT_INT64", 5),
        ("5", "DT_INT64", 5),
        ("5.0", "DT_INT64", 5),
        (np.int16(5), "DT_INT32", 5),
        (MOMENT, "DT_INT64", SECONDS),
        (MOMENT.replace(tzinfo=dt.timezone(dt.timedelta(hours=1))), "DT_INT64", SECONDS - 3600),
        (dt.datetime(1969, 12, 31, 23, 59, 59, 500_000), "DT_INT64", -1),
        (dt.date(1970, 1, 2), "DT_INT64", 86_400),
        (pd.Timestamp(MOMENT), "DT_INT64", SECONDS),
        (np.datetime64(MOMENT), "DT_INT64", SECONDS),
        ("2020-12-01 00:30:59", "DT_INT64", SECONDS),
        ("2020-12-01T00:30:59Z", "DT_INT64", SECONDS),
        (5, "DT_STRING", "5"),
        (True, "DT_STRING", "true"),
        (b"\xff", "DT_STRING", b"\xff"),
        ("", "DT_STRING", ""),
        (1, "DT_BOOL", True),
        ("false", "DT_BOOL", False),
    ],
)
def test_values_are_converted(value: Any, dtype: str, sent: Any) -> None:
    got = send(value, dtype)
    assert got == sent and type(got) is type(sent)


@pytest.mark.parametrize("missing", [None, math.nan, pd.NA, pd.NaT, np.float64("nan"), ""])
def test_missing_is_the_default_or_else_what_headrace_s_models_take_for_it(missing: Any) -> None:
    assert math.isnan(send(missing, "DT_FLOAT"))
    assert send(missing, "DT_INT64") == -1
    assert send(missing, "DT_STRING") == ""
    assert send(missing, "DT_FLOAT", 0.5) == 0.5
    assert send(missing, "DT_INT64", 7) == 7
    for dtype in ("DT_BOOL", "DT_UINT8"):
        with pytest.raises(RowError, match="row 1, column c: is missing"):
            send(missing, dtype)


@pytest.mark.parametrize(
    "value, dtype, complaint",
    [
        ("many", "DT_FLOAT", "must be a number, got 'many'"),
        ("1_000", "DT_FLOAT", "must be a number"),
        (5.5, "DT_INT64", "whole number or a moment, got 5.5"),
        (math.inf, "DT_INT64", "whole number"),
        ("5.5", "DT_INT64", "whole number"),
        (2**63, "DT_INT64", "must be from -9223372036854775808"),
        (300, "DT_UINT8", "must be from 0 to 255, got 300"),
        ([1], "DT_INT64", r"must be one value, got \[1\]"),
        ({"a": 1}, "DT_STRING", "must be one value"),
        (dt.timedelta(1), "DT_STRING", "must be a text"),
        ("maybe", "DT_BOOL", "true or false"),
        ("x" * 500, "DT_FLOAT", "…"),
        (1.0, "DT_COMPLEX64", "cannot send values of type DT_COMPLEX64"),
    ],
)
def test_what_does_not_fit_is_told_with_row_and_column(
    value: Any, dtype: str, complaint: str
) -> None:
    with pytest.raises(RowError, match=complaint) as caught:
        send(value, dtype)
    assert "column c" in str(caught.value) and len(str(caught.value)) < 200


def test_columns_of_lists() -> None:
    spec = TensorSpec("DT_FLOAT", (-1, 2))
    sent = values.tensor("c", [[1, 2], (3, "4"), np.array([5, 6])], spec, 1)
    assert sent.shape == (3, 2) and sent.values == [1, 2, 3, 4, 5, 6]
    for wrong in (1.0, [1], [1, 2, 3], [[1], [2, 3]]):
        with pytest.raises(RowError, match="row 8, column c: has values of shape"):
            values.tensor("c", [[1, 2], wrong], spec, 7)
    wide = TensorSpec("DT_FLOAT", (-1, 1))
    assert values.tensor("c", [1, [2]], wide, 1).shape == (2, 1)
    free = TensorSpec("DT_FLOAT", None)
    assert values.tensor("c", [[[1], [2]]], free, 1).shape == (1, 2, 1)
    with pytest.raises(RowError, match="takes one value"):
        values.tensor("c", [1], TensorSpec("DT_FLOAT", ()), 1)


@given(st.lists(st.floats(width=32) | st.integers(-(2**24), 2**24) | st.none()))
def test_floats_arrive_as_they_were(column: list[Any]) -> None:
    sent = values.tensor("c", column, TensorSpec("DT_FLOAT", (-1,), math.nan), 1).values
    for given_, got in zip(column, sent, strict=True):
        expected = math.nan if given_ is None else float(given_)
        assert struct.pack("<d", got) == struct.pack("<d", expected) or math.isnan(expected)


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_nesting_is_the_inverse_of_flattening(a: int, b: int, c: int) -> None:
    flat = list(range(a * b * c))
    assert nest(flat, (a, b, c)) == np.arange(a * b * c).reshape(a, b, c).tolist()


@pytest.mark.parametrize(
    "shape, rows, complaint",
    [
        (
            (-1, 3),
            [[1, 2, 3], [1, 2]],
            r"row 2, column v: has values of shape \[2\], must be \[3\]",
        ),
        ((-1, 3), [1], r"row 1, column v: has values of shape \[\], must be \[3\]"),
        ((-1, -1, 2), [[[1], [2]]], r"shape \[2, 1\], must be \[any, 2\]"),
        ((-1, -1, 2), [[[1, 2], [2]]], r"has values of shapes that differ, must be \[any, 2\]"),
        ((-1, -1), [[1], [1, 2]], r"row 2, column v: has values of shape \[2\], must be \[1\]"),
        ((-1,), [[1, 2]], r"row 1, column v: must be one value, got \[1, 2\]"),
    ],
)
def test_a_wrong_shape_names_the_column_and_the_shape_wanted(
    shape: tuple[int, ...], rows: list[Any], complaint: str
) -> None:
    with pytest.raises(RowError, match=complaint):
        values.tensor("v", rows, TensorSpec("DT_FLOAT", shape), 1)
