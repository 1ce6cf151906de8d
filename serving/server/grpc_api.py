"""The gRPC services over the catalog: prediction, model, health, reflection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

from serving.server import health, inference, reflection, wire
from serving.server.admission import Budget
from serving.server.catalog import Catalog
from serving.server.configs import TlsConfig
from serving.server.errors import Code, ServingError
from serving.server.grpc_calls import Methods
from serving.server.grpc_lanes import GrpcLimits, Lanes
from serving.server.grpc_unary import CORE_MARGIN_BYTES, Method, Running, Unary
from serving.server.peers import check_reload

if TYPE_CHECKING:
    from serving.server.metrics import Metrics
    from serving.server.request_log import RequestLog

_LOG = logging.getLogger(__name__)

_SERVICES = ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService")
#: Names that the health service knows: the whole server, and the services by both names.
HEALTH_NAMES = ("", "PredictionService", "ModelService", *_SERVICES)


class PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.PredictionService`; a deadline becomes the limit of the run."""

    def __init__(self, catalog: Catalog, metrics: Metrics, request_log: RequestLog | None) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._log = request_log

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
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
            lambda: inference.multi_inference(self._catalog, request, context.time_remaining()),
        )
        name, version = _answered_by(response.results[0])
        self._metrics.examples(name, inference.example_count(request.input))
        if self._log is not None:
            self._log.multi_inference(name, version, request, response)
        return response

    def GetModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(lambda: inference.get_metadata(self._catalog, request))

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
            raise failure from None
        name, version = _answered_by(response)
        metrics.request(name, version, Code.OK)
        metrics.request_latency(name, api, "GRPC", time.perf_counter() - started, version)
        return response


