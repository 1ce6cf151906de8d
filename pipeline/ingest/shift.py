"""Rows outside their span's period: by how much they look shifted, and what would mend that."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence

import duckdb

from models.config import Section
from pipeline import sql

#: Built-in reason for which such rows are quarantined.
REASON = "outside its span"
#: Rows of a file from which on it is looked at: one share of them, or so many.
_SHARE, _MANY = 0.01, 100
_HOUR, _DAY = 3600, 86_400
_YEAR, _MONTH = 365.25 * _DAY, 30.44 * _DAY
#: Offsets of time zones, of their size at most.
_ZONE = 14 * _HOUR


class Moments(Section):
    """Where the moments of some rows lie, seconds since 1970, around a span's period.

    Attributes:
        column: `data.time_column`.
        rows: with a moment.
        before, after: of them, those before and after the period.
        low, high: between which 98 % of all lie.
        first, last: within the period; None without a row there.
        early, late: the earliest before it and the latest after it, 2 % of those apart.
    """

    column: str
    rows: int
    before: int
    after: int
    low: int
    high: int
    first: int | None
    last: int | None
    early: int | None
    late: int | None


def are_few(outside: int, rows: int) -> bool:
    """Whether rows outside are too few among those with a moment to be looked at."""
    return outside < min(_MANY, _SHARE * rows)


def measure(
    connection: duckdb.DuckDBPyConnection, column: str, start: int, end: int, outside: int
) -> Moments | None:
    """The moments of the view `typed`; None if few of them are outside.

    Args:
        connection: has the view.
        column: `data.time_column`.
        start: of the period.
        end: of the period, exclusive.
        outside: rows outside.
    """
    if not outside:
        return None
    m = sql.quote(column)
    (found,) = connection.execute(
        f"SELECT count(m), count(*) FILTER (m < {start}), count(*) FILTER (m >= {end}), "
        f"quantile_disc(m, 0.01), quantile_disc(m, 0.99), "
        f"min(m) FILTER (m >= {start} AND m < {end}), max(m) FILTER (m >= {start} AND m < {end}), "
        f"quantile_disc(m, 0.02) FILTER (m < {start}), quantile_disc(m, 0.98) FILTER (m >= {end}) "
        f"FROM (SELECT {m} AS m FROM typed)"
    ).fetchall()
    if not found[0] or are_few(outside, found[0]):
        return None
    return Moments(column=column, **dict(zip(list(Moments.model_fields)[1:], found, strict=True)))


def joined(parts: Sequence[Moments]) -> Moments:
    """Of several files of one span."""

    def least(name: str) -> int | None:
        return min((v for p in parts if (v := getattr(p, name)) is not None), default=None)

    def most(name: str) -> int | None:
        return max((v for p in parts if (v := getattr(p, name)) is not None), default=None)

    return Moments(
        column=parts[0].column,
        rows=sum(part.rows for part in parts),
        before=sum(part.before for part in parts),
        after=sum(part.after for part in parts),
        low=min(part.low for part in parts),
        high=max(part.high for part in parts),
        first=least("first"),
        last=most("last"),
        early=least("early"),
        late=most("late"),
    )


def told(moments: Moments, start: int, end: int) -> str:
    """In words: how many rows are outside, by how much all look shifted, and the remedy."""
    outside = moments.before + moments.after
    head = (
        f"{outside:,} of {moments.rows:,} rows are outside their span by {moments.column} "
        "(data.time_column)"
    )
    if 2 * outside >= moments.rows:
        by = _whole_shift(moments, start, end)
        runs = f"their moments run from {_day(moments.low)} to {_day(moments.high)}"
        if by is None:
            return f"{head}; {runs}. Give the file the name of its rows' span, or mend the moments."
        return (
            f"{head}; {runs}, which looks shifted by {by}. Mend the moments, or give the file the "
            "name of the span that its rows belong to."
        )
    offset = _offset(moments, start, end)
    if offset is None:
        return f"{head}: {moments.before:,} before it, {moments.after:,} after it."
    side, other = ("before", "last") if offset < 0 else ("after", "first")
    size = _hours(abs(offset))
    return (
        f"{head}, all within {size} {side} it, and none of its rows has a moment in its {other} "
        f"{size}: the moments look shifted by {'-' if offset < 0 else '+'}{size}, as local times "
        f"at UTC{_utc(offset)} are that are taken for UTC. Write them with their offset "
        f"({_utc(offset)}), or in UTC."
    )


def _whole_shift(moments: Moments, start: int, end: int) -> str | None:
    """By how much all rows are off, in words; None if they are spread wider than the span."""
    slack = max(0.02 * (end - start), 60)
    least, most = moments.high - end - slack, moments.low - start + slack
    if least > most or least <= 0 <= most:
        return None
    later = least > 0
    low, high = (least, most) if later else (-most, -least)
    for unit, name in ((_YEAR, "year"), (_MONTH, "month"), (_DAY, "day"), (_HOUR, "hour")):
        # Years and months are of several lengths.
        loose = 0.03 * unit if unit > _DAY else 0.0
        count = max(1, round((low + high) / 2 / unit))
        if low - loose <= count * unit <= high + loose:
            size = f"{'a' if name != 'hour' else 'an'} {name}" if count == 1 else f"{count} {name}s"
            return f"{size} ({'later' if later else 'earlier'})"
    return f"{_hours(math.ceil((low + high) / 2))} ({'later' if later else 'earlier'})"


def _offset(moments: Moments, start: int, end: int) -> int | None:
    """Seconds by which all rows look shifted by a time zone; None if they do not."""
    if moments.first is None or moments.last is None:
        return None
    outside = moments.before + moments.after
    if moments.early is not None and moments.before >= 0.95 * outside:
        beyond, gap, sign = start - moments.early, end - moments.last, -1
    elif moments.late is not None and moments.after >= 0.95 * outside:
        beyond, gap, sign = moments.late - end + 1, moments.first - start, 1
    else:
        return None
    if beyond > _ZONE or gap < 0.9 * beyond:
        return None
    for unit in (_HOUR, _HOUR // 2, _HOUR // 4):
        size = math.ceil(beyond / unit) * unit
        if size <= gap + 0.1 * unit:
            return sign * size
    return sign * round(beyond / 900) * 900 or None


def _hours(seconds: float) -> str:
    hours = seconds / _HOUR
    return f"{hours:g} hour{'' if hours == 1 else 's'}"


def _utc(offset: int) -> str:
    minutes = abs(offset) // 60
    return f"{'-' if offset < 0 else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _day(seconds: int) -> str:
    try:
        return f"{dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds):%Y-%m-%d %H:%M}"
    except OverflowError:
        return str(seconds)
