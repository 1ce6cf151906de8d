"""Servers to test: started here, embedded or a stock binary, or running somewhere already."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import grpc
import httpx
from google.protobuf import text_format
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tensorflow_serving.config import model_server_config_pb2

START_SECONDS = 60.0
AVAILABLE = get_model_status_pb2.ModelVersionStatus.AVAILABLE
END = get_model_status_pb2.ModelVersionStatus.END
_ROOT = Path(__file__).parents[2]


class Server:
    """One server, its channel and its HTTP client.

    Attributes:
        kind: E embedded, R any other.
        rest_url: "" if there is no REST.
        process: None if it was running already.
    """

    def __init__(
        self, kind: str, target: str, rest_url: str, process: subprocess.Popen[bytes] | None = None
    ) -> None:
        self.kind = kind
        self.target = target
        self.rest_url = rest_url
        self.process = process
        self.base: list[model_server_config_pb2.ModelConfig] = []
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self.channel = grpc.insecure_channel(target, options)
        self.http = httpx.Client(base_url=rest_url, timeout=60) if rest_url else None
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def rest(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """A REST request; a body that is no text or bytes is sent as JSON."""
        assert self.http is not None
        content = body if isinstance(body, bytes | str | None) else json.dumps(body)
        return self.http.request(method, path, content=content, headers=headers)

    def predict(
        self,
        model: str,
        inputs: Mapping[str, Any],
        signature: str = "",
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        outputs: Iterable[str] = (),
    ) -> predict_pb2.PredictResponse:
        """Predict over gRPC; lists become float tensors."""
        request = predict_pb2.PredictRequest(output_filter=list(outputs))
        request.model_spec.name = model
        request.model_spec.signature_name = signature
        if version is not None:
            request.model_spec.version.value = version
        if label is not None:
            request.model_spec.version_label = label
        for name, value in inputs.items():
            if isinstance(value, list):
                request.inputs[name].dtype = 1
                request.inputs[name].float_val.extend(value)
                request.inputs[name].tensor_shape.dim.add(size=len(value))
            else:
                request.inputs[name].CopyFrom(value)
        return self.predictions.Predict(request, timeout=timeout)

    def statuses(self, model: str, version: int | None = None) -> dict[int, Any]:
        """Version -> its status, as GetModelStatus lists them; {} if there is none."""
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        if version is not None:
            request.model_spec.version.value = version
        try:
            response = self.models.GetModelStatus(request, timeout=10)
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.NOT_FOUND:
                return {}
            raise
        return {status.version: status for status in response.model_version_status}

    def wait(self, model: str, version: int, state: int = AVAILABLE, seconds: float = 30) -> Any:
        """Waits until a version has a state; returns its status."""
        until = time.monotonic() + seconds
        while True:
            try:
                found = self.statuses(model).get(version)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.UNAVAILABLE:
                    raise
                found = None
            if found is not None and found.state == state:
                return found
            if time.monotonic() > until:
                raise AssertionError(f"{model} {version} is not in state {state}: {found}")
            time.sleep(0.05)

    def reload(
        self, models: Iterable[model_server_config_pb2.ModelConfig], timeout: float = 30
    ) -> model_management_pb2.ReloadConfigResponse:
        """HandleReloadConfigRequest with exactly these models."""
        request = model_management_pb2.ReloadConfigRequest()
        request.config.model_config_list.config.extend(models)
        return self.models.HandleReloadConfigRequest(request, timeout=timeout)

    def memory(self) -> float:
        """Resident memory in MiB."""
        assert self.process is not None
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> int | None:
        """Stops what was started; returns its exit code."""
        self.channel.close()
        if self.http is not None:
            self.http.close()
        if self.process is None:
            return None
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


def code_of(call: Callable[[], object]) -> grpc.StatusCode:
    """What a call over gRPC ends with."""
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def model_config(
    name: str, path: Path | str, policy: str = "", labels: Mapping[str, int] | None = None
) -> model_server_config_pb2.ModelConfig:
    """A model's configuration; the policy in text format."""
    made = model_server_config_pb2.ModelConfig(
        name=name, base_path=str(path), model_platform="tensorflow"
    )
    if policy:
        text_format.Parse(policy, made.model_version_policy)
    made.version_labels.update(labels or {})
    return made


def write_config(path: Path, models: Iterable[model_server_config_pb2.ModelConfig]) -> Path:
    """Writes a `model_config_file`."""
    config = model_server_config_pb2.ModelServerConfig()
    config.model_config_list.config.extend(models)
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text_format.MessageToString(config), encoding="utf-8")
    temporary.replace(path)
    return path


class Launcher:
    """Starts servers of one kind, all with the stock flags."""

    def __init__(self, binary: str | None, folder: Path) -> None:
        self.kind = "R" if binary else "E"
        self._binary = binary
        self._folder = folder
        self._count = 0

    def start(self, *flags: str, rest: bool = True) -> Server:
        """Starts a server and waits until its ports listen."""
        ports = (free_port(), free_port() if rest else 0)
        process, log = self.spawn(f"--port={ports[0]}", f"--rest_api_port={ports[1]}", *flags)
        until = time.monotonic() + START_SECONDS
        while not all(_listens(port) for port in ports if port):
            if process.poll() is not None or time.monotonic() > until:
                process.kill()
                raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}")
            time.sleep(0.05)
        url = f"http://127.0.0.1:{ports[1]}" if rest else ""
        return Server(self.kind, f"127.0.0.1:{ports[0]}", url, process)

    def spawn(self, *flags: str) -> tuple[subprocess.Popen[bytes], Path]:
        """Starts a process with these flags only; returns it and the file it writes to."""
        self._count += 1
        log = self._folder / f"server-{self._count}.log"
        command = [self._binary] if self._binary else [sys.executable, "-m", "serving"]
        own = [] if self._binary else ["--host=127.0.0.1", "--exit_with_parent=true"]
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "TF_CPP_MIN_LOG_LEVEL": "2"}
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*command, *own, *flags], cwd=_ROOT, env=environment, stdout=output, stderr=output
            )
        return process, log


def free_port() -> int:
    """A port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True
