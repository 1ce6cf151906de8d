"""What one client, or all together, may take of the REST interface."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from serving.server.rest_body import BodyLimits

if TYPE_CHECKING:
    from serving.server.flags import Options


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    """What bounds connections, apart from the bodies of their requests.

    Attributes:
        connections: that are open at a time; for one more, one that waits is closed.
        header_bytes: of a request: its first line and headers, and what follows a chunked body.
        header_seconds: until the headers are there, from the connection or their first byte.
        idle_seconds: between an answer and the next request.
        unread_bytes: of answers that clients do not read, of all connections together.
        write_seconds: for an answer to be read, beside what `bytes_per_second` allows.
        bytes_per_second: below which a client is too slow a reader.
        linger_seconds: that what a refused client still sends is read and dropped. Closing at once
            would reset the connection, and the client might never see the answer.
        linger_bytes: that are dropped so, at most.
    """

    connections: int = 1000
    header_bytes: int = 64 << 10
    header_seconds: float = 10.0
    idle_seconds: float = 60.0
    unread_bytes: int = 256 << 20
    write_seconds: float = 60.0
    bytes_per_second: int = 1024
    linger_seconds: float = 2.0
    linger_bytes: int = 128 << 20


def connection_limits(options: Options, descriptors: int | None = None) -> ConnectionLimits:
    """Limits by the flags.

    Args:
        options: the flags.
        descriptors: that REST may hold; None: no limit.
    """
    wanted = options.rest_max_connections
    return ConnectionLimits(
        connections=wanted if descriptors is None else max(1, min(wanted, descriptors)),
        header_bytes=options.rest_max_header_bytes,
        header_seconds=options.rest_header_timeout_seconds,
        idle_seconds=options.rest_keep_alive_seconds,
        unread_bytes=options.rest_max_unread_bytes,
        write_seconds=options.rest_body_timeout_seconds,
        bytes_per_second=options.rest_min_bytes_per_second,
        linger_bytes=2 * options.rest_max_body_bytes,
    )


def body_limits(options: Options) -> BodyLimits:
    """Limits of bodies by the flags."""
    return BodyLimits(
        bytes=options.rest_max_body_bytes,
        all_bytes=options.rest_max_total_body_bytes,
        seconds=options.rest_body_timeout_seconds,
        bytes_per_second=options.rest_min_bytes_per_second,
        inflated_bytes=options.rest_max_inflated_bytes,
        inflate_seconds=options.rest_max_inflate_seconds,
        members=options.rest_max_gzip_members,
    )
