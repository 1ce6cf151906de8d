"""Whether a column's values are moments, how they are written, and what of them varies."""

from __future__ import annotations

import datetime as dt
import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import duckdb

from pipeline import moments, sql

#: Days of figures by what stands between them; the day first where both orders fit.
_FIGURES = tuple(
    form.replace("-", mark)
    for mark, forms in (
        ("/", ("%d-%m-%Y", "%m-%d-%Y", "%m-%d-%y", "%d-%m-%y", "%y-%m-%d")),
        (".", ("%d-%m-%Y", "%m-%d-%Y", "%Y-%m-%d", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
        ("-", ("%d-%m-%Y", "%m-%d-%Y", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d")),
    )
    for form in forms
)
_NAMED = (
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%d %b %y", "%d%b%Y", "%d%b%y", "%d/%b/%Y", "%d/%b/%y"),
    *("%d. %b %Y", "%d %B %Y", "%d. %B %Y", "%d-%B-%Y", "%d-%B-%y", "%b %d, %Y", "%B %d, %Y"),
    *("%b %d %Y", "%B %d %Y", "%b-%d-%Y", "%Y-%b-%d", "%Y %b %d", "%Y-%B-%d"),
    *("%a, %d %b %Y", "%a %d %b %Y", "%a, %b %d, %Y", "%A, %B %d, %Y", "%A, %d %B %Y"),
)
_HOURS = (
    *("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %H:%M:%S.%n", " %H:%M:%S,%f", " %H:%M:%S,%n"),
    *(" %I:%M %p", " %I:%M:%S %p", " %I:%M%p", " %I:%M:%S%p", " %I:%M:%S.%f %p"),
    *(" %I.%M.%S.%f %p", " %I.%M.%S.%n %p", " %I.%M.%S %p", " %H.%M", " %H.%M.%S"),
    *(", %H:%M", ", %H:%M:%S", ", %I:%M %p", ", %I:%M:%S %p", "T%H:%M", "T%H:%M:%S"),
    *("T%H:%M:%S.%f", ":%H:%M:%S", ":%H:%M:%S.%f", " at %I:%M %p", " at %H:%M"),
)
_ZONED = tuple(f"{hour}{zone}" for hour in _HOURS[1:7] for zone in ("%z", " %z", " %Z"))
#: Forms in which the year comes last, or the time first.
_OTHERS = (
    *("%a %b %d %H:%M:%S %Y", "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Z %Y"),
    *("%d/%b/%Y:%H:%M:%S %z", "%H:%M %d.%m.%Y", "%H:%M:%S %d.%m.%Y", "%H:%M %d/%m/%Y"),
    *("%H:%M:%S %d/%m/%Y", "%H:%M %m/%d/%Y", "%H:%M:%S %m/%d/%Y", "%Y%m%d %H%M%S"),
    *("%Y%m%d %H:%M:%S", "%Y%m%d %H:%M", "%Y.%m.%d", "%Y-%m-%d %I:%M:%S %p", "%Y-%m-%d %I:%M %p"),
    *("%Y/%m/%d %I:%M:%S %p", "%Y/%m/%d %I:%M %p", "%Y-%m-%d-%H.%M.%S.%f", "%Y-%m-%d_%H-%M-%S"),
    *("%Y-%m-%d %H.%M.%S", "%Y:%m:%d %H:%M:%S", "%Y-%m-%d, %H:%M", "%Y-%m-%d, %H:%M:%S"),
)
_DAY = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(?P<time>.*)")
_MONTH = re.compile(r"(?i)jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec")
_TWO_DIGITS = re.compile(r"\d{2}[./-]\d{1,2}[./-]|\d{1,2}[./-]\d{1,2}[./-]\d{2}(\D|$)")
_OTHER = re.compile(r"(?i)[\d:._/T-]{4,}|(mon|tue|wed|thu|fri|sat|sun)[a-z]* ")

#: Counts from the year 1989 to 2103, by unit.
_UNITS = {None: 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_EARLY, _LATE = 6e8, 4.2e9
_TIME_WORDS = re.compile(
    r"(?i)(^|[^a-z])(time|timestamp|ts|date|datetime|dt|epoch|created|updated|at|on|when|day)"
    r"($|[^a-z])|(?<=[a-z])(Time|Timestamp|Date|At)($|[A-Z_])"
)
BIRTH = re.compile(r"(?i)birth|dob|born")
#: Values tried before all are: most columns hold no moments.
_FEW = 20
#: Share of a column's values that a form must fit.
_SHARE = 0.98


@dataclass(frozen=True)
class Moments:
    """What a column's moments are.

    Attributes:
        form: as in `data.time_formats`; `auto` for what ingestion reads by itself.
        ambiguous: another form that fits as well.
        times: earliest and latest, seconds since 1970.
        hours, days, months: different hours of the day, days and months.
        absent: rows with zeros in place of a date.
        unread: rows with another value that is not written so.
    """

    form: str
    ambiguous: str | None
    times: tuple[int, int]
    hours: int
    days: int
    months: int
    absent: int
    unread: int


def look(
    connection: duckdb.DuckDBPyConnection, name: str, kind: str, high: float | None
) -> Moments | None:
    """What the values of a column are as moments; None if they are none.

    Args:
        connection: has table `many`: values `v` as text, each once, and `c`, in how many rows.
        name: of the column, which tells counts of seconds from other numbers.
        kind: DuckDB's type of the column.
        high: the largest number, if (almost) all values are numbers.
    """
    form, other = "auto", None
    if high is not None:
        found = _of_numbers(connection, name) if high >= moments.NUMBERED["%Y%m%d"][0] else None
    elif kind == "VARCHAR":
        found, other = _of_texts(connection)
    else:
        found = "auto" if kind.startswith(("TIMESTAMP", "DATE")) else None
    if found is None:
        return None
    form = found
    if "%y" in form and BIRTH.search(name):
        form = _born(connection, form)
    return _described(connection, form, other)


def _typed(form: str) -> str:
    """SQL of the seconds; the values are text here, whatever the file has."""
    return sql.typed("v", "timestamp", "VARCHAR", time_format=None if form == "auto" else form)


def _zeros(form: str) -> str:
    return moments.is_missing("v", form)


def _described(
    connection: duckdb.DuckDBPyConnection, form: str, other: str | None
) -> Moments | None:
    (row,) = connection.execute(
        "SELECT min(t), max(t), count(DISTINCT t // 3600 % 24), count(DISTINCT t // 86400), "
        "count(DISTINCT strftime(make_timestamp(t * 1000000), '%Y-%m')), "
        "sum(c) FILTER (z), sum(c) FILTER (NOT z AND r IS NULL) FROM (SELECT c, z, r, "
        "CASE WHEN abs(r) < 100000000000 THEN r END AS t FROM "
        f"(SELECT c, {_zeros(form)} AS z, {_typed(form)} AS r FROM many))"
    ).fetchall()
    if row[0] is None:
        return None
    first, last, hours, days, months, absent, unread = (int(figure or 0) for figure in row)
    return Moments(form, other, (first, last), hours, days, months, absent, unread)


def _born(connection: duckdb.DuckDBPyConnection, form: str) -> str:
    """The form with its latest year, if people would be born after today without it."""
    now = dt.datetime.now(dt.UTC)
    ((latest,),) = connection.execute(f"SELECT max({_typed(form)}) FROM many").fetchall()
    return f"{form} (until {now.year})" if latest and latest > now.timestamp() else form


# --- texts ---------------------------------------------------------------------------------


def _of_texts(connection: duckdb.DuckDBPyConnection) -> tuple[str | None, str | None]:
    zeros = _zeros("%Y")
    few = [
        str(value)
        for (value,) in connection.execute(
            f"SELECT v FROM many WHERE NOT {zeros} LIMIT {_FEW}"
        ).fetchall()
    ]
    if not few or not any(character.isdigit() for character in few[0]):
        return None, None
    left = _fitting(connection, ["auto"], few)
    counts = _counts(connection, left or _fitting(connection, _candidates(few), few))
    fits = {form: good for form, (good, all_) in counts.items() if good >= _SHARE * all_ > 0}
    if not fits:
        return None, None
    # Where a day could be a year as well, the years of a table are few.
    most = [form for form in fits if fits[form] == max(fits.values())]
    best = min(most, key=lambda form: _years(connection, form) if len(most) > 1 else 0)
    other = _swapped(best)
    return best, other if other != best and fits.get(other) == fits[best] else None


def _candidates(few: Sequence[str]) -> list[str]:
    """Forms that such values may have."""
    days = [match for value in few if (match := _DAY.match(value.strip()))]
    found: list[str] = []
    if len(days) >= _SHARE * len(few):
        mark = next(char for char in few[0].strip() if char in "./-")
        hours: Iterable[str] = ("",) if not any(m["time"] for m in days) else (*_HOURS, *_ZONED)
        short = all(_TWO_DIGITS.match(value.strip()) for value in few)
        same = [form for form in _FIGURES if form[2] == mark and (short or "%y" not in form)]
        found += [f"{day}{hour}" for day, hour in itertools.product(same, hours)]
    if sum(bool(_MONTH.search(value)) for value in few) >= _SHARE * len(few):
        timed = any(":" in value or value.count(".") > 1 for value in few)
        hours = (*_HOURS, *_ZONED) if timed else ("",)
        found += [f"{day}{hour}" for day, hour in itertools.product(_NAMED, hours)]
    if all(_OTHER.match(value.strip()) or _MONTH.search(value) for value in few):
        found += _OTHERS
    return found


def _fitting(
    connection: duckdb.DuckDBPyConnection, forms: Sequence[str], few: Sequence[str]
) -> list[str]:
    """Those of the forms in which the first few values are written."""
    if not forms:
        return []
    values = ", ".join(f"({sql.text(value)})" for value in few)
    # Without the care for rare texts, or hundreds of forms would take seconds.
    tried = [
        _typed(form) if form == "auto" else f"try_strptime(trim(v), {sql.text(form)})"
        for form in forms
    ]
    (row,) = connection.execute(
        f"SELECT {', '.join(f'count({one})' for one in tried)} FROM (VALUES {values}) AS few(v)"
    ).fetchall()
    least = 0.9 * len(few)
    return [form for form, good in zip(forms, row, strict=True) if good >= least]


def _counts(
    connection: duckdb.DuckDBPyConnection, forms: Sequence[str]
) -> dict[str, tuple[int, int]]:
    """Form → values written so, and all values but zeros."""
    return {
        form: connection.execute(
            f"SELECT count({_typed(form)}), count(*) FROM many WHERE NOT {_zeros(form)}"
        ).fetchall()[0]
        for form in forms
    }


def _years(connection: duckdb.DuckDBPyConnection, form: str) -> int:
    """Different years among the moments."""
    year = f"year(make_timestamp(1000000 * ({_typed(form)})))"
    ((count,),) = connection.execute(f"SELECT count(DISTINCT {year}) FROM many").fetchall()
    return int(count)


def _swapped(form: str) -> str:
    """The form with day and month in the other order."""
    return re.sub(
        r"%([dm])([./-])%([dm])", lambda found: f"%{found[3]}{found[2]}%{found[1]}", form, count=1
    )


# --- numbers -------------------------------------------------------------------------------


def _of_numbers(connection: duckdb.DuckDBPyConnection, name: str) -> str | None:
    """Numbers are moments if their size and the column's name say so."""
    ((points, whole),) = connection.execute(
        "SELECT quantile_cont(n, [0.01, 0.99]), bool_and(n = trunc(n)) FROM "
        "(SELECT TRY_CAST(v AS DOUBLE) AS n FROM many) WHERE isfinite(n) AND n <> 0"
    ).fetchall()
    if not points:
        return None
    low, high = points
    named = bool(_TIME_WORDS.search(name))
    for form, (least, most) in moments.NUMBERED.items():
        if whole and (named or most > 1e13) and least <= low and high <= most:
            good, all_ = _counts(connection, [form])[form]
            if good >= _SHARE * all_ > 0:
                return form
    for unit, size in _UNITS.items():
        if _EARLY * size <= low and high <= _LATE * size and (named or (unit and whole)):
            return unit or "auto"
    return None
