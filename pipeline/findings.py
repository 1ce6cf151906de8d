"""Findings about data and what they do to a run. Pure: no TFX, no TensorFlow."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from models.config import Section
from pipeline.config import Config, GatesConfig
from pipeline.ingest.summary import Ingested

FILE = "verdict.json"

Kind = Literal["anomaly", "drift", "new_column", "quarantine", "rows"]


class Finding(Section):
    """One thing that is not as it should be.

    Attributes:
        kind: decides the policy.
        feature: column or label it is about, `""` for the data as a whole.
        split: split or span it was seen in.
        message: what was found, in words, with counts.
        value: what was measured, if one number says it.
        threshold: what it was measured against.
    """

    kind: Kind
    feature: str
    split: str
    message: str
    value: float | None = None
    threshold: float | None = None


class Policies(Section):
    """What the gate needs of the configuration.

    Attributes:
        gates: policy by kind of finding.
        max_share: share of a span's rows that may be quarantined.
        min_rows_share: a span with fewer rows than this share of the window's median counts as
            half a span.
    """

    gates: GatesConfig
    max_share: float
    min_rows_share: float

    @classmethod
    def of(cls, config: Config) -> Policies:
        """The policies that a configuration implies."""
        return cls(
            gates=config.gates,
            max_share=config.quarantine.max_share,
            min_rows_share=config.window.min_rows_share,
        )


def of_ingestion(ingested: Ingested, policies: Policies) -> Iterator[Finding]:
    """Findings about rows and columns that ingestion counted."""
    for column, paths in ingested.new_columns.items():
        yield Finding(
            kind="new_column",
            feature=column,
            split="",
            message=f"{paths[0]} has column {column!r}, which the configuration does not name "
            f'({len(paths)} file(s)). Add it to [features], with kind = "ignore" if it is not '
            "wanted.",
        )
    for label, span in ingested.spans.items():
        total = span.kept + span.quarantined
        share = span.quarantined / total
        if share > policies.max_share:
            reason, count = next(iter(span.reasons.items()))
            yield Finding(
                kind="quarantine",
                feature="",
                split=label,
                message=f"{span.quarantined:,} of {total:,} rows ({share:.1%}) are quarantined, "
                f"most often for {reason!r} ({count:,}), for example {span.samples[reason]}",
                value=share,
                threshold=policies.max_share,
            )
    sizes = {label: span.kept + span.quarantined for label, span in ingested.spans.items()}
    median = statistics.median(sizes.values())
    for label, size in sizes.items():
        if size < policies.min_rows_share * median:
            yield Finding(
                kind="rows",
                feature="",
                split=label,
                message=f"{size:,} rows; the window's spans have {median:,.0f} in the median. "
                "Half a span? Copy it again, or lower window.min_rows_share.",
                value=size / median,
                threshold=policies.min_rows_share,
            )


def judge(found: Sequence[Finding], policies: Policies) -> dict[str, Any]:
    """The verdict: `passed`, and every finding with its policy, the blocking ones first."""
    policy = policies.gates.model_dump()
    judged = [finding.model_dump() | {"policy": policy[finding.kind]} for finding in found]
    judged.sort(key=lambda finding: finding["policy"] != "block")
    return {"passed": all(f["policy"] != "block" for f in judged), "findings": judged}
