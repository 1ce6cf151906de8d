"""SIGTERM under load: what was begun is answered, what was not is UNAVAILABLE, nothing is lost."""

import collections
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.client.errors import Unreachable
from serving.client.retry import Deadline, Retries

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
#: More of them by hand: HEADRACE_STOPS=20 pytest tests/serving/server/test_drain.py
STOPS = int(os.environ.get("HEADRACE_STOPS", "2"))
CLIENTS = 8

Start = Callable[[int], tuple[subprocess.Popen[bytes], int]]


@pytest.fixture
def start(tiny: Path, tmp_path: Path) -> Iterator[Start]:
    """Starts a server on a port (0: a free one); returns once it serves, with the port."""
    started: list[subprocess.Popen[bytes]] = []

    def start_one(port: int) -> tuple[subprocess.Popen[bytes], int]:
        file = tmp_path / f"ports-{len(started)}.json"
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "serving", "--host=127.0.0.1", "--exit_with_parent"),
                *(f"--port={port or 'auto'}", f"--port_file={file}", "--model_name=m"),
                f"--model_base_path={tiny / 'half_plus_two'}",
            ],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        end = time.monotonic() + 120
        while not file.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        found: int = json.loads(file.read_text())["grpc_port"]
        with grpc.insecure_channel(f"127.0.0.1:{found}") as channel:
            check = health_pb2_grpc.HealthStub(channel).Check
            while check(health_pb2.HealthCheckRequest(), timeout=20).status != 1:
                time.sleep(0.05)
        return process, found

    yield start_one
    for process in started:
        process.kill()
        process.wait()


def request() -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest()
    made.model_spec.name = "m"
    made.inputs["x"].dtype = 1
    made.inputs["x"].float_val.append(2.0)
    made.inputs["x"].tensor_shape.dim.add(size=1)
    return made


class Load:
    """Clients that ask without a pause, and try again what is UNAVAILABLE, as ours does."""

    def __init__(self, target: str) -> None:
        self.codes: collections.Counter[str] = collections.Counter()
        self.lost: list[str] = []
        self._target = target
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _ask(self) -> None:
        options = [
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        with grpc.insecure_channel(self._target, options) as channel:
            ask = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict

            def once() -> float:
                try:
                    value: float = ask(request(), timeout=20).outputs["y"].float_val[0]
                except grpc.RpcError as error:
                    self.codes[error.code().name] += 1
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        raise Unreachable(str(error.details())) from error
                    raise
                self.codes["OK"] += 1
                return value

            while not self._stop.is_set():
                try:
                    assert Retries().run(once, Deadline(30)) == 3.0
                except Exception as error:  # noqa: BLE001 - whatever it was, it was lost
                    self.lost.append(repr(error))


def test_nothing_is_lost(start: Start) -> None:
    _, other = start(0)
    process, port = start(0)
    # The first that answers; another one takes over while it is away.
    load = Load(f"ipv4:127.0.0.1:{port},127.0.0.1:{other}")
    try:
        for stop in range(STOPS):
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
            if stop + 1 < STOPS:
                process, _ = start(port)
    finally:
        load.end()
    print(f"{STOPS} stops: {dict(load.codes)}")
    assert load.lost == []
    assert set(load.codes) <= {"OK", "UNAVAILABLE"}
    assert load.codes["OK"] > 100 * STOPS


def test_health_says_so_while_it_drains(start: Start) -> None:
    process, port = start(0)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(signal.SIGTERM)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    assert process.wait(30) == 0
