"""Findings about data and what they do to a run. Pure: no TFX, no TensorFlow."""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from models.config import Section
from pipeline import schema_fit
from pipeline.config import Allowed, Config, GatesConfig, Kind
from pipeline.drift.report import WorstBin
from pipeline.ingest import evidence
from pipeline.ingest.summary import Ingested, SpanRows

FILE = "verdict.json"
#: Where rows repeat by nature, a span may do so half as often again as the others do.
_REPEATS_VARY = 1.5
#: In fewer rows of a table a share may be off by chance.
_FEWEST_DEALT = 200


class Finding(Section):
    """One thing that is not as it should be.

    Attributes:
        kind: decides the policy.
        feature: column or label it is about, `""` for the data as a whole.
        split: split or span it was seen in.
        message: what was found, in words, with counts.
        value: what was measured, if one number says it.
        threshold: what it was measured against.
        measure: what was measured, of a distribution.
        worst_bin: where a distribution has changed most, with the counts of both sides.
    """

    kind: Kind
    feature: str
    split: str
    message: str
    value: float | None = None
    threshold: float | None = None
    measure: str | None = None
    worst_bin: WorstBin | None = None


class Policies(Section):
    """What the gate needs of the configuration.

    Attributes:
        gates: policy by kind of finding.
        max_share: share of a span's rows that may be quarantined.
        rule_shares: the same for one rule.
        min_rows_share: a span with fewer rows than this share of the window's median counts as
            half a span.
        max_repeated_share: share of a span's rows that may be there more than once, beyond what
            the other spans lead one to expect.
    """

    gates: GatesConfig
    max_share: float
    rule_shares: dict[str, float] = {}
    min_rows_share: float
    max_repeated_share: float

    @classmethod
    def of(cls, config: Config) -> Policies:
        """The policies that a configuration implies."""
        return cls(
            gates=config.gates,
            max_share=config.quarantine.max_share,
            rule_shares=config.quarantine.rule_shares,
            min_rows_share=config.window.min_rows_share,
            max_repeated_share=config.window.max_repeated_share,
        )


def of_schema(unreviewed: Mapping[str, str]) -> Iterator[Finding]:
    """Findings about columns that the schema says nothing of, by why it does not."""
    for name, message in schema_fit.told(unreviewed).items():
        yield Finding(kind="unreviewed", feature=name, split="", message=message)


def of_ingestion(
    ingested: Ingested, policies: Policies, left_out: Collection[str] = ()
) -> Iterator[Finding]:
    """Findings about rows and columns that ingestion counted.

    Args:
        ingested: what it counted.
        policies: what it is measured against.
        left_out: columns that the schema knows; one of them is not new.
    """
    for column, paths in ingested.new_columns.items():
        if column in left_out:
            yield Finding(
                kind="unreviewed",
                feature=column,
                split="",
                message="is not looked at: the schema knows it, the configuration does not name "
                f'it. If it is to stay out, say so in [features]: {column} = {{ kind = "ignore" }}',
            )
            continue
        yield Finding(
            kind="new_column",
            feature=column,
            split="",
            message=f"{paths[0]} has column {column!r}, which the configuration does not name "
            f'({len(paths)} file(s)). Add it to [features], with kind = "ignore" if it is not '
            "wanted.",
        )
    for label, span in ingested.spans.items():
        yield from _quarantined(label, span, policies)
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
    yield from _repeated(ingested, policies)
    yield from of_table(ingested)
    yield from _too_few(ingested)


def _too_few(ingested: Ingested) -> Iterator[Finding]:
    """An answer so rare among the rows evaluated on that bars judge luck."""
    rows, positives = ingested.rows.get("eval", 0), ingested.positives.get("eval", 0)
    said = evidence.too_few(rows, positives) if rows else ""
    if not said:
        return
    rarer = min(positives, rows - positives)
    dealt = ingested.dealt
    if dealt.get("by") == "spans":
        spans = len(dealt["eval"])
        advice = evidence.spans_advice(rarer / spans, spans, len(ingested.spans))
    else:
        advice = evidence.table_advice(rarer / dealt.get("share", 1), dealt.get("share", 1))
    yield Finding(
        kind="label",
        feature="",
        split="eval",
        message=f"{said}. {advice}",
        value=rarer,
        threshold=evidence.FEW,
    )


