"""The server as a process: ports, gRPC services, hot swap over the wire, drain, exit codes."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tiny_models import tensor

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]


@dataclass
class Running:
    process: subprocess.Popen[str]
    grpc_port: int
    rest_port: int | None

    def __post_init__(self) -> None:
        self.channel = grpc.insecure_channel(f"localhost:{self.grpc_port}")
        self.prediction = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def states(self, name: str) -> dict[int, int]:
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = name
        try:
            found = self.models.GetModelStatus(request, timeout=10).model_version_status
        except grpc.RpcError:
            return {}
        return {status.version: status.state for status in found}

    def until(self, name: str, wanted: dict[int, int], seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while self.states(name) != wanted:
            assert time.monotonic() < end, self.states(name)
            time.sleep(0.02)

    def predict(self, name: str, timeout: float = 20, **inputs: object) -> Any:
        return self.prediction.Predict(request(name, **inputs), timeout=timeout)

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(100)


AVAILABLE, END = 30, 50


def request(name: str, **inputs: object) -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = name
    for alias, values in inputs.items():
        made.inputs[alias].CopyFrom(tensor(values))
    return made


Start = Callable[..., Running]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start_one(*arguments: str) -> Running:
        file = tmp_path_factory.mktemp("ports") / "ports.json"
        command = [sys.executable, "-m", "serving", "--port=auto", f"--port_file={file}"]
        process = subprocess.Popen(
            [*command, "--exit_with_parent", *arguments],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(process)
        end = time.monotonic() + 120
        while not file.exists():
            assert process.poll() is None, f"ended with {process.returncode}"
            assert time.monotonic() < end
            time.sleep(0.05)
        ports = json.loads(file.read_text())
        assert ports.pop("pid") == process.pid
        return Running(process, **ports)

    yield start_one
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def hot(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Path:
    base = tmp_path_factory.mktemp("hot")
    shutil.copytree(tiny / "half_plus_two" / "1", base / "1")
    return base


@pytest.fixture(scope="module")
def server(start: Start, tiny: Path, hot: Path) -> Running:
    config = hot.parent / "models.config"
    models = {name: tiny / name for name in ("half_plus_two", "slow", "types")} | {"hot": hot}
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow" }}\n'
        for name, path in models.items()
    )
    config.write_text(f"model_config_list {{ {entries} }}")
    socket_path = hot.parent / "grpc.sock"
    running = start(
        f"--model_config_file={config}",
        "--rest_api_port=auto",
        "--file_system_poll_wait_seconds=0.1",
        "--max_num_load_retries=0",
        "--drain_seconds=90",  # the slow model takes longer the more other tests run beside it
        f"--grpc_socket_path={socket_path}",
    )
    for name in models:
        running.until(name, {1: AVAILABLE})
    return running


def test_start_line_says_what_for(server: Running) -> None:
    assert server.process.stdout is not None
    line = server.process.stdout.readline()
    assert f":{server.grpc_port}" in line
    assert f":{server.rest_port}" in line
    assert "development" in line
    assert "stock tensorflow/serving" in line


def test_predict_over_port_and_unix_socket(server: Running, hot: Path) -> None:
    assert list(server.predict("half_plus_two", x=[2.0]).outputs["y"].float_val) == [3.0]
    with grpc.insecure_channel(f"unix:{hot.parent / 'grpc.sock'}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request("half_plus_two", x=[2.0]), timeout=20)
        assert list(response.outputs["y"].float_val) == [3.0]


def test_errors_have_their_code_and_text(server: Running) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("intentionally_missing_model", x=[1.0])
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "Servable" in caught.value.details()
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("half_plus_two", **{"n" * 3000: [1.0], "x": [1.0]})
    assert caught.value.details().endswith("...TRUNCATED")
    assert len(caught.value.details()) < 1100


def test_large_messages_pass(server: Running) -> None:
    values = np.zeros(3_000_000, np.float32)
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("half_plus_two", x=values)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED, "the client's own limit"
    options = [("grpc.max_receive_message_length", -1)]
    with grpc.insecure_channel(f"localhost:{server.grpc_port}", options) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        response = stub.Predict(request("half_plus_two", x=values), timeout=60)
    assert len(response.outputs["y"].float_val) == len(values)


def test_deadline_is_kept(server: Running) -> None:
    started = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        server.predict("slow", 0.2, x=[1.0])
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 2


def test_health_and_reflection(server: Running) -> None:
    stub = health_pb2_grpc.HealthStub(server.channel)
    for name in ("", "ModelService", "PredictionService", "tensorflow.serving.ModelService"):
        response = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=10)
        assert response.status == health_pb2.HealthCheckResponse.SERVING
    database = ProtoReflectionDescriptorDatabase(server.channel)
    assert "tensorflow.serving.PredictionService" in database.get_services()
    file = database.FindFileContainingSymbol("tensorflow.serving.ModelService")
    assert file.service[0].name == "ModelService"


def test_reflection_describes_every_service_and_what_it_needs(server: Running) -> None:
    database = ProtoReflectionDescriptorDatabase(server.channel)
    pool = descriptor_pool.DescriptorPool(database)
    services = database.get_services()
    assert services == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "tensorflow.serving.ModelService",
        "tensorflow.serving.PredictionService",
    ]
    seen: set[str] = set()

    def walk(message: Any) -> None:
        if message.full_name not in seen:
            seen.add(message.full_name)
            for field in message.fields:
                if field.message_type is not None:
                    walk(field.message_type)

    methods = set()
    for name in services:
        for method in pool.FindServiceByName(name).methods:
            methods.add(method.full_name)
            walk(method.input_type)
            walk(method.output_type)
            for full in (method.full_name, method.input_type.full_name):
                database.FindFileContainingSymbol(full)
    # Members too: of a message, of an enum.
    for symbol in ("tensorflow.TensorProto.dtype", "tensorflow.serving.ModelVersionStatus.State"):
        assert database.FindFileContainingSymbol(symbol)
    assert len(methods) == 11
    assert {"tensorflow.TensorProto", "tensorflow.Example", "google.protobuf.Any"} <= seen
    # What an Any in an answer holds.
    assert database.FindFileContainingSymbol("tensorflow.serving.SignatureDefMap")


def test_random_bytes_do_no_harm(server: Running) -> None:
    for port in (server.grpc_port, server.rest_port):
        for _ in range(20):
            with (
                socket.create_connection(("localhost", port)) as connection,
                contextlib.suppress(OSError),
            ):
                connection.sendall(os.urandom(2000))
    method = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    for _ in range(20):
        with contextlib.suppress(grpc.RpcError):
            method(os.urandom(200), timeout=10)
    assert list(server.predict("half_plus_two", x=[2.0]).outputs["y"].float_val) == [3.0]


def test_hot_swap_fails_no_request(server: Running, tiny: Path, hot: Path) -> None:
    done, seen, failed = threading.Event(), [], []

    def ask() -> None:
        while not done.is_set():
            try:
                response = server.predict("hot", x=[2.0])
            except grpc.RpcError as error:
                failed.append(error)
            else:
                answer = response.outputs["y"].float_val[0]
                seen.append((response.model_spec.version.value, answer))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    shutil.copytree(tiny / "half_plus_three" / "1", hot / "2.tmp")
    (hot / "2.tmp").rename(hot / "2")
    server.until("hot", {2: AVAILABLE, 1: END})
    (hot / "3").mkdir()  # a push that never completes
    time.sleep(1)
    (hot / "3").rmdir()
    (hot / "2").rename(hot / "gone")
    server.until("hot", {3: END, 2: END, 1: AVAILABLE})
    done.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert set(seen) == {(1, 3.0), (2, 4.0)}


def test_reload_by_rpc(server: Running, tiny: Path) -> None:
    message = model_management_pb2.ReloadConfigRequest()
    with pytest.raises(grpc.RpcError) as caught:
        server.models.HandleReloadConfigRequest(message, timeout=20)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not supported by HandleReloadConfigRequest" in caught.value.details()
    for name in ("half_plus_two", "slow", "multi"):
        message.config.model_config_list.config.add(
            name=name, base_path=str(tiny / name), model_platform="tensorflow"
        )
    message.config.model_config_list.config[0].version_labels["stable"] = 1
    loads, counted = ":headrace:serving:version_load_count", "/tensorflow/serving/request_count"
    message.metric_names.extend([loads, counted, "no_such_counter"])
    response = server.models.HandleReloadConfigRequest(message, timeout=60)
    assert response.status.error_code == 0
    assert server.states("multi") == {1: AVAILABLE}
    risen = [(metric.name, metric.int64_value_increase) for metric in response.metric]
    assert risen[0][0] == loads and risen[0][1] > 0
    assert risen[1:] == [(counted, 0), ("no_such_counter", 0)]
    labelled = request("half_plus_two", x=[2.0])
    labelled.model_spec.version_label = "stable"
    answer = server.prediction.Predict(labelled, timeout=20)
    assert answer.model_spec.version.value == 1
    server.until("types", {1: END})


def test_models_are_batched_by_the_file_in_their_folder(
    start: Start, tiny: Path, tmp_path: Path
) -> None:
    config = tmp_path / "models.config"
    listed = []
    for name, text in (("two", "max_batch_size { value: 2 }"), ("none", ""), ("broken", "max")):
        shutil.copytree(tiny / "half_plus_two", tmp_path / name)
        if text:
            (tmp_path / name / "1" / "batching_params.pbtxt").write_text(text)
        listed.append(
            f'config {{ name: "{name}" base_path: "{tmp_path / name}" '
            'model_platform: "tensorflow" }'
        )
    config.write_text(f"model_config_list {{ {' '.join(listed)} }}")
    server = start(
        f"--model_config_file={config}",
        "--enable_batching",
        "--enable_per_model_batching_parameters",
        "--max_num_load_retries=0",
    )
    server.until("two", {1: AVAILABLE})
    server.until("none", {1: AVAILABLE})
    server.until("broken", {1: END})
    assert server.predict("two", x=[1.0, 2.0]).outputs["y"].float_val == [2.5, 3.0]
    with pytest.raises(grpc.RpcError, match="larger than maximum input batch size 2"):
        server.predict("two", x=[1.0, 2.0, 3.0])
    # As many as the scheduler's own limit would refuse.
    assert len(server.predict("none", x=[1.0] * 1001).outputs["y"].float_val) == 1001


def test_port_in_use_is_named(server: Running, tiny: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "serving", f"--port={server.grpc_port}"),
            f"--model_base_path={tiny / 'half_plus_two'}",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert f"port {server.grpc_port} is in use" in done.stdout
    if sys.platform == "linux":
        assert f"process {server.process.pid}" in done.stdout


def test_terminated_server_finishes_what_runs(server: Running) -> None:
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(server.predict("slow", 90, x=[5.0])))
    thread.start()
    time.sleep(0.5)
    assert server.end() == 0
    thread.join()
    assert list(answers[0].outputs["y"].float_val) == [5.0]


def test_server_ends_with_its_parent(tiny: Path, tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    command = [
        *(sys.executable, "-m", "serving", "--port=0", f"--port_file={file}"),
        *("--exit_with_parent", f"--model_base_path={tiny / 'half_plus_two'}"),
    ]
    starter = (
        f"import subprocess, time, os; subprocess.Popen({command!r}, stdout=subprocess.DEVNULL)\n"
        f"while not os.path.exists({str(file)!r}): time.sleep(0.1)"
    )
    subprocess.run([sys.executable, "-c", starter], cwd=ROOT, timeout=120, check=True)
    pid = json.loads(file.read_text())["pid"]
    end = time.monotonic() + 30
    while Path(f"/proc/{pid}").exists() and _alive(pid):
        assert time.monotonic() < end
        time.sleep(0.1)


def test_server_ends_where_its_parent_was_gone_before_it(tiny: Path) -> None:
    # The number of a process that has ended, and so is nobody's parent.
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    command = [
        *(sys.executable, "-m", "serving", "--port=auto", f"--parent_pid={ended.pid}"),
        f"--model_base_path={tiny / 'half_plus_two'}",
    ]
    # It would serve for ever.
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, timeout=120, check=True)


def test_a_failed_start_says_so_on_both_outputs(tmp_path: Path) -> None:
    config = tmp_path / "models.config"
    config.write_text("model_config_list { nonsense }")
    command = [sys.executable, "-m", "serving", "--port=auto", f"--model_config_file={config}"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 255
    assert "Failed to start server. Error: " in done.stdout
    assert "Failed to start server. Error: " in done.stderr and str(config) in done.stderr


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
