"""One shard from file to splits: the whole of ingestion, for one file, in bounded memory."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import sql
from pipeline.errors import ConfigError, Fault, HeadraceError, shorten
from pipeline.ingest import deal, reader, repeats, sample, shift, typed_view
from pipeline.ingest.encode import ARROW_TYPES, ExampleWriter, to_lists
from pipeline.ingest.label_check import refuse_other_labels
from pipeline.ingest.plan import QUARANTINE_COLUMNS, Dealing, IngestPlan, Shard, ShardReport
from pipeline.ingest.unit_check import refuse_other_units
from pipeline.spans import Window
from pipeline.sql import COMPUTED

#: Rows held at once. Large enough that per-batch work vanishes, small enough (some tens of
#: megabytes at a hundred columns) that memory does not depend on the file.
BATCH_ROWS = 50_000

#: What is computed of a row, as SQL names it.
LABEL, SAID, REASON, ROW, HASH, EVAL = map(
    sql.computed, ("label", "said", "reason", "row", "hash", "eval")
)
_TYPE, _RAW, NUMBER = typed_view.TYPE, typed_view.RAW, typed_view.NUMBER

#: Of the 32 bits that examples hold.
LARGEST_FLOAT = float(np.finfo(np.float32).max)


def ingest(shard: Shard, plan: IngestPlan, output: str) -> ShardReport:
    """Reads a shard and writes its rows into the splits below `output`.

    Never raises for bad data: the report carries the error, so that it crosses machines whole
    and all shards' errors can be shown at once.
    """
    report = ShardReport(path=shard.path, span=shard.span)
    writers: dict[str, ExampleWriter] = {}
    samplers: dict[str, sample.Sampler] = {}
    counter = repeats.Counter()
    moments = 0
    try:
        with sql.connect() as connection, reader.localized(shard.path) as local:
            types, report.new_columns = reader.open_source(connection, shard.path, local, plan)
            reader.verify(shard.path, local)
            judge(connection, types, shard, plan)
            refuse_other_units(connection, shard.path, types, plan)
            refuse_other_labels(connection, shard.path, plan.label.expression)
            for batch in _batches(connection, shard, plan):
                _write(batch, shard, plan, output, writers, samplers, report)
                counter.add(_hashes(batch))
                moments += _moments_in(batch, plan)
            report.moments = _moments(connection, shard, plan, report.reasons, moments)
        for writer in writers.values():
            writer.close()
        for split, sampler in samplers.items():
            if (rows := sampler.table(shard.span)) is not None:
                sample.write(output, split, shard.index, rows)
        report.repeats = counter.counted().to_text()
    except HeadraceError as error:
        for writer in writers.values():
            writer.discard()
        report = ShardReport(shard.path, shard.span, error=str(error), exit_code=error.exit_code)
    return report


def _moments_in(batch: pa.RecordBatch, plan: IngestPlan) -> int:
    """Rows of a batch that have a moment."""
    if plan.time_column is None:
        return 0
    return int(batch.num_rows - batch.column(plan.time_column).null_count)


def _moments(
    connection: duckdb.DuckDBPyConnection,
    shard: Shard,
    plan: IngestPlan,
    reasons: dict[str, int],
    rows: int,
) -> str:
    """Where moments lie, if many of the rows with one are outside their span; else nothing."""
    if plan.time_column is None or shard.start is None or shard.end is None:
        return ""
    outside = reasons.get(shift.REASON, 0)
    if shift.are_few(outside, rows):
        return ""  # without reading the file once more
    found = shift.measure(connection, plan.time_column, shard.start, shard.end, outside)
    return found.model_dump_json() if found else ""


def split_file(output: str, split: str, shard: Shard) -> str:
    """Path of a shard's file in a split, named as TFX's own writers name them."""
    name = f"data_tfrecord-{shard.index:05d}-of-{shard.total:05d}.gz"
    return os.path.join(output, f"Split-{split}", name)


def judge(
    connection: duckdb.DuckDBPyConnection, types: dict[str, str], shard: Shard, plan: IngestPlan
) -> None:
    """Creates the view `judged`: typed columns, and beside them what is computed of a row.

    Computed are `label`, `said`, `reason`, `eval`, `row`, `hash` and `number`; `sql.computed` gives
    the names, which no column can have. The hash is of all that the file says of a row. In between
    stands `typed`, which the label expression and the rules see.

    Args:
        connection: has the file's rows as `source`.
        types: of the columns of `source`, as DuckDB calls them.
        shard: the file and its span.
        plan: what columns mean and which rows are refused.

    Raises:
        ConfigError: an expression does not fit the columns.
    """
    sql.ease(connection, len(types))
    sql.confine(connection)  # at the latest here: what follows is the configuration's SQL
    columns = plan.columns()
    broken = typed_view.create(connection, plan, types)
    for key, expression in plan.expressions().items():
        sql.check_expression(connection, key, expression, typed_view.SHAPE, shard.path)

    said = f"SELECT *, ({plan.label.expression}\n) AS {SAID} FROM typed"
    labelled = f"SELECT *, TRY_CAST({SAID} AS DOUBLE) AS {LABEL} FROM ({said})"
    rules = {"type": f"{_TYPE} <> ''"} if broken else {}
    rules["label is missing"] = f"{SAID} IS NULL"
    rules["label is not 0 or 1"] = f"{SAID} IS NOT NULL AND coalesce({LABEL} NOT IN (0, 1), true)"
    rules |= {
        # Examples hold 32 bits, in which a larger number would be infinite.
        f"not finite: {name}": f"abs({sql.quote(name)}) > {LARGEST_FLOAT}"
        for name, kind in columns.items()
        if kind == "float"
    }
    if plan.time_column and shard.start is not None and shard.end is not None:
        moment = sql.quote(plan.time_column)
        rules[shift.REASON] = f"{moment} < {shard.start} OR {moment} >= {shard.end}"
    rules |= plan.rules
    evaluated = "false"
    if shard.split is None:
        deal.require_key(plan, shard.path, types)
        evaluated = deal.evaluated(
            plan, _dealing(connection, shard, plan, types), shard.path, types
        )
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW judged AS
        SELECT *,
          CASE WHEN {REASON} <> '' THEN CAST(to_json({_RAW}) AS VARCHAR) END AS {ROW},
          hash({_RAW}) AS {HASH},
          coalesce({evaluated}, false) AS {EVAL}
        FROM (SELECT *, {_joined(rules)} AS {REASON} FROM ({labelled}))
        """
    )


