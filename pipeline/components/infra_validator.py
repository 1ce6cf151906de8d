"""The InfraValidator: a real server process has loaded the model and answered rightly, or no push.

TFX's own knows servers in Docker and Kubernetes only (Vertex refuses it), asks for no more than an
answer, and says nothing of why. This one runs wherever TensorFlow does, compares the answers with
those of the Trainer, holds the model to a latency budget, and writes down what it found. Artifact
type and blessing files are TFX's, so that any Pusher understands them.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from pipeline import outside
from pipeline.components.content_driver import ContentDriver
from pipeline.config import ProofConfig
from serving.proof.prove import prove
from serving.proof.verdict import FILE, Demands

_BLESSED, _NOT_BLESSED = "INFRA_BLESSED", "INFRA_NOT_BLESSED"


class InfraValidatorSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Inputs, outputs and parameters of `InfraValidator`."""

    INPUTS = {"model": component_spec.ChannelParameter(type=standard_artifacts.Model)}
    OUTPUTS = {"blessing": component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing)}
    PARAMETERS = {
        "demands": component_spec.ExecutionParameter(type=str),
        "code": component_spec.ExecutionParameter(type=str),
    }


class ProofDriver(ContentDriver):
    """Adds the digest of the server's program: another one may lie under the same path."""

    def content(self, properties: dict[str, Any]) -> dict[str, str]:
        """See base class."""
        return {"server": outside.server_digest(json.loads(properties["demands"])["server"])}


class InfraValidatorExecutor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Serves a copy of the model on this machine and asks it."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Blesses the model, or not; either way `proof.json` says why."""
        self._log_startup(input_dict, output_dict, exec_properties)
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        model = artifact_utils.get_single_uri(input_dict["model"])
        with tempfile.TemporaryDirectory(prefix="headrace-proof-") as temporary:
            folder = Path(temporary) / "model"
            io_utils.copy_dir(path_utils.serving_model_path(model), str(folder))
            verdict = prove(folder, Demands(**json.loads(exec_properties["demands"])))
        for finding in verdict.findings:
            level = logging.INFO if finding.passed else logging.ERROR
            logging.log(level, "%s: %s", finding.check, finding.message)
        fileio.makedirs(blessing.uri)
        with fileio.open(os.path.join(blessing.uri, FILE), "w") as file:
            file.write(verdict.to_json())
        name = _BLESSED if verdict.passed else _NOT_BLESSED
        with fileio.open(os.path.join(blessing.uri, name), "w") as file:
            file.write("")
        blessing.set_int_custom_property("blessed", int(verdict.passed))


class InfraValidator(base_component.BaseComponent):  # type: ignore[misc]
    """Proves that a model can be served.

    Outputs:
        blessing: `InfraBlessing` with the custom property `blessed` (0 or 1), and `proof.json`.

    Args:
        config: what is demanded.
        model: channel of the Model.
        code: digest of the proving code, part of the cache key.
    """

    SPEC_CLASS = InfraValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(InfraValidatorExecutor)
    DRIVER_CLASS = ProofDriver

    def __init__(self, config: ProofConfig, *, model: types.BaseChannel, code: str) -> None:
        super().__init__(
            spec=InfraValidatorSpec(
                model=model,
                demands=config.model_dump_json(),
                code=code,
                blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
