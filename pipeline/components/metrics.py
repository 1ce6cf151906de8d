"""TFMA metrics of a binary classifier that share one pass over the rows.

What TFMA lacks is the sharing: its log loss runs a Keras metric, its means another combiner, and
each unpacks every row of every slice anew through code that allows for any kind of model. Here one
combiner takes what they all need. The names of the results are TFMA's own, so whatever reads an
evaluation finds what it expects (those of the classes are not: TFMA would take its own).

Standard errors come from the same pass (TFMA resamples for them, twenty times the work), those of
a change too: a row carries the predictions of candidate and champion, so the change is paired.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import calibration_plot, metric_types, metric_util
from tensorflow_model_analysis.proto import metrics_for_slice_pb2

from pipeline import intervals
from pipeline.components.metric_sums import BINS, Sums

#: Bins of the calibration curve.
_CURVE_BINS = 100


class _SumsCombiner(beam.CombineFn):  # type: ignore[misc]
    """Adds rows up."""

    def __init__(
        self, key: metric_types.MetricKey, prediction_key: str, baseline: str | None
    ) -> None:
        self._key, self._prediction_key, self._baseline = key, prediction_key, baseline

    def create_accumulator(self) -> Sums:
        return Sums()

    def add_input(self, accumulator: Sums, element: metric_types.StandardMetricInputs) -> Sums:
        label = float(_single(element.labels, self._key.model_name))
        prediction = self._prediction(element, self._key.model_name, label)
        if self._baseline is None:
            accumulator.add_row(label, prediction)
        else:
            other = self._prediction(element, self._baseline, label)
            accumulator.add_pair(label, prediction, other)
        return accumulator

    def _prediction(
        self, element: metric_types.StandardMetricInputs, model: str, label: float
    ) -> float:
        prediction = _single(element.predictions, model, self._prediction_key)
        # What is not a number is as wrong as can be: such a model is refused by its bars.
        if prediction is None or math.isnan(prediction):
            return 1 - label
        return float(prediction)

    def merge_accumulators(self, accumulators: Iterable[Sums]) -> Sums:
        total = Sums()
        for part in accumulators:
            total.merge(part)
        return total

    def extract_output(self, accumulator: Sums) -> dict[metric_types.MetricKey, Sums]:
        return {self._key: accumulator}


def _single(value: Any, *keys: str) -> Any:
    """The one number of a row; TFMA nests by model and by output only where there are several."""
    for key in keys:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return value.item()


def _auc(sums: Sums) -> float:
    """Chance that a positive row is predicted higher than a negative one; equal bins count half.

    That is the area under the ROC curve by trapezoids. NaN where one class is absent.
    """
    below = pairs = 0.0
    for _, (rows, positive) in sorted(sums.bins.items()):
        negative = rows - positive
        pairs += positive * (below + negative / 2)
        below += negative
    possible = sums.labels * (sums.rows - sums.labels)
    return pairs / possible if possible else math.nan


def _computed(
    value: Callable[[Sums], Any], kind: type = metric_types.MetricKey
) -> Callable[..., metric_types.MetricComputations]:
    """Computations of something that follows from the sums."""

    def computations(
        name: str,
        eval_config: Any,
        model_name: str = "",
        output_name: str = "",
        example_weighted: bool = False,
        **_: Any,
    ) -> metric_types.MetricComputations:
        where = {
            "model_name": model_name,
            "output_name": output_name,
            "example_weighted": example_weighted,
        }
        key = kind(name=name, **where)
        sums = metric_types.MetricKey(name="_headrace_sums", **where)
        specs = eval_config.model_specs
        baselines = [spec.name for spec in specs if spec.is_baseline and spec.name != model_name]
        combiner = _SumsCombiner(sums, specs[0].prediction_key, (baselines or [None])[0])

        def result(metrics: Mapping[metric_types.MetricKey, Sums]) -> dict[Any, Any]:
            return {key: value(metrics[sums])}

        return [
            metric_types.MetricComputation([sums], None, combiner),
            metric_types.DerivedMetricComputation([key], result),
        ]

    return computations


def _metric(
    name: str,
    value: Callable[[Sums], Any],
    text: str,
    kind: type = metric_types.MetricKey,
) -> type[metric_types.Metric]:
    """A TFMA metric class; TFMA makes an instance of it by its name and module."""

    class Shared(metric_types.Metric):  # type: ignore[misc]
        def __init__(self, name: str = name) -> None:
            computations = metric_util.merge_per_key_computations(_computed(value, kind))
            super().__init__(computations, name=name)

    Shared.__doc__ = text
    return Shared


def _mean(part: str) -> Callable[[Sums], float]:
    return lambda sums: getattr(sums, part) / sums.rows if sums.rows else math.nan


RankingAuc = _metric("auc", _auc, "Area under the ROC curve.")
LogLoss = _metric(
    "binary_crossentropy",
    _mean("losses"),
    "Binary cross-entropy in nats, probabilities kept 1e-7 from 0 and 1 as Keras does.",
)
LabelMean = _metric("mean_label", _mean("labels"), "Share of positive rows.")
PredictionMean = _metric(
    "mean_prediction", _mean("predictions"), "Mean of the predicted probabilities."
)


def _ratio(sums: Sums) -> float:
    return sums.predictions / sums.labels if sums.labels else math.nan


def _ratio_error(sums: Sums) -> float:
    return intervals.error_of_ratio(
        sums.predictions, sums.squares, sums.hits, sums.labels, sums.rows
    )


def _auc_change_error(sums: Sums) -> float:
    return intervals.error_of_auc_change(sums.joint) if sums.other else math.nan


def _loss_change_error(sums: Sums) -> float:
    if sums.other is None:
        return math.nan
    change = sums.losses - sums.other.losses
    return intervals.error_of_mean(change, sums.changes_squared, sums.rows)


def _calibration_change_error(sums: Sums) -> float:
    other = sums.other
    if other is None:
        return math.nan
    return intervals.error_of_calibration_change(
        (_ratio(sums), _ratio(other)),
        (sums.squares, other.squares),
        (sums.hits, other.hits),
        sums.products,
        sums.labels,
        sums.rows,
    )


def _curve(sums: Sums) -> metrics_for_slice_pb2.CalibrationHistogramBuckets:
    """Bins of equal width; a prediction counts as the middle of its fine bin (of 1e-4)."""
    rows, labels, predictions = ([0.0] * _CURVE_BINS for _ in range(3))
    for fine, (count, positive) in sums.bins.items():
        index = fine * _CURVE_BINS // BINS
        rows[index] += count
        labels[index] += positive
        predictions[index] += count * (fine + 0.5) / BINS
    buckets = metrics_for_slice_pb2.CalibrationHistogramBuckets()
    for index in range(_CURVE_BINS):
        if rows[index]:
            buckets.buckets.add(
                lower_threshold_inclusive=index / _CURVE_BINS,
                upper_threshold_exclusive=(index + 1) / _CURVE_BINS,
                num_weighted_examples={"value": rows[index]},
                total_weighted_label={"value": labels[index]},
                total_weighted_refined_prediction={"value": predictions[index]},
            )
    return buckets


AucError = _metric(
    "auc_standard_error",
    lambda sums: intervals.error_of_auc(sums.bins),
    "DeLong's standard error of the AUC.",
)
LogLossError = _metric(
    "binary_crossentropy_standard_error",
    lambda sums: intervals.error_of_mean(sums.losses, sums.losses_squared, sums.rows),
    "Standard error of the mean loss.",
)
CalibrationRatioError = _metric(
    "calibration_ratio_standard_error",
    _ratio_error,
    "Standard error of mean prediction / mean label.",
)
AucChangeError = _metric(
    "auc_change_standard_error",
    _auc_change_error,
    "Paired standard error of the AUC's change against the baseline; NaN for that one itself.",
)
LogLossChangeError = _metric(
    "binary_crossentropy_change_standard_error",
    _loss_change_error,
    "Paired standard error of the log loss's change against the baseline.",
)
CalibrationChangeError = _metric(
    "calibration_change_standard_error",
    _calibration_change_error,
    "Paired standard error of the calibration's change against the baseline.",
)
CalibrationCurve = _metric(
    calibration_plot.CALIBRATION_PLOT_NAME,
    _curve,
    "TFMA's calibration plot, from the shared sums.",
    metric_types.PlotKey,
)
