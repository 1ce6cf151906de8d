"""Bodies of REST requests: received and inflated within limits, and large ones one at a time."""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from serving.server.errors import Code, ServingError
from serving.server.inflate import TooMuchError, inflate

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Iterable[tuple[bytes, bytes]]

_TOO_SLOW, _TOO_LARGE, _TOO_MANY = 408, 413, 503
# Small parts of a body are joined to parts of this size, in bytes: each object costs 40 more.
_PART = 64 << 10
_INFLATING_THREADS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What bounds the memory that bodies take.

    Attributes:
        bytes: of a body, before and after inflation.
        all_bytes: of all bodies that are held at a time, inflated where they were compressed.
        large: of a body, in bytes, from which on only one is worked on at a time: parsed, it may
            take thirty times its size.
        seconds: without a byte, after which the rest is not waited for.
        bytes_per_second: that come at least, on average, beside a first `seconds`.
        inflated_bytes: of a body after inflation, where that is less.
        inflate_seconds: of processor time to inflate a body.
        members: of a gzip file.
    """

    bytes: int = 128 << 20
    all_bytes: int = 256 << 20
    large: int = 8 << 20
    seconds: float = 60.0
    bytes_per_second: int = 1024
    inflated_bytes: int = 32 << 20
    inflate_seconds: float = 2.0
    members: int = 1000


class Disconnected(Exception):
    """The client went away before it had sent all."""


class BodyRefusedError(ServingError):
    """A body is too large or comes too slowly.

    Attributes:
        status: of HTTP, which has statuses of its own for these.
        reason: for the metrics.
    """

    def __init__(self, code: Code, message: str, status: int, reason: str) -> None:
        super().__init__(code, message)
        self.status = status
        self.reason = reason


class Body:
    """A body, inflated.

    Attributes:
        large: whether to work on it alone.
    """

    def __init__(self, content: bytes, large: bool = False) -> None:
        self.large = large
        self._content: bytes | None = content

    def take(self) -> bytes:
        """The content; it can be taken once, so that its taker can free its memory."""
        content, self._content = self._content, None
        assert content is not None, "a body is taken once"
        return content


class _Held:
    """Bytes of one body, counted among those of all."""

    def __init__(self, reader: BodyReader) -> None:
        self._reader = reader
        self.size = 0

    def take(self, size: int) -> None:
        self.size += size
        self._reader.hold(size)

    def give_back(self, size: int | None = None) -> None:
        size = self.size if size is None else size
        self.size -= size
        self._reader.hold(-size)


class BodyReader:
    """Receives bodies. Belongs to one event loop.

    Attributes:
        limits: that it keeps to.
    """

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self._held = 0
        self._lock = threading.Lock()
        self._inflating = ThreadPoolExecutor(_INFLATING_THREADS, "inflate")

    def close(self) -> None:
        """Ends its threads once they are idle."""
        self._inflating.shutdown(wait=False, cancel_futures=True)

    def hold(self, size: int) -> None:
        """Counts bytes that are held from now on, or, below zero, no more.

        Raises:
            BodyRefusedError: that is too much, all bodies together.
        """
        with self._lock:
            self._held += size
            held = self._held
        if size > 0 and held > self.limits.all_bytes:
            raise BodyRefusedError(
                Code.UNAVAILABLE,
                "Too many large requests at a time. Try again later, with fewer rows each.",
                _TOO_MANY,
                "body_total",
            )

    @asynccontextmanager
    async def receive(
        self, headers: Headers, receive: Receive, after_large: Callable[[], None]
    ) -> AsyncIterator[Body]:
        """Receives a request's body.

        Args:
            headers: of the request.
            receive: of ASGI.
            after_large: called after a request with a large body, refused ones included.

        Raises:
            Disconnected: the client went away.
            ServingError: the body is too large or too slow, no gzip, or there are too many.
        """
        held = _Held(self)
        size = largest = 0
        try:
            self._check(_announced(headers))
            content = await self._read(receive, held)
            size = largest = len(content)
            if _is_gzip(headers):
                loop = asyncio.get_running_loop()
                content = await loop.run_in_executor(
                    self._inflating, self._inflate, content, held.take
                )
                held.give_back(size)
            body = Body(content, large=len(content) >= self.limits.large)
            del content  # whoever takes it frees it
            yield body
        finally:
            largest = max(largest, held.size)
            held.give_back()
            if largest >= self.limits.large:
                after_large()

    async def _read(self, receive: Receive, held: _Held) -> bytes:
        limits = self.limits
        parts: list[bytes] = []
        last = bytearray()
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            async with asyncio.timeout(limits.seconds) as patience:
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Disconnected
                    chunk = message.get("body", b"")
                    more = message.get("more_body", False)
                    held.take(len(chunk))
                    self._check(held.size)
                    if not more and not parts and not last:
                        return bytes(chunk)
                    last += chunk
                    if len(last) >= _PART:
                        parts.append(bytes(last))
                        last.clear()
                    slowest = started + held.size / limits.bytes_per_second
                    patience.reschedule(min(loop.time(), slowest) + limits.seconds)
        except TimeoutError:
            raise BodyRefusedError(
                Code.CANCELLED,
                f"The rest of the body did not come within {limits.seconds:g} seconds, or came "
                f"slower than {limits.bytes_per_second} bytes a second.",
                _TOO_SLOW,
                "body_time",
            ) from None
        parts.append(bytes(last))
        try:
            return b"".join(parts)
        finally:
            parts.clear()  # an error on its way out holds this frame

    def _check(self, size: int) -> None:
        if size > self.limits.bytes:
            raise _too_large("The body", self.limits.bytes, "body_bytes")

    def _inflate(self, content: bytes, take: Callable[[int], None]) -> bytes:
        limits = self.limits
        try:
            return inflate(
                content,
                limit=min(limits.bytes, limits.inflated_bytes),
                members=limits.members,
                seconds=limits.inflate_seconds,
                take=take,
            )
        except zlib.error as error:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Content-Encoding is gzip, but the body is not: {error}"
            ) from None
        except TooMuchError as error:
            raise _inflates_to_too_much(error.reason, limits) from None


def _announced(headers: Headers) -> int:
    """Bytes of the body as its header says; 0: it does not."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


def _is_gzip(headers: Headers) -> bool:
    return any(
        name == b"content-encoding" and value.strip().lower() == b"gzip" for name, value in headers
    )


def _inflates_to_too_much(reason: str, limits: BodyLimits) -> ServingError:
    if reason == "gzip_members":
        return BodyRefusedError(
            Code.RESOURCE_EXHAUSTED,
            f"The gzip body has more than {limits.members} members. Compress it as one.",
            _TOO_LARGE,
            reason,
        )
    if reason == "inflate_time":
        return BodyRefusedError(
            Code.RESOURCE_EXHAUSTED,
            f"The gzip body takes more than {limits.inflate_seconds:g} seconds to inflate. "
            "Send fewer rows at a time.",
            _TOO_LARGE,
            reason,
        )
    return _too_large("The body, inflated,", min(limits.bytes, limits.inflated_bytes), reason)


def _too_large(what: str, limit: int, reason: str) -> ServingError:
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit} bytes"
    return BodyRefusedError(
        Code.RESOURCE_EXHAUSTED,
        f"{what} is larger than {size}. Send fewer rows at a time, or use gRPC.",
        _TOO_LARGE,
        reason,
    )
