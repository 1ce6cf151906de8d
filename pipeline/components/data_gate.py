"""DataGate: reads what validation found, applies the policies, lets the run pass or ends it.

What TFX lacks: ExampleValidator's anomalies stop nothing, and nothing looks at how many rows were
refused or how far data has moved. A failed execution publishes no outputs, so a closed gate is a
published verdict with `passed` = 0, under which `Cond` skips the rest, and not an exception.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils

from pipeline import findings
from pipeline.components.drift_report import DriftReport
from pipeline.components.gate_verdict import GateVerdict
from pipeline.config import Config, Kind
from pipeline.drift import report, words
from pipeline.ingest.summary import FILE as INGEST_FILE
from pipeline.ingest.summary import Ingested
from pipeline.schema_fit import LEFT_OUT_KEY, UNREVIEWED_KEY


class DataGateSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Wiring of `DataGate`."""

    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "drift": component_spec.ChannelParameter(type=DriftReport),
    }
    OUTPUTS = {"verdict": component_spec.ChannelParameter(type=GateVerdict)}
    PARAMETERS = {
        "policies": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
        "as_of": component_spec.ExecutionParameter(type=str),
    }


class DataGateExecutor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Collects findings; never raises for bad data."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the verdict."""
        self._log_startup(input_dict, output_dict, exec_properties)
        policies = findings.Policies.model_validate_json(exec_properties["policies"])
        ingested = Ingested.from_json(_read(input_dict["examples"], INGEST_FILE))
        drift = report.Report.model_validate_json(_read(input_dict["drift"], report.FILE))
        schema = artifact_utils.get_single_instance(input_dict["schema"])
        found = [
            *findings.of_ingestion(ingested, policies, _property(schema, LEFT_OUT_KEY, ())),
            *findings.of_schema(_property(schema, UNREVIEWED_KEY, {})),
            *_anomalies(artifact_utils.get_single_instance(input_dict["anomalies"])),
            *words.findings(drift),
        ]
        verdict = findings.judge(found, policies, dt.datetime.now(dt.UTC).date())
        artifact = artifact_utils.get_single_instance(output_dict["verdict"])
        with fileio.open(os.path.join(artifact.uri, findings.FILE), "w") as file:
            file.write(json.dumps(verdict, indent=2))
        for name in ("passed", "retrain"):
            artifact.set_int_custom_property(name, int(verdict[name]))


def _read(artifacts: list[types.Artifact], name: str) -> str:
    with fileio.open(os.path.join(artifact_utils.get_single_uri(artifacts), name), "r") as file:
        return str(file.read())


def _property(artifact: types.Artifact, key: str, default: Any) -> Any:
    text = artifact.get_string_custom_property(key)
    return json.loads(text) if text else default


def _anomalies(artifact: types.Artifact) -> list[findings.Finding]:
    """ExampleValidator's anomalies, split by split."""
    found = []
    for split in artifact_utils.decode_split_names(artifact.split_names):
        path = os.path.join(
            artifact_utils.get_split_uri([artifact], split), example_validator.DEFAULT_FILE_NAME
        )
        anomalies = anomalies_pb2.Anomalies()
        anomalies.ParseFromString(io_utils.read_bytes_file(path))
        found.extend(_findings(anomalies, "anomaly", split))
    return found


def _findings(anomalies: anomalies_pb2.Anomalies, kind: Kind, split: str) -> list[findings.Finding]:
    found = [
        findings.Finding(kind=kind, feature=name, split=split, message=reason.description)
        for name, info in anomalies.anomaly_info.items()
        for reason in info.reason
    ]
    for reason in anomalies.dataset_anomaly_info.reason:
        found.append(
            findings.Finding(kind=kind, feature="", split=split, message=reason.description)
        )
    return found


class DataGate(base_component.BaseComponent):  # type: ignore[misc]
    """Closes on findings whose policy is `block`.

    Outputs:
        verdict: `GateVerdict` with the custom properties `passed` and `retrain` (0 or 1).
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(DataGateExecutor)

    def __init__(
        self,
        config: Config,
        examples: types.BaseChannel,
        anomalies: types.BaseChannel,
        schema: types.BaseChannel,
        drift: types.BaseChannel,
        code: str,
    ) -> None:
        """Wires the component; `code` is a digest of the gate's code, part of the cache key."""
        # What is allowed for a time must be judged anew each day, and not be taken from the cache.
        as_of = dt.datetime.now(dt.UTC).date().isoformat() if config.gates.allow else ""
        super().__init__(
            DataGateSpec(
                examples=examples,
                anomalies=anomalies,
                schema=schema,
                drift=drift,
                as_of=as_of,
                policies=findings.Policies.of(config).model_dump_json(),
                code=code,
                verdict=types.Channel(type=GateVerdict),
            )
        )
