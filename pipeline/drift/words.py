"""Comparisons in words: which feature, by how much, where, and since when it is news."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.config import Kind
from pipeline.drift.bins import MISSING
from pipeline.drift.report import Comparison, Feature, Report
from pipeline.findings import Finding

#: Measure → its name for people.
NAMES = {
    "kolmogorov_smirnov": "Kolmogorov-Smirnov distance",
    "jensen_shannon": "Jensen-Shannon divergence",
    "l_infinity": "L-infinity distance",
    "psi": "population stability index",
    "chi_square": "Cramér's V (chi-square)",
    "missing_rate": "change of the missing share",
    "unseen_rate": "share of values never seen",
    "label_rate": "change of the label's rate",
    "calibration": "|mean prediction / mean label - 1|",
}
#: What logged requests are called where a span's label stands.
REQUESTS = "logged requests"
#: Values never seen that are told.
_EXAMPLES = 5


def findings(report: Report) -> Iterator[Finding]:
    """One finding for each feature that is too far, and each way in which requests are wrong."""
    for broken in report.violations:
        yield Finding(
            kind="skew",
            feature=broken.column,
            split=REQUESTS,
            message=broken.message,
            value=broken.count / max(broken.rows, 1),
        )
    for comparison in report.comparisons:
        for feature in comparison.features:
            if any(one.alarms for one in feature.measures):
                yield _finding(comparison, feature)


def _finding(comparison: Comparison, feature: Feature) -> Finding:
    kinds: dict[str, Kind] = {"label": "label", "prediction": "prediction"}
    compared = "drift" if comparison.kind == "profile" else comparison.kind
    worst = feature.worst
    return Finding(
        kind=kinds.get(feature.type, compared),
        feature=feature.feature,
        split=comparison.current.label,
        message=message(comparison, feature),
        value=worst.value,
        threshold=worst.threshold,
        measure=worst.name,
        worst_bin=feature.worst_bin,
    )


def message(comparison: Comparison, feature: Feature) -> str:
    """What has changed, how far that is, and where most."""
    worst = feature.worst
    also = [one for one in feature.measures if one.alarms and one is not worst]
    more = f" and {len(also)} more measure(s)" if also else ""
    far = (
        f"{NAMES[worst.name]} {worst.value:.3g}, threshold {worst.threshold:.3g} "
        f"({worst.excess:.1f} times){more}"
    )
    told = "; ".join([*_changes(comparison, feature), far])
    old = comparison.reference.label
    if feature.trend:
        told += f", after {old} was brought to the newest level ({feature.trend})"
    if comparison.kind == "profile":
        told += f", against {old}. If that is as it should be: headrace schema accept"
    return told


def _changes(comparison: Comparison, feature: Feature) -> Iterator[str]:
    old, new = comparison.reference.label, comparison.current.label
    before = sum(one.reference for one in feature.bins)
    after = sum(one.current for one in feature.bins)
    missing = next((one for one in feature.bins if one.label == MISSING), None)
    alarming = {one.name for one in feature.measures if one.alarms}
    if missing and "missing_rate" in alarming:
        gone, is_gone = missing.reference / max(before, 1), missing.current / max(after, 1)
        what = "missing"
        if gone > 0.9 > 0.5 > is_gone:
            what = "values arrive: missing"
        elif is_gone > 0.9 > 0.5 > gone:
            what = "values are gone: missing"
        yield (
            f"{what} in {gone:.1%} of {before:,} rows of {old}, in {is_gone:.1%} of {after:,} of "
            f"{new}"
        )
    if "unseen_rate" in alarming:
        unseen = [one for one in feature.bins if not one.reference and one.label != MISSING]
        unseen.sort(key=lambda one: -one.current)
        told = ", ".join(f"{one.label!r} ({one.current:,})" for one in unseen[:_EXAMPLES])
        yield f"{len(unseen)} value(s) never seen in {old}: {told}" if told else "unseen values"
    bin_ = feature.worst_bin
    if bin_.label != MISSING or "missing_rate" not in alarming:
        yield (
            f"{bin_.label!r} went from {bin_.reference_share:.1%} ({bin_.reference:,} of "
            f"{before:,}) to {bin_.current_share:.1%} ({bin_.current:,} of {after:,})"
        )
