"""One stranger takes what it can get of the REST port; a good client is answered meanwhile."""

import contextlib
import gzip
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
BODY = b'{"instances":[2.0]}'
PREDICT = b"POST /v1/models/default:predict HTTP/1.1\r\nHost: x\r\n"
REQUEST = PREDICT + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
MIB = 1 << 20


@dataclass
class Served:
    pid: int
    port: int

    def memory(self) -> int:
        """Bytes that the process has in memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def ask(self, head: bytes, body: bytes = b"") -> tuple[int, str]:
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return read(connection)

    def refused(self, reason: str) -> int:
        """How many times for this reason, as the metrics say."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
        connection.close()
        name = f':headrace:serving:refused_count{{reason="rest_{reason}"}} '
        found = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
        return int(float(found[0])) if found else 0


def read(connection: socket.socket) -> tuple[int, str]:
    response = http.client.HTTPResponse(connection)
    response.begin()
    return response.status, response.read().decode()


@contextlib.contextmanager
def good_client(served: Served, seconds: float = 3.0, growth: int = 64 * MIB) -> Iterator[None]:
    """Asks all the time, each on a connection of its own: the answers are right and in time."""
    ended = threading.Event()
    slowest: list[float] = []
    wrong: list[object] = []
    most = [0]

    def ask() -> None:
        while not ended.is_set():
            started = time.monotonic()
            try:
                answer = served.ask(PREDICT, BODY)
            except OSError as error:
                wrong.append(error)
                continue
            slowest.append(time.monotonic() - started)
            if answer[0] != 200 or json.loads(answer[1]) != {"predictions": [3.0]}:
                wrong.append(answer)
            most[0] = max(most[0], served.memory())
            time.sleep(0.01)

    before = served.memory()
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        time.sleep(0.1)
        yield
    finally:
        ended.set()
        thread.join(30)
    assert not wrong, wrong[:3]
    assert len(slowest) > 3 and max(slowest) < seconds, max(slowest)
    assert most[0] - before < growth, (most[0] - before) / MIB


LIMITS = (
    "--rest_header_timeout_seconds=1",
    "--rest_max_connections=100",
    "--rest_body_timeout_seconds=2",
    "--rest_max_body_bytes=4000000",
    "--rest_max_inflated_bytes=2000000",
    "--rest_max_gzip_members=100",
    "--rest_max_total_body_bytes=16000000",
    "--rest_keep_alive_seconds=20",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    import tiny_models

    folder = tmp_path_factory.mktemp("served")
    monitoring, ports = folder / "monitoring", folder / "ports.json"
    tiny_models.half_plus(folder / "model" / "1")
    monitoring.write_text('prometheus_config { enable: true, path: "/metrics" }')
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "serving", "--port=auto", "--rest_api_port=auto"),
            *(f"--port_file={ports}", f"--model_base_path={folder / 'model'}"),
            *(f"--monitoring_config_file={monitoring}", "--exit_with_parent", *LIMITS),
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 120
    try:
        while not ports.exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        server = Served(process.pid, json.loads(ports.read_text())["rest_port"])
        while server.ask(PREDICT, BODY)[0] != 200:
            assert time.monotonic() < end
            time.sleep(0.05)
        yield server
    finally:
        process.kill()
        process.wait()


def send_without_reading(connection: socket.socket, data: bytes, most: int) -> int:
    """Sends until nothing is taken for a second; returns how many bytes were."""
    connection.settimeout(1)
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            sent += connection.send(data)
    return sent


@pytest.mark.parametrize("answer", ["large", "small"])
def test_requests_without_reading_the_answers(served: Served, answer: str) -> None:
    target = b"/openapi.json" if answer == "large" else b"/"
    requests = (b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % target) * 2000
    with good_client(served), contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(served.connect())
            sent = send_without_reading(connection, requests, 100 * MIB)
            assert sent < 60 * MIB, "the server stops reading"


