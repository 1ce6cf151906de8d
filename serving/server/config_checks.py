"""Which configurations of models are refused, and why; and a file of them that is followed."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from serving.server import configs
from serving.server.errors import Code, ServingError

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

_LOG = logging.getLogger(__name__)

_PLATFORM = "tensorflow"


def check_models(
    config: model_server_config_pb2.ModelServerConfig,
    old: Mapping[str, model_server_config_pb2.ModelConfig],
) -> dict[str, model_server_config_pb2.ModelConfig]:
    """The models of a configuration, by name.

    Args:
        config: that is to be in force.
        old: the models of the one that is.

    Raises:
        ServingError: FAILED_PRECONDITION, it is no list of models; INVALID_ARGUMENT, a name twice,
            a relative path, or another platform than before.
    """
    kind = config.WhichOneof("config")
    # An empty file is a legal start; later it is more likely one that is being written.
    if kind == "custom_model_config" or (kind is None and old):
        raise ServingError(
            Code.FAILED_PRECONDITION,
            "Cannot transition to requested config. It is only legal to transition from one "
            "ModelConfigList to another.",
        )
    wanted: dict[str, model_server_config_pb2.ModelConfig] = {}
    for model in config.model_config_list.config:
        if model.name in wanted:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Illegal to list model {model.name} multiple times in config",
            )
        wanted[model.name] = model
    for model in wanted.values():
        if not (os.path.isabs(model.base_path) or "://" in model.base_path):
            raise ServingError(
                Code.INVALID_ARGUMENT,
                f"Expected model {model.name} to have an absolute path or URI; "
                f"got base_path()={model.base_path}",
            )
    for name, model in wanted.items():
        if name in old and _platform(old[name]) != _platform(model):
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Illegal to change a model's platform. For model {name}"
            )
    return wanted


def check_platform(model: model_server_config_pb2.ModelConfig) -> None:
    """Refuses a new model that is no TensorFlow SavedModel.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    platform = _platform(model)
    if not platform:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Illegal setting neither ModelServerConfig::model_type (deprecated) nor "
            f"::model_platform for model {model.name}",
        )
    if platform != _PLATFORM:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"ModelServerConfig::model {model.name} requests unsupported platform {platform}",
        )


def watch_file(
    path: str, seconds: float, reload: Callable[[model_server_config_pb2.ModelServerConfig], None]
) -> None:
    """Reloads a configuration file every `seconds` in a thread; one that is refused is logged."""
    if seconds <= 0:
        return

    def poll() -> None:
        before = configs.read_models(path).SerializeToString(deterministic=True)
        while True:
            time.sleep(seconds)
            try:
                config = configs.read_models(path)
                now = config.SerializeToString(deterministic=True)
                if now != before:
                    reload(config)
                    before = now
            except ServingError as error:
                _LOG.warning("%s is not in force: %s", path, error)

    threading.Thread(target=poll, name="model-config-poll", daemon=True).start()


def _platform(model: model_server_config_pb2.ModelConfig) -> str:
    if model.model_type and model.model_platform:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Illegal setting both ModelServerConfig::model_type (deprecated) and "
            f"::model_platform for model {model.name}",
        )
    return _PLATFORM if model.model_type == 1 else str(model.model_platform)
