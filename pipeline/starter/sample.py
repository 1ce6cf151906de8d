"""Rows to look at: dialect of CSV files found, a bounded sample of all files in one table."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from pipeline import sql
from pipeline.config import CsvOptions
from pipeline.errors import DataError
from pipeline.ingest import csv_form, reader
from pipeline.number_text import Format
from pipeline.starter import dialect
from pipeline.starter.sources import Source

#: What is looked at, at most. A reader of a larger table is told so.
ROWS, CELLS = 200_000, 2_500_000
#: Files that are opened, at most: of one table, and of data in spans.
FILES, SPAN_FILES = 1_000, 60
#: Spans, the newest, from which files are taken: by far those that a run sees.
NEWEST = {"hour": 240, "day": 60, "week": 52, "month": 24, "quarter": 16, "year": 10}
#: More take minutes, and a model of so many columns takes thought, not a proposal.
COLUMNS = 10_000
#: Above so many bytes files are not read to their end: their first rows stand for them.
WHOLE_BYTES = 2_000_000_000

#: The sample's column beside the data's own: its name in SQL, and elsewhere.
SHARD = sql.computed("shard")
SHARD_NAME = sql.COMPUTED + "shard"


@dataclass(frozen=True)
class Sample:
    """Table `sample`: rows of the data as the files have them, and `SHARD`, the file's index.

    Attributes:
        files: those that were looked at; `SHARD` counts them.
        spans: the span's position in `Source.found` of each file.
        names: columns, in the order of the files.
        types: as DuckDB calls them, by name.
        absent: names of columns that some files lack → number of such files.
        rows: in the table.
        total: in the files; None where they were not read to their end.
        csv: how CSV files are written, None for Parquet.
        path_columns: those of `names` that stand in the files' paths.
        every: files there are; more than were looked at, perhaps.
        number_formats: how numbers are written in columns where that is not as `csv` says.
        null_values: texts that mean missing in a column, beside those of `csv`.
        remarks: what a person should know of how values are written.
    """

    files: tuple[str, ...]
    spans: tuple[int, ...]
    names: tuple[str, ...]
    types: dict[str, str]
    absent: dict[str, int]
    rows: int
    total: int | None
    csv: CsvOptions | None
    path_columns: tuple[str, ...] = ()
    every: int = 0
    number_formats: Mapping[str, Format] = field(default_factory=dict)
    null_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def numbers(self, name: str) -> Format:
        """How numbers that are text are written in a column."""
        usual = Format(self.csv.decimal, self.csv.thousands) if self.csv else Format()
        return self.number_formats.get(name, usual)

    @property
    def whole(self) -> bool:
        """Whether every row of the data is in it."""
        return self.rows == self.total and len(self.files) == self.every

    @property
    def seen(self) -> str:
        """What was looked at, for a person."""
        some = len(self.files) < self.every
        files = (
            f"{len(self.files):,} of {self.every:,} files" if some else f"{self.every:,} file(s)"
        )
        if self.total is None:
            return f"the first {self.rows:,} rows of {files}; there are more"
        if self.rows == self.total:
            return f"{'' if some else 'all '}{self.rows:,} rows of {files}"
        return f"a sample of {self.rows:,} of {self.total:,} rows of {files}"


def load(connection: duckdb.DuckDBPyConnection, source: Source) -> Sample:
    """Creates the table `sample`.

    Raises:
        DataError: a file is empty, damaged, of a dialect that ingestion does not know, or has no
            usable header.
    """
    pairs = [(path, at) for at, item in enumerate(source.found) for path in item.paths]
    chosen = _evenly(pairs, source)
    with contextlib.ExitStack() as stack:
        local = [stack.enter_context(reader.localized(path)) for path, _ in chosen]
        paths = [path for path, _ in chosen]
        is_csv = reader.kind_of(paths[0]) == "csv"
        options = _dialect(connection, paths, local) if is_csv else None
        scans, names = _scans(connection, paths, local, options)
        keys = [source.path_columns(path) for path in paths]
        in_path = _with_keys(scans, names, keys)
        order = list(dict.fromkeys(name for columns in names for name in columns))
        reader.refuse_duplicates(paths[-1], order)
        sql.refuse_computed(paths[-1], order)
        if len(order) > COLUMNS:
            raise DataError(
                f"{paths[-1]}: has {len(order):,} columns; at most {COLUMNS:,} are looked at. "
                "Write a table with those that may matter."
            )
        limit = max(1000, min(ROWS, CELLS // max(1, len(order))))
        sql.ease(connection, len(order))
        total = _count(connection, paths, local, scans)
        _fill(connection, paths, scans, total, limit)
        described = connection.execute("DESCRIBE sample").fetchall()
        (rows,) = connection.execute("SELECT count(*) FROM sample").fetchone() or (0,)
    if not rows:
        raise DataError(f"{paths[-1]}: holds no rows, only column names. Add rows to look at.")
    absent = {name: sum(name not in columns for columns in names) for name in order}
    return Sample(
        files=tuple(paths),
        spans=tuple(at for _, at in chosen),
        names=tuple(order),
        types={row[0]: row[1] for row in described if row[0] != SHARD_NAME},
        absent={name: count for name, count in absent.items() if count},
        rows=rows,
        total=total,
        csv=options,
        path_columns=in_path,
        every=len(pairs),
    )


def _evenly(pairs: list[tuple[str, int]], source: Source) -> list[tuple[str, int]]:
    """Files to look at, evenly over all; of data in spans over the newest, which a run sees."""
    most = FILES
    if source.has_spans:
        most = SPAN_FILES
        first = max(0, len(source.found) - NEWEST.get(source.unit, 24))
        newest = [pair for pair in pairs if pair[1] >= first]
        pairs = newest if len(newest) >= most else pairs[-most:]
    if len(pairs) <= most:
        return pairs
    return [pairs[round(at * (len(pairs) - 1) / (most - 1))] for at in range(most)]


def _with_keys(
    scans: list[str], names: list[list[str]], keys: Sequence[Mapping[str, str | None]]
) -> tuple[str, ...]:
    """Adds to each file's scan and columns what its path says; a column of any file wins.

    Returns:
        The names of the columns added.
    """
    taken = {name.lower() for columns in names for name in columns}
    added = list(dict.fromkeys(key for one in keys for key in one))
    added = [key for key in added if key.lower() not in taken]
    for at, said in enumerate(keys):
        here = [key for key in added if key in said]
        if here:
            values = ", ".join(f"{reader.literal(said[key])} AS {sql.quote(key)}" for key in here)
            scans[at] = f"(SELECT *, {values} FROM {scans[at]})"
            names[at] += here
    return tuple(added)


def _scans(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    local: Sequence[str],
    options: CsvOptions | None,
) -> tuple[list[str], list[list[str]]]:
    scans, names = [], []
    beginning = _too_large(local)
    for path, here in zip(paths, local, strict=True):
        if not os.path.getsize(here):
            raise DataError(f"{path}: is empty (0 bytes). Copy it again, or remove it.")
        if options is None:
            scan, columns = reader.parquet_scan(path, here)
        else:
            header = reader.header_line(path, here, options)
            columns = reader.header_names(header, options.delimiter, options.escape)
            shape = (options.delimiter, len(columns))
            copy = reader.copy_for(connection)
            read = csv_form.settled(path, here, options, shape, copy, beginning=beginning)
            scan = reader.csv_scan(read, columns, options.delimiter, options)
        reader.refuse_duplicates(path, columns)
        scans.append(scan)
        names.append(columns)
    return scans, names


def _count(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    local: Sequence[str],
    scans: Sequence[str],
) -> int | None:
    """Rows of all files; None if they are too large to be read to their end."""
    if _too_large(local):
        return None
    total = 0
    for path, here, scan in zip(paths, local, scans, strict=True):
        reader.verify(path, here)
        try:
            total += (connection.execute(f"SELECT count(*) FROM {scan}").fetchone() or (0,))[0]
        except duckdb.Error as error:
            raise reader.read_error(path, error) from error
    return total


def _too_large(local: Sequence[str]) -> bool:
    return sum(os.path.getsize(here) for here in local) > WHOLE_BYTES


def _fill(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    scans: Sequence[str],
    total: int | None,
    limit: int,
) -> None:
    if total is None:
        each = f" LIMIT {max(1, limit // len(scans))}"
    elif total > limit:
        # Each row by itself, so that order is kept and one pass does; the same rows every time.
        each = f" USING SAMPLE {100 * limit / total:.9f} PERCENT (bernoulli, 1)"
    else:
        each = ""
    parts = [f"SELECT *, {at} AS {SHARD} FROM {scan}{each}" for at, scan in enumerate(scans)]
    union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    try:
        connection.execute(f"CREATE TABLE sample AS {union}")
    except duckdb.Error as error:
        raise reader.read_error(paths[-1], error) from error


# --- the dialect of CSV files --------------------------------------------------------------


def _dialect(
    connection: duckdb.DuckDBPyConnection, paths: Sequence[str], local: Sequence[str]
) -> CsvOptions:
    """Delimiter, encoding and escape of CSV files; the rest is found in the sample."""
    encoding = dialect.encoding_of(paths, local)
    options = CsvOptions(encoding=encoding)
    starts = [reader.header_line(*one, options) for one in zip(paths, local, strict=True)]
    path, start = paths[-1], starts[-1]
    escape = dialect.escape_of(starts)
    found = dialect.sniffed(connection, csv_form.unescaped(start) if escape != '"' else start)
    delimiter, quote, skipped = found or (",", '"', 0)
    if skipped:
        count = len(reader.header_names(start, delimiter, escape)) if len(delimiter) == 1 else 1
        what = (
            f"has {skipped} line(s) before the column names. Remove them"
            if count == 1
            else f"its first line has {count} fields, and the rows below have more. If it is no "
            "header, remove it; else name every column"
        )
        raise DataError(f"{path}: {what}: the first line must hold the column names.")
    if len(delimiter) != 1 or quote == "'":
        raise DataError(
            f"{path}: is delimited by {delimiter!r} and quoted with {quote}; only single "
            'characters and " can be read. Write it again as plain CSV.'
        )
    names = reader.header_names(start, delimiter, escape)
    if len(names) == 1:  # the sniffer does not insist on what splits the header
        first = start.partition("\n")[0]
        delimiter = next((d for d in ",;\t|" if d in first), delimiter)
        names = reader.header_names(start, delimiter, escape)
    numbers = [name for name in names if re.fullmatch(r"[-+]?\d+([.,]\d+)?", name)]
    if len(numbers) > len(names) / 2:
        raise DataError(
            f"{path}: its first line looks like a row ({', '.join(names[:5])}), not like column "
            "names. Add a line with the column names."
        )
    return CsvOptions(delimiter=delimiter, encoding=encoding, escape=escape)


def nested(kind: str) -> bool:
    """Whether DuckDB's type holds more than one value, or none that a model could take."""
    return bool(re.search(r"\[|^(STRUCT|MAP|UNION|INTERVAL|BIT|BLOB|VARIANT|GEOMETRY)", kind))
