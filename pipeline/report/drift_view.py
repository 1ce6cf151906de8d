"""Comparisons of two sides, and their history, as the page shows them."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.drift import words
from pipeline.report.charts import histogram, lines
from pipeline.report.formats import Bin, Comparison, Drift, Feature, Past
from pipeline.report.text import listed, many, times

#: Features with a chart of their own, by comparison; the rest stands in the table.
MAX_CHARTS = {"drift": 30, "skew": 12, "splits": 8}
#: Rows of the table of distances.
MAX_ROWS = {"drift": 200, "skew": 100, "splits": 100}
#: Charts that are open from the beginning.
_OPEN = 6
#: Bins listed below a chart.
MAX_LISTED = 40
#: Features of the history, and spans, the newest ones.
MAX_HISTORY = 60
MAX_SPANS = 36


def measure_name(name: str) -> str:
    """A measure in words."""
    return words.NAMES.get(name, name)


@dataclass(frozen=True)
class FeatureView:
    """A feature with what is drawn of it."""

    told: Feature
    anchor: str
    chart: histogram.Histogram | None
    opened: bool
    bins: list[Bin]
    bins_left_out: int


@dataclass(frozen=True)
class ComparisonView:
    """A comparison: all features in a table, the foremost with charts."""

    told: Comparison
    summary: str
    rows: list[FeatureView]
    charted: list[FeatureView]
    left_out: int


def comparison(drift: Drift | None, kind: str) -> ComparisonView | None:
    """The comparison of a kind; None where it was not made."""
    told = drift.of_kind(kind) if drift else None
    if told is None and drift and kind == "drift":  # of one table, whose past is what was reviewed
        told = drift.of_kind("profile")
    if told is None:
        return None
    features = sorted(told.features, key=lambda f: (not f.alarms, -(f.excess or 0.0)))
    charts_shown = MAX_CHARTS[kind]
    rows = []
    for index, feature in enumerate(features[: MAX_ROWS[kind]]):
        charted = index < charts_shown
        listed_bins, left_out = _bins(feature)
        rows.append(
            FeatureView(
                feature,
                f"{kind}-{index + 1}",
                histogram.histogram(feature) if charted else None,
                opened=feature.alarms and index < _OPEN,
                bins=listed_bins if charted else [],
                bins_left_out=left_out,
            )
        )
    return ComparisonView(
        told, _summary(features), rows, rows[:charts_shown], max(0, len(features) - MAX_ROWS[kind])
    )


def _bins(feature: Feature) -> tuple[list[Bin], int]:
    """The bins to list, the worst one among them."""
    if len(feature.bins) <= MAX_LISTED:
        return list(feature.bins), 0
    worst = feature.worst_bin.label if feature.worst_bin else None
    chosen = list(feature.bins[:MAX_LISTED])
    if worst is not None and all(b.label != worst for b in chosen):
        chosen[-1:] = [b for b in feature.bins if b.label == worst][:1]
    return chosen, len(feature.bins) - len(chosen)


def _summary(features: list[Feature]) -> str:
    over = [feature for feature in features if feature.alarms]
    total = many(len(features), "feature")
    if not over:
        return f"None of {total} is over its threshold."
    named = listed([f"{f.feature[:40]} ({times(f.excess)})" for f in over], 5)
    return f"{len(over):,} of {total} over the threshold: {named}."


@dataclass(frozen=True)
class FeatureHistory:
    """A feature's largest distance in each span, in multiples of its threshold."""

    feature: str
    values: list[float | None]
    spark: lines.Lines

    @property
    def newest(self) -> float | None:
        """In the newest span."""
        return self.values[-1]

    @property
    def before(self) -> float | None:
        """The largest of the spans before it."""
        return max((v for v in self.values[:-1] if v is not None), default=None)


@dataclass(frozen=True)
class HistoryView:
    """The section."""

    spans: list[Past]
    spans_left_out: int
    rate: lines.Lines | None
    features: list[FeatureHistory]
    left_out: int
    shown: int = 12


def history(drift: Drift | None) -> HistoryView | None:
    """Every feature's distance over the spans, the newest's largest first."""
    if drift is None or len(drift.history) < 2:
        return None
    spans = list(drift.history[-MAX_SPANS:])
    names = dict.fromkeys(name for past in spans for name in past.excess)
    found = []
    for name in names:
        values = [past.excess.get(name) for past in spans]
        if any(value is not None for value in values):
            found.append((name, values))
    found.sort(key=lambda item: -(item[1][-1] or 0.0))
    return HistoryView(
        spans,
        len(drift.history) - len(spans),
        lines.label_rate(spans),
        [FeatureHistory(n, v, lines.sparkline(v)) for n, v in found[:MAX_HISTORY]],
        max(0, len(found) - MAX_HISTORY),
    )
