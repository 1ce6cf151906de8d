"""SQL made for ingestion: typed columns, the label, the quarantine reasons. DuckDB throughout."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Literal

import duckdb

from models.config import RawType
from pipeline.errors import ConfigError, Fault, shorten


def connect() -> duckdb.DuckDBPyConnection:
    """A private in-memory database that never reaches for the network."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET autoinstall_known_extensions=false")
    connection.execute("SET enable_progress_bar=false")
    return connection


def quote(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def syntax_problem(expression: str) -> str | None:
    """What is wrong with the syntax of one expression, or None."""
    with connect() as connection:
        (answer,) = connection.execute(
            "SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]
        ).fetchone() or ("{}",)
    parsed = json.loads(answer)
    if parsed.get("error"):
        return str(parsed.get("error_message", "does not parse")).split("\n")[0]
    if len(parsed.get("statements", ())) != 1:
        return "holds more than one statement"
    return None


ColumnType = RawType | Literal["timestamp"]


def typed(column: str, kind: ColumnType, source: str) -> str:
    """The column in its canonical type, NULL where missing or impossible to convert.

    Args:
        column: its name.
        kind: `float` (DOUBLE, NaN is missing), `int` (BIGINT), `timestamp` (BIGINT, whole
            seconds since 1970; a number is taken to be that already) or `string` (VARCHAR, the
            empty text is missing).
        source: DuckDB's type of the column in the file.
    """
    name = quote(column)
    if source == '"NULL"':
        return f"NULL::{_SQL_TYPES[kind]}"
    if kind == "string":
        return f"nullif(CAST({name} AS VARCHAR), '')"
    if source.startswith(("TIMESTAMP", "DATE")):
        if kind != "timestamp":
            return f"NULL::{_SQL_TYPES[kind]}"
        return f"CAST(floor(epoch({name})) AS BIGINT)"
    if source == "BOOLEAN":
        return f"CAST({name} AS {_SQL_TYPES[kind]})"
    double = f"TRY_CAST({name} AS DOUBLE)"
    if kind == "float":
        return f"CASE WHEN NOT isnan({double}) THEN {double} END"
    if source in _INTEGERS:
        return f"CAST({name} AS BIGINT)"
    # A BIGINT cast rounds 1.5 to 2; only whole numbers are integers.
    whole = f"CASE WHEN {double} = trunc({double}) THEN TRY_CAST({name} AS BIGINT) END"
    if source == "VARCHAR" and kind == "timestamp":
        moment = f"CAST(floor(epoch(TRY_CAST({name} AS TIMESTAMP))) AS BIGINT)"
        return f"coalesce({whole}, {moment})"
    return whole


_SQL_TYPES = {"float": "DOUBLE", "int": "BIGINT", "timestamp": "BIGINT", "string": "VARCHAR"}
_INTEGERS = frozenset("TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER".split())


def present(column: str, source: str) -> str:
    """True where the file has a value in the column (NaN counts as missing)."""
    name = quote(column)
    if source == '"NULL"':
        return "false"
    if source in ("DOUBLE", "FLOAT"):
        return f"({name} IS NOT NULL AND NOT isnan({name}))"
    if source == "VARCHAR":
        return f"({name} IS NOT NULL AND {name} <> '' AND lower({name}) <> 'nan')"
    return f"({name} IS NOT NULL)"


def check_expression(
    connection: duckdb.DuckDBPyConnection, key: str, expression: str, table: str
) -> None:
    """Binds an expression to a table's columns without reading a row.

    Raises:
        ConfigError: it names an unknown column or mixes types that do not fit.
    """
    try:
        connection.execute(f"EXPLAIN SELECT ({expression}) FROM {table}")
    except duckdb.Error as error:
        names = [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]
        message = str(error).split("\n")[0]
        missing = _missing_name(str(error))
        if missing:
            near = difflib.get_close_matches(missing, names, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Columns: {', '.join(names)}."
            rule = f"names a column that is not there: {missing}"
        else:
            hint, rule = "Mend the expression.", f"cannot be computed: {message}"
        fault = Fault(key, shorten(expression), rule, hint)
        raise ConfigError("configuration", [fault]) from error


def _missing_name(message: str) -> str | None:
    if "Referenced column" not in message:
        return None
    parts = message.split('"')
    return parts[1] if len(parts) > 2 else None


def reasons(rules: Mapping[str, str]) -> str:
    """SQL text: names of the rules a row breaks, joined by `;`, `''` if none."""
    if not rules:
        return "''"
    cases = [f"CASE WHEN ({rule}) THEN {text(name)} END" for name, rule in rules.items()]
    return f"concat_ws(';', {', '.join(cases)})"
