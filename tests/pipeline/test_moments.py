"""Written moments: what they mean, and how `init` finds the way in which a column is written."""

from __future__ import annotations

import datetime as dt
import random
from typing import Any

import pyarrow as pa
import pytest

from pipeline import moments, sql
from pipeline.number_text import Format
from pipeline.starter import moments as looked

DATABASE = sql.connect()


def seconds(year: int, month: int, day: int, *clock: int) -> int:
    hour, minute, second = (*clock, 0, 0, 0)[:3]
    return int(dt.datetime(year, month, day, hour, minute, second, tzinfo=dt.UTC).timestamp())


def read(value: Any, form: str | None = None, decimal: str = ".") -> int | None:
    """As ingestion reads a value of a column."""
    DATABASE.register("given", pa.table({"x": [value]}))
    ((_, source, *_),) = DATABASE.execute("DESCRIBE given").fetchall()
    typed = sql.typed("x", "timestamp", source, time_format=form, numbers=Format(decimal))
    ((made,),) = DATABASE.execute(f"SELECT {typed} FROM given").fetchall()
    return made if made is None else int(made)


NINE = seconds(2024, 1, 5, 9, 5)
MIDNIGHT = seconds(2024, 1, 6)


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("2024/1/5 9:05", NINE),
        ("2024-1-5 9:5:0", NINE),
        (" 2024-01-05T09:05:00.999 ", NINE),
        ("2024-01-05 09:05:00,5", NINE),
        ("2024-01-05T09:05Z", NINE),
        ("2024-01-05t09:05:00z", NINE),
        ("2024-01-05 10:05+01", NINE),
        ("2024-01-05 10:05:00 +01:00", NINE),
        ("2024-01-05 03:35:00-0530", NINE),
        ("2024-01-05 09:05:00 UTC", NINE),
        ("2024-01-05 10:05 Europe/Berlin", NINE),
        ("20240105T090500Z", NINE),
        ("20240105T100500+0100", NINE),
        ("20240105T0905", NINE),
        ("2024-01-05 24:00:00", MIDNIGHT),
        ("2024-01-05T24:00", MIDNIGHT),
        ("2024/1/6", MIDNIGHT),
        (str(NINE), NINE),
        (f"{NINE}.75", NINE),
        (f"{NINE / 1e9:.9f}e9", NINE),
        *((text, None) for text in ("24-01-05", "1/5/24", "2024-02-30", "2024-01-05 24:00:01")),
        *((text, None) for text in ("infinity", "epoch", "soon", "2024-01-05 (BC)")),
        *((text, None) for text in ("0000-00-00", "0000-00-00 00:00:00", str(NINE * 1000))),
    ],
)
def test_what_is_read_without_being_named(text: str, wanted: int | None) -> None:
    assert read(text) == wanted


@pytest.mark.parametrize(
    "form, text, wanted",
    [
        ("%d-%b-%y", "05-JAN-99", seconds(1999, 1, 5)),
        ("%d-%b-%y", "05-JAN-05", seconds(2005, 1, 5)),
        ("%d-%b-%y (until 2024)", "05-JAN-45", seconds(1945, 1, 5)),
        ("%d-%b-%y (until 2024)", "05-JAN-24", seconds(2024, 1, 5)),
        ("%m/%d/%y", "1/15/24", seconds(2024, 1, 15)),
        ("%m/%d/%Y", "1/15/24", None),
        ("%d.%m.%Y %H:%M", "5.1.2024 24:00", MIDNIGHT),
        ("%d.%m.%Y %H:%M:%S.%f", "24.12.2024 23:59:59.9", seconds(2024, 12, 24, 23, 59, 59)),
        ("%d.%m.%Y %H:%M%z", "5.1.2024 10:05+01:00", NINE),
        ("%d.%m.%Y %H:%M%z", "5.1.2024 09:05Z", NINE),
        ("%d %b %Y", "6 Sept 2024", seconds(2024, 9, 6)),
        ("%d.%m.%Y", "00.00.0000", None),
        ("%Y%m%d", "00000000", None),
        ("%Y%m%d", 20240106, MIDNIGHT),
        ("%Y%m%d", 20240106.0, MIDNIGHT),
        ("%Y%m%d%H%M%S", 20240105090500, NINE),
        ("milliseconds", NINE * 1000 + 999, NINE),
        ("milliseconds", -1, -1),
        ("milliseconds", f"{NINE}999.5", NINE),
        ("nanoseconds", NINE * 10**9 + 999_999_999, NINE),
        ("nanoseconds", f"{NINE}999999999", NINE),
        (None, NINE + 0.999, NINE),
        (None, NINE * 1000, None),
        (None, NINE * 1e6, None),
    ],
)
def test_what_is_read_as_it_is_named(form: str | None, text: Any, wanted: int | None) -> None:
    assert read(text, form) == wanted


def test_a_decimal_comma_is_one_in_seconds_only() -> None:
    assert read(f"{NINE},5", decimal=",") == NINE
    assert read("2024-01-05 09:05:00,5", decimal=",") == NINE


@pytest.mark.parametrize(
    "text, form, missing",
    [
        ("0000-00-00", None, True),
        ("0000-00-00 00:00:00", None, True),
        ("00/00/0000", "%d/%m/%Y", True),
        ("0", "%Y%m%d", True),
        ("0", None, False),
        ("2000-01-00", None, False),
    ],
)
def test_zeros_in_place_of_a_date_are_missing(text: str, form: str | None, missing: bool) -> None:
    DATABASE.register("given", pa.table({"x": [text]}))
    there = sql.present("x", "VARCHAR", "timestamp", form)
    assert DATABASE.execute(f"SELECT NOT {there} FROM given").fetchall() == [(missing,)]


