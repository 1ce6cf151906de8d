"""Gzip within bounds: of bytes, of members and of time."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator

_GZIP = 16 + zlib.MAX_WBITS
#: Bytes that are read, and made, at a time.
_PIECE, _STEP = 64 << 10, 1 << 20


class TooMuchError(Exception):
    """A bound was passed.

    Attributes:
        reason: which: `inflated_bytes`, `gzip_members` or `inflate_time`.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def inflate(
    content: bytes,
    *,
    limit: int,
    members: int,
    seconds: float,
    take: Callable[[int], None] = lambda _: None,
) -> bytes:
    """Inflates a gzip file of one or more members.

    Args:
        content: the file.
        limit: of what it inflates to, in bytes.
        members: that it may have.
        seconds: of the thread's processor time.
        take: told of each further number of bytes before they are kept; may raise.

    Raises:
        TooMuchError: a bound was passed.
        zlib.error: it is no gzip, or it ends early.
    """
    end = time.thread_time() + seconds
    parts: list[bytes] = []
    size = 0
    for part in _parts(content, members):
        size += len(part)
        if size > limit:
            raise TooMuchError("inflated_bytes")
        if time.thread_time() > end:
            raise TooMuchError("inflate_time")
        take(len(part))
        if part:
            parts.append(part)
    return b"".join(parts)


def _parts(content: bytes, members: int) -> Iterator[bytes]:
    position = 0
    for count in range(len(content)):
        if position >= len(content):
            return
        if count >= members:
            raise TooMuchError("gzip_members")
        member = zlib.decompressobj(_GZIP)
        part = b""
        while not member.eof:
            piece = member.unconsumed_tail
            if not piece:
                piece = content[position : position + _PIECE]
                position += len(piece)
                # A full part may leave more within zlib, though all of the input was read.
                if not piece and len(part) < _STEP:
                    raise zlib.error("the data ends early")
            part = member.decompress(piece, _STEP)
            yield part
        # Read in pieces, what another member owns is copied once, not with every member.
        position -= len(member.unused_data)
