"""All parts of a server, wired: the one place that builds them. Importing it loads TensorFlow."""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from serving.server import (
    configs,
    contract,
    descriptors,
    integrity,
    memory,
    ports,
    rest_api,
    rest_limits,
)
from serving.server.admission import Budget, MemoryLimits
from serving.server.batching import BatchingParameters, BatchScheduler, MakeQueue
from serving.server.catalog import Catalog
from serving.server.config_checks import watch_file
from serving.server.discovery import fingerprint
from serving.server.errors import Code, ServingError
from serving.server.flags import ANY_FREE, OFF, Options
from serving.server.grpc_api import GrpcServer
from serving.server.grpc_lanes import GrpcLimits
from serving.server.lifecycle import Manager, RetryOptions
from serving.server.metrics import Metrics
from serving.server.request_log import RequestLog
from serving.server.rest_server import RestServer
from serving.server.saved_model import LoadedModel, SessionOptions, load
from serving.server.warmup import warm_up

_LOG = logging.getLogger(__name__)

_LOAD_THREADS = 4
# What was answered last is on its way when nothing runs any more.
_LINGER_SECONDS = 0.1
#: In a version's folder: its own batching parameters.
_BATCHING_FILE = "batching_params.pbtxt"


class Server:
    """A server that runs: it listens, loads and answers until `stop`.

    Attributes:
        catalog: its models.
        metrics: what it counts.
        grpc_port: None if gRPC has only a socket path.
        rest_port: None if REST is off.
    """

    def __init__(self, options: Options) -> None:
        """Starts everything; what is bad about the options is found before a port opens.

        Raises:
            serving.server.ports.PortInUseError: a port is in use.
            ServingError: the configuration is refused.
        """
        self._options = options
        models = _models(options)
        tls = configs.read_tls(options.ssl_config_file) if options.ssl_config_file else None
        monitoring = (
            configs.read_monitoring(options.monitoring_config_file)
            if options.monitoring_config_file
            else None
        )
        self._scheduler = _batch_scheduler(options)
        self.metrics = Metrics()
        self._budget = Budget(
            MemoryLimits(filled=options.max_filled_bytes, inflight=options.max_inflight_bytes),
            self.metrics.refused,
        )
        self.metrics.inflight = lambda: self._budget.held
        manager = Manager(
            self._load,
            retry=RetryOptions(
                retries=options.max_num_load_retries,
                interval=options.load_retry_interval_micros / 1e6,
            ),
            load_threads=options.num_load_threads or _LOAD_THREADS,
            unload_threads=options.num_unload_threads or 1,
            fingerprint=fingerprint,
            on_load=self.metrics.load,
            released=memory.release,
        )
        self.catalog = Catalog(
            manager,
            poll_seconds=options.file_system_poll_wait_seconds,
            allow_labels_for_unavailable=options.allow_version_labels_for_unavailable_models,
            allow_logging_config=bool(options.request_log_dir),
        )
        self.metrics.is_model = self.catalog.has
        self._request_log = (
            RequestLog(
                options.request_log_dir,
                options.request_log_sampling_rate,
                metrics=self.metrics,
                rates=self.catalog.logging_rates,
            )
            if options.request_log_dir
            else None
        )
        self._grpc = GrpcServer(
            self.catalog,
            metrics=self.metrics,
            request_log=self._request_log,
            limits=_grpc_limits(options),
            budget=self._budget,
            channel_arguments=_channel_arguments(options.grpc_channel_arguments),
            with_health=options.enable_grpc_healthcheck_service,
        )
        self.grpc_port = self._listen_grpc(tls)
        self._rest = self._listen_rest(monitoring)
        self.rest_port = None if self._rest is None else self._rest.port
        memory.keep()
        try:
            self.catalog.start(models)
        except ServingError:
            self.stop(0)
            raise
        if options.model_config_file:
            watch_file(
                options.model_config_file,
                options.model_config_file_poll_wait_seconds,
                self.catalog.reload,
            )
        self._grpc.start()
        if self._rest is not None:
            self._rest.start()
        threading.Thread(target=self._healthy_once_loaded, name="health", daemon=True).start()

    def start_line(self) -> str:
        """What is served, where, and what for; one line."""
        options = self._options
        what = (
            f"models of {options.model_config_file}"
            if options.model_config_file
            else f"{options.model_name} from {options.model_base_path}"
        )
        where = []
        if self.grpc_port is not None:
            where.append(f"gRPC on {options.host}:{self.grpc_port}")
        if options.grpc_socket_path:
            where.append(f"gRPC on unix:{options.grpc_socket_path}")
        if self.rest_port is not None:
            where.append(f"REST on {options.host}:{self.rest_port}")
        return (
            f"Headrace model server: {what}; {', '.join(where)}. For development, tests, "
            "validation and small loads; in production run the stock tensorflow/serving."
        )

    def wait_until_available(self, timeout: float | None = None) -> bool:
        """Waits until each configured model answers; False after `timeout` seconds."""
        return self.catalog.wait_until_available(timeout)

    def stop(self, drain_seconds: float = 5.0, *, exits: bool = False) -> None:
        """Takes no more requests, lets those that run finish for so long, and unloads.

        Args:
            drain_seconds: see there.
            exits: whether the process ends at once, and so closes the connections. gRPC's own way
                to close them tells calls that come meanwhile CANCELLED, which is not tried again.
        """
        rest = self._rest if hasattr(self, "_rest") else None
        if rest is not None:
            rest.begin_stop()
        self._grpc.drain(drain_seconds)
        if rest is not None:
            rest.join(drain_seconds)
        self.catalog.stop()
        if self._request_log is not None:
            self._request_log.close()
        if self._scheduler is not None:
            self._scheduler.stop()
        if exits:
            time.sleep(_LINGER_SECONDS)
        else:
            self._grpc.stop()

    def _load(self, name: str, version: int, path: str) -> LoadedModel:
        options = self._options
        session = SessionOptions(
            tags=tuple(tag for tag in options.saved_model_tags.split(",") if tag),
            intra_op_threads=options.tensorflow_intra_op_parallelism
            or options.tensorflow_session_parallelism,
            inter_op_threads=options.tensorflow_inter_op_parallelism
            or options.tensorflow_session_parallelism,
        )
        if options.verify_manifest:
            integrity.check_kinds(path)
            integrity.check_manifest(path)
        model = load(name, version, path, session, self._batching(path))
        if options.enable_model_warmup:
            iterations = options.num_request_iterations_for_warmup or 1
            try:
                warm_up(model, iterations, self.metrics.warmup)
            except BaseException:
                model.close()
                raise
        # After the warm-up, whose rows are nobody's requests.
        model.guard = self._guard(model)
        model.checks_rows = options.check_rows
        return model

    def _batching(self, path: str) -> MakeQueue | None:
        """Of one version: as all, or by the file in its folder; without that, not at all."""
        scheduler = self._scheduler
        if scheduler is None:
            return None
        if not self._options.enable_per_model_batching_parameters:
            return scheduler.queue
        file = os.path.join(path, _BATCHING_FILE)
        if not tf.io.gfile.exists(file):
            return None
        own = configs.read_batching(file, scheduler.parameters.num_batch_threads)
        return functools.partial(scheduler.queue, parameters=own)

    def _guard(self, model: LoadedModel) -> contract.Guard | None:
        def told(rows: int, broken: Sequence[contract.Broken]) -> None:
            self.metrics.contract(model.name, model.version, rows, broken)

        try:
            return contract.guard(model.path, self._options.request_contract, told)
        except BaseException:
            model.close()
            raise

    def _listen_grpc(self, tls: configs.TlsConfig | None) -> int | None:
        options = self._options
        if options.grpc_socket_path:
            self._grpc.listen(f"unix:{options.grpc_socket_path}", tls)
        if options.port == 0 and options.grpc_socket_path:
            return None
        port = max(options.port, 0)
        if port:
            ports.check_free(options.host, port, "port")
        host = f"[{options.host}]" if ":" in options.host else options.host
        try:
            return self._grpc.listen(f"{host}:{port}", tls)
        except OSError as error:
            ports.check_free(options.host, port, "port")
            raise ServingError(Code.UNAVAILABLE, str(error)) from error

    def _listen_rest(self, monitoring: str | None) -> RestServer | None:
        options = self._options
        if options.rest_api_port == OFF:
            return None
        if options.rest_api_port == options.port and options.port != ANY_FREE:
            _LOG.error("--rest_api_port equals --port (%d): no REST.", options.port)
            return None
        timeout = options.rest_api_timeout_in_ms
        app = rest_api.app(
            self.catalog,
            metrics=self.metrics,
            request_log=self._request_log,
            timeout=timeout / 1000 if timeout > 0 else None,
            monitoring_path=monitoring,
            cors=options.rest_api_enable_cors_support,
            threads=options.rest_api_num_threads,
            limits=rest_limits.body_limits(options),
        )
        listener = ports.listen(options.host, max(options.rest_api_port, 0), "rest_api_port")
        limits = rest_limits.connection_limits(options, descriptors.for_connections())
        return RestServer(app, listener, options, self.metrics, limits)

    def _healthy_once_loaded(self) -> None:
        self.catalog.wait_until_available()
        self._grpc.set_health(serving=True)


