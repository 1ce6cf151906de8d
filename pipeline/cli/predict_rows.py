"""Values as the training files write them → as a request writes them.

Moments in a format of `data.time_formats`, and numbers with a decimal comma, mean nothing to a
server; ingestion's own SQL reads them here too, so that both understand them alike.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pipeline import sql
from pipeline.config import Config
from pipeline.errors import DataError, shorten
from pipeline.ingest import hive
from pipeline.ingest.plan import IngestPlan
from serving.client.table import Table

_SOURCES = {"int64": "BIGINT", "double": "DOUBLE", "string": "VARCHAR"}


def with_path(rows: Table, path: str, config: Config) -> Table:
    """The rows with the columns that stand in their file's path (`data.path_columns`).

    Args:
        rows: with the names of the configuration.
        path: the file they come from.
        config: says which columns those are.
    """
    data = config.data
    added = hive.columns(os.path.abspath(path), data.path_columns, rows.names, data.rename)
    return Table(
        rows.rows,
        (*rows.names, *added),
        lambda name: [added[name]] * rows.rows if name in added else rows.column(name),
    )


def typed(rows: Table, config: Config) -> Table:
    """The rows with values that a request can hold.

    Args:
        rows: with the names of the configuration.
        config: says how moments and numbers are written.

    Raises:
        DataError: when a column is asked for in which a value is not written so; names the row.
    """
    plan = IngestPlan.of(config)
    kinds = plan.columns()
    comma = config.data.csv.decimal != "."
    read = {
        name
        for name in rows.names
        if name in plan.time_formats or (comma and kinds.get(name) in ("float", "int"))
    }

    def column(name: str) -> Sequence[Any]:
        values = rows.column(name)
        return _read(name, values, plan) if name in read else values

    return Table(rows.rows, rows.names, column)


def _read(name: str, values: Sequence[Any], plan: IngestPlan) -> list[Any]:
    """Values as ingestion reads them; those that are no text, nor a count of units, as they are."""
    kind = plan.columns()[name]
    try:
        given = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
        given = pa.array([None if value is None else str(value) for value in values])
    source = _SOURCES.get(str(given.type))
    if source is None or (source != "VARCHAR" and name not in plan.time_formats):
        return list(values)
    with sql.connect() as connection:
        connection.register("given", pa.table({name: given}))
        answer = connection.execute(f"SELECT {plan.typed(name, kind, source)} FROM given")
        made = [value for (value,) in answer.fetchall()]
    for number, (before, after) in enumerate(zip(values, made, strict=True), 1):
        if after is None and before not in (None, ""):
            how = plan.time_formats.get(name) or f"a number with {plan.csv.decimal!r}"
            raise DataError(
                f"row {number}, column {name}: {shorten(before)} is not written as the "
                f"configuration says ({how}). Mend the value, or data.time_formats and data.csv."
            )
    return made
