"""One client of `benchmarks/serving.py`: a process with one connection, one request at a time.

    python serving_load.py '{"kind": "grpc", "address": "127.0.0.1:1", "path": "…", "body": "FILE"}'

It sends the same bytes again and again and only looks whether the answer is one, so that it takes
as little as it can of the CPUs it shares with the server. Each line on standard input is a phase,
`{"start": …, "end": …, "times": [...] or null}`, on the machine's monotonic clock; the answer is a
line with latencies, in seconds:

* without times, a closed loop: the next request follows the answer;
* with times, an open loop: a request belongs to each of these moments, and its latency counts from
  that moment, waiting for the answer before it included.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 30.0

#: Sends the request and returns the answer's bytes; raises if it is a refusal.
Ask = Callable[[], bytes]


def over_grpc(address: str, method: str, body: bytes) -> Ask:
    """Unary calls over one HTTP/2 connection, without a library: see `Http2`."""
    connection = Http2(address, method)
    message = b"\0" + struct.pack(">I", len(body)) + body
    return lambda: connection.ask(message)[5:]


class Http2:
    """As much of HTTP/2 (RFC 9113) as a unary gRPC call takes, one at a time.

    A gRPC library in Python takes more of the CPUs for a call than the server it is to measure.
    Header fields are sent as literals without an index and those of answers are not decoded: an
    answer without a message is a refusal.
    """

    _DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GO_AWAY, _WINDOW = 0, 1, 3, 4, 6, 7, 8
    _ACK = _END_STREAM = 0x1
    _END_HEADERS = 0x4
    #: What a peer takes before it has said otherwise.
    _FRAME, _FIRST_WINDOW = 1 << 14, (1 << 16) - 1
    #: Received in a phase at most; it need not be widened.
    _LARGEST_WINDOW = (1 << 31) - 1

    def __init__(self, address: str, path: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)), _TIMEOUT_SECONDS)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._received = b""
        self._window = self._FIRST_WINDOW
        self._stream = -1
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            ":authority": address,
            "content-type": "application/grpc",
            "te": "trailers",
            "grpc-timeout": f"{_TIMEOUT_SECONDS:.0f}S",
        }
        self._fields = b"".join(
            bytes([0, len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in fields.items()
        )
        settings = struct.pack(">HI", 0x4, self._LARGEST_WINDOW)  # SETTINGS_INITIAL_WINDOW_SIZE
        more = struct.pack(">I", self._LARGEST_WINDOW - self._FIRST_WINDOW)
        self._socket.sendall(
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
            + self._frame(self._SETTINGS, 0, 0, settings)
            + self._frame(self._WINDOW, 0, 0, more)
        )

    def ask(self, message: bytes) -> bytes:
        """Sends a message with its prefix; returns the answer's, with its own.

        Raises:
            ConnectionError: refused, or the connection was closed.
        """
        self._stream += 2
        while self._window < len(message):
            self._read()
        self._window -= len(message)
        parts = [message[at : at + self._FRAME] for at in range(0, len(message), self._FRAME)]
        flags = [0] * (len(parts) - 1) + [self._END_STREAM]
        self._socket.sendall(
            self._frame(self._HEADERS, self._END_HEADERS, self._stream, self._fields)
            + b"".join(
                self._frame(self._DATA, flag, self._stream, part)
                for flag, part in zip(flags, parts, strict=True)
            )
        )
        answer = b""
        while True:
            kind, flags_, stream, payload = self._read()
            if stream != self._stream:
                continue
            if kind == self._DATA:
                answer += payload
            if kind == self._RESET or flags_ & self._END_STREAM:
                if not answer:
                    raise ConnectionError("the server refused the call")
                return answer

    def _read(self) -> tuple[int, int, int, bytes]:
        """The next frame: kind, flags, stream, payload. What the connection asks for is done."""
        while len(self._received) < 9:
            self._received += _more(self._socket)
        length = int.from_bytes(self._received[:3], "big")
        kind, flags, stream = struct.unpack(">BBI", self._received[3:9])
        end = 9 + length
        while len(self._received) < end:
            self._received += _more(self._socket)
        payload, self._received = self._received[9:end], self._received[end:]
        if kind == self._GO_AWAY:
            raise ConnectionError("the server closes the connection")
        if kind == self._WINDOW and stream == 0:
            self._window += int.from_bytes(payload, "big")
        if kind in (self._SETTINGS, self._PING) and not flags & self._ACK:
            echo = payload if kind == self._PING else b""
            self._socket.sendall(self._frame(kind, self._ACK, 0, echo))
        return kind, flags, stream, payload

    @staticmethod
    def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
        head = len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream)
        return head + payload


def over_rest(address: str, path: str, body: bytes) -> Ask:
    """HTTP/1.1 over one connection, without a library."""
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)), _TIMEOUT_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def ask() -> bytes:
        connection.sendall(request)
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += _more(connection)
        fields = received[:end].lower().split(b"\r\n")
        (length,) = (int(f[15:]) for f in fields if f.startswith(b"content-length:"))
        while len(received) < end + 4 + length:
            received += _more(connection)
        if b" 200 " not in fields[0]:
            raise ValueError(received.decode(errors="replace"))
        return received[end + 4 :]

    return ask


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(1 << 16)
    if not received:
        raise ConnectionError("the server closed the connection")
    return received


def closed_loop(ask: Ask, start: float, end: float) -> list[float]:
    """Latencies of the answers that came before `end`."""
    clock = time.monotonic
    time.sleep(max(0.0, start - clock()))
    latencies = []
    sent = clock()
    while sent < end:
        ask()
        received = clock()
        if received <= end:
            latencies.append(received - sent)
        sent = received
    return latencies


def open_loop(ask: Ask, times: list[float]) -> list[float]:
    """Latencies from the moments that requests are due."""
    clock = time.monotonic
    latencies = []
    for due in times:
        time.sleep(max(0.0, due - clock()))
        ask()
        latencies.append(clock() - due)
    return latencies


def main() -> None:
    """Answers phases until standard input ends."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    connect = over_grpc if order["kind"] == "grpc" else over_rest
    body = Path(order["body"]).read_bytes()
    print(connect(order["address"], order["path"], body)().hex(), flush=True)
    for line in sys.stdin:
        phase = json.loads(line)
        # Anew, since servers close connections that were idle in the phase before.
        ask = connect(order["address"], order["path"], body)
        ask()
        if phase["times"] is None:
            latencies = closed_loop(ask, phase["start"], phase["end"])
        else:
            latencies = open_loop(ask, phase["times"])
        print(json.dumps(latencies), flush=True)


if __name__ == "__main__":
    main()
