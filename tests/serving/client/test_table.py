"""Rows of every kind give the same columns."""

import datetime as dt
import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from serving.client import table
from serving.client.errors import RowError

ROWS: list[dict[str, Any]] = [{"x": 1.5, "n": 1, "s": "a"}, {"x": None, "n": None, "s": None}]


def columns(rows: Any, **options: Any) -> dict[str, list[Any]]:
    made = table.of(rows, **options)
    return {name: list(made.column(name)) for name in made.names}


EXPECTED = {"x": [1.5, None], "n": [1, None], "s": ["a", None]}


def test_in_memory() -> None:
    assert columns(ROWS) == EXPECTED
    assert columns(row for row in ROWS) == EXPECTED
    assert columns(EXPECTED) == EXPECTED
    assert columns(pa.Table.from_pylist(ROWS)) == EXPECTED
    assert columns(pa.RecordBatch.from_pylist(ROWS)) == EXPECTED
    assert columns(pd.DataFrame(ROWS).astype({"n": "Int64"})) == EXPECTED


def test_files(tmp_path: Path) -> None:
    parquet.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    assert columns(tmp_path / "rows.parquet") == EXPECTED
    lines = "\n".join(map(json.dumps, ROWS)) + "\n\n"
    (tmp_path / "rows.jsonl").write_text(lines)
    assert columns(str(tmp_path / "rows.jsonl")) == EXPECTED
    with gzip.open(tmp_path / "rows.jsonl.gz", "wt") as file:
        file.write(lines)
    assert columns(tmp_path / "rows.jsonl.gz") == EXPECTED
    texts = {"x": ["1.5", None], "n": ["1", None], "s": ["a", None]}
    for delimiter in ",;\t|":
        text = "\ufeffx,n,s\r\n1.5,1,a\r\n,,\r\n".replace(",", delimiter)
        (tmp_path / "rows.csv").write_text(text, encoding="utf-8", newline="")
        assert columns(tmp_path / "rows.csv") == texts
    (tmp_path / "rows.csv.gz").write_bytes(gzip.compress(b'x,s\n"1,5","a\nb"\n'))
    assert columns(tmp_path / "rows.csv.gz") == {"x": ["1,5"], "s": ["a\nb"]}


