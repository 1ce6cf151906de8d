"""The gRPC services over the catalog: prediction, model, health, reflection."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    prediction_service_pb2_grpc,
)

from serving.server import inference
from serving.server.catalog import Catalog
from serving.server.configs import TlsConfig
from serving.server.errors import Code, ServingError, cut

# Reflection needs the services' descriptors. This module registers them, and then fails on an
# attribute that newer versions of protobuf do not let it set; nothing after that is needed.
with contextlib.suppress(AttributeError):
    from tensorflow_serving.apis import model_service_pb2  # noqa: F401
from serving.server.memory import LARGE, Releaser

if TYPE_CHECKING:
    from serving.server.metrics import Metrics
    from serving.server.request_log import RequestLog

_LOG = logging.getLogger(__name__)

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
_SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
#: Names that the health service knows: the whole server, and the services by both names.
HEALTH_NAMES = ("", "PredictionService", "ModelService", *_SERVICES)

_OPTIONS = (
    # Clients of any size of message; what they receive is theirs to limit.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # A port in use must be an error, not shared with whoever has it.
    ("grpc.so_reuseport", 0),
)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.PredictionService`; a deadline becomes the limit of the run."""

    def __init__(self, catalog: Catalog, metrics: Metrics, request_log: RequestLog | None) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._log = request_log
        self._releaser = Releaser()

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        if request.ByteSize() >= LARGE:
            context.add_callback(self._releaser.soon)
        response = self._infer("Predict", inference.predict, request, context)
        if self._log is not None:
            self._log.predict(*_answered_by(response), request, response)
        return response

    def Classify(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        response = self._infer("Classify", inference.classify, request, context)
        if self._log is not None:
            self._log.classify(*_answered_by(response), request, response)
        return response

    def Regress(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        response = self._infer("Regress", inference.regress, request, context)
        if self._log is not None:
            self._log.regress(*_answered_by(response), request, response)
        return response

    def MultiInference(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        response = _answer(
            context,
            lambda: inference.multi_inference(self._catalog, request, context.time_remaining()),
        )
        name, version = _answered_by(response.results[0])
        self._metrics.examples(name, inference.example_count(request.input))
        if self._log is not None:
            self._log.multi_inference(name, version, request, response)
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(context, lambda: inference.get_metadata(self._catalog, request))

    def _infer(
        self, api: str, run: Callable[..., Any], request: Any, context: grpc.ServicerContext
    ) -> Any:
        metrics = self._metrics

        def on_run(model: str, seconds: float) -> None:
            metrics.runtime_latency(model, api, seconds)

        started = time.perf_counter()
        try:
            response = run(self._catalog, request, context.time_remaining(), on_run)
        except Exception as error:  # noqa: BLE001 - whatever it was, the client gets a status
            failure = _as_serving_error(error)
            metrics.request(request.model_spec.name, None, failure.code)
            _abort(context, failure)
        name, version = _answered_by(response)
        metrics.request(name, version, Code.OK)
        metrics.request_latency(name, api, "GRPC", time.perf_counter() - started, version)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.ModelService`."""

    def __init__(self, catalog: Catalog, metrics: Metrics) -> None:
        self._catalog = catalog
        self._metrics = metrics

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(context, lambda: inference.get_status(self._catalog, request))

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        def reload() -> Any:
            if request.config.WhichOneof("config") != "model_config_list":
                raise ServingError(
                    Code.INVALID_ARGUMENT,
                    "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                    "Only ModelConfigList is currently supported",
                )
            before = [(name, self._metrics.total(name)) for name in request.metric_names]
            self._catalog.reload(request.config, context.time_remaining())
            response = model_management_pb2.ReloadConfigResponse()
            response.status.error_code = int(Code.OK)
            for name, value in before:
                risen = self._metrics.total(name) - value
                response.metric.add(name=name, int64_value_increase=risen)
            return response

        return _answer(context, reload)


class GrpcServer:
    """The services on their ports."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        metrics: Metrics,
        request_log: RequestLog | None,
        max_threads: int,
        channel_arguments: Sequence[tuple[str, Any]] = (),
        with_health: bool = True,
    ) -> None:
        """Listens to nothing before `listen`.

        Args:
            catalog: the models.
            metrics: told of each request.
            request_log: given what was answered; None: nothing is logged.
            max_threads: calls that run at a time.
            channel_arguments: for gRPC's core.
            with_health: whether to serve `grpc.health.v1.Health`.
        """
        self._server = grpc.server(
            ThreadPoolExecutor(max_threads, "grpc"), options=[*_OPTIONS, *channel_arguments]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
            PredictionService(catalog, metrics, request_log), self._server
        )
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(
            ModelService(catalog, metrics), self._server
        )
        names = [*_SERVICES, reflection.SERVICE_NAME]
        self._health: health.HealthServicer | None = None
        if with_health:
            self._health = health.HealthServicer(
                experimental_non_blocking=True,
                experimental_thread_pool=ThreadPoolExecutor(1, "health"),
            )
            self.set_health(serving=False)
            health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
            names.append(health.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)

    def listen(self, address: str, tls: TlsConfig | None = None) -> int:
        """Binds an address, `host:port` or `unix:path`; returns the port.

        Raises:
            OSError: somebody else has it.
        """
        try:
            if tls is None:
                port: int = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(tls))
        except RuntimeError as error:
            raise OSError(f"cannot listen on {address}: {error}") from error
        return port

    def start(self) -> None:
        """Answers from now on."""
        self._server.start()

    def set_health(self, *, serving: bool) -> None:
        """What the health service says of all services."""
        if self._health is not None:
            state = health_pb2.HealthCheckResponse
            for name in HEALTH_NAMES:
                self._health.set(name, state.SERVING if serving else state.NOT_SERVING)

    def stop(self, seconds: float) -> None:
        """Refuses new calls at once, and waits so long for those that run."""
        if self._health is not None:
            self._health.enter_graceful_shutdown()
        self._server.stop(seconds).wait()


def _answer(context: grpc.ServicerContext, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever it was, the client gets a status
        _abort(context, _as_serving_error(error))


def _as_serving_error(error: Exception) -> ServingError:
    if isinstance(error, ServingError):
        return error
    _LOG.error("answering a request", exc_info=error)
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def _abort(context: grpc.ServicerContext, error: ServingError) -> NoReturn:
    context.abort(_STATUS[int(error.code)], cut(error.message))
    raise AssertionError  # abort has raised


def _answered_by(response: Any) -> tuple[str, int]:
    return response.model_spec.name, response.model_spec.version.value


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.encode(), tls.certificate.encode())],
        tls.authority.encode() or None,
        tls.client_verify,
    )