# --- what init finds -----------------------------------------------------------------------


def found(values: list[Any], name: str = "at", kind: str = "VARCHAR") -> looked.Moments | None:
    texts = [str(value) for value in values]
    counts = {text: texts.count(text) for text in texts}
    with sql.connect() as connection:
        connection.register("many", pa.table({"v": list(counts), "c": list(counts.values())}))
        numbers = [float(value) for value in values if not isinstance(value, str)]
        high = max(numbers) if len(numbers) == len(values) else None
        return looked.look(connection, name, kind, high)


def drawn(count: int = 200) -> list[dt.datetime]:
    rng = random.Random(0)
    first = dt.datetime(2019, 1, 1)
    return [first + dt.timedelta(seconds=rng.randrange(150_000_000)) for _ in range(count)]


@pytest.mark.parametrize(
    "form",
    [
        *("%m/%d/%y", "%d.%m.%y", "%d/%m/%Y", "%m/%d/%Y %I:%M %p", "%d.%m.%Y %H:%M:%S"),
        *("%d-%b-%y", "%d-%b-%Y %H:%M:%S", "%d %b %Y", "%b %d, %Y", "%B %d, %Y", "%Y.%m.%d"),
        *("%d.%m.%Y %H:%M:%S.%f", "%d.%m.%Y %H:%M:%S,%f", "%d/%m/%Y %H:%M %z", "%d%b%Y:%H:%M:%S"),
        *("%a, %d %b %Y %H:%M:%S %z", "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z"),
        *("%m/%d/%Y, %I:%M:%S %p", "%d-%b-%y %I.%M.%S.%f %p", "%d/%m/%Y %I:%M%p", "%H:%M %d.%m.%Y"),
        *("%Y-%m-%d %I:%M %p", "%Y%m%d %H:%M:%S", "%Y-%m-%d-%H.%M.%S.%f", "%y-%m-%d", "%m-%d-%Y"),
    ],
)
def test_a_form_is_found_and_read_back(form: str) -> None:
    when = [moment.replace(tzinfo=dt.UTC) for moment in drawn()]
    texts = [moment.strftime(form) for moment in when]
    made = found(texts)
    assert made is not None and made.ambiguous is None and made.unread == 0
    used = None if made.form == "auto" else made.form
    assert [read(text, used) for text in texts] == [
        int(dt.datetime.strptime(text, form).replace(tzinfo=dt.UTC).timestamp()) for text in texts
    ]


def test_one_value_settles_the_order_of_day_and_month() -> None:
    texts = [f"{month}/{day}/2024" for month in range(1, 13) for day in range(1, 13)]
    both = found(texts)
    assert both is not None and {both.form, both.ambiguous} == {"%d/%m/%Y", "%m/%d/%Y"}
    made = found([*texts, "1/31/2024"])
    assert made is not None and (made.form, made.ambiguous) == ("%m/%d/%Y", None)


def test_nobody_is_born_after_today() -> None:
    texts = [f"{day:02}-MAR-{year:02}" for year in (45, 60, 85, 99, 1) for day in range(1, 29)]
    made = found(texts, "birth_date")
    assert made is not None
    assert dt.datetime(1970, 1, 1) + dt.timedelta(seconds=made.times[0]) == dt.datetime(1945, 3, 1)
    assert made.form == f"%d-%b-%y (until {dt.datetime.now(dt.UTC).year})"
    ends = found(texts, "contract_end")
    assert ends is not None and ends.form == "%d-%b-%y"


@pytest.mark.parametrize(
    "unit, form",
    [(1, "auto"), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")],
)
@pytest.mark.parametrize("fraction", [0, 0.25])
def test_counts_of_any_unit(unit: int, form: str, fraction: float) -> None:
    values = [(int(m.replace(tzinfo=dt.UTC).timestamp()) * unit) + fraction for m in drawn()]
    made = found(values, "created_at", "DOUBLE" if fraction else "BIGINT")
    assert made is not None and made.form == form
    assert dt.datetime(2019, 1, 1) <= dt.datetime(1970, 1, 1) + dt.timedelta(seconds=made.times[0])


def test_zeros_are_told_from_what_cannot_be_read() -> None:
    made = found(["2024-01-05 10:00:00", "2024-02-05 10:00:00"] * 50 + ["0000-00-00 00:00:00"] * 7)
    assert made is not None and (made.absent, made.unread) == (7, 0)
    dates = found([20240105, 20240206] * 50 + [0] * 9, "day", "BIGINT")
    assert dates is not None and (dates.form, dates.absent) == ("%Y%m%d", 9)


@pytest.mark.parametrize(
    "values", [["A-1", "B-2"], ["1.2.3", "4.5.6"], [1.5, 20240105.5], [7, 8], ["1/2", "3/4"], [""]]
)
def test_what_is_no_moment(values: list[Any]) -> None:
    assert found(values * 30) is None


@pytest.mark.parametrize("count, unit", [(NINE * 1000, "milliseconds"), (NINE, None)])
def test_the_unit_of_a_count_that_is_too_large(count: int, unit: str | None) -> None:
    assert moments.larger_unit(count) == unit
