"""Counts that are read as seconds but are of another unit, told before a row is written."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from pipeline import moments, sql
from pipeline.errors import DataError
from pipeline.ingest.plan import IngestPlan

#: Rows at the beginning of a file that are asked.
_ROWS = 2048
#: Seconds of the year 9999, by which programs say "never ends".
_NEVER = moments.LAST - 366 * 86_400
#: Seconds since 1970 that are a moment after 1973 at least, and those until February 1970.
_LATER, _SOON = 1e8, 5e6


def refuse_other_units(
    connection: duckdb.DuckDBPyConnection, path: str, types: dict[str, str], plan: IngestPlan
) -> None:
    """Sees that most counts of a file's first rows are of the unit they are read in.

    Args:
        connection: has the view `source`.
        path: the file, as messages name it.
        types: of the columns of `source`.
        plan: says how moments are written.

    Raises:
        DataError: they are milliseconds read as seconds, or the like; names the setting.
    """
    asked = [
        name
        for name, kind in plan.columns().items()
        if kind == "timestamp"
        and "%" not in plan.time_formats.get(name, "")
        and not types.get(name, "DATE").startswith(("DATE", "TIMESTAMP", '"NULL"'))
    ]
    for name in asked:
        count = f"TRY_CAST(replace(CAST({sql.quote(name)} AS VARCHAR), ',', '.') AS DOUBLE)"
        try:
            ((points,),) = connection.execute(
                "SELECT quantile_disc(abs(n), [0.1, 0.5, 0.9]) FROM "
                f"(SELECT {count} AS n FROM source LIMIT {_ROWS}) "
                f"WHERE NOT isnan(n) AND n NOT BETWEEN {_NEVER} AND {moments.LAST}"
            ).fetchall()
        except duckdb.Error:  # a broken row: reading on tells which
            return
        if points:
            _compare(path, name, points, plan.time_formats.get(name))


def _compare(path: str, name: str, points: Sequence[float], unit: str | None) -> None:
    key, (low, count, high) = f"data.time_formats.{name}", points
    for form, (least, most) in moments.NUMBERED.items():
        if least <= low and high <= most:
            raise DataError(
                f"{path}: {name} holds dates written as numbers, such as {count:.0f}, which would "
                f'be read as {unit or "seconds"} since 1970. Set {key} = "{form}".'
            )
    if unit is None:
        if better := moments.larger_unit(count):
            raise DataError(
                f"{path}: {name} holds counts such as {count:.0f}, which are no seconds since 1970 "
                f'but would be {better}. Set {key} = "{better}".'
            )
    elif count / moments.PER_SECOND[unit] < _SOON and count > _LATER:
        smaller = moments.larger_unit(count)
        remedy = f'Set it to "{smaller}"' if smaller else "They are seconds: remove that line"
        raise DataError(
            f"{path}: {name} holds counts such as {count:.0f}, which in {unit} ({key}) would be in "
            f"January or February 1970. {remedy}."
        )
