"""CSV files in the one form that the SQL engine reads for sure.

The engine reads UTF-8, `""` for a quote in quotes, and takes the first line's end for that of all
records: a file in which line ends differ loses rows without a word, or is refused. Whatever is
written otherwise is written anew, by Python's `csv`, into a temporary file.
"""

from __future__ import annotations

import codecs
import csv
import io
import itertools
import re
import sys
from collections.abc import Iterator

import pyarrow as pa

from pipeline.config import CsvOptions
from pipeline.errors import DataError, shorten
from pipeline.ingest import raw

csv.field_size_limit(sys.maxsize)  # the default is 128 KB; a text may be longer

#: What a backslash says where it escapes: a quote, itself, a line's end within a value. Before
#: anything else, as in `\\N` or a path, it is a character (Spark and MySQL write so).
_ESCAPED = re.compile(r'\\(["\\\n\r])')
#: A first name in quotes behind a byte-order mark, where the engine does not see the quotes.
_MARKED_QUOTES = re.compile(rb'\xef\xbb\xbf"(?:[^"]|"")*"')
#: Blocks looked at, and records copied, where only the beginning counts.
_BEGINNING_BLOCKS, BEGINNING_RECORDS = 1, 5_000
#: Encodings of one byte a character: any bytes are text in them, so UTF-8 must be told by itself.
_ANY_BYTES = ("latin-1", "windows-1252")


def python_codec(encoding: str) -> str:
    """Python's name; of UTF-8 the one that passes over a byte-order mark."""
    return "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding


def start_of(path: str, local: str, options: CsvOptions) -> str:
    """The beginning of a CSV file's text, the header in it.

    Raises:
        DataError: the file is empty, no text in its encoding, or no CSV at all.
    """
    raw.refuse_other_files(path, local, "csv")
    start = next(raw.blocks(path, local), b"")
    if not start:
        raise DataError(f"{path}: is empty. Copy it again, or remove it.")
    encoding = python_codec(_encoding_of(path, local, options.encoding, beginning=True))
    first = start.split(b"\n", 1)[0] if encoding == "utf-8-sig" else start
    try:
        _decoded(first, encoding)
        return _decoded(start, encoding, "strict" if encoding != "utf-8-sig" else "replace")
    except UnicodeError as error:
        raise not_text(path, 1, options.encoding, first) from error


def _decoded(data: bytes, encoding: str, errors: str = "strict") -> str:
    # An incremental decoder does not mind that the data may end inside a character.
    return codecs.getincrementaldecoder(encoding)(errors).decode(data)


def not_text(path: str, line: int, encoding: str, data: bytes) -> DataError:
    """The error for bytes that are no text in an encoding, with the one that they may be in."""
    better = "windows-1252" if any(0x80 <= byte < 0xA0 for byte in data) else "latin-1"
    return DataError(
        f"{path}, line {line}: is not {encoding} text. Convert it, or set data.csv.encoding (for "
        f'example "{better}").'
    )


def names_of(start: str, delimiter: str, escape: str = '"') -> list[str]:
    """The column names in the beginning of a file; a column without a name gets one.

    Raises:
        csv.Error: its first record is none.
    """
    lines: Iterator[str] = io.StringIO(start, newline="")
    if escape == "\\":
        lines = map(unescaped, lines)
    names = next(csv.reader(lines, delimiter=delimiter), [])
    return [name.strip() or f"unnamed_{index}" for index, name in enumerate(names)]


def settled(
    path: str,
    local: str,
    options: CsvOptions,
    shape: tuple[str, int],
    copy: str,
    *,
    beginning: bool = False,
) -> str:
    """The file, or its copy in the engine's form.

    Args:
        path: the file, as messages name it.
        local: where its content is.
        options: how it is written.
        shape: its delimiter, and how many columns its header names.
        copy: where a copy may be written.
        beginning: whether its first rows will do.

    Returns:
        `local` if it is in that form already, else `copy`.

    Raises:
        DataError: a record is broken, or no text in the file's encoding; names the line.
    """
    encoding = python_codec(_encoding_of(path, local, options.encoding, beginning))
    if encoding == "utf-8-sig" and options.escape == '"' and _sure(path, local, beginning):
        return local
    records = _records(path, local, encoding, options, shape)
    with open(copy, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=shape[0], lineterminator="\n", quoting=csv.QUOTE_ALL)
        next(records, None)  # its names are known; a line end in one would be taken for all
        writer.writerow(["column"] * shape[1])
        writer.writerows(itertools.islice(records, BEGINNING_RECORDS if beginning else None))
    return copy


