"""How CSV files are written: encoding, delimiter, and what stands before a quote within quotes."""

from __future__ import annotations

import codecs
import csv
import io
import os
import tempfile
from collections.abc import Sequence
from typing import Literal

import duckdb

from pipeline import sql
from pipeline.ingest import csv_form, reader

#: Read of all files together to find the encoding.
_ENCODING_BYTES = 64_000_000
#: Cells by which the SQL engine finds a dialect; its time grows with them.
_SNIFFED_CELLS = 200_000
#: First bytes that say the encoding.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")


def encoding_of(paths: Sequence[str], local: Sequence[str]) -> str:
    """The encoding of the first file that is not UTF-8; else UTF-8.

    Bytes 0x80 to 0x9f are control characters in Latin-1, which nobody writes, and quotes, dashes
    and the euro sign in Windows-1252, as Excel does.

    Args:
        paths: files, as messages name them.
        local: where their contents are.
    """
    least = max(1, _ENCODING_BYTES // len(paths))
    for path, here in zip(paths, local, strict=True):
        if (found := _encoding(path, here, least)) != "utf-8":
            return found
    return "utf-8"


def _encoding(path: str, local: str, most: int) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    seen, good, high = 0, True, False
    for block in reader.blocks(path, local):
        if not seen and (said := _by_first_bytes(block)):
            return said
        if good:
            try:
                decoder.decode(block)
            except UnicodeDecodeError:
                good = False
        high |= not good and any(byte in block for byte in _WINDOWS)
        seen += len(block)
        if seen > most:
            break
    if good:
        return "utf-8"
    return "windows-1252" if high else "latin-1"


_WINDOWS = tuple(bytes([byte]) for byte in range(0x80, 0xA0))


def _by_first_bytes(block: bytes) -> str | None:
    for mark, name in _MARKS:
        if block.startswith(mark):
            return name
    odd, even = block[1:200:2].count(0), block[0:200:2].count(0)
    if max(odd, even) > 0.4 * len(block[:200:2]) and min(odd, even) == 0:
        return "utf-16-le" if odd else "utf-16-be"
    return None


def escape_of(starts: Sequence[str]) -> Literal['"', "\\"]:
    """A backslash if the beginning of some file can be read better with it than without it."""
    for start in starts:
        text = start[: start.rfind("\n") + 1] or start
        if '\\"' in text and _faults(csv_form.unescaped(text)) < _faults(text):
            return "\\"
    return '"'


def _faults(text: str) -> int:
    """Records that are broken, or of another length than the first; by the best delimiter."""
    return min((_faults_by(text, one) for one in _DELIMITERS if one in text), default=0)


def _faults_by(text: str, delimiter: str) -> int:
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    columns = faults = 0
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return faults if columns > 1 else faults + 1
        except csv.Error as error:
            # A value cut off at the end of what is looked at is none.
            faults += "end of data" not in str(error)
            continue
        columns = columns or len(row)
        faults += len(row) != columns and bool(row)


def sniffed(connection: duckdb.DuckDBPyConnection, start: str) -> tuple[str, str, int] | None:
    """Delimiter, quote and lines before the header, as the SQL engine sees them; None: it does not.

    Args:
        connection: any.
        start: the beginning of a file.
    """
    lines = "\n".join(start.replace("\r\n", "\n").replace("\r", "\n").split("\n")[:20_000])
    columns = 1 + max(lines.partition("\n")[0].count(mark) for mark in _DELIMITERS)
    rows = max(100, min(10_000, _SNIFFED_CELLS // columns))
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        path = os.path.join(folder, "start.csv")
        whole = lines[: lines.rfind("\n") + 1] or lines
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(whole)
        try:
            found = connection.execute(
                "SELECT Delimiter, Quote, SkipRows FROM "
                f"sniff_csv({sql.text(path)}, sample_size={rows}, all_varchar=true)"
            ).fetchone()
        except duckdb.Error:  # one column, or a broken file, which reading it will say better
            return None
    if found is None:
        return None
    delimiter, quote, skipped = found
    return {"\\t": "\t"}.get(delimiter, delimiter), quote, skipped
