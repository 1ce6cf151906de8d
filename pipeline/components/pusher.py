"""The Pusher: a blessed model becomes the newest version in the serving folder, or nothing happens.

TFX's own Pusher copies straight into the folder a server is watching, takes the second of the clock
as version number, and when that number exists skips the copy but still records "pushed". This one
lets `serving.registry` stage, verify and rename; numbers grow whatever the clock does; a model that
is already the newest version is not pushed again; and inside each version lies a manifest that says
where it comes from.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from absl import logging
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_component, base_driver, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.orchestration.portable import base_driver as portable_driver
from tfx.orchestration.portable import data_types
from tfx.proto.orchestration import driver_output_pb2
from tfx.types import artifact_utils, component_spec, standard_artifacts
from tfx.utils import io_utils, path_utils

from pipeline.components import provenance
from pipeline.components.remote_registry import Target, open_target
from pipeline.errors import RunError
from serving.layout import MANIFEST, RegistryError, check_model_name
from serving.manifest import Manifest, hash_folder, is_same_model, model_digest

#: Custom properties of the PushedModel artifact; the first three are those of TFX's own Pusher.
PUSHED_KEY = "pushed"
PUSHED_VERSION_KEY = "pushed_version"
PUSHED_DESTINATION_KEY = "pushed_destination"
REASON_KEY = "reason"

#: Execution property: id of the run, from the driver or from the runner.
RUN_ID_KEY = "run_id"


class AtomicPusherSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Inputs, outputs and parameters of `AtomicPusher`."""

    INPUTS = {
        "model": component_spec.ChannelParameter(type=standard_artifacts.Model),
        "model_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.ModelBlessing, optional=True
        ),
        "infra_blessing": component_spec.ChannelParameter(
            type=standard_artifacts.InfraBlessing, optional=True
        ),
        "examples": component_spec.ChannelParameter(
            type=standard_artifacts.Examples, optional=True
        ),
        "schema": component_spec.ChannelParameter(type=standard_artifacts.Schema, optional=True),
        "evaluation": component_spec.ChannelParameter(
            type=standard_artifacts.ModelEvaluation, optional=True
        ),
    }
    OUTPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    PARAMETERS = {
        "serving": component_spec.ExecutionParameter(type=str),
        "provenance": component_spec.ExecutionParameter(type=str),
        RUN_ID_KEY: component_spec.ExecutionParameter(type=str, optional=True),
    }


class PushDriver(base_driver.BaseDriver, portable_driver.BaseDriver):  # type: ignore[misc]
    """Keeps TFX's cache from answering for the serving folder, which others may change too.

    Without it, a run after somebody removed the versions would find its inputs unchanged and
    report the push of long ago. Looking each time costs little: the executor pushes a model once.
    """

    def run(self, execution_info: data_types.ExecutionInfo) -> driver_output_pb2.DriverOutput:
        """Makes the cache key of every run its own (Vertex runs no drivers but its own)."""
        output = driver_output_pb2.DriverOutput()
        output.exec_properties[RUN_ID_KEY].string_value = execution_info.pipeline_run_id
        return output


