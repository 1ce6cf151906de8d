"""Samples of spans without a run: for calibration, and to look at any span."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pyarrow as pa

from pipeline import spans
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.ingest import sample
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard


def discovered(config: Config) -> list[spans.SpanFiles]:
    """All spans of the data, oldest first.

    Raises:
        DataError: there are none, or the data is one table.
    """
    found = spans.discover(config.data.path, spans.SpanPattern.parse(config.data.pattern))
    if len(found) == 1 and found[0].span.label == "all":
        raise DataError(
            "data.pattern names no {span}: one table has nothing before it to be compared with."
        )
    return found


def between(found: Sequence[spans.SpanFiles], text: str) -> list[spans.SpanFiles]:
    """The spans that `FIRST:LAST` names, both included; each end may be left out.

    Raises:
        DataError: an end is no span of the data.
    """
    labels = [item.span.label for item in found]
    first, _, last = text.partition(":")
    first, last = first or labels[0], (last if ":" in text else first) or labels[-1]
    for label in (first, last):
        if label not in labels:
            raise DataError(
                f"there is no span {label}. The data has {labels[0]} … {labels[-1]}; name two of "
                "them as FIRST:LAST."
            )
    return list(found[labels.index(first) : labels.index(last) + 1])


def samples(
    config: Config, items: Sequence[spans.SpanFiles], progress: Callable[[str], None]
) -> dict[str, pa.Table]:
    """Good rows of each span, sampled as a run would.

    Args:
        config: the configuration.
        items: spans.
        progress: is told of each span that is read.

    Raises:
        HeadraceError: a file cannot be read, or a span has no good row.
    """
    plan = IngestPlan.of(config)
    made = {}
    for item in items:
        progress(item.span.label)
        tables = []
        for index, path in enumerate(item.paths):
            span = item.span
            shard = Shard(index, len(item.paths), path, span.label, span.start, span.end, "train")
            table = shard_work.sampled(shard, plan)
            if table is not None and table.num_rows:
                tables.append(table)
        if not tables:
            raise DataError(f"span {item.span.label} holds no good row. Leave it out.")
        made[item.span.label] = sample.joined(tables, plan.sample_rows)
    return made
