"""How calls over gRPC get their threads, so that no client can keep them.

gRPC's Python server gives each call a thread before its message is there, for as long as a stream
lives. So each kind of call has a lane of its own: inference cannot keep a health check waiting, nor
a reflection stream an inference. A lane bounds what waits; and a client that neither sends nor
takes what it asked for loses its call after a time, at once (half a second) when the lane is short
of threads. Messages of one request are received as a stream of one, because only that shows the
call to the server before the message is there; on the wire there is no difference.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc

_LOG = logging.getLogger(__name__)

# How often slow clients are looked for, and how long one may take while others find no thread.
_TICK_SECONDS, _PRESSED_SECONDS = 0.1, 0.5
# From this part of a lane's threads on, those that wait for clients are too many.
_PRESSED = 0.75

#: Told the reason of a refusal, one of `metrics.REFUSALS`.
Refused = Callable[[str], None]


class Patience:
    """Ends the calls of clients for which the server waits too long. Thread-safe."""

    def __init__(self, seconds: float, threads: int, refused: Refused) -> None:
        """Waits for nobody yet.

        Args:
            seconds: to wait for a client at most; 0: no limit, unless threads are scarce.
            threads: that could be waiting.
            refused: told of each call that was ended.
        """
        self._seconds = seconds or float("inf")
        self._pressed = max(1, int(_PRESSED * threads))
        self._refused = refused
        self._lock = threading.Lock()
        # In the order of their beginnings. Of each: since when, how to end it, on a thread or not.
        self._waits: dict[object, tuple[float, Callable[[], Any], bool]] = {}

    @contextmanager
    def waiting(self, end: Callable[[], Any]) -> Iterator[None]:
        """A thread waits for a client in this block; `end` breaks that off."""
        key = self.begin(end, on_thread=True)
        try:
            yield
        finally:
            self.over(key)

    def begin(self, end: Callable[[], Any], *, on_thread: bool) -> object:
        """A wait begins; `over` with what this returns ends it."""
        key = object()
        with self._lock:
            self._waits[key] = (time.monotonic(), end, on_thread)
        return key

    def over(self, key: object) -> None:
        """A wait has ended."""
        with self._lock:
            self._waits.pop(key, None)

    def look(self) -> None:
        """Ends what has waited too long."""
        now = time.monotonic()
        with self._lock:
            on_threads = sum(on_thread for _, _, on_thread in self._waits.values())
            pressed = on_threads >= self._pressed
            due = [
                (key, end)
                for key, (since, end, on_thread) in self._waits.items()
                if now - since
                > (min(_PRESSED_SECONDS, self._seconds) if pressed and on_thread else self._seconds)
            ]
            for key, _ in due:
                del self._waits[key]
        for _, end in due:
            self._refused("slow_client")
            try:
                end()
            except Exception:  # noqa: BLE001 - the call may have ended meanwhile
                _LOG.debug("ending a call", exc_info=True)


class Lane:
    """Threads for calls of one kind.

    Attributes:
        pool: the threads.
        patience: with clients.
    """

    def __init__(
        self,
        name: str,
        threads: int,
        *,
        calls: int,
        seconds: float,
        refused: Refused,
        waiting: int = 0,
    ) -> None:
        """Has no calls.

        Args:
            name: of the threads.
            threads: at most.
            waiting: threads that may wait for slow clients; 0: all of them.
            calls: that may run or wait for a thread; more are refused.
            seconds: that a client may take.
            refused: told of each refusal.
        """
        self.pool = ThreadPoolExecutor(threads, name)
        self.patience = Patience(seconds, waiting or threads, refused)
        self._calls = calls
        self._refused = refused
        self._lock = threading.Lock()
        self._active = 0

    def enter(self) -> bool:
        """Counts a call; False: there are too many."""
        with self._lock:
            if self._active >= self._calls:
                full = True
            else:
                self._active += 1
                full = False
        if full:
            self._refused("calls")
        return not full

    def leave(self) -> None:
        """A call has ended."""
        with self._lock:
            self._active -= 1


class Methods(grpc.GenericRpcHandler):  # type: ignore[misc]
    """All methods of a server, each on its lane.

    Attributes:
        draining: whether inference is refused, because the server stops.
        refused: told the reason of each refusal.
    """

    def __init__(self, refused: Refused) -> None:
        self.draining = False
        self.refused = refused
        self._methods: dict[str, tuple[Lane, Any, bool]] = {}
        self._lanes: list[Lane] = []
        self._refusals = ThreadPoolExecutor(1, "grpc-refusals")
        self._full = self._refuser(
            grpc.StatusCode.RESOURCE_EXHAUSTED, "Too many calls at a time. Try again later."
        )
        self._stopping = self._refuser(
            grpc.StatusCode.UNAVAILABLE, "The server is stopping. Ask another one, or again."
        )

    def add(
        self, lane: Lane, service: str, handlers: dict[str, Any], *, drained: bool = False
    ) -> None:
        """Adds the methods of a service.

        Args:
            lane: they run on.
            service: its whole name.
            handlers: method -> an RpcMethodHandler that leaves the lane when its call is over.
            drained: whether they are refused while the server stops.
        """
        if lane not in self._lanes:
            self._lanes.append(lane)
        for name, handler in handlers.items():
            behavior = handler.stream_unary or handler.stream_stream
            behavior.experimental_thread_pool = lane.pool
            self._methods[f"/{service}/{name}"] = (lane, handler, drained)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Called by gRPC's one thread for each call, before it gets a thread."""
        found = self._methods.get(handler_call_details.method)
        if found is None:
            return None
        lane, handler, drained = found
        if drained and self.draining:
            self.refused("stopping")
            return self._stopping
        return handler if lane.enter() else self._full

    def look_after(self, stopped: threading.Event) -> None:
        """Ends the calls of slow clients, until `stopped`; for a thread of its own."""
        while not stopped.wait(_TICK_SECONDS):
            for lane in self._lanes:
                lane.patience.look()

    def _refuser(self, code: grpc.StatusCode, details: str) -> Any:
        def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
            del requests
            context.abort(code, details)

        refuse.experimental_thread_pool = self._refusals  # type: ignore[attr-defined]
        return grpc.stream_unary_rpc_method_handler(refuse)


def first(
    requests: Iterator[bytes], context: grpc.ServicerContext, patience: Patience
) -> bytes | None:
    """The message of a call with one; None: it did not come, and there is nobody to tell."""
    with patience.waiting(context.cancel):
        try:
            return next(requests, None)
        except grpc.RpcError:  # the client has gone, or was sent away
            return None
