"""Aggregates of many columns: the cells stand below each other, and a query is planned once.

A query that asks of each column for itself is as long as columns are many, and is prepared for
longer than the rows are looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from pipeline import sql


def asked(
    connection: duckdb.DuckDBPyConnection, names: Sequence[str], aggregates: str
) -> list[tuple[Any, ...]]:
    """Aggregates of each of some columns of the table `sample`, which are of one type.

    Args:
        connection: has the table.
        names: of the columns.
        aggregates: SQL of them, over the values `v`.

    Returns:
        The figures of each column, in the order of the names.
    """
    listed = ", ".join(map(sql.quote, names))
    return of(connection, {"v": f"[{listed}]"}, len(names), aggregates, "sample")


def of(
    connection: duckdb.DuckDBPyConnection,
    lists: dict[str, str],
    size: int,
    aggregates: str,
    table: str,
) -> list[tuple[Any, ...]]:
    """Aggregates of each place in lists.

    Args:
        connection: has the table.
        lists: name of the values of a place → SQL of a row's list of them.
        size: of the lists.
        aggregates: SQL over those names.
        table: with at least one row.

    Returns:
        The figures of each place, in their order.
    """
    if not size:
        return []
    values = ", ".join(f"unnest({of_row}) AS {name}" for name, of_row in lists.items())
    below = f"SELECT unnest(range({size})) AS place, {values} FROM {table}"
    rows = connection.execute(
        f"SELECT place, {aggregates} FROM ({below}) GROUP BY place ORDER BY place"
    ).fetchall()
    return [row[1:] for row in rows]
