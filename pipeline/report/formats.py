"""The files a page is made from, as types.

Tolerant where their writers are strict: a page is also written anew from what an older or a newer
version left behind, so unknown keys are passed over and most others may be absent.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class _Told(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Bin(_Told):
    """A bin or a category: rows on either side."""

    label: str
    reference: float
    current: float


class WorstBin(Bin):
    """The bin whose share has changed most."""

    reference_share: float
    current_share: float


class Measure(_Told):
    """A distance between two sides.

    Attributes:
        threshold: None: only shown.
        known: above the threshold, and no news: spans of the window lie as far away.
    """

    name: str
    value: float
    threshold: float | None = None
    known: bool = False

    @property
    def excess(self) -> float | None:
        """Value over threshold."""
        return self.value / self.threshold if self.threshold else None

    @property
    def alarms(self) -> bool:
        """Whether it is too far, and news."""
        return self.excess is not None and self.excess > 1 and not self.known


class Feature(_Told):
    """One feature on two sides; `type` is numeric, categorical, label or prediction."""

    feature: str
    type: str
    measures: tuple[Measure, ...] = ()
    excess: float | None = None
    bins: tuple[Bin, ...] = ()
    worst_bin: WorstBin | None = None

    @property
    def leading(self) -> Measure | None:
        """The measure that is furthest over its threshold, news before what is known."""
        judged = [measure for measure in self.measures if measure.excess is not None]
        return max(judged, key=lambda m: (m.alarms, m.excess or 0.0), default=None)

    @property
    def alarms(self) -> bool:
        """Whether a measure is over its threshold, and news."""
        return any(measure.alarms for measure in self.measures)


class Side(_Told):
    """What is compared: `rows` there are, of which `sampled` were looked at."""

    label: str
    rows: int
    sampled: int


class Comparison(_Told):
    """Two sides, feature by feature; `kind` is drift, skew or splits."""

    kind: str
    reference: Side
    current: Side
    features: tuple[Feature, ...] = ()


class Past(_Told):
    """A span against the spans before it."""

    span: str
    rows: int = 0
    label_rate: float | None = None
    excess: dict[str, float | None] = {}
    distances: dict[str, dict[str, float]] = {}


class DriftCalibration(_Told):
    """Where the thresholds come from."""

    date: str = ""
    spans: tuple[str, ...] = ()
    false_alarms: str = ""
    correction: str = ""
    detectable: dict[str, str] = {}


class Drift(_Told):
    """`drift.json` of the DistributionValidator."""

    comparisons: tuple[Comparison, ...] = ()
    history: tuple[Past, ...] = ()
    calibration: DriftCalibration | None = None
    notes: tuple[str, ...] = ()

    def of_kind(self, kind: str) -> Comparison | None:
        """The comparison of a kind, if it was made."""
        return next((item for item in self.comparisons if item.kind == kind), None)


class Finding(_Told):
    """One finding of the data gate."""

    kind: str
    feature: str = ""
    split: str = ""
    message: str = ""
    value: float | None = None
    threshold: float | None = None
    measure: str | None = None
    policy: str = ""
    allowed_until: str | None = None
    reason: str | None = None

    @property
    def told(self) -> str:
        """The message; of quarantined rows without the sample, which the page shows elsewhere."""
        return (
            self.message.partition(", for example ")[0]
            if self.kind == "quarantine"
            else self.message
        )


class Verdict(_Told):
    """`verdict.json` of the DataGate."""

    passed: bool
    retrain: bool = False
    findings: tuple[Finding, ...] = ()


class Check(_Told):
    """One bar of the evaluation; see `pipeline.evaluation.Check`."""

    slice: str
    metric: str
    against: str
    value: float | None = None
    bound: float | None = None
    passed: bool = False
    message: str = ""


class Change(_Told):
    """How much worse than the champion, and the 95 % interval of that."""

    value: float
    low: float
    high: float


class CurveBin(_Told):
    """Rows whose prediction lies in [low, high): sums of predictions and labels."""

    low: float
    high: float
    rows: float
    predictions: float
    labels: float


class Evaluation(_Told):
    """`metrics.json` of the Evaluator: everything by model, then by slice, then by metric."""

    blessed: bool
    models: dict[str, dict[str, dict[str, float | None]]] = {}
    checks: tuple[Check, ...] = ()
    intervals: dict[str, dict[str, dict[str, tuple[float, float]]]] = {}
    changes: dict[str, dict[str, Change]] = {}
    curves: dict[str, tuple[CurveBin, ...]] = {}


class ProofFinding(_Told):
    """One thing that was checked on a real server."""

    check: str
    passed: bool
    message: str = ""
    figures: dict[str, float] = {}


class Proof(_Told):
    """`proof.json` of the InfraValidator."""

    passed: bool
    findings: tuple[ProofFinding, ...] = ()


class SpanRows(_Told):
    """What became of a span's rows."""

    kept: int
    quarantined: int
    reasons: dict[str, int] = {}
    samples: dict[str, str] = {}


class Ingested(_Told):
    """`ingest.json` of SpanExampleGen."""

    fingerprint: str = ""
    rows: dict[str, int] = {}
    positives: dict[str, int] = {}
    spans: dict[str, SpanRows] = {}
    new_columns: dict[str, list[str]] = {}
