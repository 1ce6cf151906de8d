"""The rows of the newest span, or of the window, read and judged as ingestion would.

What ingestion refuses with an error (a column that is missing, a label that cannot be computed) is
noted here: `pipeline.schema_diff` says it in words.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from pipeline import spans, sql
from pipeline.config import Config
from pipeline.errors import ConfigError, shorten
from pipeline.ingest import reader
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard, shards
from pipeline.ingest.shard import LABEL, REASON, ROW

#: Rows of the spans that are looked at; of more, a sample.
ROWS = 300_000


@dataclass
class Seen:
    """The rows that were looked at.

    Attributes:
        spans: labels of their spans, oldest first.
        rows: good rows, typed, with the label; a sample where there are many.
        total: rows in the files.
        refused: rows by the reason for which ingestion refuses them.
        bad: examples of refused values, by reason.
        new: columns that the configuration does not name → file that has them.
        absent: columns of the configuration → number of files that lack them.
        files: number of files.
        label_fault: why the label cannot be computed, or `""`.
    """

    spans: list[str]
    rows: pa.Table
    total: int
    refused: Counter[str] = field(default_factory=Counter)
    bad: dict[str, str] = field(default_factory=dict)
    new: dict[str, str] = field(default_factory=dict)
    absent: Counter[str] = field(default_factory=Counter)
    files: int = 0
    label_fault: str = ""


def look(config: Config, *, span: str | None, whole_window: bool) -> Seen:
    """Reads the newest span, or the whole window, as ingestion would.

    Args:
        config: the configuration.
        span: label of the newest span, None for the newest there is.
        whole_window: the spans to train on as well.

    Raises:
        HeadraceError: there is no such span, or a file cannot be read.
    """
    window = spans.window_of(config, span, gap="skip")
    wanted = {item.span.label for item in (window.spans if whole_window else window.evaluate)}
    work = [shard for shard in shards(window) if shard.span in wanted]
    seen = Seen(
        [item.span.label for item in window.spans if item.span.label in wanted], pa.table({}), 0
    )
    seen.files = len(work)
    tables = []
    for shard in work:
        with sql.connect() as connection, reader.localized(shard.path) as local:
            tables.append(_read(connection, shard, local, config, seen, ROWS // len(work)))
    seen.rows = pa.concat_tables(tables)
    return seen


def _read(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    local: str,
    config: Config,
    seen: Seen,
    limit: int,
) -> pa.Table:
    plan = IngestPlan.of(config)
    # A column that is missing is a finding here, not an error.
    tolerant = plan.model_copy(update={"optional_columns": tuple(plan.columns())})
    types, extra = reader.open_source(connection, shard.path, local, tolerant)
    reader.verify(shard.path, local)
    for column in extra:
        seen.new.setdefault(column, shard.path)
    seen.absent.update(
        name for name in plan.columns() if name not in types and name not in plan.optional_columns
    )
    try:
        shard_work.judge(connection, types, shard, tolerant)
    except ConfigError as error:
        seen.label_fault = str(error.faults[0])
        blind = plan.label.model_copy(update={"expression": "NULL"})
        tolerant = tolerant.model_copy(update={"label": blind, "rules": {}})
        shard_work.judge(connection, types, shard, tolerant)
    # Rows without a sound label are looked at all the same: their columns may be in order.
    kept = f"{REASON} = '' OR {REASON} IN ('label is missing', 'label is not 0 or 1')"
    columns = ", ".join(sql.quote(name) for name in plan.columns())
    try:
        counted = connection.execute(
            f"SELECT {REASON}, count(*), any_value({ROW}) FROM judged GROUP BY 1"
        ).fetchall()
        sound = sum(count for reason, count, _ in counted if not reason)
        share = min(100.0, 100 * limit / max(1, sound))
        sample = f" USING SAMPLE {share:.9f} PERCENT (bernoulli, 1)" if share < 100 else ""
        rows = connection.sql(
            f"SELECT {columns}, CASE WHEN {LABEL} IN (0, 1) THEN CAST({LABEL} AS BIGINT) END AS "
            f"{sql.quote(plan.label.name)} FROM (SELECT * FROM judged WHERE {kept}){sample}"
        ).to_arrow_table()
        _examples(connection, counted, plan, types, seen)
    except duckdb.Error as error:
        raise reader.read_error(shard.path, error) from error
    return rows


def _examples(
    connection: duckdb.DuckDBPyConnection,
    counted: Sequence[tuple[str, int, str]],
    plan: IngestPlan,
    types: dict[str, str],
    seen: Seen,
) -> None:
    """Counts reasons, and finds values that could not be converted."""
    for reason, count, row in counted:
        seen.total += count
        for part in filter(None, reason.split(";")):
            seen.refused[part] += count
            seen.bad.setdefault(part, shorten(row, 120))
    for name, kind in plan.columns().items():
        reason = f"type: {name} is not {kind}"
        if reason not in seen.refused or name not in types:
            continue
        column = sql.quote(name)
        values = connection.execute(
            f"SELECT CAST({column} AS VARCHAR), count(*) FROM source WHERE "
            f"{plan.present(name, kind, types[name])} "
            f"AND ({plan.typed(name, kind, types[name])}) IS NULL "
            "GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT 5"
        ).fetchall()
        if values:
            told = ", ".join(f"{shorten(value, 40)} ({count:,})" for value, count in values)
            seen.bad[reason] = told
