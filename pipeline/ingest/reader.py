"""Opens one data file as a DuckDB view with the configured column names.

CSV dialects are fixed here, from the header, instead of being sniffed: a sniffer that meets a
broken file picks another dialect and reads garbage without a word.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import os
import re
import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator

import duckdb
import pyarrow as pa
from pyarrow import parquet

from pipeline import files, sql
from pipeline.config import CsvOptions
from pipeline.errors import DataError, shorten
from pipeline.ingest import csv_form, hive, raw
from pipeline.ingest.plan import IngestPlan
from pipeline.ingest.raw import blocks, verify

__all__ = ["blocks", "verify"]

_PARQUET = (".parquet", ".pq")
_CSV = (".csv", ".tsv", ".txt")
_DELIMITERS = (",", ";", "\t", "|")
#: What DuckDB says of a broken row: its number, its text (it may run over lines), what is wrong.
_CSV_ERROR = re.compile(
    r"CSV Error on Line: (?P<line>\d+)\s+Original Line: (?P<text>.*?)\n(?P<what>[^\n]+)\n+Possible",
    re.DOTALL,
)


def kind_of(path: str) -> str:
    """`parquet` or `csv`, by the file's name.

    Raises:
        DataError: neither.
    """
    stem = path.lower()
    for suffix in (".gz", ".zst"):
        stem = stem.removesuffix(suffix)
    if stem.endswith(_PARQUET):
        return "parquet"
    if stem.endswith(_CSV):
        return "csv"
    raise DataError(
        f"{path}: is neither Parquet nor CSV by its name. Known endings: "
        f"{' '.join(_PARQUET + _CSV)}, CSV also with .gz or .zst."
    )


@contextlib.contextmanager
def localized(path: str) -> Iterator[str]:
    """A local path with the file's content; remote files are copied and removed again."""
    if files.is_local(path):
        yield path
        return
    from tfx.dsl.io import fileio

    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        local = os.path.join(folder, os.path.basename(path))
        fileio.copy(path, local)
        yield local


def open_source(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    local: str,
    plan: IngestPlan,
    *,
    beginning: bool = False,
    confined: bool = True,
) -> tuple[dict[str, str], list[str]]:
    """Creates the view `source` with the file's rows, columns renamed, what means missing NULL.

    Args:
        connection: where the view is made.
        path: the file, as messages name it.
        local: where its content is.
        plan: names, renames and dialect.
        beginning: whether the file's first rows will do.
        confined: whether the connection is to read nothing but this file from now on, which it
            must before SQL of the configuration is run on it.

    Returns:
        Columns with DuckDB's types, and the names of columns that the plan does not know.

    Raises:
        DataError: the file is empty, damaged, in another dialect, or lacks a column.
    """
    try:
        with open(local, "rb") as file:  # DuckDB says of an unreadable file that it is not there
            if not file.read(1):
                raise DataError(f"{path}: is empty (0 bytes). Copy it again, or remove it.")
        is_csv = kind_of(path) == "csv"
        if not is_csv:
            read = local
            scan, names = parquet_scan(path, local)
        else:
            read, scan, names = _csv_scan(connection, path, local, plan, beginning)
    except PermissionError as error:
        raise DataError(
            f"{path}: no permission to read it. Give it to this user (chmod u+r)."
        ) from error
    except FileNotFoundError as error:
        raise DataError(f"{path}: is not there any more. Copy it again.") from error
    except IsADirectoryError as error:
        raise DataError(f"{path}: is a folder where a file should be. Move it away.") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error

    renamed = [plan.rename.get(name, name) for name in names]
    refuse_duplicates(path, renamed)
    sql.refuse_computed(path, renamed)
    known = plan.known()
    extra = [name for name, new in zip(names, renamed, strict=True) if new not in known]
    keys = hive.columns(path, plan.path_columns, renamed, plan.rename)
    _require(path, {*renamed, *keys}, plan)
    nulls = {name: plan.nulls(name, csv=is_csv) for name in (*renamed, *keys)}
    try:
        in_file = {row[0]: row[1] for row in connection.execute(f"DESCRIBE FROM {scan}").fetchall()}
        selected = ", ".join(
            [
                *(
                    f"{sql.as_read(old, in_file[old], nulls[new])} AS {sql.quote(new)}"
                    for old, new in zip(names, renamed, strict=True)
                ),
                *(
                    f"{literal(None if value in nulls[key] else value)} AS {sql.quote(key)}"
                    for key, value in keys.items()
                ),
            ]
        )
        connection.execute(f"CREATE OR REPLACE TEMP VIEW source AS SELECT {selected} FROM {scan}")
        types = {row[0]: row[1] for row in connection.execute("DESCRIBE source").fetchall()}
        if confined:
            sql.ease(connection, len(types))
            sql.confine(connection, [read])
    except duckdb.Error as error:
        raise read_error(path, error) from error
    return types, extra


def literal(value: str | None) -> str:
    """A text, or a missing one, as an SQL literal."""
    return "NULL::VARCHAR" if value is None else sql.text(value)


def read_error(path: str, error: Exception) -> DataError:
    """A DuckDB reading error in words that name file, line and remedy."""
    message = str(error)
    first = (message.strip().partition("\n")[0] or type(error).__name__)[:300]
    if row := _CSV_ERROR.search(message):
        where = f"{path}, line {row['line']}"
        if "not utf-8 encoded" in row["what"]:
            return csv_form.not_text(path, int(row["line"]), "UTF-8", _high_bytes(path))
        what = row["what"].replace("Expected Number of Columns", "expected columns")
        return DataError(csv_form.broken_row(where, what.rstrip("."), row["text"]))
    if kind_of(path) == "parquet":
        footer = "magic" in first or "footer" in first.lower()
        return DataError(
            f"{path}: is not a readable Parquet file; it may be truncated or still being "
            f"written{': its footer is missing' if footer else ''}. Copy it again. ({first})"
        )
    return DataError(f"{path}: cannot be read; it may be cut off. Copy it again. ({first})")


