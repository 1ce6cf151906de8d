"""What one stranger on the network does over gRPC, and how a good client fares meanwhile."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
SERVICE = "/tensorflow.serving.PredictionService"
MIB = 1 << 20


class Server:
    """A server process, a good client of it, and what it shows."""

    def __init__(self, process: subprocess.Popen[bytes], grpc_port: int, rest_port: int) -> None:
        self.process = process
        self.target = f"127.0.0.1:{grpc_port}"
        self.rest = f"http://127.0.0.1:{rest_port}"
        self.channel = self.connect()
        self.good = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.health = health_pb2_grpc.HealthStub(self.channel)

    def connect(self) -> grpc.Channel:
        # A connection of its own, as a stranger has.
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_send_message_length", -1)]
        return grpc.insecure_channel(self.target, options)

    def memory(self) -> float:
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE") / MIB

    def metric(self, name: str) -> float:
        text = self.metrics()
        found = re.search(rf"^:headrace:serving:{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def metrics(self) -> str:
        with urllib.request.urlopen(f"{self.rest}/monitoring/prometheus/metrics") as answer:
            return str(answer.read().decode())

    def fares_well(self, seconds: float = 1.5) -> None:
        """A client that asks all the while is answered, and soon; so is the health check."""
        end, slowest = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            started = time.monotonic()
            answer = self.good.Predict(predict("half_plus_two", 2.0), timeout=10)
            check = self.health.Check(health_pb2.HealthCheckRequest(), timeout=10)
            slowest = max(slowest, time.monotonic() - started)
            assert list(answer.outputs["y"].float_val) == [3.0]
            assert check.status == health_pb2.HealthCheckResponse.SERVING
        assert slowest < 5  # other tests run beside this one


def predict(model: str, value: float) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(value)
    tensor.tensor_shape.dim.add(size=1)
    return request


@pytest.fixture(scope="module")
def server(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("strangers")
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{tiny / name}" model_platform: "tensorflow" }}\n'
        for name in ("half_plus_two", "types", "classifier")
    )
    (folder / "models.config").write_text(f"model_config_list {{ {entries} }}")
    (folder / "monitoring.config").write_text("prometheus_config { enable: true }")
    ports = folder / "ports.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "serving", "--host=127.0.0.1", "--exit_with_parent"),
            *("--port=auto", "--rest_api_port=auto", f"--port_file={ports}"),
            f"--model_config_file={folder / 'models.config'}",
            f"--monitoring_config_file={folder / 'monitoring.config'}",
        ],
        cwd=ROOT,
    )
    end = time.monotonic() + 120
    while not ports.exists():
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    known = json.loads(ports.read_text())
    running = Server(process, known["grpc_port"], known["rest_port"])
    health = running.health
    while health.Check(health_pb2.HealthCheckRequest(), timeout=20).status != 1:
        assert time.monotonic() < end
        time.sleep(0.05)
    running.good.Predict(predict("half_plus_two", 2.0), timeout=20)
    yield running
    process.kill()
    process.wait()


def silent(stop: threading.Event) -> Iterator[bytes]:
    """A stream of requests that never says anything."""
    stop.wait()
    return
    yield b""


@contextlib.contextmanager
def opened(server: Server, method: str, count: int, *first: bytes) -> Iterator[list[Any]]:
    """Calls that go on, of a method, with so many messages each and then silence."""
    stop = threading.Event()

    def requests() -> Iterator[bytes]:
        yield from first
        yield from silent(stop)

    channels = [server.connect() for _ in range(2)]
    calls = [channels[n % 2].stream_stream(method)(requests()) for n in range(count)]
    time.sleep(0.5)
    try:
        yield calls
    finally:
        stop.set()
        for call in calls:
            call.cancel()
        for channel in channels:
            channel.close()


LIST = reflection_pb2.ServerReflectionRequest(list_services="*").SerializeToString()
STREAMS = {
    "reflection": ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", 40),
    "reflection v1": ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 40),
    "half a Watch": ("/grpc.health.v1.Health/Watch", 40),
    "half a Check": ("/grpc.health.v1.Health/Check", 40),
    "half a Predict": (f"{SERVICE}/Predict", 200),
    "half a Classify": (f"{SERVICE}/Classify", 200),
    "half a GetModelStatus": ("/tensorflow.serving.ModelService/GetModelStatus", 60),
    "half a reload": ("/tensorflow.serving.ModelService/HandleReloadConfigRequest", 60),
    "half a GetModelMetadata": (f"{SERVICE}/GetModelMetadata", 60),
}


@pytest.mark.parametrize("name", STREAMS)
def test_idle_calls_hold_up_nobody(server: Server, name: str) -> None:
    method, count = STREAMS[name]
    before = server.memory()
    with opened(server, method, count):
        server.fares_well()
        assert server.memory() < before + 200


def test_streams_that_have_asked_hold_up_nobody(server: Server) -> None:
    watch = health_pb2.HealthCheckRequest(service="x" * 100).SerializeToString()
    with (
        opened(server, STREAMS["reflection"][0], 40, LIST) as calls,
        opened(server, STREAMS["half a Watch"][0], 100, watch),
    ):
        server.fares_well()
        ended = [call.code() for call in calls if call.done()]
        assert ended.count(grpc.StatusCode.RESOURCE_EXHAUSTED) >= 32
        # Of those few that were let in, the idle make way for a good client's.
        with server.connect() as channel:
            info = channel.stream_stream(STREAMS["reflection"][0])
            assert b"PredictionService" in next(info(iter([LIST]), timeout=5))
    assert server.metric('refused_count{reason="calls"}') >= 32


def test_watches_are_told_and_bounded(server: Server) -> None:
    request = health_pb2.HealthCheckRequest(service="").SerializeToString()
    before = server.memory()
    with opened(server, STREAMS["half a Watch"][0], 560, request) as calls:
        assert next(calls[0]) == b"\x08\x01"
        end = time.monotonic() + 10
        while sum(call.done() for call in calls) < 60 and time.monotonic() < end:
            time.sleep(0.1)
        codes = [call.code() for call in calls if call.done()]
        assert codes == [grpc.StatusCode.RESOURCE_EXHAUSTED] * len(codes)
        assert len(codes) >= 60
        server.fares_well()
        assert server.memory() < before + 300
    time.sleep(0.5)
    assert next(server.health.Watch(health_pb2.HealthCheckRequest(), timeout=5)).status == 1


def tensors(dtype: int, size: int, count: int = 1, **fields: Any) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "types"
    request.model_spec.signature_name = fields.pop("signature", "string")
    for number in range(count):
        tensor = request.inputs["v" if not number else f"v{number}"]
        tensor.dtype = dtype
        tensor.tensor_shape.dim.add(size=size)
        for name, value in fields.items():
            if name == "tensor_content":
                tensor.tensor_content = value
            else:
                getattr(tensor, name).extend(value)
    return request


def with_context(megabytes: int, examples: int) -> classification_pb2.ClassificationRequest:
    request = classification_pb2.ClassificationRequest()
    request.model_spec.name = "classifier"
    given = request.input.example_list_with_context
    given.context.features.feature["x"].bytes_list.value.append(b"x" * (megabytes * MIB))
    for _ in range(examples):
        given.examples.add()
    return request


def many_tasks(count: int) -> inference_pb2.MultiInferenceRequest:
    request = inference_pb2.MultiInferenceRequest()
    for _ in range(count):
        request.tasks.add()
    return request


#: Method and message: a small message that stands for much, or becomes much.
SWELLING: dict[str, tuple[str, Callable[[], bytes]]] = {
    "strings": ("Predict", lambda: tensors(7, 2**27).SerializeToString()),
    "one string": ("Predict", lambda: tensors(7, 2**27, string_val=[b"ab"]).SerializeToString()),
    "floats": (
        "Predict",
        lambda: tensors(1, 2**27, float_val=[1.0], signature="float").SerializeToString(),
    ),
    "halves": (
        "Predict",
        lambda: tensors(19, 2**28, half_val=[1], signature="half").SerializeToString(),
    ),
    "many tensors": (
        "Predict",
        lambda: tensors(1, 2**24, count=16, signature="float").SerializeToString(),
    ),
    "entries": ("Predict", lambda: b"\x12\x00" * (4 * MIB)),
    "empty tensors": ("Predict", lambda: b"\x12\x02\x12\x00" * (4 * MIB)),
    "resources": ("Predict", lambda: _inside_a_tensor(b"\x72\x00" * (8 * MIB))),
    "variants": ("Predict", lambda: _inside_a_tensor(b"\x7a\x00" * (8 * MIB))),
    "dimensions": ("Predict", lambda: _inside_a_tensor(_field(2, b"\x12\x00" * (8 * MIB)))),
    "context": ("Classify", lambda: with_context(2, 20_000).SerializeToString()),
    "examples": ("Classify", lambda: _field(2, _field(1, b"\x0a\x00" * (10 * MIB)))),
    "tasks": ("MultiInference", lambda: many_tasks(100_000).SerializeToString() * 20),
    "fields": ("GetModelMetadata", lambda: b"\x12\x00" * (10 * MIB)),
}


def _field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def _inside_a_tensor(fields: bytes) -> bytes:
    return _field(1, _field(1, b"types")) + _field(
        2, _field(1, b"v") + _field(2, b"\x08\x01" + fields)
    )


@pytest.mark.parametrize("name", SWELLING)
def test_small_messages_do_not_swell(server: Server, name: str) -> None:
    method, make = SWELLING[name]
    message = make()
    before, most = server.memory(), 0.0
    with server.connect() as channel, ThreadPoolExecutor(8) as pool:
        ask = channel.unary_unary(f"{SERVICE}/{method}")
        calls = [pool.submit(ask, message, timeout=60) for _ in range(8)]
        for _ in range(20):
            server.good.Predict(predict("half_plus_two", 2.0), timeout=20)
            most = max(most, server.memory())
        codes = {error.code() for call in calls if (error := call.exception()) is not None}
    most = max(most, server.memory())
    allowed = {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
    }
    assert codes and codes <= allowed
    # What eight of them may hold by --max_inflight_bytes, and not what they stand for.
    assert most < before + 3000
    server.fares_well(0.3)
    assert server.metric("inflight_bytes{}") == 0


def test_what_was_refused_says_why_and_is_counted(server: Server) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.good.Predict(tensors(7, 2**27), timeout=20)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert raised.value.details() == (
        "input v: Shapes in the request stand for 4,096 MiB beyond the values sent, of which "
        "64 MiB are allowed (--max_filled_bytes). Send all values."
    )
    assert server.metric('refused_count{reason="filled"}') >= 1
    with server.connect() as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(f"{SERVICE}/Predict")(bytes(130 * MIB), timeout=60)
    assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "--max_message_bytes" in raised.value.details()
    assert server.metric('refused_count{reason="message"}') == 1


def test_made_up_names_leave_nothing(server: Server) -> None:
    def invented(number: int) -> str:
        return f"{number:03}" + "n" * (5 * MIB)

    server.good.Predict(predict("half_plus_two", 2.0))
    for number in range(3):  # buffers
        _ask_for(server, invented(number))
    before, shown = server.memory(), len(server.metrics())
    for number in range(3, 60):
        _ask_for(server, invented(number))
    assert len(server.metrics()) < shown + 2000
    assert server.memory() < before + 250
    text = server.metrics()
    assert "nnn" not in text
    assert ':tensorflow:serving:request_count{model_name="(other)",status="NOT_FOUND"}' in text
    # A model that is there keeps its name, whatever else the request has wrong.
    request = predict("half_plus_two", 2.0)
    request.model_spec.signature_name = "no_such_signature"
    with pytest.raises(grpc.RpcError):
        server.good.Predict(request)
    assert 'request_count{model_name="half_plus_two",status="FAILED_PRECONDITION"}' in (
        server.metrics()
    )


def _ask_for(server: Server, name: str) -> None:
    """For a model, a signature, a label and a service of this name, over both transports."""
    request = predict("half_plus_two", 2.0)
    request.model_spec.signature_name = name
    labelled = predict("half_plus_two", 2.0)
    labelled.model_spec.version_label = name
    for one in (predict(name, 2.0), request, labelled):
        with contextlib.suppress(grpc.RpcError):
            server.good.Predict(one, timeout=20)
    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = name
    metadata = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=[name])
    metadata.model_spec.name = name
    with contextlib.suppress(grpc.RpcError):
        server.good.GetModelMetadata(metadata, timeout=20)
    with contextlib.suppress(grpc.RpcError):
        next(server.health.Watch(health_pb2.HealthCheckRequest(service=name), timeout=0.05))
    for path in (f"/v1/models/{name[:20000]}:predict", f"/v1/models/half_plus_two:{name[:20000]}"):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{server.rest}{path}", data=b'{"instances": [1.0]}')


def test_reload_is_for_this_machine(server: Server) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    reload = server.channel.unary_unary(
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        request_serializer=lambda message: message.SerializeToString(),
    )
    with pytest.raises(grpc.RpcError) as raised:
        reload(request, timeout=20)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT  # it was looked at
