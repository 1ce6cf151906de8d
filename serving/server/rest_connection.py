"""A connection of the REST interface: uvicorn's, within limits.

uvicorn's own protocol parses whatever has arrived: a client that sends requests without reading the
answers, or headers without an end, fills the memory. Here the parser gets one request at a time;
what follows stays unparsed, and unread, until that one is answered.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from serving.server.rest_connections import IDLE, LINGER, STOPPING, Connections, State

_END = b"\r\n\r\n"
# Of a body without a length, how much the parser gets at a time.
_PIECE = 64 << 10


class _Flow(FlowControl):
    """Reads nothing while bytes are held."""

    held = False

    def resume_reading(self) -> None:
        if not self.held:
            super().resume_reading()


class _Transport:
    """uvicorn's view of the transport: closing it lets the client read the last answer."""

    def __init__(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._connection = connection
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info
        self._write = transport.write
        self._is_closing = transport.is_closing

    def write(self, data: bytes) -> None:
        if not self._connection.lingers:
            self._write(data)

    def is_closing(self) -> bool:
        return self._connection.lingers or self._is_closing()

    def close(self) -> None:
        self._connection.linger()


class Connection(HttpToolsProtocol):
    """See the module.

    Attributes:
        lingers: whether all was said, and what the client still sends is dropped.
    """

    def __init__(self, connections: Connections, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self.lingers = False
        self.peer = ""
        self.since = 0.0
        self.deadline: float | None = None
        self.late = "header_time"
        self.unread: tuple[float, int] | None = None
        self._connections_of_all = connections
        self._limits = connections.limits
        self._raw: asyncio.Transport | None = None
        self._held = b""
        self._dropped = 0
        self._left: int | None = None
        self._begin()

    # What the watch asks.
    def state(self) -> State:
        if self.lingers:
            return State.LINGERS
        if self._answering():
            return State.BODY if self._in_body else State.ANSWERED
        return State.IDLE if self.deadline is None or self.late == IDLE else State.HEADERS

    def unread_bytes(self) -> int:
        return self._raw.get_write_buffer_size() if self._raw is not None else 0

    def cut_off(self) -> None:
        if self._raw is None:
            return
        if self.state() == State.IDLE and not self.unread_bytes():
            self._raw.close()  # in order: it costs a client between two requests no error
        else:
            self._raw.abort()

    # What the loop calls.
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = transport  # type: ignore[assignment]
        super().connection_made(_Transport(transport, self))  # type: ignore[arg-type]
        self.flow = _Flow(transport)  # type: ignore[arg-type]
        self.peer = self.client[0] if self.client else ""
        self.since = self.loop.time()
        self._due(self._limits.header_seconds, "header_time")
        if not self._connections_of_all.admit(self):
            self._say(503, "Too many connections. Try again later.")
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections_of_all.remove(self)
        self._unset_keepalive_if_required()
        self._held = b""
        super().connection_lost(exc)
        self._raw = None

    def data_received(self, data: bytes) -> None:
        if self.lingers:
            self._dropped += len(data)
            if self._dropped > self._limits.linger_bytes:
                self.flow.pause_reading()
            return
        self._unset_keepalive_if_required()
        if self._held or (not self._in_body and self._answering()):
            self._hold(self._held + data)
        else:
            self._feed(data)

    def shutdown(self) -> None:
        if self._answering() or not self._bare:  # else it is told once its headers are there
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        if self.unread_bytes():  # the answer is on its way still; how long, the watch decides
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        else:
            super().timeout_keep_alive_handler()

    def linger(self) -> None:
        """Says that no more will come; waits a little for the client to say so as well."""
        raw = self._raw
        if self.lingers or raw is None or raw.is_closing():
            return
        self._unset_keepalive_if_required()
        self.lingers = True
        self._held = b""
        self.flow.held = False  # type: ignore[attr-defined]
        self.flow.resume_reading()
        self._due(self._connections_of_all.linger_seconds(), LINGER)
        raw.write_eof()

    # What the parser calls.
    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_body:  # what follows a chunked body is nobody's
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_body = True
        self.deadline = None
        self._left = _length(self.headers)
        self._bare = 0
        if self._connections_of_all.stopping:
            self._connections_of_all.count(STOPPING)
            self.app = _stopping
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._bare = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._begin()
        super().on_message_complete()
        if not self._answering():
            self._due(self._limits.idle_seconds, IDLE)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._in_body:  # answered early: the rest of the request is dropped, but not for ever
            self._due(self._limits.header_seconds, "body_time")
        elif self._held:
            held, self._held = self._held, b""
            self._unset_keepalive_if_required()
            self.flow.held = False  # type: ignore[attr-defined]
            self._feed(held)
            if not self._held:
                self.flow.resume_reading()

    def _begin(self) -> None:
        """Of a request."""
        self._in_body = False
        self._left = None  # bytes of the body; None: not known
        # Bytes since the request began, or, after its headers, since the last byte of its body.
        self._bare = 0
        self._tail = b""
        self.deadline = None

    def _answering(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is not None and not cycle.response_complete

    def _due(self, seconds: float, reason: str) -> None:
        self.deadline = self.loop.time() + seconds
        self.late = reason

    def _hold(self, data: bytes) -> None:
        self._held = data
        self.flow.held = True  # type: ignore[attr-defined]
        self.flow.pause_reading()

    def _feed(self, data: bytes) -> None:
        """Gives the parser what arrived, up to the end of a request that is not answered yet."""
        start = 0
        while start < len(data) and self._raw is not None and not self.transport.is_closing():
            if not self._in_body:
                if self._answering():
                    self._hold(data[start:])
                    return
                if not self._bare:
                    self._due(self._limits.header_seconds, "header_time")
            end = self._end(data, start)
            piece = data if end - start == len(data) else data[start:end]
            start = end
            self._bare += len(piece)
            if self._bare > self._limits.header_bytes and self._left is None:
                self._connections_of_all.count("header_bytes")
                message = f"The headers are larger than {self._limits.header_bytes} bytes."
                self._refuse(431, message)
                return
            self._tail = piece[-len(_END) + 1 :] if self._left is None else b""
            super().data_received(piece)

    def _end(self, data: bytes, start: int) -> int:
        """Where the parser's next piece ends: with the headers, or the request."""
        if self._left is not None:
            end = min(len(data), start + self._left)
            self._left -= end - start
            return end
        limit = min(len(data), start + _PIECE)
        joined = self._tail + data[start : start + len(_END)]
        found = joined.find(_END)
        if found >= 0:
            return min(limit, start + found + len(_END) - len(self._tail))
        found = data.find(_END, start, limit)
        return limit if found < 0 else found + len(_END)

    def send_400_response(self, msg: str) -> None:
        self._connections_of_all.count("bad_request")
        super().send_400_response(msg)

    def _refuse(self, status: int, message: str) -> None:
        self._say(status, message)
        self.linger()

    def _say(self, status: int, message: str) -> None:
        body = json.dumps({"error": message}).encode()
        head = (
            b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            % len(body)
        )
        self.transport.write(STATUS_LINE[status] + head + body)


def _length(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Bytes of the body that the headers announce; 0: none; None: it ends somewhere."""
    length: int | None = 0
    for name, value in headers:
        if name == b"transfer-encoding":
            return None
        if name == b"content-length" and value.isdigit():
            length = int(value[:20])
    return length


async def _stopping(_scope: Any, _receive: Any, send: Any) -> None:
    """Answers what came too late, so that clients ask again, of a server that goes on."""
    body = b'{"error":"The server is stopping and did not start the request. Try again."}\n'
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (b"retry-after", b"1"),
    ]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": body})