def _grpc_limits(options: Options) -> GrpcLimits:
    return GrpcLimits(
        threads=options.grpc_max_threads,
        calls=options.grpc_max_calls,
        watches=options.grpc_max_watches,
        reflections=options.grpc_max_reflections,
        message_bytes=options.max_message_bytes,
        seconds=options.grpc_client_seconds,
        allow_reload=options.allow_reload,
    )


def _models(options: Options) -> Any:
    if options.model_config_file:
        return configs.read_models(options.model_config_file)
    if not options.model_base_path:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            "Both server_options.model_base_path and server_options.model_config_file are empty! "
            "Give --model_base_path=FOLDER (with a folder per version inside) or "
            "--model_config_file=FILE.",
        )
    return configs.single_model(options.model_name, options.model_base_path)


def _batch_scheduler(options: Options) -> BatchScheduler | None:
    if not options.enable_batching:
        if options.batching_parameters_file:
            raise ServingError(
                Code.INVALID_ARGUMENT,
                "server_options.batching_parameters_file is set without "
                "setting server_options.enable_batching to true.",
            )
        return None
    threads = os.cpu_count() or 1
    if not options.batching_parameters_file:
        return BatchScheduler(BatchingParameters(num_batch_threads=threads))
    return BatchScheduler(configs.read_batching(options.batching_parameters_file, threads))


def _channel_arguments(text: str) -> list[tuple[str, Any]]:
    arguments: list[tuple[str, Any]] = []
    for item in filter(None, text.split(",")):
        name, _, value = item.partition("=")
        arguments.append((name, int(value) if value.lstrip("-").isdigit() else value))
    return arguments
