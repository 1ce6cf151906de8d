"""DistributionValidator: how far the newest span lies from the window, and requests from both.

What TFX lacks: ExampleValidator takes no two spans to compare, and TFDV's comparators know one
distance for each type, by bins of equal width between the extremes, without thresholds that follow
from the data, without missing rates, new values, the label or a model's predictions, and give a
number without what it was measured on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from models.config import Features, Section, features_from_json, features_to_json
from pipeline import schema_file, serving_contract
from pipeline.components.drift_report import DriftReport
from pipeline.config import Config, DriftConfig
from pipeline.drift import champion, compare, report, requests, words
from pipeline.drift.bins import binned
from pipeline.drift.columns import Column, columns
from pipeline.drift.report import (
    Calibration,
    CalibrationSummary,
    Comparison,
    Measured,
    Report,
    Side,
)
from pipeline.ingest import sample
from pipeline.ingest.summary import FILE as INGEST_FILE
from pipeline.ingest.summary import Ingested

#: A span of so many times more or fewer rows than the calibrated ones has another noise.
_OTHER_SIZE = 2.0


class Comparing(Section):
    """What the executor needs of the configuration."""

    drift: DriftConfig
    label: str
    calibration_max: float


class DistributionValidatorSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Wiring of `DistributionValidator`."""

    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "champion": component_spec.ChannelParameter(type=standard_artifacts.Model, optional=True),
    }
    OUTPUTS = {"drift": component_spec.ChannelParameter(type=DriftReport)}
    PARAMETERS = {
        "comparing": component_spec.ExecutionParameter(type=str),
        "features": component_spec.ExecutionParameter(type=str),
        "calibration": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }


class DistributionValidatorExecutor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Compares samples of rows; what a distance means for the run is the gate's to say."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes `drift.json`."""
        self._log_startup(input_dict, output_dict, exec_properties)
        examples = artifact_utils.get_single_uri(input_dict["examples"])
        with fileio.open(os.path.join(examples, INGEST_FILE), "r") as file:
            ingested = Ingested.from_json(file.read())
        comparing = Comparing.model_validate_json(exec_properties["comparing"])
        text = exec_properties["calibration"]
        work = _Work(
            comparing,
            features_from_json(exec_properties["features"]),
            Calibration.model_validate_json(text) if text else None,
            io_utils.SchemaReader().read(
                io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(input_dict["schema"]))
            ),
            ingested,
            sample.read(examples, comparing.drift.sample_rows),
        )
        models = input_dict.get("champion") or []
        model = path_utils.serving_model_path(models[0].uri) if models else None
        made = work.report(model)
        uri = artifact_utils.get_single_uri(output_dict["drift"])
        with fileio.open(os.path.join(uri, report.FILE), "w") as file:
            file.write(made.model_dump_json(indent=1))


