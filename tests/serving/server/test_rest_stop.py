"""The REST server stops while it is asked: what was started is answered, the rest is told so."""

import contextlib
import http.client
import json
import socket
import threading
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.server.flags import Options
from serving.server.metrics import Metrics
from serving.server.rest_api import app
from serving.server.rest_limits import ConnectionLimits
from serving.server.rest_server import RestServer

BODY = b'{"instances":[2.0]}'
PATH = "/v1/models/m:predict"


class Model:
    """y = x / 2 + 2, after a while."""

    version = 1
    signatures = {"serving_default": SimpleNamespace(inputs={"x": SimpleNamespace(dtype=1)})}

    def __init__(self) -> None:
        self.seconds = 0.002

    def run(self, signature: str, inputs: Any, outputs: Any, timeout: Any) -> dict[str, np.ndarray]:
        time.sleep(self.seconds)
        return {"y": inputs["x"] / 2 + 2}


class Models:
    def __init__(self) -> None:
        self.model = Model()

    def use(self, name: str, version: int | None, label: str | None) -> Any:
        return contextlib.nullcontext(self.model)


def started(models: Models, metrics: Metrics, **limits: Any) -> RestServer:
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    # Connections have it of their listener: what clients do not read soon stays with the server.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20_000)
    application = app(models, metrics=metrics, threads=4)  # type: ignore[arg-type]
    server = RestServer(
        application, listener, Options(drain_seconds=10), metrics, ConnectionLimits(**limits)
    )
    server.start()
    return server


@pytest.fixture(scope="module", autouse=True)
def _loaded() -> None:
    """The first request waits for TensorFlow to be imported."""
    server = started(Models(), Metrics())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=100)
    connection.request("POST", PATH, BODY)
    assert connection.getresponse().status == 200
    connection.close()
    server.begin_stop()
    server.join(5)


def ask_until_told(port: int, keep: bool, answers: list[object]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    while True:
        try:
            connection.request("POST", PATH, BODY)
            response = connection.getresponse()
            response.read()
        except OSError as error:
            answers.append(error)
            return
        answers.append(response.status)
        if response.status != 200:
            return
        if not keep:
            connection.close()


@pytest.mark.parametrize("stop", range(20))
def test_a_stop_under_load_loses_nothing(stop: int) -> None:
    metrics = Metrics()
    server = started(Models(), metrics)
    answers: list[list[object]] = [[] for _ in range(12)]
    threads = [
        threading.Thread(target=ask_until_told, args=(server.port, number % 3 > 0, given))
        for number, given in enumerate(answers)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 10
    while not all(answers) and time.monotonic() < end:
        time.sleep(0.01)
    time.sleep(0.007 * stop)
    server.begin_stop()
    server.join(10)
    for thread in threads:
        thread.join(10)
    for given in answers:
        assert given[:-1] == [200] * (len(given) - 1) and len(given) > 1
        # A connection that is refused was never made; nothing was lost with it.
        assert given[-1] == 503 or isinstance(given[-1], ConnectionRefusedError), given[-1]
    told = sum(given[-1] == 503 for given in answers)
    assert metrics.total(":headrace:serving:refused_count") == told > 0


def test_what_runs_is_answered_and_its_connection_closed() -> None:
    models = Models()
    models.model.seconds = 1.0
    server = started(models, Metrics())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", PATH, BODY)
    time.sleep(0.2)
    server.begin_stop()
    response = connection.getresponse()
    assert json.loads(response.read()) == {"predictions": [3.0]}
    assert (response.status, response.headers["connection"]) == (200, "close")
    server.join(5)


def test_a_connection_that_is_idle_ends_without_a_reset() -> None:
    server = started(Models(), Metrics())
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", PATH, BODY)
    connection.getresponse().read()
    started_at = time.monotonic()
    server.begin_stop()
    assert connection.sock is not None and connection.sock.recv(1) == b""
    server.join(5)
    assert time.monotonic() - started_at < 3


@pytest.mark.parametrize("connection", [b"close", b"keep-alive"])
def test_a_slow_reader_gets_the_whole_answer(connection: bytes) -> None:
    metrics = Metrics()
    server = started(
        Models(), metrics, linger_seconds=0.2, idle_seconds=1.0, bytes_per_second=100_000
    )
    body = json.dumps({"instances": [2.0] * 200_000}).encode()
    answer = b""
    with slow_reader(server.port) as client:
        client.sendall(request(body, connection))
        for _ in range(8):  # longer than what is idle, or lingers, may wait
            time.sleep(0.3)
            answer += client.recv(10_000)
        while not answer.endswith(b"}\n"):
            answer += client.recv(1_000_000)
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {"predictions": [3.0] * 200_000}
    assert metrics.total(":headrace:serving:refused_count") == 0
    server.begin_stop()
    server.join(5)


def test_who_does_not_read_the_answer_is_cut_off() -> None:
    metrics = Metrics()
    server = started(Models(), metrics, write_seconds=0.3, bytes_per_second=10_000_000)
    body = json.dumps({"instances": [2.0] * 200_000}).encode()
    with slow_reader(server.port) as client:
        client.sendall(request(body, b"keep-alive"))
        end = time.monotonic() + 20
        while not metrics.total(":headrace:serving:refused_count") and time.monotonic() < end:
            time.sleep(0.05)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while part := client.recv(1_000_000):
                answer += part
        assert not answer.endswith(b"}\n")
    assert 'reason="rest_read_time"' in metrics.text()
    server.begin_stop()
    server.join(5)


def slow_reader(port: int) -> socket.socket:
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    return client


def request(body: bytes, connection: bytes) -> bytes:
    head = f"POST {PATH} HTTP/1.1\r\nContent-Length: {len(body)}\r\nConnection: ".encode()
    return head + connection + b"\r\n\r\n" + body


def test_what_does_not_end_in_time_is_told_to_ask_again() -> None:
    models = Models()
    models.model.seconds = 4.0
    metrics = Metrics()
    listener = socket.create_server(("127.0.0.1", 0))
    application = app(models, metrics=metrics, threads=1)  # type: ignore[arg-type]
    server = RestServer(
        application, listener, Options(drain_seconds=1), metrics, ConnectionLimits()
    )
    server.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("POST", PATH, BODY)
    time.sleep(0.2)
    server.begin_stop()
    assert connection.getresponse().status == 503
    server.join(5)
