"""Written moments as whole seconds since 1970, in SQL: the one definition, for all who read files.

By itself a column may be of a time type; a number of seconds, whole or with a fraction; or text
of the form `2024-1-5`, `2024/01/05 9:05`, `2024-01-05T09:05:00.5+02:00`, `20240105T090500Z`, with
`24:00` as the end of a day. Everything else must be named in `data.time_formats`. The client
reads the same texts in Python (`serving.client.moments`).
"""

from __future__ import annotations

import re

from models.config import FIRST_SECOND, LAST_SECOND

#: What one second is in the units that `data.time_formats` may name.
PER_SECOND = {"milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
#: A count beyond these is one of other units.
FIRST, LAST = FIRST_SECOND, LAST_SECOND
#: Numbers that are dates: format → least and largest.
NUMBERED = {
    "%Y%m%d": (19000101, 21001231),
    "%Y%m%d%H%M": (190001010000, 210012312359),
    "%Y%m%d%H%M%S": (19000101000000, 21001231235959),
}

#: Seconds until the year 2128; milliseconds until then begin in February 1970.
_LATE = 5e9

#: `… (until 2024)`: the latest year that a year of two digits may mean.
_UNTIL = re.compile(r"^(?P<form>.*%y.*) \(until (?P<year>\d{4})\)$")
_ZONE = r"( ?(Z|[A-Za-z][A-Za-z0-9_+/-]*|[+-]\d{1,2}(:?\d{2}(:?\d{2})?)?))?"
_CLOCK = r"\d{1,2}:\d{1,2}(:\d{1,2}(\.\d+)?)?"
_WRITTEN = rf"\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}([ T]{_CLOCK}{_ZONE})?"
_USUAL = r"^\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?)?)?$"
_BASIC = r"^(\d{4})(\d{2})(\d{2})[Tt](\d{2})(\d{2})(\d{2})?"
#: Dates of zeros, as MySQL writes a missing one.
_ZEROS = r"0{1,4}[-/. ]0{1,2}[-/. ]0{1,4}([ T][0:.]*)?Z?"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
_WHOLE_TYPES = frozenset([*_WHOLE, *(f"U{name}" for name in _WHOLE)])


def seconds(column: str, source: str, time_format: str | None, decimal: str = ".") -> str:
    """SQL of a moment: BIGINT, NULL where missing or impossible to read.

    Args:
        column: SQL, of the type `source`.
        source: DuckDB's type: text or a number.
        time_format: as in `data.time_formats`.
        decimal: what stands before the fraction of a number that is text.
    """
    if time_format and "%" in time_format:
        return _formatted(_digits(column, source), time_format)
    unit = PER_SECOND[time_format] if time_format else 1
    if source != "VARCHAR":
        return _within(_count(column, unit, source in _WHOLE_TYPES))
    if time_format:
        return _counted(column, unit, decimal)
    # Most texts are of one form. The care for the others is six times as slow, and the engine
    # takes it for every row that is there: so they are none for it.
    is_usual = f"regexp_matches({column}, '{_USUAL}')"
    odd = f"CASE WHEN {is_usual} THEN NULL ELSE {column} END"
    usual = f"CASE WHEN {is_usual} THEN {_epoch(column)} END"
    return f"coalesce({usual}, {_counted(odd, unit, decimal)}, {_written(odd)})"


def _counted(column: str, unit: int, decimal: str) -> str:
    """Seconds of a text that is a count of units."""
    number = f"replace({column}, '{decimal}', '.')" if decimal != "." else column
    fraction = _count(number, unit, False)
    # As a whole number first: a fraction's 53 bits do not hold nanoseconds.
    whole = f"coalesce({_count(number, unit, True)}, {fraction})"
    return _within(f"CASE WHEN contains({number}, '.') THEN {fraction} ELSE {whole} END")


def is_missing(column: str, time_format: str | None = None) -> str:
    """SQL, true where a text says that there is no moment: zeros in place of a date."""
    zeros = f"{_ZEROS}|0+" if time_format and "%" in time_format else _ZEROS
    return f"regexp_full_match(trim(CAST({column} AS VARCHAR)), '{zeros}')"


def larger_unit(count: float) -> str | None:
    """The unit in which a count is a moment until the year 2128, if it is none in seconds."""
    if abs(count) <= _LATE:
        return None
    return next((unit for unit, size in PER_SECOND.items() if abs(count) <= _LATE * size), None)


def _digits(column: str, source: str) -> str:
    if source in ("DOUBLE", "FLOAT") or source.startswith("DECIMAL"):
        return f"CAST(TRY_CAST({column} AS BIGINT) AS VARCHAR)"
    return f"CAST({column} AS VARCHAR)"


def _count(number: str, unit: int, whole: bool) -> str:
    """Whole seconds, rounded down, of a count of units."""
    if not whole:
        return f"TRY_CAST(floor(TRY_CAST({number} AS DOUBLE) / {unit}) AS BIGINT)"
    value = f"TRY_CAST({number} AS HUGEINT)"
    if unit == 1:
        return f"TRY_CAST({value} AS BIGINT)"
    floor = f"(({value} - (({value} % {unit} + {unit}) % {unit})) // {unit})"
    return f"TRY_CAST({floor} AS BIGINT)"


def _within(count: str) -> str:
    return f"CASE WHEN ({count}) BETWEEN {FIRST} AND {LAST} THEN {count} END"


def _written(column: str) -> str:
    text = f"trim({column})"
    plain = text
    for pattern, by in (
        (_BASIC, r"\1-\2-\3T\4:\5:\6"),  # the basic form of ISO 8601
        (r":( ?(?:[Zz+-]|UTC|GMT)|$)", r"\1"),  # and that without seconds
        (r"(:\d+),(\d)", r"\1.\2"),
        (r"(\d)t(\d)", r"\1T\2"),
        (r"(\d) ?[Zz]$", r"\1Z"),
        (r"(:[\d.]+) ([+-]\d)", r"\1\2"),
        (r"([+-]\d)$", r"\1:00"),
    ):
        plain = f"regexp_replace({plain}, '{pattern}', '{by}')"
    return (
        f"CASE WHEN regexp_full_match({text}, '{_WRITTEN}') AND "
        f"TRY_CAST({text} AS TIMESTAMPTZ) IS NOT NULL THEN {_epoch(text)} "
        f"WHEN regexp_full_match({plain}, '{_WRITTEN}') THEN {_epoch(plain)} END"
    )


def _epoch(text: str) -> str:
    return whole_seconds(f"TRY_CAST({text} AS TIMESTAMPTZ)")


def whole_seconds(moment: str, source: str = "TIMESTAMP") -> str:
    """SQL of the whole seconds of a value of a time type, rounded down."""
    if source == "TIMESTAMP_NS":
        return _count(f"epoch_ns({moment})", 10**9, whole=True)
    # A double holds the seconds of the year 9999 and their fraction only nearly.
    return f"TRY_CAST(epoch(date_trunc('second', {moment})) AS BIGINT)"


def _formatted(text: str, time_format: str) -> str:
    """By a strptime format, with what strptime leaves out: the end of a day, zones, centuries."""
    form, until = time_format, None
    if found := _UNTIL.match(time_format):
        form, until = found["form"], int(found["year"])
    # What strptime reads as it stands needs no care, which takes several times as long.
    moment = _parsed(text, form)
    usual = f"CASE WHEN year({moment}) >= 1000 THEN {_of_century(moment, until)} END"
    odd = f"CASE WHEN year({moment}) >= 1000 THEN NULL ELSE trim({text}) END"
    return f"coalesce({usual}, {_with_care(odd, form, until)})"


def _with_care(text: str, form: str, until: int | None) -> str:
    if "%z" in form:
        text = f"regexp_replace({text}, '[Zz]$', '+00:00')"
    if "%b" in form:
        text = f"regexp_replace({text}, '(?i)\\bsept\\b', 'Sep')"
    end = r"(^|\D)24([:.]00(?:[:.]0+)*(?:\D|$))"
    day_over = f"regexp_matches({text}, '{end}')"
    if "%H" in form:
        text = f"regexp_replace({text}, '{end}', '\\100\\2')"
    moment = _parsed(text, form)
    value = _of_century(moment, until)
    if "%H" in form:
        value = f"({value} + CASE WHEN {day_over} THEN 86400 ELSE 0 END)"
    if "%Y" in form:  # else 1/15/24 is in the year 24
        early = "regexp_matches(" + text + r", '(^|[^\d+])0\d{3}(\D|$)')"
        value = f"CASE WHEN year({moment}) >= 1000 OR {early} THEN {value} END"
    return value


def _parsed(text: str, form: str) -> str:
    literal = "'" + form.replace("'", "''") + "'"
    return f"try_strptime({text}, {literal})"


def _of_century(moment: str, until: int | None) -> str:
    """Seconds of a moment; of the century before, if its year is after the latest possible."""
    if until is None:
        return whole_seconds(moment)
    late = f"CAST(ceil((year({moment}) - {until}) / 100.0) AS INTEGER)"
    return whole_seconds(f"({moment} - to_years(100 * {late}))")
