"""The VertexRegistrar: what was pushed becomes a version in Vertex's model registry, and serves.

TFX has a Pusher for Vertex (`tfx.extensions.google_cloud_ai_platform.pusher`). It stands in the
place of the stock Pusher, so there is no folder for TensorFlow Serving beside it, no manifest, and
no check that the very model was pushed before. Each run uploads a model of its own, named by the
second of the clock: none is a version of another, and a rerun uploads once more. Of several
endpoints with the name it takes any; it never undeploys, so that each push adds machines for ever;
a refused deployment leaves an uploaded model that nothing finds again.

This one comes after the Pusher and reads what that recorded. `pipeline.vertex.registry` does the
work, each step only where it is not done.
"""

from __future__ import annotations

import json
import posixpath
from typing import TYPE_CHECKING, Any

from absl import logging
from tfx import types
from tfx.dsl.components.base import base_component, base_executor, executor_spec
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, component_spec, standard_artifacts

from pipeline.components.pusher import PUSHED_DESTINATION_KEY, PUSHED_VERSION_KEY, REASON_KEY
from pipeline.components.registered_model import RegisteredModel
from pipeline.errors import RunError
from pipeline.vertex.config import VertexConfig
from serving.layout import MANIFEST
from serving.manifest import parse_manifest

if TYPE_CHECKING:
    from pipeline.vertex.registry import Registration

#: Custom properties of the RegisteredModel artifact.
UPLOADED_KEY = "uploaded"
MODEL_KEY = "model"
ENDPOINT_KEY = "endpoint"
DEPLOYED_MODEL_KEY = "deployed_model"
TRAFFIC_KEY = "traffic"
UNDEPLOYED_KEY = "undeployed"

#: What of `[vertex]` the executor reads.
_SETTINGS = {"project", "region", "service_account", "encryption_key", "registry"}


class VertexRegistrarSpec(component_spec.ComponentSpec):  # type: ignore[misc]
    """Inputs, outputs and parameters of `VertexRegistrar`."""

    INPUTS = {"pushed_model": component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}
    OUTPUTS = {"registered_model": component_spec.ChannelParameter(type=RegisteredModel)}
    PARAMETERS = {"settings": component_spec.ExecutionParameter(type=str)}


class VertexRegistrarExecutor(base_executor.BaseExecutor):  # type: ignore[misc]
    """Registers a pushed version once. Running it again on the same one changes nothing."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Registers and deploys, or says in the output's custom properties why not.

        Sets on `registered_model`: `uploaded` (1 if this run made the version in the registry);
        `reason` if no model is served as a version; else `model`, and where it is deployed
        `endpoint`, `deployed_model` (id), `traffic` (JSON, deployed id → per cent) and
        `undeployed` (JSON list of ids).

        A model that was pushed by an earlier run, found again by this one, is registered too,
        should that run have ended before it was.

        Raises:
            RunError: Google's API refuses, google-cloud-aiplatform is not installed, or the
                version is in no bucket.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        pushed = artifact_utils.get_single_instance(input_dict["pushed_model"])
        registered = artifact_utils.get_single_instance(output_dict["registered_model"])
        if not pushed.get_string_custom_property(PUSHED_VERSION_KEY):
            reason = f"nothing was pushed: {pushed.get_string_custom_property(REASON_KEY)}"
            logging.info("Not registered: %s", reason)
            registered.set_int_custom_property(UPLOADED_KEY, 0)
            registered.set_string_custom_property(REASON_KEY, reason)
            return
        destination = pushed.get_string_custom_property(PUSHED_DESTINATION_KEY)
        vertex = VertexConfig.model_validate_json(exec_properties["settings"])
        _record(registered, _register(vertex, destination, posixpath.join(pushed.uri, MANIFEST)))


def _register(vertex: VertexConfig, destination: str, manifest: str) -> Registration:
    try:
        from pipeline.vertex import api, registry
    except ImportError as error:
        raise RunError(
            f"[vertex.registry] needs google-cloud-aiplatform, which cannot be imported here "
            f"({error}): pip install 'headrace[vertex]'. The model is pushed; run again."
        ) from error
    with fileio.open(manifest, "rb") as file:
        told = parse_manifest(bytes(file.read()), manifest)
    return registry.register(vertex, api.address_of(destination), told)


def _record(artifact: types.Artifact, found: Registration) -> None:
    artifact.set_int_custom_property(UPLOADED_KEY, int(found.uploaded))
    artifact.set_string_custom_property(MODEL_KEY, found.model)
    if found.endpoint:
        artifact.set_string_custom_property(ENDPOINT_KEY, found.endpoint)
        artifact.set_string_custom_property(DEPLOYED_MODEL_KEY, found.deployed_model)
        artifact.set_string_custom_property(TRAFFIC_KEY, json.dumps(dict(found.split)))
        artifact.set_string_custom_property(UNDEPLOYED_KEY, json.dumps(found.undeployed))


class VertexRegistrar(base_component.BaseComponent):  # type: ignore[misc]
    """Registers what the Pusher pushed, and deploys it to an endpoint.

    Outputs:
        registered_model: `RegisteredModel`; `VertexRegistrarExecutor.Do` says what it tells.

    Args:
        config: project, region, and `[vertex.registry]`.
        pushed_model: channel of the PushedModel.
    """

    SPEC_CLASS = VertexRegistrarSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(VertexRegistrarExecutor)

    def __init__(self, config: VertexConfig, *, pushed_model: types.BaseChannel) -> None:
        # It needs no driver against the cache: the Pusher runs each time, and each of its artifacts
        # is a new input.
        super().__init__(
            spec=VertexRegistrarSpec(
                pushed_model=pushed_model,
                settings=config.model_dump_json(include=_SETTINGS),
                registered_model=types.Channel(type=RegisteredModel),
            )
        )
