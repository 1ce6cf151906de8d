"""Rows outside their span: what they say of how the moments, or the file's name, are wrong."""

from __future__ import annotations

import datetime as dt
import random
import re
from typing import Any

import pyarrow as pa
import pytest

from pipeline import sql
from pipeline.errors import DataError
from pipeline.findings import Policies, of_ingestion
from pipeline.ingest import shift
from pipeline.ingest.plan import IngestPlan
from pipeline.ingest.summary import Ingested, summarize
from pipeline.spans import Span, SpanFiles, Window

HOUR, DAY = 3600, 86_400


def seconds(text: str) -> int:
    return int(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp())


def told(moments: list[int], start: int, end: int, files: int = 1) -> str | None:
    """The hint for rows of a span that stand in so many files."""
    parts = []
    for at in range(files):
        with sql.connect() as connection:
            connection.register("typed", pa.table({"at": moments[at::files]}))
            outside = sum(not start <= moment < end for moment in moments[at::files])
            parts.append(shift.measure(connection, "at", start, end, outside))
    found = [part for part in parts if part]
    return shift.told(shift.joined(found), start, end) if found else None


def within(start: int, end: int, count: int = 20_000) -> list[int]:
    rng = random.Random(0)
    return [rng.randrange(start, end) for _ in range(count)]


@pytest.mark.parametrize(
    "first, last, by, said",
    [
        ("2024-03-01", "2024-04-01", 365 * DAY, r"shifted by a year \(later\)"),
        ("2024-03-01", "2024-04-01", -366 * DAY, r"shifted by a year \(earlier\)"),
        ("2024-03-01", "2024-03-02", -365 * DAY, r"shifted by a year \(earlier\)"),
        ("2024-01-01", "2025-01-01", 366 * DAY, r"shifted by a year \(later\)"),
        ("2024-03-01", "2024-04-01", -36525 * DAY, r"shifted by 100 years \(earlier\)"),
        ("2024-03-01", "2024-04-01", 31 * DAY, r"shifted by a month \(later\)"),
        ("2024-03-01", "2024-03-02", DAY, r"shifted by a day \(later\)"),
        ("2024-03-01T05:00", "2024-03-01T06:00", -2 * HOUR, r"shifted by 2 hours \(earlier\)"),
    ],
)
@pytest.mark.parametrize("files", [1, 3])
def test_all_rows_shifted(first: str, last: str, by: int, said: str, files: int) -> None:
    start, end = seconds(first), seconds(last)
    moved = [moment + by for moment in within(start, end, 833)]
    hint = told([*moved, start], start, end, files)  # one that is right all the same
    assert hint is not None and hint.startswith("833 of 834 rows are outside their span by at")
    assert re.search(said, hint), hint


@pytest.mark.parametrize(
    "hours, zone", [(-5, "-05:00"), (2, "+02:00"), (5.5, "+05:30"), (-8, "-08:00")]
)
@pytest.mark.parametrize("last", ["2024-03-02", "2024-04-01"])
def test_local_times_taken_for_utc(hours: float, zone: str, last: str) -> None:
    start, end = seconds("2024-03-01"), seconds(last)
    moved = [int(moment + hours * HOUR) for moment in within(start, end, 60_000)]
    hint = told(moved, start, end)
    size, side = f"{abs(hours):g} hours", "before" if hours < 0 else "after"
    assert hint is not None and f"all within {size} {side} it" in hint
    assert f"as local times at UTC{zone} are" in hint and f"their offset ({zone})" in hint


def test_rows_on_both_sides_are_no_shift() -> None:
    start, end = seconds("2024-03-01"), seconds("2024-04-01")
    rows = [start - 40 * DAY] * 300 + [end + 40 * DAY] * 200 + within(start, end, 5000)
    hint = told(rows, start, end)
    assert hint is not None and hint.endswith(": 300 before it, 200 after it.")
    assert told([start - 1, *within(start, end, 5000)], start, end) is None


@pytest.mark.tfx
def test_dates_of_another_year_are_told_in_place_of_the_label(bench: Any) -> None:
    rows = bench.rows(120, started=["2018-12-05 08:00:00"] * 119 + ["2019-12-05 08:00:00"])
    values = bench.config(data={"time_column": "started"})
    made = bench.ingest(
        bench.write_csv("a.csv", rows),
        IngestPlan.of(values),
        start=seconds("2019-12-01"),
        end=seconds("2020-01-01"),
    )
    span = Span(0, "2019-12", seconds("2019-12-01"), seconds("2020-01-01"))
    files = SpanFiles(span, (made.report.path,))
    ingested = summarize([made.report], Window((), (files,)), "print")
    assert ingested == Ingested.from_json(ingested.to_json())
    with pytest.raises(DataError, match="119 of 120 rows are outside their span by started") as no:
        ingested.check()
    assert "shifted by a year (earlier)" in str(no.value)
    assert "expression" not in str(no.value)
    (finding, *_) = of_ingestion(ingested, Policies.of(values))
    assert "shifted by a year (earlier)" in finding.message
