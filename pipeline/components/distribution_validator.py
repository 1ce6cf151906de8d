"""DistributionValidator: how far the newest span lies from the window, and requests from both.

What TFX lacks: ExampleValidator takes no two spans to compare, and TFDV's comparators know one
distance for each type, by bins of equal width between the extremes, without thresholds that follow
from the data, without missing rates, new values, the label or a model's predictions, and give a
number without what it was measured on.
"""

from __future__ import annotations

import os
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from models.config import features_from_json, features_to_json
from pipeline import outside
from pipeline.components.content_driver import ContentDriver
from pipeline.components.drift_report import DriftReport
from pipeline.config import Config
from pipeline.drift import report
from pipeline.drift.comparisons import Comparing, Comparisons
from pipeline.drift.report import (
    Calibration,
)
from pipeline.ingest import sample
from pipeline.ingest.summary import FILE as INGEST_FILE
from pipeline.ingest.summary import Ingested


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


class DriftDriver(ContentDriver):
    """Adds the digest of the logged requests: servers go on writing under the same pattern."""

    def content(self, properties: dict[str, Any]) -> dict[str, str]:
        """See base class."""
        comparing = Comparing.model_validate_json(properties["comparing"])
        return {"requests": outside.requests_digest(comparing.drift.request_log)}


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
        work = Comparisons(
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


class DistributionValidator(base_component.BaseComponent):  # type: ignore[misc]
    """Compares the newest span with the window, and logged requests with the window.

    Outputs:
        drift: `DriftReport`.
    """

    SPEC_CLASS = DistributionValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(DistributionValidatorExecutor)
    DRIVER_CLASS = DriftDriver

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
            pattern=config.data.pattern,
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
