"""How the rows of one table are dealt to training and evaluation.

By a moment (the newest are evaluated on), or by what says which row it is. A side must not follow
from the answer, so the answer is no part of that; copies of a row stay together, so that nothing is
evaluated on what was learnt by heart. Where few different rows make a table, that would put whole
kinds of rows on one side: such common rows are dealt by their place in the file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

from pipeline import sql
from pipeline.errors import DataError
from pipeline.ingest import reader
from pipeline.ingest.plan import Dealing, IngestPlan
from pipeline.references import columns_of
from pipeline.spans import Window

#: Equal rows are common from so many, and from this share of all rows: what they hold decides no
#: longer where they go.
_COMMON_ROWS, _COMMON_SHARE = 5, 0.001
#: Rows of all files together that are looked at for common ones.
_LOOKED_AT = 2_000_000
#: A number of up to so many characters is the same number however it is written (53 bits).
_NUMBER_CHARACTERS = 15
#: Moments that stand for "never" or "still" in somebody's program.
_SENTINEL_YEARS = (1902, 2090)
_SENTINEL_DAYS = (
    *("1753-01-01", "1899-12-30", "1899-12-31", "1900-01-01", "1900-01-02", "1901-01-01"),
    *("1960-01-01", "1969-12-31", "1970-01-01", "1980-01-01", "1999-12-31", "2000-01-01"),
    *("2037-12-31", "2038-01-19", "2049-12-31", "2050-01-01", "2050-12-31", "2078-12-31"),
    *("2079-06-06", "2099-12-31"),
)
#: Share of rows without a real moment from which time is no order of the table.
NEVER_SHARE = 0.05
_DAY = 86400
#: A sentinel lies apart from what happened by this at least.
_APART = 3 * 365 * _DAY


@dataclass(frozen=True)
class Cut:
    """Where a table is cut by time.

    Attributes:
        cutoff: rows at or after this second are evaluated on; None: no moment parts the rows.
        first, last: moments outside of these stand for "never" or "still", as does none.
        sentinels: those moments and the share of rows that has each, commonest first.
        why: the moment of a sentence that says why there is no cutoff; `""` if there is one.
    """

    cutoff: int | None
    first: int
    last: int
    sentinels: tuple[tuple[int, float], ...] = ()
    why: str = ""


def cut(times: np.ndarray[Any, Any], counts: np.ndarray[Any, Any], holdout: float) -> Cut | None:
    """The cutoff that parts rows most nearly as asked.

    Args:
        times: different moments in ascending order, seconds since 1970.
        counts: rows at each.
        holdout: share to evaluate on.

    Returns:
        None if there is no moment at all.
    """
    if not len(times):
        return None
    low, high = _real(times)
    apart = [at for at in range(len(times)) if not low <= at < high]
    total = float(counts.sum())
    sentinels = sorted(((int(times[at]), counts[at] / total) for at in apart), key=lambda s: -s[1])
    real, weights = times[low:high], counts[low:high]
    bounds = (int(real[0]), int(real[-1]), tuple(sentinels))
    after = weights[::-1].cumsum()[::-1] / weights.sum()  # share at or after each moment
    best = int(np.argmin(np.abs(after - holdout)))
    if holdout / 2 <= after[best] <= min(2 * holdout, (1 + holdout) / 2):
        return Cut(int(real[best]), *bounds)
    many = int(np.argmax(weights))
    why = f"{weights[many] / weights.sum():.0%} of the rows share {moment(int(real[many]))}"
    return Cut(None, *bounds, why)


def _real(times: np.ndarray[Any, Any]) -> tuple[int, int]:
    """Bounds of the moments that are no sentinels, as a slice."""
    low, high = 0, len(times)
    while high - low > 1 and _stands_apart(times[low], times[low + 1]):
        low += 1
    while high - low > 1 and _stands_apart(times[high - 1], times[high - 2]):
        high -= 1
    return low, high


def _stands_apart(time: int, other: int) -> bool:
    if abs(int(time) - int(other)) < _APART:
        return False
    day = moment(int(time))[:10]
    return day in _SENTINEL_DAYS or not _SENTINEL_YEARS[0] <= int(day[:-6]) < _SENTINEL_YEARS[1]


def moment(seconds: int) -> str:
    """A moment as a person writes it: without a time of day where it is midnight."""
    text = str(np.datetime64(seconds, "s")).replace("T", " ")
    return text.removesuffix(" 00:00:00")


def key_columns(plan: IngestPlan, names: Iterable[str]) -> list[str]:
    """Columns that say which row it is.

    `data.row_key`; without one all that the configuration names but what the answer is made
    of or given away by.

    Args:
        plan: the configuration's.
        names: of the columns that the file has.
    """
    if plan.row_key:
        return list(plan.row_key)
    answer = {name.lower() for name in (*columns_of(plan.label.expression), *plan.label.leaks)}
    there = set(names)
    return sorted(n for n in plan.features if n in there and n.lower() not in answer)


def key_sql(columns: Sequence[str], row: str = "") -> str:
    """SQL of a row's key, a whole number (UBIGINT) that is the same on every machine.

    Args:
        columns: as `key_columns` gives them.
        row: prefix of the columns, such as `t.`.
    """
    values = [_said(name, f"CAST({row}{sql.quote(name)} AS VARCHAR)") for name in columns]
    return f"md5_number_lower(concat_ws(chr(31), {', '.join(values) or sql.text('')}))"


def _said(name: str, value: str) -> str:
    """A column and its value, the same from CSV and Parquet: 1, 1.0 and 1.00 are one number.

    NULL where it is missing, which says no more than a column that is not there.
    """
    # A cast to a number is cheap, one to text is not: there is one.
    double = f"TRY_CAST({value} AS DOUBLE)"
    short = f"length({value}) <= {_NUMBER_CHARACTERS} AND NOT isnan({double})"
    text = (
        f"coalesce(CAST(CASE WHEN {short} THEN {double} END AS VARCHAR), "
        f"CASE WHEN lower({value}) NOT IN ('', 'nan', '-nan', '+nan') THEN {value} END)"
    )
    return f"{sql.text(name + '=')} || {text}"


def evaluated(plan: IngestPlan, dealing: Dealing, path: str, names: Iterable[str]) -> str:
    """SQL: whether a row of `typed` is evaluated on.

    Args:
        plan: the configuration's.
        dealing: what was found out of all files.
        path: of the file; equal rows that are common are dealt by their place in it.
        names: of the columns that the file has.
    """
    limit = int(plan.holdout * 1_000_000)
    key = key_sql(key_columns(plan, names), sql.computed("raw") + ".")
    if dealing.common:
        place = sql.text(os.path.basename(path))
        rank = f"md5_number_lower(concat({sql.computed('number')}, chr(31), {place}))"
        listed = ", ".join(map(str, dealing.common))
        key = f"CASE WHEN ({key}) IN ({listed}) THEN {rank} ELSE {key} END"
    dealt = f"({key}) % 1000000 < {limit}"
    if plan.time_column is None or dealing.cutoff is None:
        return dealt
    time = sql.quote(plan.time_column)
    happened = f"{time} BETWEEN {dealing.first} AND {dealing.last}"
    return f"CASE WHEN {happened} THEN {time} >= {dealing.cutoff} ELSE {dealt} END"


def look(window: Window, plan: IngestPlan) -> Dealing:
    """What must be known of all files before a row of any is dealt.

    Raises:
        DataError: a file cannot be read, or lacks a column of `data.row_key`.
    """
    paths = [path for item in window.spans for path in item.paths]
    with sql.connect() as connection:
        connection.execute("CREATE TEMP TABLE times (t BIGINT)")
        connection.execute("CREATE TEMP TABLE keys (k UBIGINT)")
        for path in paths:
            with reader.localized(path) as local:
                types, _ = reader.open_source(connection, path, local, plan, confined=False)
                require_key(plan, path, types)
                try:
                    _gather(connection, plan, types, _LOOKED_AT // len(paths))
                except duckdb.Error as error:
                    raise reader.read_error(path, error) from error
        return found(connection, plan)


def of_file(
    connection: duckdb.DuckDBPyConnection, plan: IngestPlan, types: dict[str, str]
) -> Dealing:
    """The dealing that follows from the view `source` alone, whose columns are `types`."""
    connection.execute("CREATE OR REPLACE TEMP TABLE times (t BIGINT)")
    connection.execute("CREATE OR REPLACE TEMP TABLE keys (k UBIGINT)")
    _gather(connection, plan, types, _LOOKED_AT)
    return found(connection, plan)


def _gather(
    connection: duckdb.DuckDBPyConnection, plan: IngestPlan, types: dict[str, str], limit: int
) -> None:
    if plan.time_column:
        source = types.get(plan.time_column, '"NULL"')
        moments = plan.typed(plan.time_column, "timestamp", source)
        connection.execute(f"INSERT INTO times SELECT {moments} FROM source")
    key = key_sql(key_columns(plan, types))
    connection.execute(f"INSERT INTO keys SELECT {key} FROM source LIMIT {limit}")


def require_key(plan: IngestPlan, path: str, names: Iterable[str]) -> None:
    """Sees that a file has the columns of `data.row_key`.

    Raises:
        DataError: it lacks one.
    """
    for name in plan.row_key:
        if name not in set(names):
            raise DataError(
                f"{path}: has no column {name!r}, by which data.row_key deals rows. Mend the "
                "key, or the file."
            )


def found(connection: duckdb.DuckDBPyConnection, plan: IngestPlan) -> Dealing:
    """The dealing that follows from the tables `times (t)` and `keys (k)`."""
    made = None
    if plan.time_column:
        rows = connection.execute(
            "SELECT t, count(*) AS c FROM times WHERE t IS NOT NULL GROUP BY t ORDER BY t"
        ).fetchnumpy()
        made = cut(np.asarray(rows["t"]), np.asarray(rows["c"]), plan.holdout)
    (total,) = connection.execute("SELECT count(*) FROM keys").fetchone() or (0,)
    least = max(_COMMON_ROWS, total * _COMMON_SHARE)
    common = connection.execute(
        f"SELECT k FROM keys GROUP BY k HAVING count(*) >= {least} ORDER BY k"
    ).fetchall()
    keys = tuple(key for (key,) in common) if not plan.row_key else ()
    if made is None:
        why = f"{plan.time_column} holds no moment" if plan.time_column else ""
        return Dealing(common=keys, why=why)
    return Dealing(made.cutoff, made.first, made.last, keys, made.sentinels, made.why)


def record(plan: IngestPlan, window: Window, dealing: Dealing | None) -> dict[str, Any]:
    """How rows were parted, for whoever must know later which rows a model was trained on.

    Returns:
        `by` is `spans` (with `train` and `eval`), `time` (with `column` and `cutoff`) or `rows`
        (with `columns`); of a table also the `share` evaluated on, and what is odd about its times
        (`why`).
    """
    if dealing is None:
        return {"by": "spans", **window.labels()}
    told: dict[str, Any] = {"share": plan.holdout, "why": odd_times(plan, dealing)}
    if dealing.cutoff is not None:
        return {"by": "time", "column": plan.time_column, "cutoff": dealing.cutoff, **told}
    return {"by": "rows", "columns": key_columns(plan, plan.features), **told}


def odd_times(plan: IngestPlan, dealing: Dealing) -> str:
    """A sentence about times that do not part the rows as asked; `""` if they do."""
    if dealing.cutoff is None and dealing.why:
        return (
            f"{dealing.why}: no moment parts about {plan.holdout:.0%} of the rows from the others, "
            "so rows are dealt by what they hold, not by time. Name another data.time_column, or "
            "none."
        )
    never = sum(share for _, share in dealing.sentinels)
    if never > NEVER_SHARE:
        time, share = dealing.sentinels[0]
        return (
            f'{share:.0%} of the rows hold {moment(time)}, which stands for "never" or "still": '
            f"{never:.0%} of the rows are dealt by what they hold, the others by time."
        )
    return ""
