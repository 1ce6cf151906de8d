"""DataGate: reads what validation found, applies the policies, lets the run pass or ends it.

What TFX lacks: ExampleValidator's anomalies stop nothing, it never compares two spans, and nothing
looks at how many rows were refused. A failed execution publishes no outputs, so a closed gate is a
published verdict with `passed` = 0, under which `Cond` skips the rest, and not an exception.
"""

from __future__ import annotations

import json
import os
from typing import Any

import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.components.example_validator import executor as example_validator
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils

from pipeline import findings
from pipeline.components.gate_verdict import GateVerdict
from pipeline.config import Config
from pipeline.ingest.summary import FILE, Ingested


class DataGateSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Wiring of `DataGate`."""

    INPUTS = {
        "examples": component_spec.ChannelParameter(type=standard_artifacts.Examples),
        "statistics": component_spec.ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema),
        "anomalies": component_spec.ChannelParameter(type=standard_artifacts.ExampleAnomalies),
    }
    OUTPUTS = {"verdict": component_spec.ChannelParameter(type=GateVerdict)}
    PARAMETERS = {
        "policies": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
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
        with fileio.open(
            os.path.join(artifact_utils.get_single_uri(input_dict["examples"]), FILE), "r"
        ) as file:
            ingested = Ingested.from_json(file.read())
        found = [
            *findings.of_ingestion(ingested, policies),
            *_anomalies(artifact_utils.get_single_instance(input_dict["anomalies"])),
            *_drift(input_dict["statistics"], input_dict["schema"]),
        ]
        verdict = findings.judge(found, policies)
        artifact = artifact_utils.get_single_instance(output_dict["verdict"])
        with fileio.open(os.path.join(artifact.uri, findings.FILE), "w") as file:
            file.write(json.dumps(verdict, indent=2))
        artifact.set_int_custom_property("passed", int(verdict["passed"]))


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


def _drift(
    statistics: list[types.Artifact], schema: list[types.Artifact]
) -> list[findings.Finding]:
    """The newest span against the window before it, by the schema's own drift comparators."""
    artifact = artifact_utils.get_single_instance(statistics)
    train, newest = (
        stats_artifact_utils.load_statistics(artifact, split).proto() for split in ("train", "eval")
    )
    if not (train.datasets[0].num_examples and newest.datasets[0].num_examples):
        return []
    contract = io_utils.SchemaReader().read(
        io_utils.get_only_uri_in_dir(artifact_utils.get_single_uri(schema))
    )
    plain = tfdv.validate_statistics(newest, contract)
    compared = tfdv.validate_statistics(newest, contract, previous_statistics=train)
    measured = {
        ".".join(info.path.step): info.drift_measurements[0]
        for info in compared.drift_skew_info
        if info.drift_measurements
    }
    known = {
        (name, reason.type) for name, info in plain.anomaly_info.items() for reason in info.reason
    }
    found = []
    for name, info in compared.anomaly_info.items():
        for reason in info.reason:
            if (name, reason.type) in known:
                continue
            measurement = measured.get(name)
            found.append(
                findings.Finding(
                    kind="drift",
                    feature=name,
                    split="eval",
                    message=reason.description,
                    value=measurement.value if measurement else None,
                    threshold=measurement.threshold if measurement else None,
                )
            )
    return found


def _findings(
    anomalies: anomalies_pb2.Anomalies, kind: findings.Kind, split: str
) -> list[findings.Finding]:
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
        verdict: `GateVerdict`.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(DataGateExecutor)

    def __init__(
        self,
        config: Config,
        examples: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        anomalies: types.BaseChannel,
        code: str,
    ) -> None:
        """Wires the component; `code` is a digest of the gate's code, part of the cache key."""
        super().__init__(
            DataGateSpec(
                examples=examples,
                statistics=statistics,
                schema=schema,
                anomalies=anomalies,
                policies=findings.Policies.of(config).model_dump_json(),
                code=code,
                verdict=types.Channel(type=GateVerdict),
            )
        )
