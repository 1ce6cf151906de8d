"""Rows to predict on → values as a request writes them.

CSV and Parquet files are read by ingestion's own code, and what other rows say of moments and
numbers as text is read by its SQL, so that training and prediction understand them alike.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import moments, sql
from pipeline.config import Config
from pipeline.errors import DataError, shorten
from pipeline.ingest import csv_form, hive, reader
from pipeline.ingest.plan import IngestPlan
from pipeline.number_text import PLAIN
from serving.client import table
from serving.client.table import Table

_PLAIN_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
_SOURCES = {"int64": "BIGINT", "double": "DOUBLE", "string": "VARCHAR"}
_JSON_LINES = (".jsonl", ".ndjson")


def read(path: str, config: Config, limit: int | None = None) -> Table:
    """The rows of a file, with the configuration's names.

    Args:
        path: Parquet, CSV or JSON lines by its name.
        config: says how it is written.
        limit: at most so many of the first rows.

    Raises:
        DataError: it cannot be read, or a value is not written as the configuration says; names
            the row and the column.
        serving.client.errors.RowError: it is no file, or its JSON is broken.
    """
    stem = path.lower().removesuffix(".gz")
    if stem.endswith(_JSON_LINES) or not os.path.exists(path):
        rows = table.read(path, limit).renamed(config.data.rename)
        return typed(with_path(rows, path, config), config)
    plan = IngestPlan.of(config)
    # A column that a request lacks is missing; which, is told elsewhere.
    tolerant = plan.model_copy(update={"optional_columns": tuple(plan.columns())})
    beginning = limit is not None and limit <= csv_form.BEGINNING_RECORDS
    named = os.path.abspath(path) if plan.path_columns else path
    with sql.connect() as connection:
        types, _ = reader.open_source(connection, named, path, tolerant, beginning=beginning)
        if limit is None:
            reader.verify(path, path)
        try:
            return _taken(connection, types, plan, limit)
        except duckdb.Error as error:
            raise reader.read_error(path, error) from error


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


def _taken(
    connection: duckdb.DuckDBPyConnection,
    types: dict[str, str],
    plan: IngestPlan,
    limit: int | None,
) -> Table:
    """The rows of `source`, in canonical types; columns that are none of the plan's as they are."""
    kinds = plan.columns()
    made = []
    for at, (name, source) in enumerate(types.items()):
        kind = kinds.get(name)
        value = sql.quote(name) if kind is None else plan.typed(name, kind, source)
        there = "false" if kind is None else plan.present(name, kind, source)
        made.append(f"{value} AS v{at}, {there} AND ({value}) IS NULL AS b{at}")
    first = "" if limit is None else f" LIMIT {limit}"
    rows = connection.sql(f"SELECT {', '.join(made)} FROM source{first}").to_arrow_table()
    for at, name in enumerate(types):
        number = pc.index(rows[f"b{at}"], True).as_py()
        if number >= 0:
            ((value,),) = connection.execute(
                f"SELECT {sql.quote(name)} FROM source LIMIT 1 OFFSET {number}"
            ).fetchall()
            raise _unread(number + 1, name, value, plan)
    places = {name: f"v{at}" for at, name in enumerate(types)}
    return Table(rows.num_rows, tuple(types), lambda name: rows[places[name]].to_pylist())


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

    def column(name: str) -> Sequence[Any]:
        values = [_present(value, plan.nulls(name)) for value in rows.column(name)]
        if kinds.get(name) == "timestamp":
            return _read(name, values, plan)
        return _numbers(name, values, plan) if kinds.get(name) in ("float", "int") else values

    return Table(rows.rows, rows.names, column)


def _present(value: Any, nulls: Sequence[str]) -> Any:
    """The value, None for a text that means missing; the empty text does in any request."""
    if not isinstance(value, str) or value == "":
        return value
    said = value.strip()
    return None if not said or said in nulls else value


def _numbers(name: str, values: Sequence[Any], plan: IngestPlan) -> list[Any]:
    """Values with the numbers of those that are text: a number that is one needs no reading."""
    usual = plan.numbers(name) == PLAIN
    texts = [
        value if isinstance(value, str) and not (usual and _PLAIN_NUMBER.fullmatch(value)) else None
        for value in values
    ]
    if not any(texts):
        return [None if value == "" else value for value in values]
    read = _read(name, texts, plan, strict=not usual)
    return [
        value if text is None else made
        for value, text, made in zip(values, texts, read, strict=True)
    ]


def _read(name: str, values: Sequence[Any], plan: IngestPlan, *, strict: bool = True) -> list[Any]:
    """Values as ingestion reads them; those that are no text, nor a count of units, as they are.

    Without `strict` a text that is no number stays: the client refuses it by row and column.
    """
    kind = plan.columns()[name]
    try:
        given = pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError):  # of several types
        given = pa.array([None if value is None else str(value) for value in values])
    source = _SOURCES.get(str(given.type))
    if source is None or (source != "VARCHAR" and kind != "timestamp"):
        return list(values)
    with sql.connect() as connection:
        connection.register("given", pa.table({name: given}))
        answer = connection.execute(
            f"SELECT {plan.typed(name, kind, source)}, {plan.present(name, kind, source)} "
            "FROM given"
        )
        made = answer.fetchall()
    # Without a form that it must have, what is no moment here is left to the client to judge.
    bound = name in plan.time_formats or (kind != "timestamp" and strict)
    read = []
    for number, (before, (after, there)) in enumerate(zip(values, made, strict=True), 1):
        if after is None and there and (bound or _count(before) is not None):
            raise _unread(number, name, before, plan)
        read.append(before if after is None and there else after)
    return read


def _count(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _unread(number: int, name: str, value: Any, plan: IngestPlan) -> DataError:
    """What is wrong with a value, and the remedy."""
    where, kind = f"row {number}, column {name}: ", plan.columns()[name]
    how = plan.time_formats.get(name)
    if kind == "timestamp" and how is None:
        count = _count(value)
        unit = moments.larger_unit(count) if count is not None else None
        if unit:
            return DataError(
                f"{where}{shorten(value)} is no moment in seconds since 1970, but would be one in "
                f"{unit}. Give seconds; if the files count so, set data.time_formats.{name} = "
                f'"{unit}".'
            )
        return DataError(
            f"{where}must be a moment (such as 2024-01-31 09:30, or seconds since 1970), got "
            f"{shorten(value)}. Mend the value, or say in data.time_formats how it is written."
        )
    numbers = plan.numbers(name)
    if how is None and numbers == PLAIN:
        what = "a whole number" if kind == "int" else "a number"
        return DataError(f"{where}must be {what}, got {shorten(value)}.")
    how = how or f"a number with {numbers.decimal!r}, such as {numbers.example}"
    return DataError(
        f"{where}{shorten(value)} is not written as the configuration says ({how}). Mend the "
        "value, or data.time_formats, data.number_formats and data.csv."
    )
