"""The sample as ingestion would have it: typed, labelled, split, bad rows told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from pipeline import sql
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard
from pipeline.spans import Window
from pipeline.starter.sample import SHARD, Sample
from pipeline.starter.sources import Source


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
    cutoff = _cutoff(connection, sample, plan, names) if window.split_by_row else None
    tables, said = [], Counter[str]()
    spans: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    for index, (path, at) in enumerate(zip(sample.files, sample.spans, strict=True)):
        span = source.found[at].span
        split = None if window.split_by_row else "eval" if span.label in held_out else "train"
        shard = Shard(
            index, len(sample.files), path, span.label, span.start, span.end, split, cutoff
        )
        types = _view(connection, sample, names, index)
        shard_work.judge(connection, types, shard, plan)
        columns = ", ".join(sql.quote(name) for name in plan.columns())
        kept = connection.sql(
            f"SELECT {columns}, __label, __eval FROM judged WHERE __reason = ''"
        ).to_arrow_table()
        tables.append(
            kept.append_column(SHARD, pa.array([index] * kept.num_rows, pa.int64()))
            if split is None
            else kept.set_column(
                kept.column_names.index("__eval"),
                "__eval",
                pa.array([split == "eval"] * kept.num_rows, pa.bool_()),
            ).append_column(SHARD, pa.array([index] * kept.num_rows, pa.int64()))
        )
        for reason, count in connection.execute(
            "SELECT __reason, count(*) FROM judged GROUP BY 1"
        ).fetchall():
            spans[span.label] += count
            if reason:
                refused[span.label] += count
                reasons.update(dict.fromkeys(reason.split(";"), count))
        said.update(
            dict(
                connection.execute(
                    "SELECT CAST(__said AS VARCHAR), count(*) FROM judged WHERE __said IS NOT NULL "
                    "AND coalesce(TRY_CAST(__said AS DOUBLE) NOT IN (0, 1), true) "
                    "GROUP BY 1 ORDER BY 2 DESC LIMIT 20"
                ).fetchall()
            )
        )
    whole = pa.concat_tables(tables)
    files = np.asarray(whole.column(SHARD))
    return Judged(
        rows=whole.select(list(plan.columns())),
        label=np.asarray(whole.column("__label")).astype(np.int64),
        held_out=np.asarray(whole.column("__eval")).astype(bool),
        file=files,
        span=np.asarray(sample.spans)[files],
        spans=dict(spans),
        refused=dict(refused) | {label: 0 for label in spans if label not in refused},
        reasons=dict(reasons.most_common()),
        said=said.most_common(),
    )


def _view(
    connection: duckdb.DuckDBPyConnection, sample: Sample, names: Mapping[str, str], index: int
) -> dict[str, str]:
    columns = ", ".join(f"{sql.quote(old)} AS {sql.quote(new)}" for old, new in names.items())
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW source AS SELECT {columns} FROM sample "
        f"WHERE {SHARD} = {index}"
    )
    return {names[name]: kind for name, kind in sample.types.items()}


def _cutoff(
    connection: duckdb.DuckDBPyConnection,
    sample: Sample,
    plan: IngestPlan,
    names: Mapping[str, str],
) -> int | None:
    """As `shard.time_cutoff`, of the sample."""
    if plan.time_column is None:
        return None
    column = next(old for old, new in names.items() if new == plan.time_column)
    moment = plan.typed(plan.time_column, "timestamp", sample.types[column])
    (cutoff,) = connection.execute(
        f"SELECT quantile_disc({moment}, ?) FROM (SELECT {sql.quote(column)} AS "
        f"{sql.quote(plan.time_column)} FROM sample)",
        [1 - plan.holdout],
    ).fetchone() or (None,)
    return None if cutoff is None else int(cutoff)