def of_table(ingested: Ingested) -> Iterator[Finding]:
    """A table whose rows were not parted as asked."""
    if ingested.dealt.get("why"):
        told = f"data.time_column: {ingested.dealt['why']}"
        yield Finding(kind="splits", feature="", split="", message=told)
    asked = ingested.dealt.get("share")
    kept = ingested.rows.get("train", 0) + ingested.rows.get("eval", 0)
    if not asked or kept < _FEWEST_DEALT:
        return
    share = ingested.rows["eval"] / kept
    if not asked / 2 <= share <= 2 * asked:
        yield Finding(
            kind="splits",
            feature="",
            split="",
            message=f"{share:.0%} of the rows are evaluated on, and window.holdout asks for "
            f"{asked:.0%}: too many rows are alike in what they are dealt by "
            f"({', '.join(ingested.dealt.get('columns') or [str(ingested.dealt.get('column'))])}). "
            "Name other columns in data.row_key, or another data.time_column.",
            value=share,
            threshold=asked,
        )


def _repeated(ingested: Ingested, policies: Policies) -> Iterator[Finding]:
    """Spans with copies of their own rows: a delivery that came twice, or a join gone wrong."""
    for label, span in ingested.spans.items():
        others = [one for name, one in ingested.spans.items() if name != label and one.kept]
        if not others:
            continue
        usual = statistics.median(one.repeated for one in others)
        # Few columns of few values meet by chance, and the more so the more rows there are.
        more = span.kept / statistics.median(one.kept for one in others)
        limit = usual * max(1.0, more) * _REPEATS_VARY + policies.max_repeated_share
        if span.repeated > limit:
            yield Finding(
                kind="repeats",
                feature="",
                split=label,
                message=f"{span.repeated:.1%} of {span.kept:,} rows are there more than once, "
                f"equal in every column; in the other spans {usual:.1%} are. Were they delivered "
                "twice? Copy the span again, or raise window.max_repeated_share.",
                value=span.repeated,
                threshold=limit,
            )


def _quarantined(label: str, span: SpanRows, policies: Policies) -> Iterator[Finding]:
    total = span.kept + span.quarantined
    share = span.quarantined / total
    if share > policies.max_share:
        reason, count = next(iter(span.reasons.items()))
        yield Finding(
            kind="quarantine",
            feature="",
            split=label,
            message=f"{span.quarantined:,} of {total:,} rows ({share:.1%}) are quarantined, "
            f"most often for {reason!r} ({count:,}), for example {span.samples[reason]}"
            + "".join(f". {hint}" for name, hint in span.hints.items() if name in span.reasons),
            value=share,
            threshold=policies.max_share,
        )
    for rule, limit in policies.rule_shares.items():
        count = span.reasons.get(rule, 0)
        if count / total > limit:
            yield Finding(
                kind="quarantine",
                feature="",
                split=label,
                message=f"{count:,} of {total:,} rows ({count / total:.1%}) break the rule "
                f"{rule!r}, for example {span.samples[rule]}",
                value=count / total,
                threshold=limit,
            )


def judge(found: Sequence[Finding], policies: Policies, today: dt.date) -> dict[str, Any]:
    """The verdict.

    Args:
        found: what was found.
        policies: what it means.
        today: by which the allow list's entries have ended or not.

    Returns:
        `passed`; `retrain`: whether what serves should be replaced; and every finding with its
        policy, the blocking ones first. A finding that is allowed has the policy `allowed`.
    """
    judged = [finding.model_dump() | _policy(finding, policies, today) for finding in found]
    order = ("block", "retrain", "warn", "allowed")
    judged.sort(key=lambda finding: order.index(finding["policy"]))
    chosen = {finding["policy"] for finding in judged}
    return {"passed": "block" not in chosen, "retrain": "retrain" in chosen, "findings": judged}


def _policy(finding: Finding, policies: Policies, today: dt.date) -> dict[str, Any]:
    own = policies.gates.features.get(finding.feature, {})
    policy = own.get(finding.kind) or getattr(policies.gates, finding.kind)
    told = {"policy": policy, "allowed_until": None, "reason": ""}
    matching = [one for one in policies.gates.allow if _matches(one, finding)]
    for one in sorted(matching, key=lambda allowed: allowed.until):
        ended = one.until < today
        told |= {
            "policy": policy if ended else "allowed",
            "allowed_until": one.until.isoformat(),
            "reason": f"{one.reason} (allowed until {one.until}, which is over)"
            if ended
            else one.reason,
        }
    return told


def _matches(allowed: Allowed, finding: Finding) -> bool:
    return allowed.kind == finding.kind and allowed.feature in (None, finding.feature)
