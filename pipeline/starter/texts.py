"""How values that are text are written: point and comma in numbers, texts that mean missing."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from pipeline import number_text, sql
from pipeline.number_text import Format
from pipeline.starter import cells
from pipeline.starter.sample import SHARD, Sample

#: Texts by which programs say that a value is missing. The first kind never means anything else.
NULL_TEXTS = (
    *("\\N", "NULL", "null", "#N/A", "<NA>", "nan", "NaN", "N/A", "n/a", "NaT"),
    *("#DIV/0!", "#NUM!", "#VALUE!", "#REF!", "#NAME?", "#NULL!"),
)
OTHER_NULL_TEXTS = ("NA", "None", "none", "?", "-", "--", ".", "missing", "unknown", "Unknown")
#: Those that are missing among numbers anyway.
_NO_NUMBERS = ("nan", "NaN")
#: Share of a column's values that must be numbers, or moments, for it to be a column of them.
MOST = 0.98

_BEFORE, _BEHIND = "^[^0-9.,]*", "[^0-9.,]*$"
#: Kinds of numbers by what point and comma can mean in them; `P` and `C` stand for the two.
_SHAPES = {
    # 1.234: a point before a fraction, or between thousands.
    "either": r"[1-9]\d{0,2}P\d{3}",
    # 1,234.5 and 1,234,567 and 1.23 and 0.123 and 1234.567: the point stands before a fraction.
    "sure": r"(\d{1,3}(C\d{2,3})+P\d*|[1-9]\d{0,2}(C\d{3}){2,}|\d*P(\d{1,2}|\d{4,})([eE][-+]?\d+)?"
    r"|0\d*P\d{3}|\d{4,}P\d{3})",
    "grouped": r"[1-9]\d{0,2}(C\d{2,3})*C\d{3}(P\d*)?",
}
_MANY = 30
_SHORT, _LONG = r"\d{1,3}", r"\d{4,}"


@dataclass(frozen=True)
class _Shapes:
    """How many values of a column are written in which way; `p` and `c`: the decimal mark."""

    either_p: int
    sure_p: int
    grouped_p: int
    either_c: int
    sure_c: int
    grouped_c: int
    short: int
    long: int

    @property
    def certain(self) -> Format | None:
        """What the column's own values leave no doubt of."""
        if self.sure_p and self.sure_p >= self.sure_c:
            return Format(".", "," if self.grouped_p else "")
        if self.sure_c:
            return Format(",", "." if self.grouped_c else "")
        return None

    @property
    def by_gaps(self) -> Format | None:
        """Whole numbers below 1000 beside such as 1.234, and none of four digits: thousands."""
        if not self.short or self.long or (self.either_p and self.either_c):
            return None
        return Format(",", ".") if self.either_p else Format(".", ",") if self.either_c else None


def find(connection: duckdb.DuckDBPyConnection, sample: Sample) -> Sample:
    """The sample with how its texts are written; the table `sample` has NULL for missing.

    A text such as `NA` counts only in columns whose other values are numbers or moments:
    elsewhere it may be Namibia.
    """
    formats, remarks = _formats(connection, sample)
    csv, changed = sample.csv, formats
    if csv is not None:
        usual = _usual(formats)
        csv = csv.model_copy(update={"decimal": usual.decimal, "thousands": usual.thousands})
        changed = {name: one for name, one in formats.items() if one.decimal != usual.decimal}
    else:
        changed = {name: one for name, one in formats.items() if one != Format()}
    sample = dataclasses.replace(sample, csv=csv, number_formats=changed, remarks=tuple(remarks))
    everywhere, by_column = _null_texts(connection, sample)
    if csv is not None:
        csv = csv.model_copy(update={"null_values": everywhere})
    sample = dataclasses.replace(sample, csv=csv, null_values=by_column)
    _apply(connection, sample)
    return sample


