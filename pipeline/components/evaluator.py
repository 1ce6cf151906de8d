"""TFX's Evaluator, with the judgement that TFX lacks.

The stock executor computes and compares; what it lacks: bars in slices that forgive small slices
and undefined metrics, a calibration bar against the champion, a reason in words, and the refusal
to compare a model with itself (after a cache hit the latest blessed model *is* the candidate).
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import tensorflow_model_analysis as tfma
from google.protobuf import json_format
from tfx import types
from tfx.components.evaluator import constants
from tfx.components.evaluator import executor as stock
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts, standard_component_specs
from tfx.utils import json_utils, path_utils

from models.config import RawType, raw_columns
from pipeline import champion_inputs, comparable, evaluation
from pipeline.config import Config, EvaluationConfig
from pipeline.ingest.summary import FILE as INGEST_FILE
from serving.proof.files import RECORD_FILE

_BASELINE = standard_component_specs.BASELINE_MODEL_KEY


class EvaluatorSpec(standard_component_specs.EvaluatorSpec):  # type: ignore[misc]
    """Wiring of TFX's Evaluator, plus the bars and a digest of the code that judges."""

    PARAMETERS = {
        **standard_component_specs.EvaluatorSpec.PARAMETERS,
        "bars": component_spec.ExecutionParameter(type=str),
        "columns": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }


class EvaluatorExecutor(stock.Executor):  # type: ignore[misc]
    """Evaluates with TFMA, then judges with `pipeline.evaluation`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """See base class; also writes `metrics.json` beside TFMA's files."""
        candidate = artifact_utils.get_single_instance(input_dict["model"])
        baseline = input_dict.get(_BASELINE) or []
        is_champion = any(model.uri == candidate.uri for model in baseline)
        misfit = "" if is_champion else _misfit(baseline, json.loads(exec_properties["columns"]))
        notes = [champion_inputs.told(misfit)] if misfit else []
        compared = _comparison([] if is_champion or misfit else baseline, input_dict["examples"])
        notes += [compared.note] if compared.note else []
        if is_champion or misfit or not compared.made:
            input_dict = {key: value for key, value in input_dict.items() if key != _BASELINE}
            baseline = []
        super().Do(input_dict, output_dict, exec_properties)

        evaluated = artifact_utils.get_single_instance(output_dict["evaluation"])
        results = _results(evaluated.uri, has_baseline=bool(baseline))
        models = {model: _metrics(result) for model, result in results.items()}
        checks = evaluation.judge(
            models[evaluation.CANDIDATE],
            models.get(evaluation.CHAMPION),
            EvaluationConfig.model_validate_json(exec_properties["bars"]),
        )
        with fileio.open(os.path.join(evaluated.uri, evaluation.METRICS_FILE), "w") as file:
            uncertainty = {model: _uncertainty(result) for model, result in results.items()}
            file.write(evaluation.metrics_json(models, checks, uncertainty, notes))
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.set_int_custom_property("is_champion", int(is_champion))
        _bless(blessing, evaluation.blessed(checks))


def _misfit(baseline: list[types.Artifact], columns: dict[str, RawType]) -> str:
    """Why the champion cannot be asked about these examples; `""` if it can or there is none."""
    if not baseline:
        return ""
    return champion_inputs.misfit(path_utils.serving_model_path(baseline[0].uri), columns)


def _comparison(
    baseline: list[types.Artifact], examples: list[types.Artifact]
) -> comparable.Comparison:
    """Whether the champion can be judged on these rows."""
    if not baseline:
        return comparable.Comparison(made=True)
    ingested = _json(artifact_utils.get_single_uri(examples), INGEST_FILE) or {}
    folder = path_utils.serving_model_path(artifact_utils.get_single_uri(baseline))
    trained = _json(folder, RECORD_FILE) or {}
    return comparable.comparison(trained.get("dealt"), ingested.get("dealt") or {})


def _json(folder: str, name: str) -> dict[str, Any] | None:
    path = os.path.join(folder, name)
    if not fileio.exists(path):
        return None
    with fileio.open(path, "r") as file:
        told: dict[str, Any] = json.loads(file.read())
    return told


_CANDIDATE_NAME, _BASELINE_NAME = "candidate", "baseline"


