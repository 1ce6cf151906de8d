"""The models of a server: names, labels, configuration and its reload, and the way to a version."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from serving.server import configs
from serving.server.config_checks import check_models, check_platform
from serving.server.discovery import Watcher
from serving.server.errors import Code, ServingError
from serving.server.lifecycle import Lease, Manager
from serving.server.versions import AVAILABLE, END, VersionStatus

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

__all__ = ["Catalog", "VersionStatus"]

# How long a reload waits for a new model with nothing to load: its folder may be on its way.
_GRACE_SECONDS = 5.0


class Catalog:
    """What is served. Thread-safe."""

    def __init__(
        self,
        manager: Manager,
        *,
        poll_seconds: float = 1.0,
        allow_labels_for_unavailable: bool = False,
        allow_logging_config: bool = False,
        reload_seconds: float = 60.0,
    ) -> None:
        """Serves nothing before `start`.

        Args:
            manager: loads and unloads.
            poll_seconds: between two scans of the base paths; 0: scan once; below 0: never.
            allow_labels_for_unavailable: whether a new label may point to a version that is not
                available.
            allow_logging_config: whether a model's configuration may ask for request logging.
            reload_seconds: how long a reload waits for new models.
        """
        self._manager = manager
        self._watcher = Watcher(manager.aspire, manager.reexamine, poll_seconds)
        self._allow_labels = allow_labels_for_unavailable
        self._allow_logging = allow_logging_config
        self._reload_seconds = reload_seconds
        self._reloading = threading.Lock()
        self._config: dict[str, model_server_config_pb2.ModelConfig] = {}
        self._labels: dict[str, dict[str, int]] = {}

    def start(self, config: model_server_config_pb2.ModelServerConfig) -> None:
        """Begins to serve a configuration; does not wait for its models.

        Raises:
            ServingError: the configuration is refused.
        """
        self._apply(config)
        self._watcher.start()

    def use(self, name: str, version: int | None = None, label: str | None = None) -> Lease:
        """Pins a version for a `with` block, which gets the `LoadedModel`.

        Args:
            name: of the model.
            version: the number; None: see `label`.
            label: of the version; None: the highest available version.

        Raises:
            ServingError: INVALID_ARGUMENT no name, unknown label; NOT_FOUND not available.
        """
        if not name:
            raise ServingError(Code.INVALID_ARGUMENT, "ModelSpec has no name specified.")
        if version is None and label is not None:
            version = self._labels.get(name, {}).get(label)
            if version is None:
                raise ServingError(
                    Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}"
                )
        return self._manager.lease(name, version)

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        """All versions ever wanted, highest first, or the one asked for.

        Raises:
            ServingError: NOT_FOUND, there is none.
        """
        found = self._manager.statuses(name)
        if version is not None:
            found = [status for status in found if status.version == version]
            if not found:
                raise ServingError(
                    Code.NOT_FOUND, f"Could not find version {version} of model {name}"
                )
        if not found:
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return found

    def models(self) -> list[str]:
        """The configured models' names."""
        return sorted(self._config)

    def has(self, name: str) -> bool:
        """Whether a model of this name is configured."""
        return name in self._config

    def labels(self, name: str) -> dict[str, int]:
        """A model's labels."""
        return dict(self._labels.get(name, {}))

    def logging_rates(self) -> dict[str, float]:
        """Part of a model's requests to log, in [0, 1], where its configuration says so."""
        return {
            name: config.logging_config.sampling_config.sampling_rate
            for name, config in self._config.items()
            if config.HasField("logging_config")
        }

    def reload(
        self,
        config: model_server_config_pb2.ModelServerConfig,
        timeout: float | None = None,
    ) -> None:
        """Serves another configuration from now on; waits for the models new in it.

        Models that are gone are unloaded; changed policies and paths take effect at once but are
        not waited for.

        Args:
            config: all models.
            timeout: in seconds; at most the catalog's own limit is waited.

        Raises:
            ServingError: the configuration is refused, and nothing changed; or it is in force
                and a new model did not become available (UNKNOWN), or has not yet
                (DEADLINE_EXCEEDED).
        """
        new = self._apply(config)
        limit = self._reload_seconds if timeout is None else min(timeout, self._reload_seconds)
        self._wait_for(new, limit)

    def wait_until_available(self, timeout: float | None = None) -> bool:
        """Waits until each configured model answers; False after `timeout` seconds."""
        return self._manager.wait(
            lambda: all(self._state(name)[0] for name in self._config), timeout
        )

    def stop(self) -> None:
        """Scans and loads no more; unloads what nobody uses."""
        self._watcher.stop()
        self._manager.stop()

    def _apply(self, config: model_server_config_pb2.ModelServerConfig) -> list[str]:
        """Checks and puts a configuration in force; returns the models new in it."""
        with self._reloading:
            wanted = check_models(config, self._config)
            new = [name for name in wanted if name not in self._config]
            labels = {name: dict(model.version_labels) for name, model in wanted.items()}
            self._check_labels(labels)
            for name in new:
                check_platform(wanted[name])
            if not self._allow_logging and any(
                model.HasField("logging_config") for model in wanted.values()
            ):
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    "No request-logger-creator provided. To log requests, start the server with "
                    "--request_log_dir.",
                )
            self._config = wanted
            self._labels = {name: of_model for name, of_model in labels.items() if of_model}
            self._watcher.watch([configs.source(model) for model in wanted.values()])
            return new

    def _check_labels(self, labels: Mapping[str, Mapping[str, int]]) -> None:
        for name, of_model in labels.items():
            available = {s.version for s in self._manager.statuses(name) if s.state == AVAILABLE}
            for label, version in of_model.items():
                now = self._labels.get(name, {}).get(label)
                excused = self._allow_labels and now in (None, version)
                if version not in available and not excused:
                    raise ServingError(
                        Code.FAILED_PRECONDITION,
                        f"Request to assign label to version {version} of model {name}, which is "
                        "not currently available for inference. Label it once it is available, "
                        "or start with --allow_version_labels_for_unavailable_models.",
                    )

    def _wait_for(self, names: list[str], seconds: float) -> None:
        started = time.monotonic()
        grace = min(_GRACE_SECONDS, seconds)

        def settled(name: str) -> bool:
            return any(self._state(name))

        def started_loading(name: str) -> bool:
            return bool(self._manager.statuses(name))

        self._manager.wait(lambda: all(started_loading(name) for name in names), grace)
        begun = [name for name in names if started_loading(name)]
        left = seconds - (time.monotonic() - started)
        in_time = self._manager.wait(lambda: all(settled(name) for name in begun), left)
        problems = [self._problem(name) for name in names if not self._state(name)[0]]
        if not problems:
            return
        raise ServingError(
            Code.UNKNOWN if in_time else Code.DEADLINE_EXCEEDED,
            f"{len(problems)} servable(s) did not become available: {{{'; '.join(problems)}}}. "
            "The configuration is in force all the same: they are served once they load.",
        )

    def _state(self, name: str) -> tuple[bool, bool]:
        """Whether a version answers; whether all have been tried and ended."""
        states = [status.state for status in self._manager.statuses(name)]
        return AVAILABLE in states, bool(states) and all(state == END for state in states)

    def _problem(self, name: str) -> str:
        statuses = self._manager.statuses(name)
        if not statuses:
            why = self._watcher.problem(name) or "no version was found"
            return f"{{name: {name}}} due to error: {why}"
        first = statuses[0]
        why = f"{first.code.name}: {first.message}" if first.code else f"still {first.state}"
        return f"{{name: {name} version: {first.version}}} due to error: {why}"
