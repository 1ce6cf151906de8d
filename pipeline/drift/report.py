"""What a comparison found: `drift.json` in the DistributionValidator's artifact."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from models.config import Section
from pipeline.drift.columns import Type
from pipeline.serving_contract import Violation

FILE = "drift.json"

Compared = Literal["drift", "skew", "splits", "profile"]


class Measured(Section):
    """One distance.

    Attributes:
        threshold: above which it is told; None: it is only shown.
        known: as many spans of the window as `drift.known_after` lie as far from it.
    """

    name: str
    value: float
    threshold: float | None
    known: bool = False

    @property
    def excess(self) -> float:
        """Distance over threshold."""
        return self.value / self.threshold if self.threshold else 0.0

    @property
    def alarms(self) -> bool:
        """Whether it is too far, and news."""
        return self.excess > 1 and not self.known


class Bin(Section):
    """Values on both sides, counted."""

    label: str
    reference: int
    current: int


class WorstBin(Bin):
    """The bin whose share has changed most."""

    reference_share: float
    current_share: float


class Feature(Section):
    """One feature's comparison.

    Attributes:
        excess: the largest of its measures'.
        chance: probability of so uneven counts if both sides were one population (chi-square test).
        trend: along which the reference was moved to the newest span's level; "" for none.
    """

    feature: str
    type: Type
    trend: str = ""
    measures: tuple[Measured, ...]
    excess: float | None
    chance: float
    bins: tuple[Bin, ...]
    worst_bin: WorstBin

    @property
    def worst(self) -> Measured:
        """The measure that is furthest above its threshold; of those that alarm, if one does."""
        return max(self.measures, key=lambda one: (one.alarms, one.excess))


class Side(Section):
    """What is compared: `rows` there are, of which `sampled` were looked at."""

    label: str
    rows: int
    sampled: int


class Comparison(Section):
    """Two sides, feature by feature, the furthest over its threshold first."""

    kind: Compared
    reference: Side
    current: Side
    features: tuple[Feature, ...]


class Past(Section):
    """A span of the window against those before it."""

    span: str
    rows: int
    label_rate: float | None
    excess: dict[str, float]
    distances: dict[str, dict[str, float]]


class Calibration(Section):
    """Thresholds measured on quiet spans: `drift.json` beside the schema.

    Attributes:
        date: when.
        spans: they were measured on.
        span_rows: rows of a span, in the median, that were compared.
        false_alarms: quiet spans of which one may alarm.
        correction: for many features.
        thresholds: feature → measure → threshold.
        detectable: feature → the smallest shift that is found nine times in ten.
        outliers: span → features that were not quiet there, and not counted.
        trends: number → how it moves; it is compared at the newest span's level.
        restless: features that differ from span to span as far as a distance can tell.
    """

    date: dt.date
    spans: tuple[str, ...]
    span_rows: int
    false_alarms: int
    correction: str
    thresholds: dict[str, dict[str, float]]
    detectable: dict[str, str]
    outliers: dict[str, tuple[str, ...]] = {}
    trends: dict[str, str] = {}
    restless: tuple[str, ...] = ()

    def trending(self) -> dict[str, bool]:
        """Calibrated features → whether they are compared at the newest span's level."""
        return {name: name in self.trends for name in self.thresholds}


class CalibrationSummary(Section):
    """What a report says of the calibration."""

    date: str
    spans: tuple[str, ...]
    false_alarms: str
    correction: str
    detectable: dict[str, str]


class Report(Section):
    """All comparisons of a run.

    Attributes:
        history: each span of the window and the newest, against the spans before it.
        calibration: None: thresholds are from chance alone.
        violations: what logged requests hold that the schema's SERVING environment forbids.
        notes: what could not be compared, or should be known of the thresholds.
        uncalibrated: where the window tells too little of what is usual, what to do about it.
    """

    comparisons: tuple[Comparison, ...] = ()
    history: tuple[Past, ...] = ()
    calibration: CalibrationSummary | None = None
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = ()
    uncalibrated: str = ""