def test_requests_in_a_row_are_answered_in_order(served: Served) -> None:
    bodies = [b'{"instances":[%d]}' % number for number in range(300)]
    chunked = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n"
    sent = b"".join(
        PREDICT + (chunked if number % 2 else b"Content-Length: %d\r\n\r\n%b") % (len(body), body)
        for number, body in enumerate(bodies)
    )
    with served.connect() as connection:
        threading.Thread(target=connection.sendall, args=(sent,)).start()
        file = connection.makefile("rb")
        for number in range(300):
            assert file.readline().startswith(b"HTTP/1.1 200")
            length = 0
            while (line := file.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert json.loads(file.read(length)) == {"predictions": [number / 2 + 2]}


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7])
def test_a_request_may_come_in_pieces(served: Served, step: int) -> None:
    with served.connect() as connection:
        for start in range(0, len(REQUEST), step):
            connection.sendall(REQUEST[start : start + step])
            time.sleep(0.0005)
        assert read(connection)[0] == 200


@pytest.mark.parametrize(
    "begun, more",
    [
        (b"GET / HTTP/1.1\r\n", b"A: " + b"b" * 1000 + b"\r\n"),
        (b"GET / HTTP/1.1\r\nA: ", b"b" * 1000),
        (b"GET /", b"a" * 1000),
        (b"", b"\r\n" * 1000),
        (PREDICT + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"A: " + b"b" * 1000 + b"\r\n"),
        (PREDICT + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 1000),
    ],
)
def test_headers_without_end(served: Served, begun: bytes, more: bytes) -> None:
    before = served.refused("header_bytes")
    with good_client(served):
        with served.connect() as connection:
            connection.sendall(begun)
            sent = send_without_reading(connection, more * 10, 200 * MIB)
            assert sent < 20 * MIB
        time.sleep(0.2)
    assert served.refused("header_bytes") == before + 1


def test_too_large_headers_are_told_so(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000)
        status, text = read(connection)
    assert status == 431 and "65536 bytes" in json.loads(text)["error"]


def test_headers_never_finished_give_way(served: Served) -> None:
    before = served.refused("header_time") + served.refused("connections")
    with good_client(served), contextlib.ExitStack() as stack:
        held = [stack.enter_context(served.connect()) for _ in range(300)]
        for connection in held:
            with contextlib.suppress(OSError):
                connection.sendall(b"GET / HTTP/1.1\r\nA: b\r\n")
        time.sleep(2)
        for connection in held:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
    assert served.refused("header_time") + served.refused("connections") - before >= 300


def test_a_body_that_drips_is_refused(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(PREDICT + b"Content-Length: 100000\r\n\r\n")
        started = time.monotonic()
        connection.settimeout(0.1)
        answer = b""
        while not answer and time.monotonic() - started < 10:
            with contextlib.suppress(TimeoutError):
                connection.sendall(b"1")
                answer = connection.recv(1000)
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert time.monotonic() - started < 5
    assert served.refused("body_time")


def test_a_large_body_is_refused_before_it_is_sent(served: Served) -> None:
    with good_client(served):
        with served.connect() as connection:
            connection.sendall(PREDICT + b"Content-Length: 99999999999\r\n\r\n")
            status, text = read(connection)
        assert status == 413 and "The body is larger than 3 MiB" in text
        with served.connect() as connection:
            connection.sendall(PREDICT + b"Transfer-Encoding: chunked\r\n\r\n")
            chunk = b"%x\r\n%b\r\n" % (100_000, b" " * 100_000)
            send_without_reading(connection, chunk, 100 * MIB)
            assert read(connection)[0] == 413


@pytest.mark.parametrize(
    "content, status, reason",
    [
        (b" " * 200 * MIB, 413, "inflated_bytes"),
        (b"1," * 1_100_000, 413, "inflated_bytes"),
    ],
)
def test_gzip_that_inflates_to_too_much(
    served: Served, content: bytes, status: int, reason: str
) -> None:
    body = gzip.compress(content, 6)
    before = served.refused(reason)
    answers: list[tuple[int, str]] = []

    def attack() -> None:
        answers.append(served.ask(PREDICT + b"Content-Encoding: gzip\r\n", body))

    with good_client(served):
        threads = [threading.Thread(target=attack) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert [answer[0] for answer in answers] == [status] * 12, answers[:2]
    assert "inflated, is larger than 1 MiB" in answers[0][1]
    assert served.refused(reason) == before + 12


def test_gzip_of_empty_members_is_refused_at_once(served: Served) -> None:
    body = gzip.compress(b"") * 100_000
    with good_client(served):
        started = time.monotonic()
        status, text = served.ask(PREDICT + b"Content-Encoding: gzip\r\n", body)
        assert time.monotonic() - started < 2
    assert status == 413 and "more than 100 members" in text
    assert served.refused("gzip_members")
