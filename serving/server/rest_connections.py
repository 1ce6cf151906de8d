"""All connections of the REST interface: how many there may be, and which are cut off and when."""

from __future__ import annotations

import asyncio
import enum
from collections import Counter
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from serving.server.metrics import Metrics
    from serving.server.rest_limits import ConnectionLimits

#: Seconds between two looks at all connections.
_LOOK_SECONDS = 0.25
# Part of all connections that is closed when one more comes: looking at all takes a while.
_PART = 20
# While the server stops.
_SHORT_LINGER_SECONDS = 0.3

#: Why a connection may end without anything being wrong.
IDLE, LINGER = "idle", "linger"
#: Why a request is refused by gRPC as well.
STOPPING = "stopping"


class State(enum.IntEnum):
    """What a connection is about; the lower, the sooner it is closed for another."""

    LINGERS = 0
    HEADERS = 1
    IDLE = 2
    BODY = 3
    ANSWERED = 4


class Watched(Protocol):
    """A connection, as its watch sees it.

    Attributes:
        peer: address of the client, without the port.
        since: when it was made, in seconds of the loop's clock.
        deadline: when it is cut off; None: not by time.
        late: which limit that is, for the metrics.
        unread: since when, and from how many bytes on, its client has not read all; None: it has.
    """

    peer: str
    since: float
    deadline: float | None
    late: str
    unread: tuple[float, int] | None

    def state(self) -> State:
        """What it is about."""

    def unread_bytes(self) -> int:
        """Of answers."""

    def cut_off(self) -> None:
        """Ends it at once."""


class Connections:
    """The connections that are open. Belongs to one event loop.

    Attributes:
        limits: that it keeps to.
        stopping: whether new requests are refused because the server stops.
    """

    def __init__(self, limits: ConnectionLimits, metrics: Metrics) -> None:
        self.limits = limits
        self.stopping = False
        self._metrics = metrics
        self._open: set[Watched] = set()
        self._looks = False

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Watched) -> bool:
        """Takes one more in; False if all that are open are being answered."""
        if len(self._open) >= self.limits.connections and not self._make_room():
            self.count("connections")
            return False
        self._open.add(connection)
        if not self._looks:
            self._looks = True
            asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._look)
        return True

    def remove(self, connection: Watched) -> None:
        """Forgets one that is closed."""
        self._open.discard(connection)

    def count(self, reason: str) -> None:
        """Counts a refusal."""
        self._metrics.refused(reason if reason == STOPPING else f"rest_{reason}")

    def linger_seconds(self) -> float:
        """That what a client still sends is dropped after the last answer."""
        return _SHORT_LINGER_SECONDS if self.stopping else self.limits.linger_seconds

    def _make_room(self) -> bool:
        """Closes what waits: of the client with the most connections first, the oldest first."""
        by_peer = Counter(one.peer for one in self._open)
        waiting = [one for one in self._open if one.state() < State.ANSWERED]
        waiting.sort(key=lambda one: (one.state(), -by_peer[one.peer], one.since))
        for one in waiting[: max(1, self.limits.connections // _PART)]:
            self._cut_off(one, "connections")
        return bool(waiting)

    def _cut_off(self, connection: Watched, reason: str) -> None:
        if reason != IDLE and connection.state() != State.LINGERS:
            self.count(reason)
        self._open.discard(connection)
        connection.cut_off()

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for one in list(self._open):
            if one.late == LINGER and one.unread_bytes():
                one.deadline = now + self.linger_seconds()  # after the last byte was taken
            elif one.deadline is not None and now > one.deadline:
                self._cut_off(one, one.late)
        self._look_at_readers(now)
        self._looks = bool(self._open)
        if self._looks:
            loop.call_later(_LOOK_SECONDS, self._look)

    def _look_at_readers(self, now: float) -> None:
        limits = self.limits
        unread = []
        for one in list(self._open):
            size = one.unread_bytes()
            if not size:
                one.unread = None
                continue
            one.unread = one.unread or (now, size)
            since, first = one.unread
            if now - since > limits.write_seconds + first / limits.bytes_per_second:
                self._cut_off(one, "read_time")
            else:
                unread.append((size, one))
        total = sum(size for size, _ in unread)
        for size, one in sorted(unread, key=lambda item: -item[0]):
            if total <= limits.unread_bytes:
                return
            total -= size
            self._cut_off(one, "unread_bytes")
