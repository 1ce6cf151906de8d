"""A small model server without TensorFlow, over REST and gRPC: `total` = 2 x + n, `text` = s."""

from __future__ import annotations

import json
import math
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc

from serving.client import messages
from serving.client.grpc_transport import _encode
from serving.client.signature import Tensor
from serving.server.errors import Code, ServingError, http_status

NAN = math.nan
TYPES = {"x": "DT_FLOAT", "n": "DT_INT64", "s": "DT_STRING"}
DEFAULTS = {"x": NAN, "n": -1, "s": ""}
SIGNATURES = ("serving_default", "plain", "scalar")  # plain: without defaults; scalar: a sum


class Engine:
    """What both fronts share.

    Attributes:
        versions: number → state; those AVAILABLE answer.
        failures: raised, first to last, instead of an answer to predict.
        asked: inputs of each predict call, with the version asked for.
        delay: seconds that a predict call takes.
        on_disk: versions that a reload may load.
    """

    def __init__(self) -> None:
        self.versions = {3: "AVAILABLE"}
        self.labels: dict[str, int] = {}
        self.failures: list[ServingError] = []
        self.asked: list[tuple[int | None, dict[str, list[Any]]]] = []
        self.delay = 0.0
        self.on_disk: set[int] = {3}
        self.broken: set[int] = set()
        self.reloads: list[Any] = []
        self.tells_label: int | None = None  # what it lies about labels

    def pick(self, model: str, version: int | None, label: str | None) -> int:
        available = [v for v, state in self.versions.items() if state == "AVAILABLE"]
        if label is not None:
            if label not in self.labels:
                message = f"Unrecognized servable version label: {label}"
                raise ServingError(Code.INVALID_ARGUMENT, message)
            version = self.labels[label] if self.tells_label is None else self.tells_label
        if model != "m" or not available:
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({model})")
        if version is not None and version not in available:
            message = f"Servable not found for request: Specific({model}, {version})"
            raise ServingError(Code.NOT_FOUND, message)
        return version if version is not None else max(available)

    def status(self, model: str) -> list[tuple[int, str, Code, str]]:
        if model != "m":
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {model}")
        return [
            (
                v,
                state,
                Code.NOT_FOUND if v in self.broken else Code.OK,
                "no saved_model.pb" * (v in self.broken),
            )
            for v, state in sorted(self.versions.items(), reverse=True)
        ]

    def predict(
        self, model: str, version: int | None, signature: str, inputs: dict[str, list[Any]]
    ) -> dict[str, Any]:
        if self.failures:
            raise self.failures.pop(0)
        self.asked.append((version, inputs))
        time.sleep(self.delay)
        self.pick(model, version, None)
        total = [2 * x + n for x, n in zip(inputs["x"], inputs["n"], strict=True)]
        return {"total": sum(total) if signature == "scalar" else total, "text": inputs["s"]}

    def reload(self, config: Any) -> None:
        self.reloads.append(config)
        (entry,) = [one for one in config.model_config_list.config if one.name == "m"]
        for label, version in entry.version_labels.items():
            if self.versions.get(version) != "AVAILABLE":
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"Request to assign label to version {version} of model m, which is not "
                    f"currently available for inference: {label}",
                )
        self.labels = dict(entry.version_labels)
        policy = entry.model_version_policy
        kind = policy.WhichOneof("policy_choice")
        wanted = set(policy.specific.versions) if kind == "specific" else self.on_disk
        wanted = wanted & self.on_disk if kind else {max(self.on_disk)}
        for version in wanted - set(self.versions):
            self.versions[version] = "END" if version in self.broken else "AVAILABLE"
        for version in set(self.versions) - wanted:
            self.versions[version] = "END"


