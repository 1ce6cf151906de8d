"""SQL made for ingestion: typed columns, the label, the quarantine reasons. DuckDB throughout."""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Literal

import duckdb

from models.config import RawType
from pipeline import moments, number_text
from pipeline.errors import ConfigError, DataError, Fault, shorten
from pipeline.number_text import PLAIN, Format

#: Names that ingestion computes beside the data's columns begin so. No column of data may (see
#: `refuse_computed`), and no name of the configuration can: a value could else pass for a verdict.
COMPUTED = "headrace:"


def connect() -> duckdb.DuckDBPyConnection:
    """A private in-memory database that never reaches for the network."""
    connection = duckdb.connect(":memory:")
    connection.execute("SET autoinstall_known_extensions=false")
    connection.execute("SET enable_progress_bar=false")
    # Else `isnan` is answered by a Parquet file's smallest and largest value, which leave NaN out.
    connection.execute("SET parquet_can_have_nan=true")
    # What a moment without an offset means must not depend on the machine.
    connection.execute("SET TimeZone='UTC'")
    return connection


#: From so many columns on, looking for common expressions takes longer than computing them twice,
#: and deriving what values can be takes longer than the rows.
_WIDE = 500


def ease(connection: duckdb.DuckDBPyConnection, columns: int) -> None:
    """Makes queries over very many columns bearable: the search's time grows with their square.

    A connection that is confined keeps its settings.
    """
    if columns > _WIDE and not _is_confined(connection):
        connection.execute("SET disabled_optimizers='common_subexpressions,statistics_propagation'")


def confine(connection: duckdb.DuckDBPyConnection, readable: Iterable[str] = ()) -> None:
    """Lets a connection read some files and nothing else, for good.

    Label and rules are SQL that may come from anywhere: they see their rows, and no other file,
    no network, no variable of this process, no setting.

    Args:
        connection: on which they are run; confining it again changes nothing.
        readable: local paths.
    """
    if _is_confined(connection):
        return
    paths = [name for path in readable for name in (path, unglobbed(path))]
    connection.execute(f"SET allowed_paths=[{', '.join(map(text, paths))}]")
    connection.execute("SET python_enable_replacements=false")
    connection.execute("SET enable_external_access=false")
    connection.execute("SET lock_configuration=true")


def _is_confined(connection: duckdb.DuckDBPyConnection) -> bool:
    query = "SELECT current_setting('lock_configuration')"
    return bool((connection.execute(query).fetchone() or (False,))[0])


def unglobbed(path: str) -> str:
    """A path as DuckDB takes it for no glob pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def computed(name: str) -> str:
    """The SQL identifier of what ingestion computes under a name."""
    return quote(COMPUTED + name)


def quote(name: str) -> str:
    """A column name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


@functools.cache
def _keywords() -> frozenset[str]:
    rows = _parser().execute(
        "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
    )
    return frozenset(word for (word,) in rows.fetchall())


def is_keyword(name: str) -> bool:
    """Whether a column of that name must stand in quotes."""
    return name.lower() in _keywords()


@functools.cache
def _parser() -> duckdb.DuckDBPyConnection:
    return connect()  # opening one takes as long as all of a configuration's other checks


def syntax_problem(expression: str) -> str | None:
    """What is wrong with the syntax of one expression, or None."""
    (answer,) = _parser().execute(
        "SELECT json_serialize_sql(?)", [f"SELECT ({expression}\n)"]
    ).fetchone() or ("{}",)
    parsed = json.loads(answer)
    if parsed.get("error"):
        return str(parsed.get("error_message", "does not parse")).split("\n")[0]
    if len(parsed.get("statements", ())) != 1:
        return "holds more than one statement"
    return None


ColumnType = RawType | Literal["timestamp"]