class AtomicPusherExecutor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Pushes a model once. Running it again on the same model changes nothing.

    If it is killed after the push and before ML Metadata knows, the next run finds the very model
    in the serving folder and reports that version.
    """

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Pushes, or says in the output's custom properties why not.

        Sets on `pushed_model`: `pushed` (1 if this run made the version, else 0), `reason` if not,
        and, if the model is served as a version, `pushed_version` and `pushed_destination`; a copy
        of that version's manifest is the artifact's content, which outlives the version.

        Raises:
            RunError: the serving folder refuses; nothing was pushed.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed_model = artifact_utils.get_single_instance(output_dict["pushed_model"])
        objection = _objection(input_dict)
        if objection:
            logging.info("Not pushed: %s", objection)
            pushed_model.set_int_custom_property(PUSHED_KEY, 0)
            pushed_model.set_string_custom_property(REASON_KEY, objection)
            return
        serving = json.loads(exec_properties["serving"])
        try:
            target = open_target(serving["base_path"], serving["model_name"])
            with _local_folder(artifact_utils.get_single_uri(input_dict["model"])) as model:
                origin = provenance.collect(
                    input_dict,
                    exec_properties["provenance"],
                    self._run_id(exec_properties.get(RUN_ID_KEY)),
                    model,
                )
                newest = target.newest_whole()
                if newest and is_same_model(newest, model_digest(hash_folder(model)), origin):
                    manifest = newest
                else:
                    manifest = target.push(model, origin)
        except RegistryError as error:
            raise RunError(str(error)) from error
        is_ours = manifest.run_id is not None and manifest.run_id == origin.run_id
        _record(pushed_model, manifest, target, pushed=manifest is not newest or is_ours)
        _retain(target, serving["keep_versions"])

    def _run_id(self, given: str | None) -> str | None:
        context = self._context
        if context and context.pipeline_run_id:
            return str(context.pipeline_run_id)
        if given and "{{" not in given:
            return given
        # A runner that replaced nothing leaves an id that is unique to the task.
        return context._unique_id if context else None


class AtomicPusher(base_component.BaseComponent):  # type: ignore[misc]
    """Pushes a blessed model to `<base_path>/<model_name>/<next number>/`.

    Args:
        model: channel of the Model to push.
        model_blessing, infra_blessing: each given must bless the model, or it is not pushed.
        examples, schema, evaluation: what the manifest tells of data, schema and metrics.
        base_path: the model base path, a local folder or a URL.
        model_name: the name clients ask for.
        keep_versions: newest versions kept after a push, at least 1; labelled ones stay besides.
        provenance: what only the pipeline's author knows: `config_sha256`, `code_sha256`,
            `git_revision`, … (fields of `serving.manifest.Provenance`; others are kept too).
        run_id: what a runner replaces by the run's id, where it does not tell executors.

    Raises:
        RegistryError: `model_name` cannot be a model's name.
        ValueError: `keep_versions` is below 1.
    """

    SPEC_CLASS = AtomicPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(AtomicPusherExecutor)
    DRIVER_CLASS = PushDriver

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        base_path: str,
        model_name: str,
        keep_versions: int,
        provenance: Mapping[str, object],
        model_blessing: types.BaseChannel | None = None,
        infra_blessing: types.BaseChannel | None = None,
        examples: types.BaseChannel | None = None,
        schema: types.BaseChannel | None = None,
        evaluation: types.BaseChannel | None = None,
        run_id: str = "",
    ) -> None:
        if keep_versions < 1:
            raise ValueError(f"keep_versions must be at least 1, got {keep_versions}")
        serving = {
            "base_path": base_path,
            "model_name": check_model_name(model_name),
            "keep_versions": keep_versions,
        }
        spec = AtomicPusherSpec(
            model=model,
            model_blessing=model_blessing,
            infra_blessing=infra_blessing,
            examples=examples,
            schema=schema,
            evaluation=evaluation,
            pushed_model=types.Channel(type=standard_artifacts.PushedModel),
            serving=json.dumps(serving, sort_keys=True),
            provenance=json.dumps(provenance, sort_keys=True),
            **({RUN_ID_KEY: run_id} if run_id else {}),
        )
        super().__init__(spec=spec)
        self.with_id("Pusher")


def _objection(inputs: dict[str, list[types.Artifact]]) -> str | None:
    judges = {
        "model_blessing": ("the Evaluator", model_utils.is_model_blessed),
        "infra_blessing": ("the InfraValidator", model_utils.is_infra_validated),
    }
    wired = [key for key in judges if key in inputs]
    for key in wired:
        judge, is_blessed = judges[key]
        # TFX hands over an empty list when the judge published nothing; that is no blessing.
        if not inputs[key] or not is_blessed(artifact_utils.get_single_instance(inputs[key])):
            return f"not blessed by {judge}"
    if not wired:
        logging.warning("Pushing a model that neither Evaluator nor InfraValidator has judged.")
    return None


@contextmanager
def _local_folder(model_uri: str) -> Iterator[Path]:
    folder = path_utils.serving_model_path(model_uri)
    if "://" not in folder:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory() as copy:
        io_utils.copy_dir(folder, copy)
        yield Path(copy)


def _record(artifact: types.Artifact, manifest: Manifest, target: Target, *, pushed: bool) -> None:
    artifact.set_int_custom_property(PUSHED_KEY, int(pushed))
    artifact.set_string_custom_property(PUSHED_VERSION_KEY, str(manifest.version))
    artifact.set_string_custom_property(PUSHED_DESTINATION_KEY, target.location(manifest.version))
    if not pushed:
        reason = f"identical to version {manifest.version}"
        artifact.set_string_custom_property(REASON_KEY, reason)
        logging.info("Not pushed: %s", reason)
    fileio.makedirs(artifact.uri)
    with fileio.open(os.path.join(artifact.uri, MANIFEST), "w") as file:
        file.write(manifest.to_json())


def _retain(target: Target, keep_versions: int) -> None:
    try:
        deleted = target.retain(keep_versions)
    except RegistryError as error:
        # The model is pushed; a failed run would deny it. The next push deletes again.
        logging.warning("Old versions were not deleted: %s", error)
    else:
        logging.info("Old versions deleted: %s", deleted or "none")
