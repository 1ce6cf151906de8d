"""The bytes of a file, decompressed, and what a file is that is not what its name says."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pyarrow as pa

from pipeline.errors import DataError

#: A header is shorter than this.
BLOCK_BYTES = 1 << 20
_HEAD_BYTES = 4096

#: First bytes → what such a file is, and the remedy.
_MAGIC = (
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook (.xls). Save it as CSV"),
    (b"%PDF", "is a PDF. Export the table itself as CSV"),
    (b"SQLite format 3\0", "is an SQLite database. Export the table as CSV or Parquet"),
    (b"Obj\x01", "is an Avro file. Write it as Parquet"),
    (b"ORC", "is an ORC file. Write it as Parquet"),
    (b"ARROW1", "is an Arrow (Feather) file. Write it as Parquet"),
    (b"\x89HDF", "is an HDF5 file. Write it as Parquet"),
    (b"BZh", "is compressed by bzip2, which is not read. Compress it with gzip or zstd"),
    (b"\xfd7zXZ", "is compressed by xz, which is not read. Compress it with gzip or zstd"),
    (b"version https://git-lfs", "is a Git LFS pointer, not the data. Fetch it: git lfs pull"),
)
_PACKED = {b"\x1f\x8b": (".gz", "gzip"), b"\x28\xb5\x2f\xfd": (".zst", "zstd")}


def codec(local: str) -> str | None:
    """How a file is compressed, by its name; None: not at all."""
    return {".gz": "gzip", ".zst": "zstd"}.get(os.path.splitext(local.lower())[1])


def blocks(path: str, local: str) -> Iterator[bytes]:
    """The file's content, decompressed.

    Args:
        path: the file, as messages name it.
        local: where its content is.

    Raises:
        DataError: it is cut off, damaged, or not compressed as its name says.
    """
    try:
        with pa.input_stream(local, compression=codec(local)) as stream:
            while block := stream.read(BLOCK_BYTES):
                yield block
    except OSError as error:
        raise _not_decompressed(path, local, error) from error


def _not_decompressed(path: str, local: str, error: OSError) -> DataError:
    kind = codec(local)
    head = _head(local)
    if kind and not any(head.startswith(m) and name == kind for m, (_, name) in _PACKED.items()):
        said = _instead(head) or "is not compressed. Name it without that ending"
        return DataError(
            f"{path}: cannot be decompressed: it is not {kind} in spite of its name, it {said}. "
            f"({error})"
        )
    if kind and "truncated" not in str(error).lower():
        return DataError(
            f"{path}: cannot be decompressed; bytes in it are damaged. Copy it again. ({error})"
        )
    return DataError(f"{path}: cannot be decompressed; it may be cut off. Copy it again. ({error})")


def _head(local: str) -> bytes:
    with open(local, "rb") as file:
        return file.read(_HEAD_BYTES)


def refuse_other_files(path: str, local: str, kind: str) -> None:
    """Sees that a file is no other thing under this name.

    Args:
        path: the file, as messages name it.
        local: where its content is.
        kind: `csv` or `parquet`, by its name.

    Raises:
        DataError: it is; says what, and the remedy.
    """
    head = _head(local)
    if kind == "csv" and codec(local):
        head = next(blocks(path, local), b"")[:_HEAD_BYTES]
    if not head or (kind == "parquet" and head.startswith(b"PAR1")):
        return
    said = _instead(head)
    if said is None and kind == "csv" and head.startswith(b"PAR1"):
        said = "is a Parquet file. Name it .parquet"
    if said is None and kind == "parquet" and (columns := _looks_like_csv(head)):
        said = f"is text ({columns}). Name it .csv, or write it as Parquet"
    if said:
        what = "Parquet file" if kind == "parquet" else "CSV file"
        raise DataError(f"{path}: is not a readable {what}: it {said}.")


def _instead(head: bytes) -> str | None:
    """What a file of these first bytes is, with the remedy, if it is surely no table's."""
    if not head.strip(b"\0"):
        return (
            "begins with zero bytes, not with a header, as an interrupted copy leaves them. Copy "
            "it again"
        )
    if head.startswith(b"PK\x03\x04"):
        excel = b"[Content_Types].xml" in head or b"xl/" in head
        return (
            "is an Excel workbook (.xlsx). Save the sheet as CSV"
            if excel
            else "is a ZIP archive. Unpack it"
        )
    for magic, (ending, name) in _PACKED.items():
        if head.startswith(magic):
            return f"is compressed by {name}. Let its name end in {ending}"
    for magic, said in _MAGIC:
        if head.startswith(magic):
            return said
    return _markup(head)


def _markup(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:400].lower()
    if text.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<!--")):
        return (
            "is a web page, such as the login or error page of a download. Download the file itself"
        )
    if text.startswith(b"<?xml") or (text.startswith(b"<") and b"</" in text):
        return "is XML. Export the table as CSV or Parquet"
    if text.startswith((b'{"', b"{\n", b"{\r", b"[{", b"[[", b"[\n", b"[\r", b"[ {")):
        return "is JSON. Write the rows as CSV or Parquet"
    return None


def _looks_like_csv(head: bytes) -> str | None:
    """The first line, if it is plain text."""
    line = head.split(b"\n")[0].rstrip(b"\r")
    try:
        text = line.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    return text[:60] if text.isprintable() and any(d in text for d in ",;\t|") else None


def verify(path: str, local: str) -> None:
    """Decompresses a compressed file to its end; DuckDB does not notice a zstd file cut off.

    Raises:
        DataError: it is cut off or damaged.
    """
    if codec(local):
        for _ in blocks(path, local):
            pass
