"""What became of all rows of a window: `ingest.json` in the Examples artifact."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import DataError
from pipeline.ingest import evidence, shift
from pipeline.ingest.plan import SPLITS, ShardReport
from pipeline.ingest.repeats import Repeats, joined
from pipeline.spans import Span, Window

FILE = "ingest.json"


@dataclass(frozen=True)
class SpanRows:
    """Rows of one span: kept, refused, and why.

    Attributes:
        repeated: share of the kept rows that are there more than once, to the last byte.
        hints: reason → what all its rows together point to.
    """

    kept: int
    quarantined: int
    reasons: dict[str, int]
    samples: dict[str, str]
    repeated: float = 0.0
    hints: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ingested:
    """The whole window.

    Attributes:
        fingerprint: SHA-256 of the files' names and contents.
        rows: rows by split.
        positives: rows with label 1, by split.
        spans: by span label, oldest first.
        new_columns: columns the configuration does not name → files that have them.
        dealt: how rows were parted, as `pipeline.ingest.deal.record` says it.
    """

    fingerprint: str
    rows: dict[str, int]
    positives: dict[str, int]
    spans: dict[str, SpanRows]
    new_columns: dict[str, list[str]]
    dealt: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """JSON, indented for a person to read."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Ingested:
        """The inverse of `to_json`."""
        values = json.loads(text)
        values["spans"] = {key: SpanRows(**value) for key, value in values["spans"].items()}
        return cls(**values)

    def check(self) -> None:
        """Refuses a window that nothing can be learnt from.

        Rows that were quarantined wholesale are the data gate's to judge, not an error here.

        Raises:
            DataError: a span without a row, data without spans too small to be split, or a split
                whose label has one class only.
        """
        for label, span in self.spans.items():
            if span.kept + span.quarantined == 0:
                raise DataError(
                    f"span {label} holds no rows. Copy it again, or remove it and set "
                    'window.gap = "skip".'
                )
        kept = sum(span.kept for span in self.spans.values())
        for split in ("train", "eval"):
            rows, positives = self.rows[split], self.positives[split]
            if len(self.spans) == 1 and kept and not rows:
                raise DataError(
                    f"window.holdout: none of the {kept:,} good row(s) is left for the {split} "
                    "split. Give it more data, or change the share."
                )
            if rows and positives in (0, rows):
                if refused := self._refused():
                    raise DataError(refused)
                only = 1 if positives else 0
                what = "row has" if rows == 1 else "rows have"
                raise DataError(
                    f"label.expression: all {rows:,} {what} label {only} in the {split} split "
                    f"({', '.join(self.spans)}); a model needs both classes. Mend the expression, "
                    f"or give it more data.{self._advice(split)}"
                )

    def _advice(self, split: str) -> str:
        """How much to evaluate on, where that split alone lacks an answer that is there."""
        rows, positives = self.rows["train"], self.positives["train"]
        rarer = min(positives, rows - positives)
        trained = len(self.dealt.get("train", ()))
        if split == "train" or not rarer or not trained:
            return ""
        spans = len(self.dealt["eval"])
        return f" {evidence.spans_advice(rarer / trained, spans, len(self.spans))}."

    def _refused(self) -> str | None:
        """The span most of whose rows were refused, and why: a label of the rest tells nothing."""
        for label, span in self.spans.items():
            if span.quarantined > span.kept:
                reason, count = next(iter(span.reasons.items()))
                total = span.kept + span.quarantined
                why = span.hints.get(reason) or f"for example {span.samples[reason]}"
                return (
                    f"span {label}: {span.quarantined:,} of {total:,} rows are quarantined, most "
                    f"often for {reason!r} ({count:,}), and too few are left to learn from: {why}"
                )
        return None


def summarize(
    reports: Sequence[ShardReport],
    window: Window,
    fingerprint: str,
    dealt: dict[str, Any] | None = None,
) -> Ingested:
    """Adds up the shards' reports, span by span."""
    rows: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    positives: Counter[str] = Counter(dict.fromkeys(SPLITS, 0))
    new_columns: dict[str, list[str]] = defaultdict(list)
    by_span: dict[str, list[ShardReport]] = {item.span.label: [] for item in window.spans}
    for report in reports:
        rows.update(report.rows)
        positives.update(report.positives)
        by_span[report.span].append(report)
        for column in report.new_columns:
            new_columns[column].append(report.path)
    return Ingested(
        fingerprint=fingerprint,
        rows=dict(rows),
        positives=dict(positives),
        spans={
            item.span.label: _span_rows(by_span[item.span.label], item.span)
            for item in window.spans
        },
        new_columns=dict(new_columns),
        dealt=dealt or {},
    )


def _span_rows(reports: Sequence[ShardReport], span: Span) -> SpanRows:
    reasons: Counter[str] = Counter()
    samples: dict[str, str] = {}
    for report in reports:
        reasons.update(report.reasons)
        for reason, sample in report.samples.items():
            samples.setdefault(reason, f"{report.path}, {sample}")
    return SpanRows(
        kept=sum(report.rows["train"] + report.rows["eval"] for report in reports),
        quarantined=sum(report.rows["quarantine"] for report in reports),
        reasons=dict(reasons.most_common()),
        samples=samples,
        repeated=round(joined(Repeats.from_text(report.repeats) for report in reports).share, 6),
        hints=_hints(reports, span),
    )


def _hints(reports: Sequence[ShardReport], span: Span) -> dict[str, str]:
    found = [shift.Moments.model_validate_json(one.moments) for one in reports if one.moments]
    if not found or span.start is None or span.end is None:
        return {}
    return {shift.REASON: shift.told(shift.joined(found), span.start, span.end)}
