"""What the values of each column look like, counted by DuckDB over the sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import sql, typed_columns
from pipeline.ingest.shard import LARGEST_FLOAT
from pipeline.starter import cells, moments
from pipeline.starter.sample import SHARD, Sample, nested
from pipeline.typed_columns import Column

#: Beyond it a DOUBLE does not hold every whole number.
EXACT = 2.0**53
#: Values listed at most.
TOP = 100
#: Columns, and their cells, that one query looks at.
_COLUMNS_AT_ONCE, _CELLS_AT_ONCE = 50, 5_000_000


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
        infinite: numbers that are infinite, or would be in 32 bits.
        written: whether numbers are written in another way than a program's (`$1,234.50`).
        no_numbers: most frequent values that are none, where most are.
        low, high: smallest and largest finite number.
        quantiles: 0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999 of the numbers.
        words, length: mean number of words, and of characters, of a text.
        singletons: values that stand in one row only.
        top: most frequent values with their counts.
        time_format: as in `data.time_formats`; `auto` for what ingestion reads by itself, None
            if the values are no moments.
        ambiguous: another time format that fits as well.
        times: earliest and latest moment, seconds since 1970.
        hours, days, months: different hours of the day, days and months among the moments.
        unread: rows with a value that is no moment as the others are written.
        shares: share of rows with a value, by file of the sample.
    """

    name: str
    type: str
    rows: int
    present: int = 0
    distinct: int = 0
    numbers: int = 0
    whole: int = 0
    infinite: int = 0
    written: bool = False
    no_numbers: list[tuple[str, int]] = field(default_factory=list)
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
    unread: int = 0
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
    # A query for many columns costs little more than one for a single column.
    size = max(1, min(_COLUMNS_AT_ONCE, _CELLS_AT_ONCE // max(1, sample.rows)))
    found: list[Profile] = []
    for start in range(0, len(sample.names), size):
        some = [
            Profile(name, sample.types[name], sample.rows)
            for name in sample.names[start : start + size]
        ]
        _presence(connection, [one for one in some if nested(one.type)])
        _figures(connection, sample, [one for one in some if not nested(one.type)])
        found += some
    return found


def _presence(connection: duckdb.DuckDBPyConnection, some: Sequence[Profile]) -> None:
    for one in some:
        (one.present,) = connection.execute(
            f"SELECT count({sql.quote(one.name)}) FROM sample"
        ).fetchone() or (0,)


def _figures(
    connection: duckdb.DuckDBPyConnection, sample: Sample, some: Sequence[Profile]
) -> None:
    """Fills in profiles of columns that hold one value a row, all of them at once."""
    if not some:
        return
    steps = typed_columns.typed(
        [Column(one.name, "float", one.type, numbers=sample.numbers(one.name)) for one in some]
    )
    made = ", ".join(
        f"CASE WHEN {sql.present(one.name, one.type)} THEN "
        f"{sql.typed(one.name, 'string', one.type)} END AS v{at}, {number} AS n{at}"
        for at, (one, number) in enumerate(zip(some, steps.values, strict=True))
    )
    beside = ", ".join([*(sql.quote(one.name) for one in some), SHARD])
    rows = steps.over(f"(SELECT {beside} FROM sample)")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE part AS SELECT {made}, {SHARD} FROM {rows}")
    shares = connection.execute(
        f"SELECT {', '.join(f'count(v{at}) / count(*)' for at in range(len(some)))} "
        f"FROM part GROUP BY {SHARD} ORDER BY {SHARD}"
    ).fetchall()
    for at, (one, row) in enumerate(
        zip(some, _asked(connection, _NUMBERS, range(len(some))), strict=True)
    ):
        one.present, one.numbers, one.whole, low, high, quantiles, one.infinite, odd = row
        one.written = bool(odd)
        one.low, one.high, one.quantiles = low or 0.0, high or 0.0, tuple(quantiles or ())
        one.shares = tuple(share[at] for share in shares)
    texts = [at for at, one in enumerate(some) if not one.is_number]
    for at, (length, words) in zip(texts, _asked(connection, _WORDS, texts), strict=True):
        some[at].length, some[at].words = length or 0.0, words or 0.0
    for at, one in enumerate(some):
        if one.numbers >= 0.5 * one.present and one.numbers < one.present:
            one.no_numbers = connection.execute(
                f"SELECT v{at}, count(*) FROM part WHERE v{at} IS NOT NULL AND n{at} IS NULL "
                "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 3"
            ).fetchall()
    # Of numbers however they are written, what counts is which numbers they are.
    names = ", ".join(
        _NUMBER.format(at=at) if one.is_number and one.written else f"v{at}"
        for at, one in enumerate(some)
    )
    values = connection.sql(f"SELECT {names} FROM part").to_arrow_table()
    for one, column in zip(some, values.columns, strict=True):
        _values(connection, one, column.combine_chunks())
        _moments(connection, one)


_FINITE = f"abs(n{{at}}) <= {LARGEST_FLOAT}"
#: Aggregates of column `at` of table `part`.
_NUMBERS = (
    "count(v{at})",
    "count(n{at})",
    f"count(*) FILTER (n{{at}} = trunc(n{{at}}) AND {_FINITE})",
    f"min(n{{at}}) FILTER ({_FINITE})",
    f"max(n{{at}}) FILTER ({_FINITE})",
    f"quantile_cont(n{{at}}, [0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999]) FILTER ({_FINITE})",
    f"count(*) FILTER (NOT {_FINITE})",
    "count(*) FILTER (TRY_CAST(v{at} AS DOUBLE) IS DISTINCT FROM n{at})",
)
_NUMBER = (
    "CASE WHEN n{at} = trunc(n{at}) AND abs(n{at}) < 1e15 THEN CAST(CAST(n{at} AS BIGINT) AS "
    "VARCHAR) WHEN n{at} IS NOT NULL THEN CAST(n{at} AS VARCHAR) ELSE v{at} END AS v{at}"
)
_WORDS = ("avg(length(v{at}))", "avg(length(v{at}) - length(replace(v{at}, ' ', '')) + 1)")


def _asked(
    connection: duckdb.DuckDBPyConnection, aggregates: Sequence[str], columns: Sequence[int]
) -> list[tuple[Any, ...]]:
    """The aggregates of each column, all in one query."""
    if not columns:
        return []
    lists = {letter: f"[{', '.join(f'{letter}{at}' for at in columns)}]" for letter in "vn"}
    asked = ", ".join(one.format(at="") for one in aggregates)
    return cells.of(connection, lists, len(columns), asked, "part")


def _values(connection: duckdb.DuckDBPyConnection, found: Profile, column: pa.Array) -> None:
    """Counts a column's values; they become table `many`, each once."""
    counts = pa.table(dict(zip("vc", pc.value_counts(column.drop_null()).flatten(), strict=True)))
    found.distinct = counts.num_rows
    found.singletons = pc.sum(pc.equal(counts["c"], 1)).as_py() or 0
    order = [("c", "descending"), ("v", "ascending")]
    top = counts.take(pc.select_k_unstable(counts, TOP, order))
    found.top = list(zip(top["v"].to_pylist(), top["c"].to_pylist(), strict=True))
    connection.register("many", counts)


def _moments(connection: duckdb.DuckDBPyConnection, found: Profile) -> None:
    """Whether the values are moments, how they are written, and what of them varies."""
    made = moments.look(connection, found.name, found.type, found.high if found.is_number else None)
    if made is None:
        return
    found.time_format, found.ambiguous, found.times = made.form, made.ambiguous, made.times
    found.hours, found.days, found.months = made.hours, made.days, made.months
    found.present -= made.absent
    found.unread = made.unread
