"""TFMA metrics of a binary classifier that share one pass over the rows.

What TFMA lacks is the sharing: its log loss runs a Keras metric, its means another combiner, and
each unpacks every row of every slice anew through code that allows for any kind of model. Here one
combiner takes what these three need. The names of the results are TFMA's own, so whatever reads
an evaluation finds what it expects (those of the classes are not: TFMA would take its own). AUC
and the number of rows remain TFMA's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import apache_beam as beam
from tensorflow_model_analysis.metrics import metric_types, metric_util

#: Keras keeps probabilities this far from 0 and 1 before it takes a logarithm.
_EPSILON = 1e-7

#: rows, labels, predictions and log losses, each summed.
_Sums = list[float]


class _SumsCombiner(beam.CombineFn):  # type: ignore[misc]
    """Sums over the rows of a slice."""

    def __init__(self, key: metric_types.MetricKey, prediction_key: str) -> None:
        self._key, self._prediction_key = key, prediction_key

    def create_accumulator(self) -> _Sums:
        return [0.0, 0.0, 0.0, 0.0]

    def add_input(self, accumulator: _Sums, element: metric_types.StandardMetricInputs) -> _Sums:
        label = float(_single(element.labels, self._key.model_name))
        prediction = float(_single(element.predictions, self._key.model_name, self._prediction_key))
        inside = min(max(prediction, _EPSILON), 1 - _EPSILON)
        accumulator[0] += 1
        accumulator[1] += label
        accumulator[2] += prediction
        accumulator[3] -= label * math.log(inside) + (1 - label) * math.log1p(-inside)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        return [sum(parts) for parts in zip(*accumulators, strict=True)]

    def extract_output(self, accumulator: _Sums) -> dict[metric_types.MetricKey, _Sums]:
        return {self._key: accumulator}


def _single(value: Any, *keys: str) -> Any:
    """The one number of a row; TFMA nests by model and by output only where there are several."""
    for key in keys:
        if isinstance(value, Mapping) and key in value:
            value = value[key]
    return value.item()


def _mean_of(part: int) -> Callable[..., metric_types.MetricComputations]:
    """Computations of the mean of one part of the sums, NaN where there is no row."""

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
            rows = metrics[sums][0]
            return {key: metrics[sums][part] / rows if rows else math.nan}

        return [
            metric_types.MetricComputation([sums], None, _SumsCombiner(sums, prediction_key)),
            metric_types.DerivedMetricComputation([key], result),
        ]

    return computations


class _Mean(metric_types.Metric):  # type: ignore[misc]
    part: int
    result: str

    def __init__(self, name: str | None = None) -> None:
        super().__init__(
            metric_util.merge_per_key_computations(_mean_of(self.part)), name=name or self.result
        )


class LabelMean(_Mean):
    """Share of positive rows."""

    part, result = 1, "mean_label"


class PredictionMean(_Mean):
    """Mean of the predicted probabilities."""

    part, result = 2, "mean_prediction"


class LogLoss(_Mean):
    """Binary cross-entropy in nats, probabilities kept 1e-7 from 0 and 1 as Keras does."""

    part, result = 3, "binary_crossentropy"
