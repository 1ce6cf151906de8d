"""What the values of each column look like, counted by DuckDB over the sample."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipeline import sql
from pipeline.starter.sample import SHARD, Sample, nested

#: Ways to write a moment that `CAST` does not know; those with a time of day first.
TIME_FORMATS = tuple(
    f"{day}{hour}"
    for hour in (" %H:%M:%S", " %H:%M", " %I:%M:%S %p", " %I:%M %p", "")
    for day in (
        *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d-%b-%Y", "%d %b %Y"),
        *("%b %d, %Y", "%B %d, %Y", "%d %B %Y", "%Y%m%d", "%m/%d/%y", "%d/%m/%y"),
    )
)
_SECONDS, _MILLIS, _MICROS = (6e8, 4.2e9), (6e11, 4.2e12), (6e14, 4.2e15)
_TIME_WORDS = re.compile(
    r"(?i)(^|[^a-z])(time|timestamp|ts|date|datetime|dt|epoch|created|updated|at|on|when|day)"
    r"($|[^a-z])|(?<=[a-z])(Time|Timestamp|Date|At)($|[A-Z_])"
)
#: Values listed at most.
TOP = 100


@dataclass
class Profile:
    """Counts and figures of one column of the sample.

    Attributes:
        name: in the files.
        type: DuckDB's.
        rows: of the sample.
        present: rows with a value (the empty text and NaN are none).
        distinct: different values.
        numbers: values that are numbers.
        whole: values that are whole numbers.
        low, high: smallest and largest number.
        quantiles: 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999 of the numbers.
        words, length: mean number of words, and of characters, of a text.
        singletons: values that stand in one row only.
        top: most frequent values with their counts.
        time_format: as in `data.time_formats`; `auto` for what ingestion reads by itself, None
            if the values are no moments.
        ambiguous: another time format that fits as well.
        times: earliest and latest moment, seconds since 1970.
        hours, days, months: different hours of the day, days and months among the moments.
        shares: share of rows with a value, by file of the sample.
    """

    name: str
    type: str
    rows: int
    present: int = 0
    distinct: int = 0
    numbers: int = 0
    whole: int = 0
    low: float = 0.0
    high: float = 0.0
    quantiles: tuple[float, ...] = ()
    words: float = 0.0
    length: float = 0.0
    singletons: int = 0
    top: list[tuple[str, int]] = field(default_factory=list)
    time_format: str | None = None
    ambiguous: str | None = None
    times: tuple[int, int] = (0, 0)
    hours: int = 0
    days: int = 0
    months: int = 0
    shares: tuple[float, ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether (almost) all values are numbers."""
        return self.present > 0 and self.numbers >= 0.98 * self.present

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return self.is_number and self.whole == self.numbers

    @property
    def missing_share(self) -> float:
        """Share of rows without a value."""
        return 1 - self.present / self.rows if self.rows else 0.0

    @property
    def unseen(self) -> float:
        """Chance that the next value was never seen: singletons / values (Good 1953)."""
        return self.singletons / self.present if self.present else 0.0


def columns(connection: duckdb.DuckDBPyConnection, sample: Sample) -> list[Profile]:
    """Profiles of all columns, in their order."""
    decimal = sample.csv.decimal if sample.csv else "."
    return [_column(connection, sample, name, decimal) for name in sample.names]


