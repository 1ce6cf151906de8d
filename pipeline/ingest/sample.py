"""Row samples beside the splits: what distributions are compared on.

A distance between two samples depends on how many rows they have. Spans of any size are compared
on at most so many rows each, so that what was measured on quiet spans still holds when data grows,
and comparing costs the same whatever the rows.

Every row draws a number; a sample is the rows with the smallest ones. Samples of files can so be
joined to a sample of their span ("bottom-k sampling", Cohen & Kaplan, PODC 2007).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipeline.sql import COMPUTED

FOLDER = "samples"
DRAWN = f"{COMPUTED}drawn"
#: Marks in a file: the span it is of, and whether rows were left out.
SPAN, _CUT = "span", "cut"
_NAME = re.compile(r"(?P<split>[a-z]+)-\d{5}\.parquet$")


class Sampler:
    """Keeps a uniform sample of the rows it is shown, in bounded memory.

    Args:
        limit: rows kept at most.
        seed: of the draws: the same rows in the same order give the same sample.
    """

    def __init__(self, limit: int, seed: int) -> None:
        self._limit = limit
        self._random = np.random.default_rng(seed)
        self._kept: list[pa.Table] = []
        self._highest = 1.0
        self._seen = 0

    def add(self, rows: pa.Table) -> None:
        """Shows it rows."""
        self._seen += rows.num_rows
        drawn = self._random.random(rows.num_rows)
        rows = rows.append_column(DRAWN, pa.array(drawn)).filter(pa.array(drawn < self._highest))
        self._kept.append(rows)
        if sum(table.num_rows for table in self._kept) > 2 * self._limit:
            self._shrink()

    def table(self, span: str) -> pa.Table | None:
        """The sample, marked with the span it is of; None if there was no row."""
        if not self._kept:
            return None
        self._shrink()
        cut = self._seen > self._limit
        marks = {SPAN: span, _CUT: str(int(cut))}
        return self._kept[0].replace_schema_metadata(marks)

    def _shrink(self) -> None:
        table = smallest(pa.concat_tables(self._kept), self._limit)
        self._kept = [table]
        if table.num_rows == self._limit:
            self._highest = pc.max(table[DRAWN]).as_py()


def smallest(table: pa.Table, limit: int) -> pa.Table:
    """The rows that drew the smallest numbers, in their order."""
    if table.num_rows <= limit:
        return table
    drawn = table[DRAWN].to_numpy()
    return table.filter(pa.array(drawn <= np.partition(drawn, limit - 1)[limit - 1]))


def write(output: str, split: str, index: int, table: pa.Table) -> None:
    """Writes the sample of a file below an Examples artifact."""
    from tfx.dsl.io import fileio

    buffer = io.BytesIO()
    parquet.write_table(table, buffer, compression="zstd")
    fileio.makedirs(os.path.join(output, FOLDER))
    path = os.path.join(output, FOLDER, f"{split}-{index:05d}.parquet")
    with fileio.open(path, "wb") as file:
        file.write(buffer.getvalue())


def read(examples: str, limit: int) -> dict[tuple[str, str], pa.Table]:
    """The samples of an Examples artifact.

    Args:
        examples: its URI.
        limit: rows a span has at most.

    Returns:
        Split and span label → rows, in the order of the files.
    """
    from tfx.dsl.io import fileio

    folder = os.path.join(examples, FOLDER)
    parts: dict[tuple[str, str], list[pa.Table]] = {}
    for name in sorted(fileio.listdir(folder)) if fileio.exists(folder) else ():
        if not (match := _NAME.fullmatch(name)):
            continue
        with fileio.open(os.path.join(folder, name), "rb") as file:
            table = parquet.read_table(io.BytesIO(file.read()))
        label = table.schema.metadata[SPAN.encode()].decode()
        parts.setdefault((match["split"], label), []).append(table)
    return {key: joined(tables, limit) for key, tables in parts.items()}


def in_order(examples: str, spans: Sequence[str], limit: int) -> list[pa.Table]:
    """The samples of an Examples artifact, oldest first; of one table, what is learnt from first.

    Args:
        examples: its URI.
        spans: labels, oldest first.
        limit: rows a span has at most.
    """
    found = read(examples, limit)
    order = [(split, span) for span in spans for split in ("train", "eval")]
    return [found[key] for key in order if key in found]


def joined(tables: Iterable[pa.Table], limit: int) -> pa.Table:
    """One uniform sample out of the samples of several files."""
    tables = list(tables)
    # A file that left rows out shows nothing above the highest number that it kept.
    shown = min(
        (pc.max(t[DRAWN]).as_py() for t in tables if t.schema.metadata[_CUT.encode()] == b"1"),
        default=1.0,
    )
    table = pa.concat_tables(table.replace_schema_metadata(None) for table in tables)
    return smallest(table.filter(pc.less_equal(table[DRAWN], shown)), limit)