def typed(
    column: str,
    kind: ColumnType,
    source: str,
    *,
    time_format: str | None = None,
    numbers: Format = PLAIN,
) -> str:
    """The column in its canonical type, NULL where missing or impossible to convert.

    Args:
        column: its name.
        kind: `float` (DOUBLE, NaN is missing), `int` (BIGINT), `timestamp` (BIGINT, whole
            seconds since 1970, see `pipeline.moments`) or `string` (VARCHAR). The empty text and
            blanks are missing.
        source: DuckDB's type of the column in the file.
        time_format: how a timestamp is written, as in `data.time_formats`.
        numbers: how a number that is text is written.
    """
    name = quote(column)
    if source == '"NULL"':
        return f"NULL::{_SQL_TYPES[kind]}"
    if kind == "string":
        # Some writers of Parquet do not say that their bytes are text.
        value = f"TRY(decode({name}))" if source == "BLOB" else f"CAST({name} AS VARCHAR)"
        return f"CASE WHEN {_begins_plainly(value)} OR {_stripped(value)} <> '' THEN {value} END"
    if source.startswith(("TIMESTAMP", "DATE")):
        if kind != "timestamp":
            return f"NULL::{_SQL_TYPES[kind]}"
        return moments.whole_seconds(name, source)
    if source == "BOOLEAN":
        return f"CAST({name} AS {_SQL_TYPES[kind]})"
    if kind == "timestamp":
        return moments.seconds(name, source, time_format, numbers.decimal)
    if source == "VARCHAR":
        return _of_text(name, kind, numbers)
    double = f"TRY_CAST({name} AS DOUBLE)"
    if kind == "float":
        return f"CASE WHEN NOT isnan({double}) THEN {double} END"
    if source in _INTEGERS:
        return f"CAST({name} AS BIGINT)"
    # A BIGINT cast rounds 1.5 to 2; only whole numbers are integers.
    # Decimals are compared as such: a DOUBLE beyond 2^53 has no fraction that could tell.
    exact = name if source.startswith("DECIMAL") else double
    return f"CASE WHEN {exact} = trunc({exact}) THEN TRY_CAST({name} AS BIGINT) END"


def _of_text(value: str, kind: ColumnType, numbers: Format) -> str:
    if kind == "int":
        return number_text.whole(value, numbers)
    double = number_text.number(value, numbers)
    return f"CASE WHEN NOT isnan({double}) THEN {double} END"


_SQL_TYPES = {"float": "DOUBLE", "int": "BIGINT", "timestamp": "BIGINT", "string": "VARCHAR"}
_INTEGERS = frozenset("TINYINT SMALLINT INTEGER BIGINT UTINYINT USMALLINT UINTEGER".split())
_NUMBERS = _INTEGERS | {"UBIGINT", "HUGEINT", "UHUGEINT", "DOUBLE", "FLOAT"}


_BLANKS = " \t\r\n\u00a0\u202f"


def _stripped(value: str) -> str:
    return f"trim({value}, {text(_BLANKS)})"


def _begins_plainly(value: str) -> str:
    """True of texts that begin with a visible character of ASCII: no blanks, told in no time."""
    return f"{value} BETWEEN '!' AND '~'"


def as_read(column: str, source: str, nulls: Iterable[str] = ()) -> str:
    """A column as everything sees it that looks at a file: what means missing is NULL.

    Args:
        column: its name in the file.
        source: DuckDB's type of it.
        nulls: texts that mean missing in it.
    """
    name = quote(column)
    missing = []
    if source in ("DOUBLE", "FLOAT"):
        missing.append(f"isnan({name})")
    if source == "VARCHAR" and nulls:
        missing.append(f"{_stripped(name)} IN ({', '.join(map(text, nulls))})")
    elif source in _NUMBERS or source.startswith("DECIMAL"):
        missing += [f"{name} = {value}" for value in nulls if _NUMBER.fullmatch(value)]
    if not missing:
        return name
    return f"CASE WHEN NOT coalesce({' OR '.join(missing)}, false) THEN {name} END"


_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def as_said(column: str, source: str) -> str:
    """A column that only label or rules use, whose type nobody gives: a text "NaN" is no number.

    `TRY_CAST` would make a number of it that is greater than any other.
    """
    name = quote(column)
    if source != "VARCHAR":
        return name
    no_nan = f"lower({_stripped(name)}) NOT IN ('nan', '-nan', '+nan')"
    # Most texts are told by a letter, a tenth of the work of stripping them.
    return f"CASE WHEN NOT contains(lower({name}), 'nan') OR {no_nan} THEN {name} END"


def refuse_computed(path: str, names: Iterable[str]) -> None:
    """Sees that no column has a name that ingestion computes.

    Raises:
        DataError: one has.
    """
    for name in names:
        if name.lower().startswith(COMPUTED):
            raise DataError(
                f"{path}: has a column {name!r}; names that begin with {COMPUTED!r} are Headrace's "
                "own. Add it to [data.rename] with another name."
            )


