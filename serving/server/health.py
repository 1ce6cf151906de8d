"""`grpc.health.v1.Health`, in which a stream keeps neither a thread nor a name.

The package's own servicer would do but for two things: the names that clients watch stay in it for
ever, and a client that does not read keeps the thread that tells it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2

from serving.server.grpc_calls import Lane, first

SERVICE = "grpc.health.v1.Health"
_STATES = health_pb2.HealthCheckResponse


class Health:
    """What the health service says. Thread-safe."""

    def __init__(self, names: tuple[str, ...], checks: Lane, watches: Lane) -> None:
        """Nothing serves yet.

        Args:
            names: of what it knows.
            checks: for Check.
            watches: for Watch.
        """
        self._checks, self._watches = checks, watches
        self._lock = threading.Lock()
        self._states = dict.fromkeys(names, _STATES.NOT_SERVING)
        self._watchers: dict[object, tuple[str, Callable[[Any], None], Any]] = {}

    def set(self, *, serving: bool) -> None:
        """Says it of all names, to those who watch too."""
        state = _STATES.SERVING if serving else _STATES.NOT_SERVING
        with self._lock:
            changed = any(before != state for before in self._states.values())
            self._states = dict.fromkeys(self._states, state)
            watchers = list(self._watchers.values()) if changed else []
        for name, send, end in watchers:
            if name in self._states:
                self._watches.pool.submit(self._tell, send, end, state)

    def check_handler(self) -> Any:
        """The method Check."""

        def check(requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            try:
                return self._check(requests, context)
            finally:
                self._checks.leave()

        return grpc.stream_unary_rpc_method_handler(
            check, response_serializer=_STATES.SerializeToString
        )

    def watch_handler(self) -> Any:
        """The method Watch: its thread goes once the first state is told."""

        def watch(
            requests: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[Any], None]
        ) -> None:
            self._watch(requests, context, send)

        watch.experimental_non_blocking = True  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(
            watch, response_serializer=_STATES.SerializeToString
        )

    def _check(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> Any:
        raw = first(requests, context, self._checks.patience)
        state = None if raw is None else self._states.get(_service(raw))
        if state is None:
            context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _STATES(status=state)

    def _watch(
        self, requests: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[Any], None]
    ) -> None:
        key = object()

        def over() -> None:
            with self._lock:
                self._watchers.pop(key, None)
            self._watches.leave()

        if not context.add_callback(over):
            over()
            return
        raw = first(requests, context, self._watches.patience)
        if raw is None:
            send(None)
            return
        name = _service(raw)
        with self._lock:
            state = self._states.get(name, _STATES.SERVICE_UNKNOWN)
            if context.is_active():
                known = name if name in self._states else "?"
                self._watchers[key] = (known, send, context.cancel)
        self._tell(send, context.cancel, state)

    def _tell(self, send: Callable[[Any], None], end: Callable[[], Any], state: int) -> None:
        with self._watches.patience.waiting(end):
            send(_STATES(status=state))


def _service(raw: bytes) -> str:
    try:
        name: str = health_pb2.HealthCheckRequest.FromString(raw).service
    except Exception:  # noqa: BLE001 - protobuf's DecodeError is of no public class here
        return "?"
    return name
