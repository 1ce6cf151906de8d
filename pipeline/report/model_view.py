"""How good the model is, as the page shows it."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.evaluation import CANDIDATE, CHAMPION, OVERALL
from pipeline.report.charts import model as charts
from pipeline.report.evidence import Evidence
from pipeline.report.formats import Change, Check, Evaluation

#: Slices listed.
MAX_SLICES = 100

#: Metric → its name, and what it is.
METRICS = {
    "auc": ("AUC", "higher is better"),
    "log_loss": ("Log loss", "lower is better"),
    "calibration": ("Calibration", "|mean prediction / mean label − 1|, lower is better"),
}


@dataclass(frozen=True)
class MetricView:
    """A metric in one slice.

    Attributes:
        interval, champion_interval: 95 %, where the evaluation has them.
        bar, allowed: the checks against the bar and the champion, where they were made.
        change: how much worse than the champion.
    """

    metric: str
    value: float | None
    interval: tuple[float, float] | None
    champion: float | None
    champion_interval: tuple[float, float] | None
    change: Change | None
    bar: Check | None
    allowed: Check | None

    @property
    def passed(self) -> bool | None:
        """Whether all its checks hold; None if it was not judged."""
        checks = [check for check in (self.bar, self.allowed) if check]
        return all(check.passed for check in checks) if checks else None


@dataclass(frozen=True)
class SliceView:
    """A slice's metrics."""

    name: str
    rows: float | None
    metrics: list[MetricView]
    mean_prediction: float | None
    mean_label: float | None
    judged: bool


@dataclass(frozen=True)
class ModelView:
    """The section."""

    overall: SliceView
    slices: list[SliceView]
    left_out: int
    has_champion: bool
    champion_mean: float | None
    forest: charts.Forest | None
    groups: dict[str, list[charts.Reliability]]
    curve: charts.Curve | None
    min_slice_rows: int | None


def model(evidence: Evidence) -> ModelView | None:
    """The evaluation; None where there was none."""
    told = evidence.evaluated
    if told is None or OVERALL not in told.models.get(CANDIDATE, {}):
        return None
    names = [name for name in told.models[CANDIDATE] if name != OVERALL]
    slices = [_slice(told, name) for name in names]
    slices.sort(key=lambda item: (all(m.passed is not False for m in item.metrics), _order(item)))
    overall = _slice(told, OVERALL)
    groups = {
        name: charts.reliability(told.curves[name])
        for name in (CANDIDATE, CHAMPION)
        if told.curves.get(name)
    }
    return ModelView(
        overall,
        slices[:MAX_SLICES],
        max(0, len(slices) - MAX_SLICES),
        CHAMPION in told.models,
        told.models.get(CHAMPION, {}).get(OVERALL, {}).get("mean_prediction"),
        charts.forest(
            [
                (METRICS[m.metric][0], m.change, m.allowed.bound)
                for m in overall.metrics
                if m.change and m.allowed and m.allowed.bound
            ]
        ),
        groups,
        charts.calibration(groups),
        evidence.config.evaluation.min_slice_rows if evidence.config else None,
    )


def _order(item: SliceView) -> tuple[str, float]:
    return item.name.partition("=")[0], -(item.rows or 0.0)


def _slice(told: Evaluation, name: str) -> SliceView:
    metrics = told.models[CANDIDATE][name]
    champion = told.models.get(CHAMPION, {}).get(name, {})
    checks = {(c.metric, c.against): c for c in told.checks if c.slice == name}
    intervals = {
        model: told.intervals.get(model, {}).get(name, {}) for model in (CANDIDATE, CHAMPION)
    }
    changes = told.changes.get(name, {})
    return SliceView(
        name,
        metrics.get("rows"),
        [
            MetricView(
                metric,
                metrics.get(metric),
                intervals[CANDIDATE].get(metric),
                champion.get(metric),
                intervals[CHAMPION].get(metric),
                changes.get(metric),
                checks.get((metric, "bar")),
                checks.get((metric, CHAMPION)),
            )
            for metric in METRICS
        ],
        metrics.get("mean_prediction"),
        metrics.get("mean_label"),
        judged=bool(checks),
    )


def latency(evidence: Evidence) -> list[tuple[str, float | None, float | None]]:
    """How long a server took for one row: way, median, 99th percentile, in milliseconds."""
    found = evidence.proof.findings if evidence.proof else ()
    return [
        (name, finding.figures.get("p50_ms"), finding.figures.get("p99_ms"))
        for finding in found
        for way, name in (("latency grpc", "gRPC"), ("latency rest", "REST"))
        if finding.check == way and finding.figures
    ]
