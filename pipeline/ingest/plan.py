"""What ingestion needs to know, and what it reports; both travel between machines as JSON."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from models.config import Features, Section, Timestamp, raw_columns
from pipeline import number_text, sql
from pipeline.config import Config, CsvOptions, LabelConfig
from pipeline.number_text import Format
from pipeline.spans import Window
from pipeline.sql import ColumnType
from pipeline.typed_columns import Column

SPLITS = ("train", "eval", "quarantine")
#: Columns of refused rows beside their own.
QUARANTINE_COLUMNS = ("quarantine_reason", "quarantine_row", "quarantine_source")


class IngestPlan(Section):
    """The parts of the configuration that decide how a row is read and judged."""

    features: Features
    label: LabelConfig
    rules: dict[str, str]
    rename: dict[str, str]
    optional_columns: tuple[str, ...]
    path_columns: tuple[str, ...] = ()
    time_column: str | None
    time_formats: dict[str, str]
    null_values: dict[str, tuple[str, ...]]
    number_formats: dict[str, str]
    csv: CsvOptions
    holdout: float
    row_key: tuple[str, ...] = ()
    sample_rows: int

    @classmethod
    def of(cls, config: Config) -> IngestPlan:
        """The plan that a configuration implies."""
        return cls(
            features=config.features,
            label=config.label,
            rules=config.quarantine.rules,
            rename=config.data.rename,
            optional_columns=config.data.optional_columns,
            path_columns=config.data.path_columns,
            time_column=config.data.time_column,
            time_formats=config.data.time_formats,
            null_values=config.data.null_values,
            number_formats=config.data.number_formats,
            csv=config.data.csv,
            holdout=config.window.holdout,
            row_key=config.data.row_key,
            sample_rows=config.drift.sample_rows,
        )

    def columns(self) -> dict[str, ColumnType]:
        """Every column that ends up in an example, the label apart."""
        columns: dict[str, ColumnType] = dict(raw_columns(self.features))
        for name, feature in self.features.items():
            if isinstance(feature, Timestamp):
                columns[name] = "timestamp"
        return columns | dict(self.label.leaks)

    def typed(self, column: str, kind: ColumnType, source: str) -> str:
        """SQL of a column in its canonical type; `source` is its type in the file."""
        return self.column(column, kind, source).typed

    def column(self, name: str, kind: ColumnType, source: str) -> Column:
        """A column and how it is read; `source` is its type in the file."""
        return Column(name, kind, source, self.time_formats.get(name), self.numbers(name))

    def present(self, column: str, kind: ColumnType, source: str) -> str:
        """SQL, true where the file has a value in a column."""
        return sql.present(column, source, kind, self.time_formats.get(column))

    def numbers(self, column: str) -> Format:
        """How numbers that are text are written in a column."""
        if column in self.number_formats:
            return number_text.of_example(self.number_formats[column])
        return Format(self.csv.decimal, self.csv.thousands)

    def nulls(self, column: str, *, csv: bool = True) -> tuple[str, ...]:
        """Texts that mean missing in a column of a CSV or another file."""
        return (*(self.csv.null_values if csv else ()), *self.null_values.get(column, ()))

    def expressions(self) -> dict[str, str]:
        """Every SQL expression of the configuration by its key."""
        rules = {f"quarantine.rules.{name}": rule for name, rule in self.rules.items()}
        return {"label.expression": self.label.expression} | rules

    def known(self) -> set[str]:
        """Names that may stand in a file without being new."""
        ignored = {name for name, feature in self.features.items() if feature.kind == "ignore"}
        return ignored | set(self.columns()) | set(self.rename) | set(self.row_key)


@dataclass(frozen=True)
class Dealing:
    """How the rows of a table without spans are parted; found out of all files.

    Attributes:
        cutoff: rows whose time is at or after this second are evaluated on; None: time decides
            nothing.
        first, last: times outside of these stand for "never" or "still"; such rows, and those
            without a time, are dealt by their key.
        common: keys of rows that are there so often that each is dealt by its place in the file.
        sentinels: times that stand for "never" or "still", with the share of rows that has each.
        why: what keeps `data.time_column` from parting the rows; `""` if nothing does.
    """

    cutoff: int | None = None
    first: int = 0
    last: int = 0
    common: tuple[int, ...] = ()
    sentinels: tuple[tuple[int, float], ...] = ()
    why: str = ""


@dataclass(frozen=True)
class Shard:
    """One file of one span: the unit of parallel work.

    Attributes:
        split: where good rows go; None when each row decides (data without spans).
        cutoff: without spans, rows whose time is at or after this second are evaluated on.
        dealing: without spans, how rows are parted; None: as `cutoff` says, and this file alone.
    """

    index: int
    total: int
    path: str
    span: str
    start: int | None
    end: int | None
    split: str | None
    cutoff: int | None = None
    dealing: Dealing | None = None

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Shard:
        """The inverse of `dataclasses.asdict`."""
        dealing = values.get("dealing")
        return cls(**{**values, "dealing": Dealing(**dealing) if dealing else None})


@dataclass
class ShardReport:
    """What became of a shard's rows. All figures count rows.

    Attributes:
        rows: rows by split.
        positives: rows with label 1, by split.
        reasons: quarantined rows by reason (a row may have several).
        samples: first quarantined row of each reason: row number and the row as JSON.
        new_columns: columns that the configuration does not name.
        repeats: how often good rows are there, as `Repeats.to_text` writes it.
        moments: where moments lie, as JSON of `shift.Moments`; set if some are outside the span.
        error: set when the shard cannot be read; then nothing else counts.
    """

    path: str
    span: str
    rows: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    positives: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    reasons: dict[str, int] = field(default_factory=dict)
    samples: dict[str, str] = field(default_factory=dict)
    new_columns: list[str] = field(default_factory=list)
    repeats: str = ""
    moments: str = ""
    error: str | None = None
    exit_code: int = 1

    def to_json(self) -> str:
        """JSON of the report."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ShardReport:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


def shards(
    window: Window, cutoff: int | None = None, dealing: Dealing | None = None
) -> list[Shard]:
    """The window's files, each with the split its span belongs to."""
    held_out = {item.span.ordinal for item in window.evaluate}
    pairs = [(item, path) for item in window.spans for path in item.paths]
    return [
        Shard(
            index=index,
            total=len(pairs),
            path=path,
            span=item.span.label,
            start=item.span.start,
            end=item.span.end,
            split=None
            if window.split_by_row
            else ("eval" if item.span.ordinal in held_out else "train"),
            cutoff=cutoff,
            dealing=dealing,
        )
        for index, (item, path) in enumerate(pairs)
    ]