def _dealing(
    connection: duckdb.DuckDBPyConnection, shard: Shard, plan: IngestPlan, types: dict[str, str]
) -> Dealing:
    """How rows are parted, by this file alone where nobody has looked at all of them."""
    if shard.dealing is not None:
        return shard.dealing
    own = deal.of_file(connection, plan, types)
    if shard.cutoff is None:
        return dataclasses.replace(own, cutoff=None)
    return dataclasses.replace(own, cutoff=shard.cutoff, first=-(2**62), last=2**62)


def _joined(rules: dict[str, str]) -> str:
    """The reasons of a row; type faults speak for themselves."""
    own = {name: rule for name, rule in rules.items() if name != "type"}
    named = sql.reasons(own)
    if "type" not in rules:
        return named
    # A value that could not be converted makes the label missing too; say the cause alone.
    return f"CASE WHEN {_TYPE} <> '' THEN {_TYPE} ELSE {named} END"


def _batches(
    connection: duckdb.DuckDBPyConnection, shard: Shard, plan: IngestPlan
) -> Iterator[pa.RecordBatch]:
    wanted = (*map(sql.quote, plan.columns()), LABEL, REASON, ROW, HASH, EVAL, NUMBER)
    relation = connection.sql(f"SELECT {', '.join(wanted)} FROM judged")
    try:
        yield from relation.to_arrow_reader(BATCH_ROWS)
    except (duckdb.Error, pa.ArrowException, OSError) as error:  # pyarrow wraps DuckDB's in these
        raise _blame(connection, shard, plan, error) from error


def _blame(
    connection: duckdb.DuckDBPyConnection, shard: Shard, plan: IngestPlan, error: Exception
) -> HeadraceError:
    """What an error while rows are read is due to: the file, or an expression."""
    try:
        connection.execute("SELECT bit_xor(hash(COLUMNS(*))) FROM source").fetchall()
    except duckdb.Error as of_file:
        return reader.read_error(shard.path, of_file)
    for key, expression in plan.expressions().items():
        problem = sql.run_time_problem(connection, expression, "typed")
        if problem:
            rule = f"cannot be computed for a row: {problem}"
            hint = "Give the column its type in [features] or [label.leaks], or use TRY_CAST."
            return ConfigError(shard.path, [Fault(key, shorten(expression), rule, hint)])
    return reader.read_error(shard.path, error)


