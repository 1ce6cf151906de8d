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
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_TIMEOUT_SECONDS = 30.0

#: Sends the request and returns the answer's bytes; raises if it is a refusal.
Ask = Callable[[], bytes]


def over_grpc(address: str, method: str, body: bytes) -> Ask:
    """A unary call without any coding of messages."""
    import grpc

    channel = grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)])
    call = channel.unary_unary(method)

    def ask() -> bytes:
        answer: bytes = call(body, timeout=_TIMEOUT_SECONDS)
        return answer

    return ask


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
