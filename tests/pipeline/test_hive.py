"""Columns that stand in a path: when they count, and that a file's own columns always win."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from pipeline import spans
from pipeline.audit import workshop
from pipeline.cli import predict_rows
from pipeline.drift import reference
from pipeline.ingest import hive
from pipeline.starter.propose import Proposal, propose
from serving.client import table

pytestmark = pytest.mark.tfx


def proposed(path: Path, folder: Path) -> Proposal:
    return propose(str(path), "churn", str(folder / "headrace.toml"), lambda _: None)


def rows(count: int, seed: int, **columns: Any) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        x = draw.gauss(0, 1)
        made.append({"x": x, "churn": int(x + draw.gauss(0, 1) > 0)} | columns)
    return made


@pytest.mark.parametrize(
    "path, keys",
    [
        ("/data/region=eu/part-0.csv", {"region": "eu"}),
        ("gs://bucket/a=1/b=2/x.parquet", {"a": "1", "b": "2"}),
        ("a=1/a=2/x.csv", {"a": "2"}),
        ("city=New%20York/x.csv", {"city": "New York"}),
        ("k=a%3Db/x.csv", {"k": "a=b"}),
        ("k=a=b/x.csv", {"k": "a=b"}),
        ("k=__HIVE_DEFAULT_PARTITION__/x.csv", {"k": None}),
        ("k=/x.csv", {"k": None}),
        ("=1/k=v.csv", {}),
    ],
)
def test_keys_of_a_path(path: str, keys: dict[str, str | None]) -> None:
    assert hive.keys(path) == keys


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_folder_never_replaces_a_column(bench: Any, ending: str) -> None:
    write = {"csv": bench.write_csv, "parquet": bench.write_parquet}[ending]
    path = write(f"place=7/distance=99/trips.{ending}", bench.rows(4))
    for plan in (bench.plan(), bench.plan(data={"path_columns": ["place", "distance"]})):
        kept = bench.ingest(path, plan).kept
        assert [row["place"] for row in kept] == [[100], [101], [102], [103]]
        assert [row["distance"] for row in kept] == [[1.5], [2.5], [3.5], [4.5]]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_key_that_is_no_column_becomes_one(bench: Any, ending: str) -> None:
    write = {"csv": bench.write_csv, "parquet": bench.write_parquet}[ending]
    without = [
        {k: v for k, v in row.items() if k not in ("place", "flag", "distance")}
        for row in bench.rows(2)
    ]
    path = write(f"place=7/distance=1.5/flag=N%20Y/trips.{ending}", without)
    got = bench.ingest(path, bench.plan(data={"path_columns": ["place", "distance", "flag"]}))
    assert got.report.error is None
    assert [(r["place"], r["distance"], r["flag"]) for r in got.kept] == [
        ([7], [1.5], [b"N Y"]),
        ([7], [1.5], [b"N Y"]),
    ]
    # Without being asked for, a key is none; and a path without it is told.
    assert "lacks column(s)" in (bench.ingest(path, bench.plan()).report.error or "")
    elsewhere = write(f"other/trips.{ending}", without)
    told = bench.ingest(elsewhere, bench.plan(data={"path_columns": ["place", "distance", "flag"]}))
    assert "place (nor has its path a folder place=…)" in (told.report.error or "")


def test_a_missing_key_is_a_missing_value(bench: Any) -> None:
    without = [{k: v for k, v in row.items() if k != "flag"} for row in bench.rows(2)]
    path = bench.write_csv("flag=__HIVE_DEFAULT_PARTITION__/trips.csv", without)
    got = bench.ingest(path, bench.plan(data={"path_columns": ["flag"]}))
    assert [row.get("flag") for row in got.kept] == [None, None]


def test_a_key_is_renamed_as_a_column_is(bench: Any) -> None:
    without = [{k: v for k, v in row.items() if k != "flag"} for row in bench.rows(2)]
    path = bench.write_csv("the%20flag=Y/trips.csv", without)
    data = {"path_columns": ["flag"], "rename": {"the flag": "flag"}}
    assert [r["flag"] for r in bench.ingest(path, bench.plan(data=data)).kept] == [[b"Y"], [b"Y"]]


def test_a_rule_sees_a_key(bench: Any) -> None:
    path = bench.write_csv("source=test/trips.csv", bench.rows(2))
    plan = bench.plan(
        data={"path_columns": ["source"]}, quarantine={"rules": {"trial": "source = 'test'"}}
    )
    assert bench.ingest(path, plan).report.reasons == {"trial": 2}


def test_init_makes_columns_of_keys_and_the_span_of_dates(bench: Any, tmp_path: Path) -> None:
    for month in range(1, 5):
        for at, region in enumerate(("eu", "us west", "__HIVE_DEFAULT_PARTITION__")):
            made = rows(100, 10 * month + at)
            folder = region.replace(" ", "%20")
            bench.write_parquet(
                f"d/region={folder}/year=2024/month={month:02d}/part-0.parquet", made
            )
    made = proposed(tmp_path / "d", tmp_path)
    assert made.config.data.pattern == "region=*/{span:year=%Y/month=%m}/*.parquet"
    assert made.config.data.path_columns == ("region",)
    assert made.config.features["region"].kind == "categorical"
    assert "year" not in made.config.features and "month" not in made.config.features
    assert made.profiles["region"].top == [("eu", 400), ("us west", 400)]
    assert made.judged.spans == {f"year=2024/month={m:02d}": 300 for m in range(1, 5)}
    # The same in what compares spans, and in rows sent to a server.
    newest = reference.discovered(made.config)[-1:]
    values = reference.samples(made.config, newest, lambda _: None)["year=2024/month=04"]
    assert Counter(values.column("region").to_pylist()) == {"eu": 100, "us west": 100, None: 100}
    path = tmp_path / "d/region=us%20west/year=2024/month=04/part-0.parquet"
    sent = predict_rows.with_path(table.read(str(path), None), str(path), made.config)
    assert sent.column("region") == ["us west"] * 100
    # And in the audit, whose files have the span's path and the key as a column.
    shop = workshop.set_up(made.config, tmp_path / "audit", span=None, train_spans=2, rows=30)
    (newest_file,) = (tmp_path / "audit/data").rglob("month=04.parquet")
    table_there = parquet.ParquetFile(newest_file).read()
    assert {*table_there.column("region").to_pylist()} == {"eu", "us west", None}
    assert [
        item.span.label
        for item in spans.discover(
            str(tmp_path / "audit/data"), spans.SpanPattern.parse(shop.config.data.pattern)
        )
    ] == [f"year=2024/month={month:02d}" for month in range(1, 5)]


def test_a_column_of_the_name_of_a_key_is_the_files_own(bench: Any, tmp_path: Path) -> None:
    for day in range(1, 9):
        bench.write_parquet(
            f"seed=1/d/date=2024-01-{day:02d}/part-0.parquet",
            [
                row | {"date": f"2024-01-{day:02d} 0{i % 9}:00:00", "seed": 5 + i % 3}
                for i, row in enumerate(rows(80, day))
            ],
        )
    made = proposed(tmp_path / "seed=1/d", tmp_path)
    assert made.config.data.pattern == "date={span:%Y-%m-%d}/*.parquet"
    assert made.config.data.path_columns == ()
    assert made.config.features["date"].kind == "timestamp"
    assert made.profiles["seed"].distinct == 3
    assert (made.profiles["date"].hours, made.judged.refused_share) == (9, 0)


@pytest.mark.parametrize(
    "pattern, used",
    [
        ("dt={span:%Y%m%d}/kind=*/x.csv", {"dt"}),
        ("kind=*/{span:year=%Y/month=%m}/x=*/a.csv", {"year", "month"}),
        ("batch={span}/x.csv", {"batch"}),
        ("a=*/trips_{span:%Y}.csv", set()),
    ],
)
def test_keys_that_are_the_span_are_no_columns(pattern: str, used: set[str]) -> None:
    assert spans.SpanPattern.parse(pattern).keys() == used