def _sure(path: str, local: str, beginning: bool) -> bool:
    """Whether the engine sees every record: all line ends are alike, those within quotes too."""
    pairs = feeds = returns = 0
    last = b""
    for block in itertools.islice(
        raw.blocks(path, local), _BEGINNING_BLOCKS if beginning else None
    ):
        if not last and (marked := _MARKED_QUOTES.match(block)) and b"\n" in marked[0]:
            return False
        pairs += block.count(b"\r\n") + (last == b"\r" and block[:1] == b"\n")
        feeds += block.count(b"\n")
        returns += block.count(b"\r")
        last = block[-1:]
    return not returns or pairs == feeds == returns or not feeds


def _encoding_of(path: str, local: str, encoding: str, beginning: bool) -> str:
    """The encoding; UTF-8 where a file surely is UTF-8 although it is said to be otherwise.

    Bytes of UTF-8 are text in any encoding of single bytes, another text.
    """
    if encoding not in _ANY_BYTES:
        return encoding
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in itertools.islice(
            raw.blocks(path, local), _BEGINNING_BLOCKS if beginning else None
        ):
            decoder.decode(block)
    except UnicodeDecodeError:
        return encoding
    return "utf-8"


def _records(
    path: str, local: str, encoding: str, options: CsvOptions, shape: tuple[str, int]
) -> Iterator[list[str]]:
    """The records, each with as many fields as the header; the header first."""
    delimiter, columns = shape
    with pa.input_stream(local, compression=raw.codec(local)) as stream:
        text: Iterator[str] = io.TextIOWrapper(stream, encoding=encoding, newline="")
        if options.escape == "\\":
            text = map(unescaped, text)
        lines = _Lines(text)
        rows = csv.reader(lines, delimiter=delimiter, strict=True)
        line = 1
        try:
            for row in rows:
                fields = _fitted(row, columns, f"{path}, line {line}")
                if fields:
                    yield fields
                line = rows.line_num + 1
        except csv.Error as error:
            raise DataError(
                broken_row(f"{path}, line {line}", _said(error), lines.latest, options.escape)
            ) from error
        except UnicodeError as error:
            data = getattr(error, "object", b"")
            raise not_text(path, rows.line_num + 1, options.encoding, data) from error
        except OSError:
            for _ in raw.blocks(path, local):  # says what is wrong with it
                pass
            raise


class _Lines:
    """Lines, the latest of which is remembered."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.latest = ""

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self.latest = line
            yield line


def unescaped(line: str) -> str:
    """Text with doubled quotes in place of those behind a backslash."""
    return _ESCAPED.sub(lambda m: '""' if m[1] == '"' else m[1], line) if "\\" in line else line


def _fitted(row: list[str], columns: int, where: str) -> list[str]:
    """A record as the engine takes it: without the delimiters at its end; of an empty line none."""
    if len(row) == columns:
        return row
    if not row:
        return [""] if columns == 1 else []
    if len(row) > columns and not any(row[columns:]):
        return row[:columns]
    said = f"expected columns: {columns} Found: {len(row)}"
    raise DataError(broken_row(where, said, ",".join(row)))


def _said(error: csv.Error) -> str:
    unclosed = "Value with unterminated quote found"
    return unclosed if "expected after" in str(error) or "end of data" in str(error) else str(error)


def broken_row(where: str, said: str, text: str, escape: str = '"') -> str:
    """The sentence about a record that is none: what is wrong with it, and the remedy.

    Args:
        where: file and line.
        said: what the reader says of it.
        text: of the record.
        escape: as in `data.csv.escape`.
    """
    head = f"{where}: the row is broken ({said}; {shorten(text.rstrip())})."
    if "quote" in said.lower():
        remedy = (
            "A quote within a value must be doubled, and each that is opened must be closed; the "
            "file may also be cut off there. Mend the line, or copy the file again."
        )
        if escape == '"' and '\\"' in text:
            remedy = 'It writes \\" for a quote within a value: set data.csv.escape = "\\\\".'
        return f"{head} {remedy}"
    fields = re.search(r"columns: (\d+) Found: (\d+)", said)
    if fields and int(fields[2]) > int(fields[1]):
        return (
            f"{head} It has more fields than the header: a value that holds the delimiter must "
            "stand in quotes. Mend the line."
        )
    if fields:
        return (
            f"{head} It has fewer fields than the header; the file may be cut off or quoted "
            "wrongly. If it is the last line, copy it again; else mend the line."
        )
    return f"{head} Mend the line, or copy the file again."
