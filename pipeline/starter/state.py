"""What is known of the data while the configuration is being made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.ingest.plan import IngestPlan
from pipeline.spans import Window
from pipeline.starter.decide import Decision
from pipeline.starter.judged import Judged
from pipeline.starter.labels import Label
from pipeline.starter.profile import Profile
from pipeline.starter.sample import Sample, nested
from pipeline.starter.sources import Source


@dataclass
class Leak:
    """A column that gives the label away.

    Attributes:
        name: in the configuration.
        type: `float`, `int` or `string`.
        why: how it was found.
        suspected: found by its figures, not by the label's own expression.
    """

    name: str
    type: str
    why: str
    suspected: bool


@dataclass
class State:
    """Gathered step by step; the configuration is written from it.

    Attributes:
        connection: has the table `sample`.
        source: the files.
        target: the configuration file to be.
        sample: what the table holds.
        profiles: of all columns.
        names: column in the files → name in the configuration.
        window: the spans that a run would see.
        label: what is predicted.
        label_name: its name.
        decisions: features by name, in order.
        leaks: columns that give the label away.
        time_column: `data.time_column`, or `""`.
        time_why: why that one.
        eval_spans: `window.eval_spans`; 0: as many as hold rows enough.
        holdout: `window.holdout`; 0: the default.
        holdout_why: why so many spans, or such a share.
        questions: columns that may be known only afterwards, the most suspicious first.
        row_key: `data.row_key`; none where spans or times part the rows.
        row_key_why: why those.
        scores: AUC of each column alone.
        remarks: what a person should know.
        judged: the last plan, and what ingestion says of the sample by it.
    """

    connection: duckdb.DuckDBPyConnection
    source: Source
    target: str
    sample: Sample
    profiles: list[Profile]
    names: Mapping[str, str]
    window: Window
    label: Label
    label_name: str
    decisions: dict[str, Decision]
    leaks: list[Leak] = field(default_factory=list)
    time_column: str = ""
    time_why: str = ""
    eval_spans: int = 0
    holdout: float = 0.0
    holdout_why: str = ""
    questions: list[str] = field(default_factory=list)
    row_key: list[str] = field(default_factory=list)
    row_key_why: str = ""
    scores: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    judged: tuple[IngestPlan, Judged] | None = None


def numbers(column: pa.ChunkedArray) -> np.ndarray:
    """A column as float64, NaN where missing."""
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")))


def leak_type(p: Profile | None) -> str | None:
    """The type in `[label.leaks]`; None for a column that cannot stand there."""
    if p is None or nested(p.type) or p.type.startswith(("TIME", "DATE")):
        return None
    if p.is_number:
        return "int" if p.is_whole and p.distinct <= 2 else "float"
    return "string"