def _high_bytes(path: str) -> bytes:
    """Bytes that tell one encoding of single bytes from another, of a file that is at hand."""
    if not (files.is_local(path) and os.path.exists(path)):
        return b""
    return b"".join(bytes(set(block)) for block in blocks(path, path))


def _require(path: str, names: set[str], plan: IngestPlan) -> None:
    missing = [n for n in plan.columns() if n not in names and n not in plan.optional_columns]
    if not missing:
        return
    spare = sorted(names - set(plan.columns()))
    hints = []
    for name in missing[:5]:
        near = difflib.get_close_matches(name, spare, n=1, cutoff=0.5)
        if name in plan.path_columns:
            hints.append(f"{name} (nor has its path a folder {name}=…)")
        else:
            hints.append(f"{name} (the file has {near[0]!r})" if near else name)
    raise DataError(
        f"{path}: lacks column(s) {', '.join(hints)}. If a column has another name, add it to "
        "[data.rename]; if files may lack it, to data.optional_columns; if it is no longer "
        "wanted, take it out of [features]; if the file is of another table, move it or narrow "
        "data.pattern."
    )


def refuse_duplicates(path: str, names: list[str]) -> None:
    """Sees that no name stands twice.

    Raises:
        DataError: one does.
    """
    # SQL does not tell capitals from small letters.
    counts = Counter(name.lower() for name in names)
    twice = [name for name in names if counts[name.lower()] > 1]
    if twice:
        raise DataError(
            f"{path}: has a column twice: {', '.join(twice)} (after [data.rename], capitals and "
            "small letters being equal). Rename one."
        )


def _scanned(local: str) -> str:
    """The path as an SQL text that DuckDB does not take for a glob pattern."""
    return sql.text(sql.unglobbed(local))


def parquet_scan(path: str, local: str) -> tuple[str, list[str]]:
    """The scan of a Parquet file, and its column names as they stand in the file."""
    raw.refuse_other_files(path, local, "parquet")
    try:
        # DuckDB would call the second of two equal names `name_1`.
        names = parquet.read_schema(local).names
    except (OSError, pa.ArrowException) as error:
        raise read_error(path, error) from error
    # Else a folder's `key=value`, wherever it is, would replace the file's column of that name.
    return f"read_parquet({_scanned(local)}, hive_partitioning=false)", names


def _csv_scan(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    local: str,
    plan: IngestPlan,
    beginning: bool,
) -> tuple[str, str, list[str]]:
    """The file read, its scan with every column as text, and its column names."""
    delimiter, names = _split_header(path, header_line(path, local, plan.csv), plan)
    shape = (delimiter, len(names))
    # The view of the file before is replaced, and so is the copy that it may have had.
    copy = _copies.get(connection) or _copies.setdefault(connection, copy_for(connection))
    read = csv_form.settled(path, local, plan.csv, shape, copy, beginning=beginning)
    return read, csv_scan(read, names, delimiter, plan.csv), names


_copies: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, str] = weakref.WeakKeyDictionary()


def copy_for(connection: duckdb.DuckDBPyConnection) -> str:
    """Where a copy of a file may lie for as long as a connection lives."""
    folder = tempfile.TemporaryDirectory(prefix="headrace-")
    weakref.finalize(connection, folder.cleanup)
    return os.path.join(folder.name, "copy.csv")


def csv_scan(local: str, names: list[str], delimiter: str, options: CsvOptions) -> str:
    """SQL that reads a CSV file with every column as text; whatever is broken is an error."""
    columns = ", ".join(f"{sql.text(name)}: 'VARCHAR'" for name in names)
    nulls = ", ".join(sql.text(value) for value in ("", *options.null_values))
    return (
        f"read_csv({_scanned(local)}, auto_detect=false, hive_partitioning=false, header=true, "
        "strict_mode=true, "
        f"delim={sql.text(delimiter)}, quote='\"', escape='\"', nullstr=[{nulls}], "
        f"columns={{{columns}}})"
    )


def header_line(path: str, local: str, options: CsvOptions) -> str:
    """The beginning of a CSV file, the header in it.

    Raises:
        DataError: the file is empty, or not in its encoding.
    """
    return csv_form.start_of(path, local, options)


def _split_header(path: str, header: str, plan: IngestPlan) -> tuple[str, list[str]]:
    """The delimiter and the column names."""
    known = plan.known()
    candidates = _DELIMITERS if plan.csv.delimiter == "auto" else (plan.csv.delimiter,)
    best: tuple[str, list[str]] = (candidates[0], [])
    hits = -1
    for delimiter in candidates:
        try:
            names = header_names(header, delimiter, plan.csv.escape)
        except csv.Error as error:
            raise DataError(f"{path}, line 1: is no CSV header ({error}).") from error
        count = len(known & set(names))
        if count > hits:
            best, hits = (delimiter, names), count
    delimiter, names = best
    first = header.split("\n", 1)[0].strip()
    if hits <= 0:
        others = [d for d in _DELIMITERS if d != delimiter and d in first]
        hint = f" It looks delimited by {others[0]!r}: set data.csv.delimiter." if others else ""
        raise DataError(
            f"{path}: its header {shorten(first)} has none of the columns of [features] "
            f"when split by {delimiter!r}.{hint} The first line must hold the column names "
            "(see [data.rename] for other names)."
        )
    return delimiter, names


def header_names(header: str, delimiter: str, escape: str = '"') -> list[str]:
    """The column names in a header; a column without a name gets one."""
    return csv_form.names_of(header, delimiter, escape)