def _column(
    connection: duckdb.DuckDBPyConnection, sample: Sample, name: str, decimal: str
) -> Profile:
    kind = sample.types[name]
    found = Profile(name, kind, sample.rows)
    if nested(kind):
        column = sql.quote(name)
        (found.present,) = connection.execute(f"SELECT count({column}) FROM sample").fetchone() or (
            0,
        )
        return found
    value = sql.typed(name, "string", kind)
    number = sql.typed(name, "float", kind, decimal=decimal)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE one AS SELECT v, n, {SHARD} FROM (SELECT "
        f"CASE WHEN {sql.present(name, kind)} THEN {value} END AS v, {number} AS n, {SHARD} "
        "FROM sample)"
    )
    row: tuple[Any, ...] = (
        connection.execute(
            "SELECT count(v), count(n), count(*) FILTER (n = trunc(n)), min(n), max(n), "
            "quantile_cont(n, [0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999]) FILTER (isfinite(n)), "
            "avg(length(v)), avg(length(v) - length(replace(v, ' ', '')) + 1) FROM one"
        ).fetchone()
        or (0,) * 8
    )
    found.present, found.numbers, found.whole = row[:3]
    found.low, found.high = row[3] or 0.0, row[4] or 0.0
    found.quantiles = tuple(row[5] or ())
    found.length, found.words = row[6] or 0.0, row[7] or 0.0
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE many AS SELECT v, count(*) AS c FROM one "
        "WHERE v IS NOT NULL GROUP BY v"
    )
    found.distinct, found.singletons = connection.execute(
        "SELECT count(*), count(*) FILTER (c = 1) FROM many"
    ).fetchone() or (0, 0)
    found.top = connection.execute(
        f"SELECT v, c FROM many ORDER BY c DESC, v LIMIT {TOP}"
    ).fetchall()
    shares = connection.execute(
        f"SELECT {SHARD}, count(v) / count(*) FROM one GROUP BY 1 ORDER BY 1"
    ).fetchall()
    found.shares = tuple(share for _, share in shares)
    _moments(connection, found)
    return found


def _moments(connection: duckdb.DuckDBPyConnection, found: Profile) -> None:
    """Whether the values are moments, how they are written, and what of them varies."""
    if not found.present:
        return
    found.time_format = _time_format(connection, found)
    if found.time_format is None:
        return
    # The values are text here, whatever the file has.
    kind = "VARCHAR"
    moment = sql.typed(
        "v",
        "timestamp",
        kind,
        time_format=None if found.time_format == "auto" else found.time_format,
    )
    first, last, found.hours, found.days, found.months = connection.execute(
        "SELECT min(t), max(t), count(DISTINCT t // 3600 % 24), count(DISTINCT t // 86400), "
        "count(DISTINCT strftime(make_timestamp(t * 1000000), '%Y-%m')) "
        f"FROM (SELECT {moment} AS t FROM one) WHERE abs(t) < 100000000000"
    ).fetchone() or (None, None, 0, 0, 0)
    if first is None or last is None:
        found.time_format = None
    else:
        found.times = (first, last)


def _time_format(connection: duckdb.DuckDBPyConnection, found: Profile) -> str | None:
    if found.type.startswith(("TIMESTAMP", "DATE")):
        return "auto"
    if found.is_number:
        return _of_number(connection, found)
    if found.type != "VARCHAR" or not any(c.isdigit() for c in (found.top or [("", 0)])[0][0]):
        return None
    if _fits(connection, found, "TRY_CAST(v AS TIMESTAMPTZ)"):
        return "auto"
    fitting = [
        form
        for form in TIME_FORMATS
        if _fits(connection, found, f"try_strptime(v, {sql.text(form)})")
    ]
    if not fitting:
        return None
    swapped = {"%d/%m": "%m/%d", "%m/%d": "%d/%m", "%d-%m": "%m-%d", "%m-%d": "%d-%m"}
    other = swapped.get(fitting[0][:5], "") + fitting[0][5:]
    found.ambiguous = other if other in fitting else None
    return fitting[0]


def _fits(connection: duckdb.DuckDBPyConnection, found: Profile, moment: str) -> bool:
    """Whether an expression over `v` gives a moment for (almost) all values."""
    # Distinct values are tried, a few first: most columns fail at once.
    for limit in (20, 1_000_000_000):
        good, seen = connection.execute(
            f"SELECT count({moment}), count(*) FROM (SELECT v FROM many LIMIT {limit})"
        ).fetchone() or (0, 1)
        if good < 0.98 * seen:
            return False
    return found.distinct > 0


def _of_number(connection: duckdb.DuckDBPyConnection, found: Profile) -> str | None:
    """Numbers are moments if their size and the column's name say so."""
    if not found.is_whole or not found.quantiles:
        return None
    low, high = found.quantiles[1], found.quantiles[-2]
    if _MILLIS[0] <= low and high <= _MILLIS[1]:
        return "milliseconds"
    if _MICROS[0] <= low and high <= _MICROS[1]:
        return "microseconds"
    if not _TIME_WORDS.search(found.name):
        return None
    if _SECONDS[0] <= low and high <= _SECONDS[1]:
        return "auto"
    if (
        low >= 19000101
        and high <= 21001231
        and _fits(connection, found, "try_strptime(v, '%Y%m%d')")
    ):
        return "%Y%m%d"
    return None