def present(
    column: str, source: str, kind: ColumnType | None = None, time_format: str | None = None
) -> str:
    """True where the file has a value in the column: none are NaN, blanks, dates of zeros."""
    name = quote(column)
    if kind == "timestamp" and (source == "VARCHAR" or (time_format and "%" in time_format)):
        return f"({present(column, source)} AND NOT {moments.is_missing(name, time_format)})"
    if source == '"NULL"':
        return "false"
    if source in ("DOUBLE", "FLOAT"):
        return f"({name} IS NOT NULL AND NOT isnan({name}))"
    if source == "VARCHAR":
        # Most texts are told by a look at their letters, a tenth of the work of stripping them.
        plain = (
            f"{_begins_plainly(name)} AND NOT contains({name}, 'n') AND NOT contains({name}, 'N')"
        )
        said = f"lower({_stripped(name)})"
        missing = f"{said} IN ('', 'nan', '-nan', '+nan')"
        return f"CASE WHEN {name} IS NULL THEN false WHEN {plain} THEN true ELSE NOT {missing} END"
    return f"({name} IS NOT NULL)"


def check_expression(
    connection: duckdb.DuckDBPyConnection, key: str, expression: str, table: str, path: str
) -> None:
    """Binds an expression to a table's columns without reading a row.

    Args:
        connection: has the table.
        key: of the expression in the configuration.
        expression: true or false for a row.
        table: a table or view.
        path: the file it shows, as messages name it.

    Raises:
        ConfigError: it names an unknown column, mixes types that do not fit, does not stand for
            one value a row, or that value is neither a truth nor a number.
    """
    try:
        # In WHERE there are no aggregates, windows or unnested lists: one row, one answer.
        connection.execute(f"EXPLAIN SELECT 1 FROM {table} WHERE ({expression}\n) IS NULL")
        (answer,) = connection.execute(
            f"SELECT column_type FROM (DESCRIBE SELECT ({expression}\n) FROM {table})"
        ).fetchone() or ("",)
    except duckdb.Error as error:
        fault = _binding_fault(connection, key, expression, table, str(error))
        raise ConfigError(path, [fault]) from error
    if answer not in _ANSWERS and not answer.startswith("DECIMAL"):
        rule = f"must be true or false (1 or 0), but is of type {answer}"
        raise ConfigError(path, [Fault(key, shorten(expression), rule, "Mend the expression.")])


_ANSWERS = _INTEGERS | {"BOOLEAN", "DOUBLE", "FLOAT", "HUGEINT", "UBIGINT", "VARCHAR", '"NULL"'}


def _binding_fault(
    connection: duckdb.DuckDBPyConnection, key: str, expression: str, table: str, error: str
) -> Fault:
    rule, hint = "cannot be computed: " + error.partition("\n")[0], "Mend the expression."
    missing = re.search(r'Referenced column "(.*?)" (?:was )?not found', error)
    if missing:
        columns = [row[0] for row in connection.execute(f"DESCRIBE {table}").fetchall()]
        names = [name for name in columns if not name.startswith(COMPUTED)]
        near = difflib.get_close_matches(missing[1], names, n=1)
        hint = f"Did you mean '{near[0]}'?" if near else f"Columns: {', '.join(names[:30])}."
        rule = f"names a column that is not there: {missing[1]}"
    elif "VARCHAR" in rule:
        hint = (
            "A column of a CSV file is text unless [features] or [label.leaks] gives its type: "
            "name it there, or use TRY_CAST."
        )
    return Fault(key, shorten(expression), rule, hint)


def run_time_problem(
    connection: duckdb.DuckDBPyConnection, expression: str, table: str
) -> str | None:
    """Why an expression cannot be computed for some row, or None if it can for every row."""
    try:
        connection.execute(f"SELECT count(*) FROM {table} WHERE ({expression}\n)").fetchall()
    except duckdb.Error as error:
        return str(error).partition("\n")[0]
    return None


def reasons(rules: Mapping[str, str]) -> str:
    """SQL text: names of the rules a row breaks, joined by `;`, `''` if none."""
    if not rules:
        return "''"
    cases = [
        f"CASE WHEN ({rule}\n) THEN {text(name.replace(';', ','))} END"
        for name, rule in rules.items()
    ]
    return f"concat_ws(';', {', '.join(cases)})"