class _Work:
    """One run's comparisons."""

    def __init__(
        self,
        comparing: Comparing,
        features: Features,
        calibration: Calibration | None,
        schema: schema_pb2.Schema,
        ingested: Ingested,
        samples: dict[tuple[str, str], pa.Table],
    ) -> None:
        self._comparing, self._features, self._calibration = comparing, features, calibration
        self._schema = schema
        self._ingested = ingested
        order = list(ingested.spans)
        self._train, self._newest = (
            [(span, samples[split, span]) for span in order if (split, span) in samples]
            for split in ("train", "eval")
        )
        self._notes: list[str] = []
        self._violations: list[serving_contract.Violation] = []

    def report(self, model: str | None) -> Report:
        """Everything that can be compared."""
        if not (self._train and self._newest):
            return Report(notes=("one of the two sides has no row: nothing was compared",))
        window = [self._columns(rows) for _, rows in self._train]
        rows = pa.concat_tables(rows for _, rows in self._newest)
        # Of one table the two splits are compared, and nothing has gone before.
        splits = len(self._ingested.spans) == 1
        newest = self._columns(rows)
        features = compare.together(window, [newest])
        bounds = self._bounds(features, rows.num_rows)
        drift = compare.compare(
            "splits" if splits else "drift",
            (self._window(), self._side(self._newest, "eval")),
            features,
            bounds,
            None if splits else self._comparing.drift.known_after,
        )
        comparisons = [self._with_champion(drift, rows, model)]
        comparisons += self._skew(window)
        past = []
        if not splits:
            spans = [
                (span, self._ingested.spans[span].kept)
                for span in (*(span for span, _ in self._train), self._newest[-1][0])
            ]
            last = self._columns(self._newest[-1][1])
            past = compare.history(spans, compare.together([*window, last]), bounds)
        return Report(
            comparisons=tuple(comparisons),
            history=tuple(past),
            calibration=self._summary(),
            violations=tuple(self._violations),
            notes=tuple(self._notes),
        )

    def _columns(self, rows: pa.Table) -> list[Column]:
        return columns(rows, self._features, self._comparing.label)

    def _bounds(self, features: list[Any], rows: int) -> dict[tuple[str, str], float]:
        known = self._calibration
        if known and rows and not 1 / _OTHER_SIZE < rows / known.span_rows < _OTHER_SIZE:
            self._notes.append(
                f"thresholds were measured on spans of {known.span_rows:,} rows; {rows:,} are "
                "compared. Measure again: headrace drift calibrate"
            )
        if not known:
            self._notes.append(
                "thresholds are three times what chance explains, because none were measured. "
                "Measure them on quiet spans: headrace drift calibrate"
            )
        return compare.thresholds(
            features,
            known.thresholds if known else {},
            schema_file.thresholds(self._schema),
            current_rows=rows,
            false_alarms=self._comparing.drift.false_alarms,
        )

    def _window(self) -> Side:
        return self._side(self._train, "train")

    def _side(self, parts: list[tuple[str, pa.Table]], split: str) -> Side:
        labels = [span for span, _ in parts]
        return Side(
            label=labels[0] if len(labels) == 1 else f"{labels[0]} … {labels[-1]}",
            rows=self._ingested.rows[split],
            sampled=sum(rows.num_rows for _, rows in parts),
        )

    def _with_champion(self, drift: Comparison, rows: pa.Table, model: str | None) -> Comparison:
        """The comparison with the champion's predictions as one more feature."""
        if model is None:
            return drift
        reference = pa.concat_tables(rows for _, rows in self._train)
        reference = sample.smallest(reference, self._comparing.drift.sample_rows)
        sides = []
        for side in (reference, rows):
            try:
                values = champion.predictions(model, side)
            except ValueError as error:
                self._notes.append(f"the champion was not asked: {error}")
                return drift
            sides.append(Column(PREDICTION, "prediction", values))
        feature = binned(sides[:1], sides[1:])
        bounds = self._chance([feature], rows.num_rows)
        (told,) = compare.compare(
            drift.kind, (drift.reference, drift.current), [feature], bounds
        ).features
        labels = np.asarray(rows[self._comparing.label], dtype=np.float64)
        mean = float(labels.mean())
        off = abs(float(sides[1].values.mean()) / mean - 1) if mean else 0.0
        calibration = Measured(
            name="calibration", value=round(off, 6), threshold=self._comparing.calibration_max
        )
        measured = (calibration, *told.measures)
        excess = max(one.excess for one in measured)
        told = told.model_copy(update={"measures": measured, "excess": round(excess, 4)})
        return drift.model_copy(update={"features": _sorted([told, *drift.features])})

    def _chance(self, features: list[Any], rows: int) -> dict[tuple[str, str], float]:
        return compare.thresholds(
            features, {}, {}, current_rows=rows, false_alarms=self._comparing.drift.false_alarms
        )

    def _skew(self, window: list[list[Column]]) -> Iterator[Comparison]:
        drift = self._comparing.drift
        if drift.request_log is None:
            return
        rows = requests.read(drift.request_log, self._features, drift.sample_rows)
        self._violations = serving_contract.violations(self._schema, rows)
        if rows.num_rows < drift.min_requests:
            self._notes.append(
                f"skew was not measured: {rows.num_rows:,} rows are logged in {drift.request_log}, "
                f"fewer than drift.min_requests = {drift.min_requests:,}"
            )
            return
        asked = columns(rows, self._features, None)
        without = [[one for one in part if one.type != "label"] for part in window]
        features = compare.together(without, [asked])
        bounds = self._bounds(features, rows.num_rows)
        side = Side(label=words.REQUESTS, rows=rows.num_rows, sampled=rows.num_rows)
        yield compare.compare("skew", (self._window(), side), features, bounds)

    def _summary(self) -> CalibrationSummary | None:
        known = self._calibration
        if known is None:
            return None
        return CalibrationSummary(
            date=known.date.isoformat(),
            spans=known.spans,
            false_alarms=f"1 in {known.false_alarms} spans",
            correction=known.correction,
            detectable=known.detectable,
        )


#: The feature that stands for the champion's predictions.
PREDICTION = "champion's prediction"


def _sorted(features: list[report.Feature]) -> tuple[report.Feature, ...]:
    return tuple(
        sorted(
            features,
            key=lambda one: (-max(m.alarms for m in one.measures), -(one.excess or 0.0)),
        )
    )


class DistributionValidator(base_component.BaseComponent):  # type: ignore[misc]
    """Compares the newest span with the window, and logged requests with the window.

    Outputs:
        drift: `DriftReport`.
    """

    SPEC_CLASS = DistributionValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(DistributionValidatorExecutor)

    def __init__(
        self,
        config: Config,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        champion_model: types.BaseChannel,
        calibration: str,
        code: str,
    ) -> None:
        """Wires the component.

        Args:
            config: the configuration.
            examples: of SpanExampleGen, with samples beside the splits.
            schema: the reviewed one; its comparators' thresholds come before the calibration's.
            champion_model: the newest blessed model, if there is one.
            calibration: `drift.json` beside the schema, its text; `""` if there is none.
            code: digest of the comparing code, part of the cache key.
        """
        comparing = Comparing(
            drift=config.drift,
            label=config.label.name,
            calibration_max=config.evaluation.bars.calibration_max,
        )
        super().__init__(
            DistributionValidatorSpec(
                examples=examples,
                schema=schema,
                champion=champion_model,
                comparing=comparing.model_dump_json(),
                features=features_to_json(config.features),
                calibration=calibration,
                code=code,
                drift=types.Channel(type=DriftReport),
            )
        )