def metadata_json(version: int) -> dict[str, Any]:
    def info(dtype: str, dims: list[str]) -> dict[str, Any]:
        shape = {"dim": [{"size": size, "name": ""} for size in dims], "unknown_rank": False}
        return {"dtype": dtype, "tensor_shape": shape, "name": "any:0"}

    defaults = {
        "x": {"dtype": "DT_FLOAT", "float_val": ["NaN"]},
        "n": {"dtype": "DT_INT64", "int64_val": ["-1"]},
        "s": {"dtype": "DT_STRING", "string_val": [""]},
    }
    signatures = {
        name: {
            "inputs": {alias: info(dtype, ["-1"]) for alias, dtype in TYPES.items()},
            "outputs": {
                "total": info("DT_FLOAT", [] if name == "scalar" else ["-1"]),
                "text": info("DT_STRING", ["-1"]),
            },
            "method_name": "tensorflow/serving/predict",
            "defaults": {} if name == "plain" else defaults,
        }
        for name in SIGNATURES
    }
    return {
        "model_spec": {"name": "m", "signature_name": "", "version": str(version)},
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


class Rest:
    """The engine over HTTP, on a free port."""

    def __init__(self, engine: Engine) -> None:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                self._answer(self._get)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(lambda: self._post(json.loads(body)))

            def _where(self) -> tuple[str, int | None, str | None, str]:
                path, _, verb = self.path.partition(":")
                words = path.removeprefix("/v1/models/").split("/")
                tail = dict(zip(words[1::2], words[2::2], strict=False))
                version = int(tail["versions"]) if "versions" in tail else None
                return words[0], version, tail.get("labels"), verb or words[-1]

            def _get(self) -> Any:
                model, version, label, last = self._where()
                if last == "metadata":
                    return metadata_json(engine.pick(model, version, label))
                return {
                    "model_version_status": [
                        {
                            "version": str(number),
                            "state": state,
                            "status": {"error_code": code.name, "error_message": message},
                        }
                        for number, state, code, message in engine.status(model)
                    ]
                }

            def _post(self, body: Any) -> Any:
                model, version, _, verb = self._where()
                assert verb == "predict"
                return {
                    "outputs": engine.predict(
                        model, version, body["signature_name"], body["inputs"]
                    )
                }

            def _answer(self, make: Any) -> None:
                try:
                    status, answer = 200, make()
                except ServingError as error:
                    status, answer = http_status(error.code), {"error": error.message}
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Grpc:
    """The engine over gRPC, on a free port."""

    def __init__(self, engine: Engine, port: int = 0) -> None:
        self._engine = engine
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", -1)]
        )
        for service, methods in {
            "PredictionService": {
                "Predict": ("PredictRequest", self._predict),
                "GetModelMetadata": ("GetModelMetadataRequest", self._metadata),
            },
            "ModelService": {
                "GetModelStatus": ("GetModelStatusRequest", self._status),
                "HandleReloadConfigRequest": ("ReloadConfigRequest", self._reload),
            },
        }.items():
            handlers = {
                name: grpc.unary_unary_rpc_method_handler(
                    self._guarded(method),
                    request_deserializer=messages.message(request).FromString,
                    response_serializer=lambda answer: answer.SerializeToString(),
                )
                for name, (request, method) in methods.items()
            }
            self._server.add_generic_rpc_handlers(
                [grpc.method_handlers_generic_handler(f"tensorflow.serving.{service}", handlers)]
            )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"grpc://127.0.0.1:{self.port}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(0).wait()

    def _guarded(self, method: Any) -> Any:
        codes = {code.value[0]: code for code in grpc.StatusCode}

        def call(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return method(request)
            except ServingError as error:
                return context.abort(codes[int(error.code)], error.message)

        return call

    def _spec(self, spec: Any) -> tuple[str, int | None, str | None]:
        version = spec.version.value if spec.HasField("version") else None
        return spec.name, version, spec.version_label or None

    def _predict(self, request: Any) -> Any:
        inputs = {
            name: [
                value.decode() if isinstance(value, bytes) else value
                for value in getattr(tensor, messages.VALUE_FIELDS[TYPES[name]])
            ]
            for name, tensor in request.inputs.items()
        }
        model, version, _ = self._spec(request.model_spec)
        signature = request.model_spec.signature_name
        outputs = self._engine.predict(model, version, signature, inputs)
        answer = messages.message("PredictResponse")()
        total, text = outputs["total"], outputs["text"]
        shape = () if signature == "scalar" else (len(total),)
        _encode(Tensor("DT_FLOAT", shape, total if shape else [total]), answer.outputs["total"])
        _encode(Tensor("DT_STRING", (len(text),), text), answer.outputs["text"])
        return answer

    def _metadata(self, request: Any) -> Any:
        from google.protobuf import json_format

        version = self._engine.pick(*self._spec(request.model_spec))
        said = metadata_json(version)
        map_ = messages.message("SignatureDefMap")()
        json_format.ParseDict(said["metadata"]["signature_def"], map_)
        answer = messages.message("GetModelMetadataResponse")()
        answer.model_spec.version.value = version
        answer.metadata["signature_def"].value = map_.SerializeToString()
        return answer

    def _status(self, request: Any) -> Any:
        answer = messages.message("GetModelStatusResponse")()
        states = messages.ENUMS["tensorflow.serving.ModelVersionStatus.State"]
        for number, state, code, message in self._engine.status(request.model_spec.name):
            added = answer.model_version_status.add(version=number, state=states[state])
            added.status.error_code, added.status.error_message = int(code), message
        return answer

    def _reload(self, request: Any) -> Any:
        self._engine.reload(request.config)
        return messages.message("ReloadConfigResponse")()