def test_a_dialect(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes("x;s\n1,5;ü\nNA;NA\n".encode("latin-1"))
    read = table.read(str(path), None, table.Dialect(";", "latin-1", ("NA",)))
    assert list(read.column("s")) == ["ü", None]
    with pytest.raises(RowError, match="is not utf-8 text"):
        table.read(str(path))


def test_moments_become_seconds(tmp_path: Path) -> None:
    moment = dt.datetime(1969, 12, 31, 23, 59, 58, 500_000)
    for unit, zone in (("s", None), ("ms", None), ("us", "UTC"), ("ns", "America/New_York")):
        kind = pa.timestamp(unit, tz=zone)
        stored = moment.replace(tzinfo=dt.UTC) if zone else moment
        array = pa.array([stored.replace(microsecond=0) if unit == "s" else stored, None], kind)
        assert columns(pa.table({"t": array})) == {"t": [-2, None]}


def test_dictionaries_and_other_labels() -> None:
    array = pa.array(["a", None, "a"]).dictionary_encode()
    assert columns(pa.table({"s": array})) == {"s": ["a", None, "a"]}
    assert columns(pd.DataFrame({0: [1], "c": pd.Categorical(["a"])})) == {"0": [1], "c": ["a"]}


def test_limits(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": range(1000)})
    for name, write in (
        ("rows.parquet", frame.to_parquet),
        ("rows.csv", lambda p: frame.to_csv(p, index=False)),
        ("rows.jsonl", lambda p: frame.to_json(p, orient="records", lines=True)),
    ):
        write(tmp_path / name)
        for limit in (0, 1, 999, 1000, 2000):
            assert table.of(tmp_path / name, limit=limit).rows == min(limit, 1000)
    assert columns(frame, limit=2) == {"x": [0, 1]}


def test_bare_values_where_there_is_one_input() -> None:
    assert columns([1.0, [2.0]], only_input="x") == {"x": [1.0, [2.0]]}
    with pytest.raises(RowError, match="row 1: must be a dict"):
        table.of([1.0])


def test_renaming_keeps_what_has_the_name_already() -> None:
    made = table.of({"VendorID": [1], "vendor_id": [2], "Other": [3]})
    renamed = made.renamed({"VendorID": "vendor_id", "Other": "other"})
    assert {n: list(renamed.column(n)) for n in renamed.names} == {
        "VendorID": [1],
        "vendor_id": [2],
        "other": [3],
    }


@pytest.mark.parametrize(
    "name, content, complaint",
    [
        ("a.csv", "", "is empty"),
        ("a.csv", "x,y\n1,2\n3\n", "line 3: has 1 fields, the header 2"),
        ("a.jsonl", '{"x": 1}\n{"x": \n', "line 2: is not JSON"),
        ("a.jsonl", "[1]\n", "line 1: must be an object"),
        ("a.parquet", "no parquet", "not a readable Parquet file"),
        ("a.xlsx", "", r"must end in \.parquet, \.csv or \.jsonl"),
        ("a.csv.gz", "no gzip", "cannot be read"),
    ],
)
def test_a_broken_file_is_told_with_its_line(
    tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RowError, match=complaint):
        table.of(tmp_path / name)


def test_what_are_no_rows() -> None:
    with pytest.raises(RowError, match="no such file"):
        table.of("/nowhere/rows.csv")
    with pytest.raises(RowError, match="rows must be"):
        table.of(5)
    with pytest.raises(RowError, match="of one length, got: x 1, y 2"):
        table.of({"x": [1], "y": [1, 2]})


def test_a_dict_of_single_values_is_one_row() -> None:
    row = {"x": 1.5, "s": "abc", "b": b"\xff", "m": None, "t": dt.date(2026, 1, 2)}
    made = table.of(row)
    assert made.rows == 1
    assert columns(row) == {name: [value] for name, value in row.items()}
    assert columns({"n": np.float32(2.5), "z": np.array(3)}) == {"n": [2.5], "z": [3]}
    assert columns({"n": pd.Timestamp("2026-01-02")}) == {"n": [pd.Timestamp("2026-01-02")]}


def test_a_dict_of_columns_of_any_kind() -> None:
    given = {"a": (1, 2), "b": np.array([3, 4]), "c": pd.Series([5, 6]), "d": range(7, 9)}
    assert columns(given) == {"a": [1, 2], "b": [3, 4], "c": [5, 6], "d": [7, 8]}
    assert columns({"a": (value for value in (1, 2))}) == {"a": [1, 2]}


@pytest.mark.parametrize("single", [2, "abc", None, np.float32(1)])
def test_one_value_among_columns_is_an_error(single: Any) -> None:
    with pytest.raises(RowError, match="column b: must be a list with a value for each row"):
        table.of({"a": [1, 2, 3], "b": single})


def test_a_set_has_no_order() -> None:
    with pytest.raises(RowError, match=r"column b: must be a list .* got a set"):
        table.of({"b": {1, 2}})


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    frames = [
        pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]),
        pd.DataFrame([[1, 2]], columns=[1, "1"]),
        pa.table([[1], [2]], names=["a", "a"]),
    ]
    for frame, name in zip(frames, ("a", "1", "a"), strict=True):
        with pytest.raises(RowError, match=f"column {name}: is there twice"):
            table.of(frame)
    (tmp_path / "rows.csv").write_text("x,y,x\n1,2,3\n")
    with pytest.raises(RowError, match=r"rows\.csv, column x: is there twice"):
        table.of(tmp_path / "rows.csv")


def test_rows_that_can_be_read_once_are_kept() -> None:
    kept = table.kept({"x": number} for number in range(3))
    assert columns(kept) == columns(kept) == {"x": [0, 1, 2]}
    kept = table.kept({"x": iter([1, 2]), "y": [3, 4]})
    assert columns(kept) == columns(kept) == {"x": [1, 2], "y": [3, 4]}


def test_no_rows() -> None:
    for nothing in ([], {}, {"x": []}, iter(()), pd.DataFrame({"x": []})):
        assert table.of(nothing).rows == 0