def _apply(connection: duckdb.DuckDBPyConnection, sample: Sample) -> None:
    """Makes the sample what reading the files with the configuration would have given."""
    always = sample.csv.null_values if sample.csv else ()
    columns = ", ".join(
        f"{sql.as_read(name, sample.types[name], nulls)} AS {sql.quote(name)}"
        for name in sample.names
        for nulls in [(*always, *sample.null_values.get(name, ()))]
    )
    connection.execute(f"CREATE OR REPLACE TABLE sample AS SELECT {columns}, {SHARD} FROM sample")


# --- what point and comma mean -----------------------------------------------------------------


def _formats(
    connection: duckdb.DuckDBPyConnection, sample: Sample
) -> tuple[dict[str, Format], list[str]]:
    """Formats of the columns of numbers in which there is a point or a comma, and remarks."""
    shapes = _shapes(connection, sample)
    found: dict[str, Format] = {}
    remarks: list[str] = []
    sure = {name: one.certain for name, one in shapes.items() if one.certain}
    are = _of_numbers(connection, sure)
    for name, one in shapes.items():
        if name in are:
            found[name] = sure[name]
            if one.sure_p and one.sure_c:
                remarks.append(_mixed(name, one))
    open_ = {n: s for n, s in shapes.items() if not s.certain and (s.either_p or s.either_c)}
    certain = bool(found)
    known = Counter(one.decimal for one in found.values())
    known.update(f.decimal for s in open_.values() if not certain and (f := s.by_gaps))
    settled = {name: _settled(one, known, sample) for name, one in open_.items()}
    are = _of_numbers(connection, {name: form for name, (form, _) in settled.items()})
    for name, one in open_.items():
        form, why = settled[name]
        if name not in are:
            continue
        found[name] = form
        if certain and form.decimal == _leading(known) and one.by_gaps in (None, form):
            continue
        mark = "." if one.either_p else ","
        meant = "1.234" if form.decimal == mark else "1234"
        remarks.append(
            f"{name}: 1{mark}234 is read as {meant} ({why}); if that is wrong, say in "
            f"[data.number_formats] how 1234.5 is written there: "
            f'"{_other(form, mark).example}"'
        )
    return found, remarks


def _settled(one: _Shapes, known: Mapping[str, int], sample: Sample) -> tuple[Format, str]:
    """What a column means whose every value could be read in two ways."""
    if known:
        decimal = _leading(known)
        why = f"elsewhere the table has {'commas' if decimal == ',' else 'points'} before fractions"
    elif one.either_p:
        decimal, why = ".", "nothing in the table says otherwise"
    else:
        # Where fields are not separated by commas, they may well stand in numbers.
        comma = sample.csv is not None and sample.csv.delimiter == ";"
        decimal, why = ("," if comma else "."), "nothing in the table says otherwise"
    # So many fractions would not all have three digits, beside numbers that have none.
    if one.by_gaps and (not known or one.either_p + one.either_c >= _MANY):
        decimal, why = one.by_gaps.decimal, "the column has no other whole numbers above 999"
    grouped = one.either_c if decimal == "." else one.either_p
    return Format(decimal, ({".": ",", ",": "."}[decimal]) if grouped else ""), why


def _leading(decimals: Mapping[str, int]) -> str:
    return "," if decimals.get(",", 0) > decimals.get(".", 0) else "."


def _other(form: Format, mark: str) -> Format:
    if form.decimal == mark:
        return Format("," if mark == "." else ".", mark)
    return Format(mark)


def _mixed(name: str, one: _Shapes) -> str:
    most, rest = max(one.sure_p, one.sure_c), min(one.sure_p, one.sure_c)
    mark = "point" if one.sure_p >= one.sure_c else "comma"
    return (
        f"{name}: {most:,} numbers have a decimal {mark} and {rest:,} the other mark; the latter "
        "are not read. Write them alike"
    )


def _usual(formats: Mapping[str, Format]) -> Format:
    """What most columns have."""
    decimal = _leading(Counter(one.decimal for one in formats.values()))
    grouped = [one.thousands for one in formats.values() if one.decimal == decimal]
    return Format(decimal, max(grouped, default=""))


