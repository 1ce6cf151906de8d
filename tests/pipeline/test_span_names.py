"""What `headrace init` takes for the span in the names of files."""

from __future__ import annotations

import calendar
import datetime as dt
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.starter import sources

pytestmark = pytest.mark.tfx

DAY = dt.timedelta(days=1)


def days(count: int, step: int = 1) -> list[dt.date]:
    return [dt.date(2024, 1, 1) + step * at * DAY for at in range(count)]


MONTHS = [(2023 + at // 12, at % 12 + 1) for at in range(14)]
QUARTERS = [(year, quarter) for year in (2022, 2023) for quarter in (1, 2, 3, 4)]
HOURS = [(day, hour) for day in days(2) for hour in range(24)]


def last(year: int, month: int) -> int:
    return calendar.monthrange(year, month)[1]


def found(folder: Path, names: list[str]) -> sources.Source:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a,b\n1,2\n")
    return sources.find(str(folder))


@pytest.mark.parametrize(
    "names, pattern, unit",
    [
        ([f"sales-{y}-{m}.csv" for y, m in MONTHS], "sales-{span:%Y-%-m}.csv", "month"),
        ([f"{y}/{m}/part.csv" for y, m in MONTHS], "{span:%Y/%-m}/part.csv", "month"),
        ([f"{m:02d}-{y}.csv" for y, m in MONTHS], "{span:%m-%Y}.csv", "month"),
        ([f"{y}{m:02d}.csv" for y, m in MONTHS], "{span:%Y%m}.csv", "month"),
        ([f"a_{q}.csv" for q in ("2024_Feb", "2024_JAN")], "a_{span:%Y_%b}.csv", "month"),
        ([f"{q}.csv" for q in ("january_2024", "february_2024")], "{span:%B_%Y}.csv", "month"),
        ([f"{y}Q{q}.csv" for y, q in QUARTERS], "{span:%YQ%q}.csv", "quarter"),
        ([f"Q{q}-{y}.csv" for y, q in QUARTERS], "{span:Q%q-%Y}.csv", "quarter"),
        ([f"{y}/Q{q}/a.csv" for y, q in QUARTERS], "{span:%Y/Q%q}/a.csv", "quarter"),
        ([f"s_{y}_{q}.csv" for y, q in QUARTERS], "s_{span:%Y_%q}.csv", "quarter"),
        ([f"2024-W{w:02d}.csv" for w in range(1, 15)], "{span:%G-W%V}.csv", "week"),
        ([f"2024W{w}.csv" for w in range(1, 15)], "{span:%GW%-V}.csv", "week"),
        ([f"{d}_{d + 6 * DAY}.csv" for d in days(9, 7)], "{span[week]:%Y-%m-%d}*.csv", "week"),
        (
            [f"{y}{m:02d}01_to_{y}{m:02d}{last(y, m)}.csv" for y, m in MONTHS],
            "{span[month]:%Y%m%d}*.csv",
            "month",
        ),
        ([f"x-{d:%Y%m%d}.csv" for d in days(9, 7)], "x-{span[week]:%Y%m%d}.csv", "week"),
        (
            [f"{y}-{m:02d}-{last(y, m)}.csv" for y, m in MONTHS],
            "{span[month]:%Y-%m-%d}.csv",
            "month",
        ),
        ([f"{d}.csv" for d in days(20) if d.weekday() < 5], "{span:%Y-%m-%d}.csv", "day"),
        ([f"{d:%d_%m_%Y}.csv" for d in days(20)], "{span:%d_%m_%Y}.csv", "day"),
        ([f"{d:%m_%d_%Y}.csv" for d in days(20)], "{span:%m_%d_%Y}.csv", "day"),
        ([f"{d:%d-%b-%Y}.csv" for d in days(9)], "{span:%d-%b-%Y}.csv", "day"),
        (
            [f"run_2024-06-30_of_{d}.csv" for d in days(9)],
            "run_2024-06-30_of_{span:%Y-%m-%d}.csv",
            "day",
        ),
        ([f"{d:%Y/%m/%d}/{h:02d}/a/b.csv" for d, h in HOURS], "{span:%Y/%m/%d/%H}/a/b.csv", "hour"),
        (
            [f"r=eu/year={d.year}/month={d.month}/day={d.day}/hour={h}/p.csv" for d, h in HOURS],
            "r=eu/{span:year=%Y/month=%-m/day=%-d/hour=%-H}/p.csv",
            "hour",
        ),
        (
            [f"dt={d}/hour={h:02d}/p.csv" for d, h in HOURS],
            "dt={span:%Y-%m-%d/hour=%H}/p.csv",
            "hour",
        ),
        ([f"{y}.csv" for y in (2021, 2022, 2023)], "{span:%Y}.csv", "year"),
        ([f"b_v2_{n}.csv" for n in range(8, 13)], "b_v2_{span}.csv", ""),
        ([f"part-0000{n}.csv" for n in range(4)], "part-*.csv", ""),
        (["item-1999.csv", "item-2041.csv", "item-2077.csv"], "item-*.csv", ""),
    ],
)
def test_the_span_in_names(tmp_path: Path, names: list[str], pattern: str, unit: str) -> None:
    made = found(tmp_path, names)
    assert (made.pattern, made.unit) == (pattern, unit)
    assert sum(len(item.paths) for item in made.found) == len(names)
    if unit:
        assert len(made.found) == len(names)


@pytest.mark.parametrize(
    "names",
    [
        ["s-2023-3.csv", "s-2023-17.csv", "s-2023-45.csv", "s-2024-2.csv"],
        ["2023/3/a.csv", "2023/17/a.csv", "2024/45/a.csv"],
    ],
)
def test_a_year_with_a_number_beside_it_is_no_span(tmp_path: Path, names: list[str]) -> None:
    made = found(tmp_path, names)
    assert not made.has_spans
    assert "nothing that is one period a file: taken for one table" in made.notes[0]


@pytest.mark.parametrize("key", ["store", "city", "candidate"])
def test_a_number_in_the_name_of_a_thing_is_no_span(tmp_path: Path, key: str) -> None:
    made = found(tmp_path, [f"{key}=P{number}/part.csv" for number in range(1, 5)])
    assert not made.has_spans and made.pattern == f"{key}=*/part.csv"
    batches = found(tmp_path / "b", [f"batch={number}/part.csv" for number in range(1, 5)])
    assert batches.has_spans and len(batches.found) == 4


def test_irregular_days_get_a_width_that_fits_or_a_note(tmp_path: Path) -> None:
    some = [days(400)[at] for at in (2, 8, 50, 60, 89)]
    assert found(tmp_path / "a", [f"{d}.csv" for d in some]).pattern == "{span:%Y-%m}-*.csv"
    loose = found(tmp_path / "b", [f"{days(1200)[at]:%d%b%Y}.csv" for at in (0, 1, 399, 1100)])
    assert "no width fits the names" in loose.notes[0]


def test_day_or_month_first_is_told_where_nothing_tells(tmp_path: Path) -> None:
    made = found(tmp_path, [f"0{m}_01_2024.csv" for m in range(1, 5)])
    assert "taken for day, month, year" in made.notes[0]


def test_a_pattern_finds_the_files_of_the_next_year(tmp_path: Path) -> None:
    names = [f"{d}_{d + 6 * DAY}.csv" for d in days(9, 7)]
    made = found(tmp_path, names)
    later = tmp_path / "2025-01-06_2025-01-12.csv"
    later.write_text("a,b\n")
    assert sources.find(str(tmp_path)).found[-1].paths == (str(later),)
    assert made.pattern == sources.find(str(tmp_path)).pattern


def test_what_writers_leave_beside_their_data_is_passed_over(tmp_path: Path) -> None:
    left = ["__MACOSX/2024-01.csv", ".ipynb_checkpoints/2024-01-checkpoint.csv", "_SUCCESS"]
    left += ["_temporary/0/x.csv", ".2024-01.csv.crc", "_delta_log/0.csv", "2024-03.csv.tmp"]
    made = found(tmp_path, [*left, "2024-03.csv.inprogress", "2024-01.csv", "2024-02.csv"])
    assert made.pattern == "{span:%Y-%m}.csv"
    assert len(made.found) == 2


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the folder holds nothing that could be read"):
        sources.find(str(tmp_path))
