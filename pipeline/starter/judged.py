"""The sample as ingestion would have it: typed, labelled, split, bad rows told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import sql
from pipeline.ingest import deal
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import Dealing, IngestPlan, Shard
from pipeline.ingest.shard import EVAL, LABEL, REASON, SAID
from pipeline.spans import Window
from pipeline.starter.sample import SHARD, SHARD_NAME, Sample
from pipeline.starter.sources import Source

_LABEL, _EVAL, _REASON, _SAID = (
    sql.COMPUTED + name for name in ("label", "eval", "reason", "said")
)


@dataclass(frozen=True)
class Judged:
    """What ingestion says of the sample.

    Attributes:
        rows: good rows, a column each for what the plan ingests.
        label: 0 or 1 of them, [rows].
        held_out: which of them are evaluated on, [rows].
        file: index of each one's file, [rows].
        span: position in time of each one's span, [rows].
        spans: rows of each span in the sample, by label, refused ones included.
        refused: number of rows refused, by span.
        reasons: number of rows by reason.
        said: values of the label expression that are neither 0 nor 1, with their counts.
        dealing: how rows are parted; None where spans do.
        unlabelled: rows whose answer is missing.
        unlabelled_present: of these, rows with a value, by column.
    """

    rows: pa.Table
    label: np.ndarray
    held_out: np.ndarray
    file: np.ndarray
    span: np.ndarray
    spans: dict[str, int]
    refused: dict[str, int]
    reasons: dict[str, int]
    said: list[tuple[str, int]]
    dealing: Dealing | None = None
    unlabelled: int = 0
    unlabelled_present: dict[str, int] = field(default_factory=dict)

    @property
    def refused_share(self) -> float:
        """Largest share of a span's rows that are refused."""
        return max((self.refused[s] / rows for s, rows in self.spans.items() if rows), default=0.0)


def judge(
    connection: duckdb.DuckDBPyConnection,
    source: Source,
    sample: Sample,
    plan: IngestPlan,
    names: Mapping[str, str],
    window: Window,
) -> Judged:
    """Sends the sample through ingestion's own judgement.

    Args:
        connection: has the table `sample`.
        source: the files.
        sample: what `sample` holds.
        plan: the configuration's.
        names: column in the files → name in the configuration.
        window: tells which spans are evaluated on.

    Raises:
        ConfigError: the label expression or a rule does not fit the columns.
    """
    held_out = {item.span.label for item in window.evaluate}
    dealing = None
    if window.split_by_row:
        everything = range(len(sample.files))
        dealing = deal.of_file(connection, plan, _view(connection, sample, names, everything))
    tables, said = [], Counter[str]()
    unlabelled, present = 0, Counter[str]()
    spans: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for group in _groups(source, sample, plan, window):
        span = source.found[sample.spans[group[0]]].span
        split = None if window.split_by_row else "eval" if span.label in held_out else "train"
        path = sample.files[group[0]]
        shard = Shard(
            group[0],
            len(sample.files),
            path,
            span.label,
            span.start,
            span.end,
            split,
            dealing=dealing,
        )
        types = _view(connection, sample, names, group)
        shard_work.judge(connection, types, shard, plan)
        columns = ", ".join(sql.quote(name) for name in plan.columns())
        # One query: the view is long where there are many columns, and takes time to bind.
        rows = connection.sql(
            f"SELECT {columns}, {LABEL}, {EVAL}, {REASON}, CAST({SAID} AS VARCHAR) AS {SAID} "
            "FROM judged"
        ).to_arrow_table()
        rows = rows.append_column(SHARD_NAME, _files(connection, group))
        if split is not None:
            rows = rows.set_column(
                rows.column_names.index(_EVAL),
                _EVAL,
                pa.array([split == "eval"] * rows.num_rows, pa.bool_()),
            )
        unknown = rows.filter(pc.match_substring(rows.column(_REASON), "label is missing"))
        unlabelled += unknown.num_rows
        present.update({name: len(unknown) - unknown[name].null_count for name in plan.columns()})
        good = pc.equal(rows.column(_REASON), "")
        tables.append(rows.filter(good).drop_columns([_REASON, _SAID]))
        for (index, reason), count in _counted(rows, SHARD_NAME, _REASON).items():
            label = source.found[sample.spans[index]].span.label
            spans[label] += count
            if reason:
                refused[label] += count
                reasons.update(dict.fromkeys(reason.split(";"), count))
        unclear = pc.and_(
            pc.is_valid(rows.column(_SAID)),
            pc.invert(pc.is_in(rows.column(_LABEL), pa.array([0.0, 1.0]))),
        )
        for (text,), count in _counted(rows.filter(unclear), _SAID).items():
            said[text] += count
    whole = pa.concat_tables(tables)
    files = np.asarray(whole.column(SHARD_NAME))
    return Judged(
        rows=whole.select(list(plan.columns())),
        label=np.asarray(whole.column(_LABEL)).astype(np.int64),
        held_out=np.asarray(whole.column(_EVAL)).astype(bool),
        file=files,
        span=np.asarray(sample.spans)[files],
        spans=dict(spans),
        refused=dict(refused) | {label: 0 for label in spans if label not in refused},
        reasons=dict(reasons.most_common()),
        said=said.most_common(20),
        dealing=dealing,
        unlabelled=unlabelled,
        unlabelled_present=dict(present),
    )


def _groups(source: Source, sample: Sample, plan: IngestPlan, window: Window) -> list[list[int]]:
    """Files, by their index, whose rows are judged alike: each query costs time."""
    held_out = {item.span.label for item in window.evaluate}
    groups: dict[object, list[int]] = {}
    for index, at in enumerate(sample.spans):
        label = source.found[at].span.label
        alike = window.split_by_row or (label if plan.time_column else label in held_out)
        groups.setdefault(alike, []).append(index)
    return list(groups.values())


def _counted(rows: pa.Table, *columns: str) -> dict[tuple[Any, ...], int]:
    """How often values stand together."""
    counts = rows.group_by(list(columns)).aggregate([([], "count_all")])
    keys = zip(*(counts.column(name).to_pylist() for name in columns), strict=True)
    return dict(zip(keys, counts.column("count_all").to_pylist(), strict=True))


def _files(connection: duckdb.DuckDBPyConnection, group: Sequence[int]) -> pa.ChunkedArray:
    """The file of each row of some files, in their order."""
    listed = ", ".join(map(str, group))
    table = connection.sql(
        f"SELECT {SHARD}::BIGINT AS f FROM sample WHERE {SHARD} IN ({listed})"
    ).to_arrow_table()
    return table.column("f")


def _view(
    connection: duckdb.DuckDBPyConnection,
    sample: Sample,
    names: Mapping[str, str],
    group: Sequence[int],
) -> dict[str, str]:
    """Makes the view `source` of some files' rows; its columns with their types."""
    columns = ", ".join(f"{sql.quote(old)} AS {sql.quote(new)}" for old, new in names.items())
    listed = ", ".join(map(str, group))
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW source AS SELECT {columns} FROM sample "
        f"WHERE {SHARD} IN ({listed})"
    )
    return {names[name]: kind for name, kind in sample.types.items()}