class ModelService(model_service_pb2_grpc.ModelServiceServicer):  # type: ignore[misc]
    """`tensorflow.serving.ModelService`."""

    def __init__(self, catalog: Catalog, metrics: Metrics, allow_reload: str) -> None:
        self._catalog = catalog
        self._metrics = metrics
        self._allow_reload = allow_reload

    def GetModelStatus(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        return _answer(lambda: inference.get_status(self._catalog, request))

    def HandleReloadConfigRequest(  # noqa: N802
        self, request: Any, context: grpc.ServicerContext
    ) -> Any:
        def reload() -> Any:
            try:
                check_reload(context.peer(), self._allow_reload)
            except ServingError:
                self._metrics.refused("reload")
                raise
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

        return _answer(reload)


class GrpcServer:
    """The services on their ports."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        metrics: Metrics,
        request_log: RequestLog | None,
        limits: GrpcLimits,
        budget: Budget | None = None,
        channel_arguments: Sequence[tuple[str, Any]] = (),
        with_health: bool = True,
    ) -> None:
        """Listens to nothing before `listen`.

        Args:
            catalog: the models.
            metrics: told of each request.
            request_log: given what was answered; None: nothing is logged.
            limits: of what clients may do.
            budget: of memory, which requests count to; None: one of its own.
            channel_arguments: for gRPC's core.
            with_health: whether to serve `grpc.health.v1.Health`.
        """
        self._methods = Methods(metrics.refused)
        self._running = Running()
        self._stopped = threading.Event()
        self._server = grpc.server(
            ThreadPoolExecutor(1, "grpc"),
            handlers=[self._methods],
            options=[*_options(limits), *channel_arguments],
        )
        self._lanes = Lanes(limits, metrics.refused)
        prediction = PredictionService(catalog, metrics, request_log)
        models = ModelService(catalog, metrics, limits.allow_reload)
        self._add_inference(prediction, models, limits, budget or Budget(refused=metrics.refused))
        names = list(_SERVICES)
        self._health: health.Health | None = None
        if with_health:
            self._health = health.Health(HEALTH_NAMES, self._lanes.checks, self._lanes.watches)
            check, watch = self._health.check_handler(), self._health.watch_handler()
            self._methods.add(self._lanes.checks, health.SERVICE, {"Check": check})
            self._methods.add(self._lanes.watches, health.SERVICE, {"Watch": watch})
            names.append(health.SERVICE)
        described = reflection.Reflection(names, self._lanes.reflection)
        for name in reflection.SERVICES:
            info = described.handler()
            self._methods.add(self._lanes.reflection, name, {"ServerReflectionInfo": info})

    def _add_inference(
        self,
        prediction: PredictionService,
        models: ModelService,
        limits: GrpcLimits,
        budget: Budget,
    ) -> None:
        slots = threading.Semaphore(limits.threads)
        for lane, service, methods in (
            (self._lanes.inference, _SERVICES[0], _inference_methods(prediction, slots)),
            (self._lanes.models, _SERVICES[0], _metadata_methods(prediction)),
            (self._lanes.models, _SERVICES[1], _status_methods(models)),
            (self._lanes.reloads, _SERVICES[1], _reload_methods(models)),
        ):
            unary = Unary(lane, budget, self._running, limits.message_bytes, self._methods.refused)
            handlers = {name: unary.handler(method) for name, method in methods.items()}
            self._methods.add(lane, service, handlers, drained=True)

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
        threading.Thread(
            target=self._methods.look_after, args=(self._stopped,), name="patience", daemon=True
        ).start()

    def set_health(self, *, serving: bool) -> None:
        """What the health service says of all services."""
        if self._health is not None:
            self._health.set(serving=serving)

    def drain(self, seconds: float) -> bool:
        """Refuses new calls (UNAVAILABLE), and waits so long for those that are being answered.

        Returns:
            Whether all of them were.
        """
        self.set_health(serving=False)
        self._methods.draining = True
        return self._running.drain(seconds)

    def stop(self) -> None:
        """Ends all connections; what is on its way is lost, so `drain` first."""
        self._stopped.set()
        self._server.stop(0).wait()


def _inference_methods(service: PredictionService, slots: threading.Semaphore) -> dict[str, Method]:
    examples = wire.examples_bytes
    return {
        "Predict": Method(service.Predict, predict_pb2.PredictRequest, wire.predict_bytes, slots),
        "Classify": Method(
            service.Classify, classification_pb2.ClassificationRequest, examples, slots
        ),
        "Regress": Method(service.Regress, regression_pb2.RegressionRequest, examples, slots),
        "MultiInference": Method(
            service.MultiInference, inference_pb2.MultiInferenceRequest, examples, slots
        ),
    }


def _metadata_methods(service: PredictionService) -> dict[str, Method]:
    request = get_model_metadata_pb2.GetModelMetadataRequest
    return {"GetModelMetadata": Method(service.GetModelMetadata, request, wire.other_bytes)}


def _status_methods(service: ModelService) -> dict[str, Method]:
    request = get_model_status_pb2.GetModelStatusRequest
    return {"GetModelStatus": Method(service.GetModelStatus, request, wire.other_bytes)}


def _reload_methods(service: ModelService) -> dict[str, Method]:
    reload, request = service.HandleReloadConfigRequest, model_management_pb2.ReloadConfigRequest
    return {"HandleReloadConfigRequest": Method(reload, request, wire.other_bytes)}


def _options(limits: GrpcLimits) -> list[tuple[str, Any]]:
    most = limits.message_bytes + CORE_MARGIN_BYTES if limits.message_bytes else -1
    return [
        ("grpc.max_receive_message_length", min(most, 2**31 - 1)),
        # Clients of any size of message; what they receive is theirs to limit.
        ("grpc.max_send_message_length", -1),
        # A port in use must be an error, not shared with whoever has it.
        ("grpc.so_reuseport", 0),
        # Of a connection; more wait at the client.
        ("grpc.max_concurrent_streams", limits.streams),
        # A connection that does not say what it is for.
        ("grpc.server_handshake_timeout_ms", 20_000),
    ]


def _answer(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:  # noqa: BLE001 - whatever it was, the client gets a status
        raise _as_serving_error(error) from None


def _as_serving_error(error: Exception) -> ServingError:
    if isinstance(error, ServingError):
        return error
    _LOG.error("answering a request", exc_info=error)
    return ServingError(Code.INTERNAL, f"{type(error).__name__}: {error}")


def _answered_by(response: Any) -> tuple[str, int]:
    return response.model_spec.name, response.model_spec.version.value


def _credentials(tls: TlsConfig) -> grpc.ServerCredentials:
    return grpc.ssl_server_credentials(
        [(tls.key.encode(), tls.certificate.encode())],
        tls.authority.encode() or None,
        tls.client_verify,
    )
