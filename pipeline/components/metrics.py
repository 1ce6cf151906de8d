"""TFMA metrics of a binary classifier that share one pass over the rows.

What TFMA lacks is the sharing: its log loss runs a Keras metric, its means another combiner, and
each unpacks every row of every slice anew through code that allows for any kind of model. Here one
combiner takes what they all need. The names of the results are TFMA's own, so whatever reads an
evaluation finds what it expects (those of the classes are not: TFMA would take its own).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types, metric_util

#: Keras keeps probabilities this far from 0 and 1 before it takes a logarithm.
_EPSILON = 1e-7

#: Predictions are told apart as finely as TFMA's AUC does by default.
_BINS = 10_000


@dataclass(slots=True)
class _Sums:
    """Sums over the rows of a slice.

    Attributes:
        rows, labels, predictions, losses: each summed.
        bins: bin of the prediction → rows, positive rows.
    """

    rows: int = 0
    labels: float = 0.0
    predictions: float = 0.0
    losses: float = 0.0
    bins: dict[int, tuple[int, float]] = field(default_factory=dict)


class _SumsCombiner(beam.CombineFn):  # type: ignore[misc]
    """Adds rows up."""

    def __init__(self, key: metric_types.MetricKey, prediction_key: str) -> None:
        self._key, self._prediction_key = key, prediction_key

    def create_accumulator(self) -> _Sums:
        return _Sums()

    def add_input(self, accumulator: _Sums, element: metric_types.StandardMetricInputs) -> _Sums:
        label = float(_single(element.labels, self._key.model_name))
        prediction = float(_single(element.predictions, self._key.model_name, self._prediction_key))
        inside = min(max(prediction, _EPSILON), 1 - _EPSILON)
        accumulator.rows += 1
        accumulator.labels += label
        accumulator.predictions += prediction
        accumulator.losses -= label * math.log(inside) + (1 - label) * math.log1p(-inside)
        index = int(inside * _BINS)
        rows, positive = accumulator.bins.get(index, (0, 0.0))
        accumulator.bins[index] = rows + 1, positive + label
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        total = _Sums()
        for part in accumulators:
            total.rows += part.rows
            total.labels += part.labels
            total.predictions += part.predictions
            total.losses += part.losses
            for index, (rows, positive) in part.bins.items():
                before = total.bins.get(index, (0, 0.0))
                total.bins[index] = before[0] + rows, before[1] + positive
        return total

    def extract_output(self, accumulator: _Sums) -> dict[metric_types.MetricKey, _Sums]:
        return {self._key: accumulator}


def _single(value: Any, *keys: str) -> Any:
    """The one number of a row; TFMA nests by model and by output only where there are several."""
    for key in keys:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return value.item()


def _auc(sums: _Sums) -> float:
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


def _computed(value: Callable[[_Sums], float]) -> Callable[..., metric_types.MetricComputations]:
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
        key = metric_types.MetricKey(name=name, **where)
        sums = metric_types.MetricKey(name="_headrace_sums", **where)
        prediction_key = eval_config.model_specs[0].prediction_key

        def result(metrics: Mapping[metric_types.MetricKey, _Sums]) -> dict[Any, float]:
            return {key: value(metrics[sums])}

        return [
            metric_types.MetricComputation([sums], None, _SumsCombiner(sums, prediction_key)),
            metric_types.DerivedMetricComputation([key], result),
        ]

    return computations


def _metric(name: str, value: Callable[[_Sums], float], text: str) -> type[metric_types.Metric]:
    """A TFMA metric class; TFMA makes an instance of it by its name and module."""

    class Shared(metric_types.Metric):  # type: ignore[misc]
        def __init__(self, name: str = name) -> None:
            computations = metric_util.merge_per_key_computations(_computed(value))
            super().__init__(computations, name=name)

    Shared.__doc__ = text
    return Shared


def _mean(part: str) -> Callable[[_Sums], float]:
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
