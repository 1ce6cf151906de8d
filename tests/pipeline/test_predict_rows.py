"""`headrace predict` reads values as ingestion does."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.cli import predict_rows
from pipeline.errors import DataError
from serving.client import table


def read(bench: Any, rows: dict[str, list[Any]], **data: Any) -> dict[str, list[Any]]:
    config = bench.config(data=data)
    made = predict_rows.typed(table.of(rows), config)
    return {name: list(made.column(name)) for name in made.names}


def test_moments_in_a_format_become_seconds(bench: Any) -> None:
    rows = {"started": ["31/12/2019 08:00", None, ""], "note": ["31/12/2019 08:00", "", "x"]}
    made = read(bench, rows, time_formats={"started": "%d/%m/%Y %H:%M"})
    assert made == {"started": [1577779200, None, None], "note": rows["note"]}
    units = {"started": "milliseconds"}
    assert read(bench, {"started": [1577779200999]}, time_formats=units)["started"] == [1577779200]
    assert read(bench, {"started": ["1577779200999"]}, time_formats=units)["started"] == [
        1577779200
    ]


def test_numbers_with_a_decimal_comma(bench: Any) -> None:
    rows = {"fare": ["12,5", "3", None], "riders": ["2", "1", ""], "flag": ["1,5", "N", "Y"]}
    made = read(bench, rows, csv={"decimal": ","})
    assert made == {"fare": [12.5, 3.0, None], "riders": [2, 1, None], "flag": rows["flag"]}
    # JSON and Parquet hold numbers as such.
    assert read(bench, {"fare": [12.5, None]}, csv={"decimal": ","})["fare"] == [12.5, None]


def test_without_either_nothing_is_touched(bench: Any) -> None:
    rows = {"fare": ["12.5", "x"], "started": ["soon", 3]}
    assert read(bench, rows) == rows


@pytest.mark.parametrize(
    "name, values, told",
    [
        ("started", ["31/12/2019 08:00", "2019-12-31"], r"row 2, column started: .*%d/%m/%Y %H:%M"),
        ("fare", ["1,5", "12;5"], r"row 2, column fare: .*a number with ','"),
    ],
)
def test_what_is_not_written_so_is_named(
    bench: Any, name: str, values: list[str], told: str
) -> None:
    settings = {"time_formats": {"started": "%d/%m/%Y %H:%M"}, "csv": {"decimal": ","}}
    with pytest.raises(DataError, match=told):
        read(bench, {name: values}, **settings)
