"""When a model is good enough: bars over all rows and in slices, absolute and against the champion.

TFMA computes the metrics; the judgement is here and pure, because TFMA's own thresholds take a
slice that is too small, or in which a metric does not exist (AUC where one class is absent), for
a failure, and cannot say "at most this much less calibrated than the champion".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline import files, intervals
from pipeline.config import Bars, ChangeBars, EvaluationConfig

CANDIDATE, CHAMPION = "candidate", "champion"
#: What a check against `auc_max` is against.
CEILING = "ceiling"
OVERALL = "overall"
METRICS_FILE = "metrics.json"

_OURS = "pipeline.components.metrics"
#: Metric name here → TFMA class, its module ("" is TFMA's own), and the name of its result.
TFMA_METRICS = {
    "auc": ("RankingAuc", _OURS, "auc"),
    "log_loss": ("LogLoss", _OURS, "binary_crossentropy"),
    "mean_prediction": ("PredictionMean", _OURS, "mean_prediction"),
    "mean_label": ("LabelMean", _OURS, "mean_label"),
    "rows": ("ExampleCount", "", "example_count"),
}

#: Metric name here → the same for its standard error, and for that of its change against the
#: champion. Calibration's is the error of mean prediction / mean label.
ERRORS = {
    "auc": ("AucError", _OURS, "auc_standard_error"),
    "log_loss": ("LogLossError", _OURS, "binary_crossentropy_standard_error"),
    "calibration": ("CalibrationRatioError", _OURS, "calibration_ratio_standard_error"),
}
CHANGE_ERRORS = {
    "auc": ("AucChangeError", _OURS, "auc_change_standard_error"),
    "log_loss": ("LogLossChangeError", _OURS, "binary_crossentropy_change_standard_error"),
    "calibration": ("CalibrationChangeError", _OURS, "calibration_change_standard_error"),
}
_CURVE = ("CalibrationCurve", _OURS, "calibration_plot")

Metrics = dict[str, float]
#: Metrics by slice; the slice of all rows is called `overall`.
SliceMetrics = dict[str, Metrics]


@dataclass(frozen=True)
class Check:
    """One bar and how a model stands to it.

    Attributes:
        slice: `overall`, or such as `payment_type=1`.
        metric: `auc`, `log_loss` or `calibration`.
        against: `bar` for an absolute one, `ceiling` for one that is too good to be true,
            `champion` for a change.
        value: the candidate's metric, or its change (positive is worse).
        bound: what the value must not pass.
        passed: whether it holds.
    """

    slice: str
    metric: str
    against: str
    value: float
    bound: float
    passed: bool

    def __str__(self) -> str:
        where = "over all rows" if self.slice == OVERALL else f"where {self.slice}"
        if self.against == CHAMPION:
            return (
                f"{self.metric} {where} is {self.value:+.4f} worse than the champion's "
                f"(allowed {self.bound:+.4f})"
            )
        if self.against == CEILING:
            return (
                f"{self.metric} {where} is {self.value:.4f} (must be ≤ {self.bound:.4f}): too good "
                "to be true. Does a feature hold the label? If the question is that easy, raise "
                "auc_max"
            )
        sign = "≥" if self.metric == "auc" else "≤"
        return f"{self.metric} {where} is {self.value:.4f} (must be {sign} {self.bound:.4f})"


def completed(metrics: Mapping[str, float]) -> Metrics:
    """Adds `calibration`, |mean prediction / mean label - 1|; undefined metrics become NaN.

    Where one class is absent there is no AUC (TFMA's own says 0 there), and where no label is 1
    there is nothing to be calibrated against.
    """
    label = metrics.get("mean_label", math.nan)
    calibration = abs(metrics["mean_prediction"] / label - 1) if label > 0 else math.nan
    auc = metrics.get("auc", math.nan) if 0 < label < 1 else math.nan
    return {**metrics, "auc": auc, "calibration": calibration}


def judge(
    candidate: SliceMetrics, champion: SliceMetrics | None, config: EvaluationConfig
) -> list[Check]:
    """Every check that could be made. A model is blessed if all pass and `overall` was judged.

    Slices smaller than `min_slice_rows` and metrics that do not exist in a slice are left out;
    over all rows a metric that does not exist is a failure.
    """
    checks: list[Check] = []
    for name, metrics in candidate.items():
        whole = name == OVERALL
        if not whole and metrics.get("rows", 0) < config.min_slice_rows:
            continue
        bars = config.bars if whole else config.slice_bars
        checks.extend(_absolute(name, metrics, bars, required=whole))
        if champion and name in champion:
            change = config.change if whole else config.slice_change
            checks.extend(_change(name, metrics, champion[name], change, required=whole))
    return checks


def blessed(checks: Sequence[Check]) -> bool:
    """Whether the checks bless the model."""
    return all(check.passed for check in checks) and any(c.slice == OVERALL for c in checks)


def _absolute(name: str, metrics: Metrics, bars: Bars, *, required: bool) -> Iterator[Check]:
    for metric, bound, sign in (
        ("auc", bars.auc_min, -1),
        ("log_loss", bars.log_loss_max, 1),
        ("calibration", bars.calibration_max, 1),
    ):
        value = metrics.get(metric, math.nan)
        if math.isnan(value) and not required:
            continue
        yield Check(name, metric, "bar", value, bound, sign * value <= sign * bound)
    auc = metrics.get("auc", math.nan)
    if bars.auc_max < 1 and not math.isnan(auc):
        yield Check(name, "auc", CEILING, auc, bars.auc_max, auc <= bars.auc_max)


def _change(
    name: str, metrics: Metrics, champion: Metrics, bars: ChangeBars, *, required: bool
) -> Iterator[Check]:
    for metric, bound, sign in (
        ("auc", bars.auc_drop_max, -1),
        ("log_loss", bars.log_loss_rise_max, 1),
        ("calibration", bars.calibration_rise_max, 1),
    ):
        change = sign * (metrics.get(metric, math.nan) - champion.get(metric, math.nan))
        if math.isnan(change) and not required:
            continue
        yield Check(name, metric, CHAMPION, change, bound, change <= bound)


def eval_config_json(config: EvaluationConfig, label: str) -> str:
    """TFMA's EvalConfig as JSON text. Its thresholds repeat the absolute bars over all rows.

    TFX's Evaluator blesses nothing without a threshold in it; ours then judges further.
    """
    slices: list[dict[str, Any]] = [{}]
    for item in config.slices:
        slices.append({"featureKeys": [item] if isinstance(item, str) else list(item)})
    bounds = {
        "auc": {"lowerBound": config.bars.auc_min},
        "log_loss": {"upperBound": config.bars.log_loss_max},
    }
    metrics: list[dict[str, Any]] = []
    wanted = (*TFMA_METRICS.values(), *ERRORS.values(), *CHANGE_ERRORS.values(), _CURVE)
    for class_name, module, result in wanted:
        metric: dict[str, Any] = {"className": class_name, "config": json.dumps({"name": result})}
        if module:
            metric["module"] = module
        metrics.append(metric)
    for name, metric in zip(TFMA_METRICS, metrics, strict=False):
        if name in bounds:
            metric["threshold"] = {"valueThreshold": bounds[name]}
    spec = {
        "signatureName": "serve_tf_examples",
        "labelKey": label,
        "predictionKey": "probability",
        # Larger batches: the default grows from 1 and spends its time in single calls.
        "inferenceBatchSize": 1000,
    }
    return json.dumps(
        {
            "modelSpecs": [spec],
            "slicingSpecs": slices,
            "metricsSpecs": [{"metrics": metrics}],
        }
    )


def read_metrics(evaluation_uri: str) -> dict[str, Metrics]:
    """Metrics over all rows of an evaluation: `candidate`, and `champion` if there was one."""
    return {model: slices[OVERALL] for model, slices in read_slice_metrics(evaluation_uri).items()}


def read_slice_metrics(evaluation_uri: str) -> dict[str, SliceMetrics]:
    """Metrics of an evaluation by model and slice (NaN where one does not exist)."""
    with files.open_file(os.path.join(evaluation_uri, METRICS_FILE), "rb") as file:
        parsed: dict[str, dict[str, dict[str, float | None]]] = json.loads(file.read())["models"]
    return {
        model: {
            name: {key: math.nan if value is None else value for key, value in metrics.items()}
            for name, metrics in slices.items()
        }
        for model, slices in parsed.items()
    }


@dataclass(frozen=True)
class Uncertainty:
    """How sure the metrics of a model are, and how its predictions come true.

    Attributes:
        errors: standard errors by slice and metric.
        change_errors: those of the change against the champion; NaN without one.
        curve: over all rows, for each bin of predictions that holds any: `low`, `high`, `rows`,
            sum of `predictions`, sum of `labels`.
    """

    errors: SliceMetrics
    change_errors: SliceMetrics
    curve: list[dict[str, float]]


def metrics_json(
    models: Mapping[str, SliceMetrics],
    checks: Sequence[Check],
    uncertainty: Mapping[str, Uncertainty] | None = None,
    notes: Sequence[str] = (),
) -> str:
    """What `metrics.json` holds: metrics by model and slice, and every check (NaN is null).

    `notes` is what a person should know of the evaluation beside its checks. With `uncertainty`:
    also the 95 % intervals of metrics and of changes (positive is worse), and the calibration
    curves.
    """
    clean = {
        model: {
            name: {key: _finite(value) for key, value in metrics.items()}
            for name, metrics in slices.items()
        }
        for model, slices in models.items()
    }
    rows = [
        {**vars(check), "value": _finite(check.value), "message": str(check)} for check in checks
    ]
    told: dict[str, Any] = {"blessed": blessed(checks), "models": clean, "checks": rows}
    if notes:
        told["notes"] = list(notes)
    if uncertainty:
        told["intervals"] = {
            model: {name: _intervals(slices[name], sure.errors[name]) for name in sure.errors}
            for model, sure in uncertainty.items()
            if (slices := models[model])
        }
        told["changes"] = _changes(models, uncertainty[CANDIDATE].change_errors)
        told["curves"] = {model: sure.curve for model, sure in uncertainty.items()}
    return json.dumps(told, indent=2)


def _intervals(metrics: Metrics, errors: Metrics) -> dict[str, list[float]]:
    """95 % intervals of a slice's metrics; a metric without one is left out."""
    label = metrics.get("mean_label", math.nan)
    ratio = metrics["mean_prediction"] / label if label > 0 else math.nan
    loss = intervals.around(metrics["log_loss"], errors["log_loss"])
    found = {
        "auc": intervals.of_share(metrics["auc"], errors["auc"]),
        "log_loss": loss and intervals.Interval(max(0.0, loss.low), loss.high),
        "calibration": intervals.of_calibration(ratio, errors["calibration"]),
    }
    return {name: [item.low, item.high] for name, item in found.items() if item}


def _changes(models: Mapping[str, SliceMetrics], errors: SliceMetrics) -> dict[str, Any]:
    """By slice and metric: how much worse than the champion, and the 95 % interval of that."""
    changes: dict[str, Any] = {}
    champion = models.get(CHAMPION, {})
    for name, metrics in models[CANDIDATE].items():
        for metric, sign in (("auc", -1), ("log_loss", 1), ("calibration", 1)):
            change = sign * (metrics[metric] - champion.get(name, {}).get(metric, math.nan))
            found = intervals.around(change, errors[name][metric])
            if found:
                changes.setdefault(name, {})[metric] = {
                    "value": change,
                    "low": found.low,
                    "high": found.high,
                }
    return changes


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