def _write(
    batch: pa.RecordBatch,
    shard: Shard,
    plan: IngestPlan,
    output: str,
    writers: dict[str, ExampleWriter],
    samplers: dict[str, sample.Sampler],
    report: ShardReport,
) -> None:
    """Sends the rows of a batch to their splits and counts them."""
    refused = pc.not_equal(batch.column(COMPUTED + "reason"), "")
    held_out = batch.column(COMPUTED + "eval")
    kept = pc.invert(refused)
    masks = {
        "quarantine": refused,
        "train": pc.and_(kept, pc.invert(held_out)) if shard.split is None else kept,
        "eval": pc.and_(kept, held_out) if shard.split is None else kept,
    }
    if shard.split is not None:
        del masks["eval" if shard.split == "train" else "train"]
    for split, mask in masks.items():
        rows = batch.filter(mask)
        if not rows.num_rows:
            continue
        if split not in writers:
            writers[split] = ExampleWriter(split_file(output, split, shard))
        columns = {
            name: to_lists(rows.column(name), ARROW_TYPES[kind])
            for name, kind in plan.columns().items()
        }
        label = rows.column(COMPUTED + "label")
        if split == "quarantine":
            columns |= _refusal(rows, shard, report)
            label = pc.if_else(pc.is_in(label, pa.array([0.0, 1.0])), label, None)
        else:
            if split not in samplers:
                samplers[split] = sample.Sampler(plan.sample_rows, shard.index)
            samplers[split].add(_plain(rows, plan))
        columns[plan.label.name] = to_lists(label, ARROW_TYPES["int"])
        writers[split].write(columns)
        report.rows[split] += rows.num_rows
        report.positives[split] += int(pc.sum(label).as_py() or 0)


def _hashes(batch: pa.RecordBatch) -> np.ndarray[Any, Any]:
    """Of the good rows."""
    good = pc.equal(batch.column(COMPUTED + "reason"), "")
    return np.asarray(batch.column(COMPUTED + "hash").filter(good), dtype=np.uint64)


def _plain(rows: pa.RecordBatch, plan: IngestPlan) -> pa.Table:
    """Rows as they go into examples, one value a cell."""
    kinds = {name: ARROW_TYPES[kind] for name, kind in plan.columns().items()}
    columns = {
        name: rows.column(name).cast(pa.string() if pa.types.is_large_binary(kind) else kind)
        for name, kind in kinds.items()
    }
    return pa.table(columns | {plan.label.name: rows.column(COMPUTED + "label").cast(pa.int64())})


def _refusal(rows: pa.RecordBatch, shard: Shard, report: ShardReport) -> dict[str, pa.Array]:
    """Columns that say why rows were refused, and counts of the reasons."""
    reasons: list[str] = rows.column(COMPUTED + "reason").to_pylist()
    numbers = np.asarray(rows.column(COMPUTED + "number"))
    texts = rows.column(COMPUTED + "row")
    counts = Counter(report.reasons)
    for position, text in enumerate(reasons):
        for reason in text.split(";"):
            counts[reason] += 1
            if reason not in report.samples:
                sample = texts[position].as_py()
                report.samples[reason] = f"row {numbers[position]}: {sample}"
    report.reasons = dict(counts)
    sources = pa.array([f"{shard.path}, row {number}" for number in numbers])
    values = zip(
        QUARANTINE_COLUMNS, (rows.column(COMPUTED + "reason"), texts, sources), strict=True
    )
    return {name: to_lists(column, ARROW_TYPES["string"]) for name, column in values}


def sampled(shard: Shard, plan: IngestPlan) -> pa.Table | None:
    """A sample of a shard's good rows, as `ingest` leaves it, without writing anything.

    Raises:
        HeadraceError: the shard cannot be read.
    """
    sampler = sample.Sampler(plan.sample_rows, shard.index)
    with sql.connect() as connection, reader.localized(shard.path) as local:
        types, _ = reader.open_source(connection, shard.path, local, plan)
        reader.verify(shard.path, local)
        judge(connection, types, shard, plan)
        for batch in _batches(connection, shard, plan):
            sampler.add(_plain(batch.filter(pc.equal(batch.column(COMPUTED + "reason"), "")), plan))
    return sampler.table(shard.span)


def check(shard: Shard, plan: IngestPlan) -> None:
    """Opens a shard and binds every expression to its columns; reads a few rows' labels.

    Raises:
        DataError: the file is unreadable, of another dialect, lacks a column, or its label is no
            yes-or-no question.
        ConfigError: the label expression or a rule does not fit the columns.
    """
    with sql.connect() as connection, reader.localized(shard.path) as local:
        types, _ = reader.open_source(connection, shard.path, local, plan, beginning=True)
        judge(connection, types, shard, plan)
        refuse_other_units(connection, shard.path, types, plan)
        refuse_other_labels(connection, shard.path, plan.label.expression)


def time_cutoff(window: Window, plan: IngestPlan) -> int | None:
    """The second from which rows are evaluated on, for data without spans.

    Returns:
        The moment of `time_column` from which on most nearly the share `holdout` of the rows lies;
        None without such a column, or where too many rows share a moment.
    """
    return deal.look(window, plan).cutoff if plan.time_column else None
