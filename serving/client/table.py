"""Rows of any kind as columns: dicts, a DataFrame, an Arrow table, a file."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from serving.client.errors import RowError

_DELIMITERS = (",", ";", "\t", "|")
_JSON_LINES = (".jsonl", ".ndjson")
_CSV = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")


class Table:
    """Columns by name, each made into a list when it is asked for.

    Attributes:
        rows: how many.
        names: of the columns.
    """

    def __init__(
        self, rows: int, names: Sequence[str], column: Callable[[str], Sequence[Any]]
    ) -> None:
        self.rows = rows
        self.names = tuple(names)
        self._column = column

    def column(self, name: str) -> Sequence[Any]:
        """The column's values, one a row."""
        return self._column(name)

    def renamed(self, names: Mapping[str, str]) -> Table:
        """The same rows with other names; a name that is taken already stays as it is."""
        taken = set(self.names)
        old = {
            (names[name] if names.get(name, name) not in taken else name): name
            for name in self.names
        }
        return Table(self.rows, tuple(old), lambda name: self._column(old[name]))


def of(rows: Any, only_input: str | None = None, limit: int | None = None) -> Table:
    """A table of rows.

    Args:
        rows: a list of dicts; a dict of lists, or of single values for one row; a pandas
            DataFrame; a pyarrow Table or RecordBatch; the path of a .parquet, .csv(.gz) or
            .jsonl(.gz) file; or a Table.
        only_input: where the signature has one input only, its name: bare values will do then.
        limit: at most so many of the first rows.

    Raises:
        RowError: they are something else, or the file cannot be read.
    """
    table: Table
    if isinstance(rows, Table):
        table = rows
    elif isinstance(rows, str | os.PathLike):
        return read(os.fspath(rows), limit)
    elif _is_of(rows, "pandas"):
        table = _of_pandas(rows)
    elif _is_of(rows, "pyarrow"):
        table = _of_arrow(rows)
    elif isinstance(rows, Mapping):
        table = _of_columns(rows)
    elif isinstance(rows, Iterable) and not isinstance(rows, bytes):
        table = _of_rows(list(rows), only_input)
    else:
        raise RowError(
            f"rows must be dicts, a DataFrame, an Arrow table or a file's path, got {type(rows)}."
        )
    if limit is None or limit >= table.rows:
        return table
    return Table(limit, table.names, lambda name: table.column(name)[:limit])


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a CSV file is written.

    Attributes:
        delimiter: one character; None: the one of `,` `;` tab `|` that the header has most of.
        encoding: of the text; a byte-order mark is passed over.
        nulls: texts that mean "missing", beside the empty field.
    """

    delimiter: str | None = None
    encoding: str = "utf-8-sig"
    nulls: tuple[str, ...] = ()


def read(path: str, limit: int | None = None, dialect: Dialect = Dialect()) -> Table:
    """The rows of a file: Parquet, CSV or JSON lines by its name.

    Args:
        path: of the file.
        limit: at most so many of the first rows.
        dialect: of a CSV file.

    Raises:
        RowError: it cannot be read; names the line.
    """
    stem = path.lower().removesuffix(".gz")
    try:
        if stem.endswith(_PARQUET):
            return _read_parquet(path, limit)
        if stem.endswith(_CSV):
            with _text(path, dialect.encoding) as file:
                return _read_csv(path, file, limit, dialect)
        if stem.endswith(_JSON_LINES):
            with _text(path, "utf-8-sig") as file:
                return _of_rows(list(itertools.islice(_json_lines(path, file), limit)), None)
    except FileNotFoundError:
        raise RowError(f"{path}: there is no such file.") from None
    except (OSError, EOFError) as error:
        raise RowError(f"{path}: cannot be read ({error}).") from error
    except UnicodeDecodeError as error:
        raise RowError(f"{path}: is not {error.encoding} text. Convert it.") from error
    raise RowError(
        f"{path}: its name must end in .parquet, .csv or .jsonl (the last two also with .gz)."
    )


def kept(rows: Any) -> Any:
    """The same rows, to be read more than once: what can be read only once is made a list."""
    if isinstance(rows, Mapping):
        return {
            name: list(values) if isinstance(values, Iterator) else values
            for name, values in rows.items()
        }
    return list(rows) if isinstance(rows, Iterator) else rows


def _is_of(rows: object, package: str) -> bool:
    """Whether an object's class is from a package, without importing the package."""
    return type(rows).__module__.partition(".")[0] == package and hasattr(rows, "columns")


def _of_rows(rows: list[Any], only_input: str | None) -> Table:
    if only_input is not None and rows and not any(isinstance(row, Mapping) for row in rows):
        return Table(len(rows), (only_input,), lambda _: rows)
    names: dict[str, None] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise RowError(f"row {number}: must be a dict of columns, got {type(row).__name__}.")
        names.update(dict.fromkeys(row))
    return Table(len(rows), tuple(names), lambda name: [row.get(name) for row in rows])


