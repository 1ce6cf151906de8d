"""Bodies of REST requests: received within limits, inflated, and large ones one at a time."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from serving.server.errors import Code, ServingError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Iterable[tuple[bytes, bytes]]

_GZIP = 16 + zlib.MAX_WBITS
_TOO_SLOW, _TOO_LARGE = 408, 413


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    """What bounds the memory that bodies take.

    Attributes:
        bytes: of a body, before and after inflation.
        all_bytes: of all bodies that are held at a time, as received.
        large: of a body, in bytes, from which on only one is worked on at a time: parsed, it may
            take thirty times its size.
        seconds: without a byte, after which the rest is not waited for.
    """

    bytes: int = 256 << 20
    all_bytes: int = 1 << 30
    large: int = 8 << 20
    seconds: float = 60.0


class Disconnected(Exception):
    """The client went away before it had sent all."""


class BodyRefusedError(ServingError):
    """A body is too large or comes too slowly.

    Attributes:
        status: of HTTP, which has statuses of its own for these.
    """

    def __init__(self, code: Code, message: str, status: int) -> None:
        super().__init__(code, message)
        self.status = status


class Body:
    """A body as it was received.

    Attributes:
        large: whether to work on it alone.
    """

    def __init__(self, content: bytes, gzipped: bool, limit: int, large: bool = False) -> None:
        self.large = large
        self._content: bytes | None = content
        self._gzipped = gzipped
        self._limit = limit

    def take(self) -> bytes:
        """The content, inflated; it can be taken once, so that its taker can free its memory.

        Raises:
            ServingError: INVALID_ARGUMENT, it is no gzip; RESOURCE_EXHAUSTED, it is too large.
        """
        content, self._content = self._content, None
        assert content is not None, "a body is taken once"
        return _inflate(content, self._limit) if self._gzipped else content


class BodyReader:
    """Receives bodies. Belongs to one event loop.

    Attributes:
        limits: that it keeps to.
    """

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self._held = 0

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
            ServingError: the body is too large or too slow, or there are too many.
        """
        chunks: list[bytes] = []
        size = 0
        limits = self.limits
        try:
            try:
                async with asyncio.timeout(limits.seconds) as patience:
                    more = True
                    while more:
                        message = await receive()
                        if message["type"] == "http.disconnect":
                            raise Disconnected
                        chunk = message.get("body", b"")
                        more = message.get("more_body", False)
                        chunks.append(chunk)
                        size += len(chunk)
                        self._held += len(chunk)
                        self._check(size)
                        patience.reschedule(asyncio.get_running_loop().time() + limits.seconds)
            except TimeoutError:
                raise BodyRefusedError(
                    Code.CANCELLED,
                    f"The rest of the body did not come within {limits.seconds:g} seconds.",
                    _TOO_SLOW,
                ) from None
            gzipped = any(
                name == b"content-encoding" and value.strip().lower() == b"gzip"
                for name, value in headers
            )
            content = b"".join(chunks)
            chunks.clear()
            yield Body(content, gzipped, limits.bytes, large=size >= limits.large)
        finally:
            self._held -= size
            chunks.clear()  # an error on its way out holds this frame
            if size >= limits.large:
                after_large()

    def _check(self, size: int) -> None:
        if size > self.limits.bytes:
            raise _too_large(self.limits.bytes)
        if self._held > self.limits.all_bytes:
            raise ServingError(
                Code.UNAVAILABLE,
                "Too many large requests at a time. Try again later, with fewer rows each.",
            )


def _inflate(content: bytes, limit: int) -> bytes:
    inflated = bytearray()
    rest = content
    try:
        while rest:  # a gzip file may have several members
            member = zlib.decompressobj(_GZIP)
            inflated += member.decompress(rest, limit + 1 - len(inflated))
            if len(inflated) > limit:
                raise _too_large(limit)
            if not member.eof:
                raise zlib.error("the data ends early")
            rest = member.unused_data
    except zlib.error as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Content-Encoding is gzip, but the body is not: {error}"
        ) from error
    return bytes(inflated)


def _too_large(limit: int) -> ServingError:
    return BodyRefusedError(
        Code.RESOURCE_EXHAUSTED,
        f"The body is larger than {limit >> 20} MiB. Send fewer rows at a time, or use gRPC.",
        _TOO_LARGE,
    )