def _results(uri: str, *, has_baseline: bool) -> dict[str, Any]:
    """TFMA's results by our names. TFMA names models only when there are two."""
    if not has_baseline:
        return {evaluation.CANDIDATE: tfma.load_eval_result(uri)}
    return {
        evaluation.CANDIDATE: tfma.load_eval_result(uri, model_name=_CANDIDATE_NAME),
        evaluation.CHAMPION: tfma.load_eval_result(uri, model_name=_BASELINE_NAME),
    }


def _metrics(result: Any) -> evaluation.SliceMetrics:
    slices = _slices(result, evaluation.TFMA_METRICS)
    return {name: evaluation.completed(metrics) for name, metrics in slices.items()}


def _uncertainty(result: Any) -> evaluation.Uncertainty:
    return evaluation.Uncertainty(
        errors=_slices(result, evaluation.ERRORS),
        change_errors=_slices(result, evaluation.CHANGE_ERRORS),
        curve=_curve(result),
    )


def _slices(result: Any, wanted: Mapping[str, tuple[str, str, str]]) -> dict[str, dict[str, float]]:
    """Values by slice and by our names; NaN where TFMA has none."""
    slices = {}
    for key, outputs in result.slicing_metrics:
        name = ", ".join(f"{column}={_plain(value)}" for column, value in key)
        values = next(iter(next(iter(outputs.values())).values()))
        slices[name or evaluation.OVERALL] = {
            ours: float(values.get(theirs, {}).get("doubleValue", math.nan))
            for ours, (_, _, theirs) in wanted.items()
        }
    return slices


def _curve(result: Any) -> list[dict[str, float]]:
    """The calibration curve over all rows."""
    for key, outputs in result.plots:
        if not key:
            plot = next(iter(next(iter(outputs.values())).values()))
            return [
                {
                    "low": bucket.get("lowerThresholdInclusive", 0.0),
                    "high": bucket["upperThresholdExclusive"],
                    "rows": bucket["numWeightedExamples"],
                    "predictions": bucket["totalWeightedRefinedPrediction"],
                    "labels": bucket["totalWeightedLabel"],
                }
                for bucket in plot["calibrationHistogramBuckets"].get("buckets", [])
            ]
    return []


def _plain(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _bless(blessing: types.Artifact, passed: bool) -> None:
    """Makes file and property say the same, whatever the stock judgement left there."""
    chosen, other = constants.BLESSED_FILE_NAME, constants.NOT_BLESSED_FILE_NAME
    if not passed:
        chosen, other = other, chosen
    stale = os.path.join(blessing.uri, other)
    if fileio.exists(stale):
        fileio.remove(stale)
    with fileio.open(os.path.join(blessing.uri, chosen), "w") as file:
        file.write("")
    blessing.set_int_custom_property(
        constants.ARTIFACT_PROPERTY_BLESSED_KEY,
        constants.BLESSED_VALUE if passed else constants.NOT_BLESSED_VALUE,
    )


class Evaluator(base_beam_component.BaseBeamComponent):  # type: ignore[misc]
    """Evaluates a model on the `eval` split and blesses it or not.

    Outputs:
        evaluation: `ModelEvaluation`: TFMA's files and `metrics.json`.
        blessing: `ModelBlessing` with the custom property `blessed` (0 or 1).
    """

    SPEC_CLASS = EvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(EvaluatorExecutor)

    def __init__(
        self,
        config: Config,
        examples: types.BaseChannel,
        model: types.BaseChannel,
        baseline_model: types.BaseChannel,
        schema: types.BaseChannel,
        code: str,
    ) -> None:
        """Wires the component; `code` is a digest of the judging code, part of the cache key."""
        super().__init__(
            EvaluatorSpec(
                examples=examples,
                model=model,
                baseline_model=baseline_model,
                schema=schema,
                example_splits=json_utils.dumps(["eval"]),
                eval_config=json_format.Parse(
                    evaluation.eval_config_json(config.evaluation, config.label.name),
                    tfma.EvalConfig(),
                ),
                bars=config.evaluation.model_dump_json(),
                columns=json.dumps(raw_columns(config.features)),
                code=code,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