def _shapes(connection: duckdb.DuckDBPyConnection, sample: Sample) -> dict[str, _Shapes]:
    """Of the text columns with a point or comma behind or before a digit."""
    names = _holding(connection, _texts(sample), "regexp_matches({value}, '[0-9][.,]|[.,][0-9]')")
    if not names:
        return {}
    patterns = [
        pattern.replace("P", point).replace("C", comma)
        for point, comma in ((r"\.", ","), (",", r"\."))
        for pattern in _SHAPES.values()
    ]
    asked = ", ".join(
        f"count(*) FILTER (regexp_matches(v, {sql.text(_BEFORE + pattern + _BEHIND)}))"
        for pattern in (*patterns, _SHORT, _LONG)
    )
    rows = cells.asked(connection, names, asked)
    return {name: _Shapes(*row) for name, row in zip(names, rows, strict=True)}


def _texts(sample: Sample) -> list[str]:
    return [name for name in sample.names if sample.types[name] == "VARCHAR"]


def _holding(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], condition: str
) -> list[str]:
    """Columns with a value for which a condition is true."""
    if not names:
        return []
    asked = ", ".join(f"bool_or({condition.format(value=sql.quote(name))})" for name in names)
    (row,) = connection.execute(f"SELECT {asked} FROM sample").fetchall()
    return [name for name, holds in zip(names, row, strict=True) if holds]


def _of_numbers(connection: duckdb.DuckDBPyConnection, formats: Mapping[str, Format]) -> set[str]:
    """Columns of whose values at least half are numbers; the rest is told of later."""
    found = set()
    for form in set(formats.values()):
        names = [name for name, one in formats.items() if one == form]
        others = f"v NOT IN ({_listed((*NULL_TEXTS, *OTHER_NULL_TEXTS))}) AND trim(v) <> ''"
        asked = (
            f"count(*) FILTER ({others}), "
            f"count(CASE WHEN {others} THEN {number_text.number('v', form)} END)"
        )
        for name, (all_, read) in zip(names, cells.asked(connection, names, asked), strict=True):
            if read and read >= 0.5 * all_:
                found.add(name)
    return found


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(map(sql.text, texts))


# --- texts that mean missing ---------------------------------------------------------------------


def _null_texts(
    connection: duckdb.DuckDBPyConnection, sample: Sample
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Texts that mean missing in every column, and others by column."""
    missing: dict[str, set[str]] = {}
    values: set[str] = set()  # mean something in some column
    every = (*NULL_TEXTS, *OTHER_NULL_TEXTS)
    condition = f"trim({{value}}) IN ({_listed(every)})"
    for name in _holding(connection, _texts(sample), condition):
        here, others, fitting = _counted(connection, sample, name, every)
        if fitting and fitting >= MOST * others:
            missing[name] = {text for text in here if text not in _NO_NUMBERS}
        else:
            missing[name] = {text for text in here if text in NULL_TEXTS}
            values.update(text for text in here if text not in NULL_TEXTS)
    by_column = {
        name: tuple(text for text in every if text in found)
        for name, found in missing.items()
        if found
    }
    if sample.csv is None:
        return (), by_column
    everywhere = tuple(
        text
        for text in every
        if text not in values and any(text in found for found in missing.values())
    )
    own = {
        name: rest
        for name, found in by_column.items()
        if (rest := tuple(text for text in found if text not in everywhere))
    }
    return everywhere, own


def _counted(
    connection: duckdb.DuckDBPyConnection, sample: Sample, name: str, every: Sequence[str]
) -> tuple[list[str], int, int]:
    """Texts of `every` in a column, its other values, and those of them that are numbers."""
    column = sql.quote(name)
    fits = (
        f"({number_text.number(column, sample.numbers(name))}) IS NOT NULL "
        f"OR TRY_CAST({column} AS TIMESTAMPTZ) IS NOT NULL"
    )
    said = f"trim({column})"
    other = f"{said} NOT IN ({_listed(every)}) AND {said} <> ''"
    ((here, others, fitting),) = connection.execute(
        f"SELECT list(DISTINCT {said}) FILTER ({said} IN ({_listed(every)})), "
        f"count(*) FILTER ({other}), count(*) FILTER ({other} AND ({fits})) FROM sample"
    ).fetchall()
    return here or [], others, fitting