def _of_columns(columns: Mapping[str, Any]) -> Table:
    single = [name for name, values in columns.items() if _is_single(values)]
    if single and len(single) == len(columns):
        return _of_rows([columns], None)
    for name, values in columns.items():
        if name in single or isinstance(values, set | frozenset):
            got = "one value" if name in single else "a set, which has no order"
            raise RowError(
                f"column {name}: must be a list with a value for each row, got {got}. For one row "
                "give one value for every column, or a list of one dict."
            )
    lists = {str(name): list(values) for name, values in columns.items()}
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise RowError(f"columns must be of one length, got: {told}.")
    return Table(next(iter(lengths.values()), 0), tuple(lists), lists.__getitem__)


def _is_single(value: Any) -> bool:
    """Whether it is a value of one row, rather than a column's values."""
    if isinstance(value, str | bytes | Mapping) or getattr(value, "ndim", None) == 0:
        return True
    return not isinstance(value, Iterable)


def _once(names: Iterable[Any], where: str = "") -> list[str]:
    """Names as text.

    Raises:
        RowError: two are the same; which column is meant nobody can know.
    """
    seen: dict[str, None] = {}
    for name in map(str, names):
        if name in seen:
            raise RowError(f"{where}column {name}: is there twice. Rename one, or leave it out.")
        seen[name] = None
    return list(seen)


def _of_pandas(frame: Any) -> Table:
    labels = dict(zip(_once(frame.columns), frame.columns, strict=True))

    def column(name: str) -> list[Any]:
        series = frame[labels[name]]
        values: list[Any] = series.astype(object).where(series.notna(), None).tolist()
        return values

    return Table(len(frame), tuple(labels), column)


def _of_arrow(table: Any) -> Table:
    import pyarrow as pa
    from pyarrow import compute

    def column(name: str) -> list[Any]:
        values = table.column(name)
        if pa.types.is_dictionary(values.type):
            values = values.cast(values.type.value_type)
        if pa.types.is_timestamp(values.type):  # nanoseconds have no counterpart in Python
            naive = values.cast(pa.timestamp(values.type.unit))
            seconds = compute.floor_temporal(naive, unit="second")
            values = seconds.cast(pa.timestamp("s")).cast(pa.int64())
        listed: list[Any] = values.to_pylist()
        return listed

    return Table(table.num_rows, _once(table.schema.names), column)


def _read_parquet(path: str, limit: int | None) -> Table:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise RowError(
            f"{path}: reading Parquet needs pyarrow. Install it: pip install 'headrace[client]'"
        ) from None
    try:
        file = parquet.ParquetFile(path)
        if limit is None:
            return _of_arrow(file.read())
        batches, rows = [], 0
        for batch in file.iter_batches(batch_size=min(65_536, max(1, limit))):
            batches.append(batch)
            rows += batch.num_rows
            if rows >= limit:
                break
        return _of_arrow(pa.Table.from_batches(batches, file.schema_arrow).slice(0, limit))
    except pa.ArrowException as error:
        raise RowError(f"{path}: is not a readable Parquet file ({error}).") from error


def _text(path: str, encoding: str) -> IO[str]:
    if path.lower().endswith(".gz"):
        return io.TextIOWrapper(gzip.open(path), encoding=encoding, newline="")
    return open(path, encoding=encoding, newline="")


def _read_csv(path: str, file: IO[str], limit: int | None, dialect: Dialect) -> Table:
    header = file.readline()
    delimiter = dialect.delimiter or max(_DELIMITERS, key=header.count)
    names = next(csv.reader([header], delimiter=delimiter), [])
    names = [name.strip() for name in names]
    _once(names, f"{path}, ")
    if not names:
        raise RowError(f"{path}: is empty; the first line must hold the names of the columns.")
    lines = csv.reader(file, delimiter=delimiter)
    rows: list[list[str]] = []
    try:
        for line in lines:
            if limit is not None and len(rows) >= limit:
                break
            if line and len(line) != len(names):
                raise RowError(
                    f"{path}, line {lines.line_num + 1}: has {len(line)} fields, the header "
                    f"{len(names)}."
                )
            if line:
                rows.append(line)
    except csv.Error as error:
        raise RowError(f"{path}, line {lines.line_num + 1}: {error}.") from error
    place = {name: index for index, name in enumerate(names)}
    nulls = {"", *dialect.nulls}

    def column(name: str) -> list[str | None]:
        index = place[name]
        return [None if row[index] in nulls else row[index] for row in rows]

    return Table(len(rows), tuple(place), column)


def _json_lines(path: str, file: IO[str]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise RowError(f"{path}, line {number}: is not JSON ({error}).") from None
        if not isinstance(row, dict):
            raise RowError(f'{path}, line {number}: must be an object, {{"column": value, …}}.')
        yield row
