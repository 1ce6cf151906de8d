"""What came in, as the page shows it."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from pipeline.report.evidence import Evidence

#: Spans shown before the older ones are folded.
SPANS_SHOWN = 14
#: Sample rows of one rule, and columns of one row.
_SAMPLES, _COLUMNS = 3, 60


@dataclass(frozen=True)
class SpanRow:
    """One span; `split` is "" where rows of one span are in both."""

    span: str
    split: str
    kept: int
    quarantined: int
    label_rate: float | None

    @property
    def share(self) -> float | None:
        """Share of its rows in quarantine."""
        total = self.kept + self.quarantined
        return self.quarantined / total if total else None


@dataclass(frozen=True)
class Sample:
    """A quarantined row: where it stands, and its columns, those the rule looks at first."""

    where: str
    columns: list[tuple[str, str, bool]]
    left_out: int = 0


@dataclass(frozen=True)
class Rule:
    """A reason for quarantine."""

    name: str
    expression: str
    rows: int
    share: float
    spans: list[tuple[str, int]]
    samples: list[Sample]


@dataclass
class DataIn:
    """The section."""

    splits: list[tuple[str, int, int | None]] = field(default_factory=list)
    spans: list[SpanRow] = field(default_factory=list)
    rules: list[Rule] = field(default_factory=list)
    total: int = 0
    quarantined: int = 0
    max_share: float | None = None


def data_in(evidence: Evidence) -> DataIn | None:
    """What came in; None where ingestion left nothing."""
    ingested = evidence.ingested
    if ingested is None:
        return None
    rates = (
        {past.span: past.label_rate for past in evidence.drift.history} if evidence.drift else {}
    )
    split_of = {span: split for split, spans in evidence.result.window.items() for span in spans}
    counts = Counter(span for spans in evidence.result.window.values() for span in spans)
    view = DataIn(
        splits=[
            (split, rows, ingested.positives.get(split)) for split, rows in ingested.rows.items()
        ],
        spans=[
            SpanRow(
                span,
                split_of.get(span, "") if counts[span] < 2 else "",
                rows.kept,
                rows.quarantined,
                rates.get(span),
            )
            for span, rows in ingested.spans.items()
        ],
        total=sum(ingested.rows.values()),
        quarantined=ingested.rows.get("quarantine", 0),
        max_share=evidence.config.quarantine.max_share if evidence.config else None,
    )
    rules = evidence.config.quarantine.rules if evidence.config else {}
    reasons: Counter[str] = Counter()
    for rows in ingested.spans.values():
        reasons.update(rows.reasons)
    for reason, count in reasons.most_common():
        expression = rules.get(reason, "")
        samples = [
            _sample(rows.samples[reason], expression)
            for rows in reversed(ingested.spans.values())
            if reason in rows.samples
        ]
        view.rules.append(
            Rule(
                reason,
                expression,
                count,
                count / view.total if view.total else 0.0,
                [
                    (span, rows.reasons[reason])
                    for span, rows in ingested.spans.items()
                    if rows.reasons.get(reason)
                ],
                samples[:_SAMPLES],
            )
        )
    return view


def _sample(text: str, expression: str) -> Sample:
    """A sample as ingestion writes it: path, row number, and the row as JSON."""
    where, brace, rest = text.partition(": {")
    try:
        row = json.loads(f"{{{rest}") if brace else None
    except ValueError:
        row = None
    if not isinstance(row, dict):
        return Sample(text, [])
    used = set(re.findall(r"\w+", expression))
    columns = [
        (name, "missing" if value is None else str(value), name in used)
        for name, value in row.items()
    ]
    columns.sort(key=lambda column: not column[2])
    return Sample(where, columns[:_COLUMNS], max(0, len(columns) - _COLUMNS))
