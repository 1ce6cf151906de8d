"""`headrace predict` reads values as ingestion does."""

from __future__ import annotations

import random
from typing import Any

import pyarrow as pa
import pytest

from pipeline import sql
from pipeline.cli import predict_rows
from pipeline.errors import DataError
from serving.client import moments, table


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


# --- files are read as ingestion reads them -------------------------------------------------


def of_file(bench: Any, name: str, content: bytes, limit: int | None = None, **data: Any) -> Any:
    path = bench.write(name, content)
    made = predict_rows.read(str(path), bench.config(data=data), limit)
    return {name: list(made.column(name)) for name in made.names}


FIVE_PAST_NINE = 1704445500


@pytest.mark.parametrize(
    "text, data",
    [
        ("2024/1/5 9:05", {}),
        ("2024-01-05 10:05:00 +01:00", {}),
        ("2024-01-05 10:05:00 Europe/Berlin", {}),
        (f"{FIVE_PAST_NINE}.25", {}),
        ("1/5/24 9:05", {"time_formats": {"started": "%m/%d/%y %H:%M"}}),
        (f"{FIVE_PAST_NINE}123", {"time_formats": {"started": "milliseconds"}}),
    ],
)
@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_moments_of_a_file(bench: Any, text: str, data: dict[str, Any], ending: str) -> None:
    rows = [f'{{"started": "{value}", "fare": 1.5}}' for value in (text, "")]
    content = {"csv": f"started,fare\n{text},1.5\n,1.5\n", "jsonl": "\n".join(rows)}[ending]
    made = of_file(bench, f"a.{ending}", content.encode(), **data)
    assert made == {"started": [FIVE_PAST_NINE, None], "fare": [1.5, 1.5]}


def test_dates_of_zeros_are_missing(bench: Any) -> None:
    content = b"started,fare\n0000-00-00 00:00:00,1\n2024/1/5 9:05,2\n"
    assert of_file(bench, "a.csv", content)["started"] == [None, FIVE_PAST_NINE]


@pytest.mark.parametrize(
    "content, csv",
    [
        ("fare;note\n1,5;caf\u00e9 \u20ac\n".encode("cp1252"), {"encoding": "windows-1252"}),
        (b"fare;note\r\n1,5;caf\xc3\xa9 \xe2\x82\xac\n", {}),
        (b"fare;note\n1,5;caf\xc3\xa9 \xe2\x82\xac;\n", {}),
    ],
)
def test_the_dialect_is_the_configuration_s(bench: Any, content: bytes, csv: Any) -> None:
    made = of_file(bench, "a.csv", content, csv={"decimal": ",", **csv})
    assert made == {"fare": [1.5], "note": ["café €"]}


def test_only_the_first_rows_and_other_columns_as_they_are(bench: Any) -> None:
    content = b"fare,colour\n" + b"1,red\n" * 9 + b"x,blue\n"
    assert of_file(bench, "a.csv", content, 2) == {"fare": [1.0, 1.0], "colour": ["red", "red"]}
    with pytest.raises(DataError, match=r"row 10, column fare: must be a number, got 'x'"):
        of_file(bench, "a.csv", content)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "value, told",
    [
        (f"{FIVE_PAST_NINE}000", 'in milliseconds. Give seconds; .*started = "milliseconds"'),
        (f"{FIVE_PAST_NINE}000000000", "in nanoseconds"),
    ],
)
def test_a_moment_that_is_a_thousand_times_too_large(
    bench: Any, ending: str, value: str, told: str
) -> None:
    content = {"csv": f"started\n{FIVE_PAST_NINE}\n{value}\n"}.get(
        ending, f'{{"started": {FIVE_PAST_NINE}}}\n{{"started": {value}}}\n'
    )
    with pytest.raises(DataError, match=f"row 2, column started: .*{told}"):
        of_file(bench, f"a.{ending}", content.encode())


# --- the client reads the same --------------------------------------------------------------


def written(rng: random.Random) -> str:
    """Something like a moment, often a wrong one."""
    pick = rng.choice
    mark = pick("--//.")
    text = f"{pick(['2024', '1969', '0001', '9999', '24'])}{mark}{rng.randint(0, 13)}{mark}"
    text += pick([str(rng.randint(0, 32)), f"{rng.randint(1, 28):02}"])
    if rng.random() < 0.2:
        text = (
            f"2024{rng.randint(1, 13):02}{rng.randint(1, 31):02}T{pick(['0905', '093059', '24'])}"
        )
    elif rng.random() < 0.8:
        text += (
            f"{pick(' Tt')}{pick(['9', '09', '23', '24', '25'])}:{pick(['5', '00', '00', '60'])}"
        )
        text += pick(["", ":00", ":00", ":59", ":7", ":60"])
    text += pick(["", "", ".5", ",000", ".999999999"])
    zones = ["Z", "z", "UTC", "GMT", "+00", "+01:00", "+0530", "-08", "+14:00", "+2", "+01:00:30"]
    return text + pick(["", "", " "]) + pick(["", *zones])


def test_the_client_reads_written_moments_as_ingestion_does() -> None:
    texts = [written(random.Random(seed)) for seed in range(4000)]
    with sql.connect() as connection:
        connection.register("given", pa.table({"x": texts}))
        typed = sql.typed("x", "timestamp", "VARCHAR")
        made = [value for (value,) in connection.execute(f"SELECT {typed} FROM given").fetchall()]
    assert sum(value is not None for value in made) > 500
    assert {text: moments.of_text(text) for text in texts} == dict(zip(texts, made, strict=True))
