"""One message in, one out: received, counted, parsed, answered, and sent back within bounds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc
from google.protobuf.message import DecodeError

from serving.server.admission import Budget, Hold
from serving.server.errors import Code, ServingError, cut
from serving.server.grpc_calls import Lane, Refused, first
from serving.server.memory import HUGE, LARGE, Releaser, trim

_STATUS = {status.value[0]: status for status in grpc.StatusCode}
# Beyond the limit, gRPC refuses by itself, and nobody counts it.
CORE_MARGIN_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Method:
    """What answers a method.

    Attributes:
        answer: request and context -> response.
        request: class of the request.
        cost: serialized request, limit -> bytes that it takes parsed.
        slots: calls that are answered at a time; None: as many as have threads.
    """

    answer: Callable[[Any, grpc.ServicerContext], Any]
    request: Any
    cost: Callable[[bytes, int], int]
    slots: threading.Semaphore | None = None


class Running:
    """The calls that are being answered, so that a server can end after them. Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self._draining = False

    def begin(self) -> bool:
        """A call begins; False: it may not, for the server stops."""
        with self._changed:
            if self._draining:
                return False
            self._count += 1
            return True

    def end(self) -> None:
        """A call is over, its answer sent."""
        with self._changed:
            self._count -= 1
            self._changed.notify_all()

    def drain(self, seconds: float) -> bool:
        """Lets no more calls begin, and waits for those that have; False: they take longer."""
        with self._changed:
            self._draining = True
            return self._changed.wait_for(lambda: not self._count, seconds)


class Unary:
    """Makes handlers of methods that belong together."""

    def __init__(
        self, lane: Lane, budget: Budget, running: Running, max_bytes: int, refused: Refused
    ) -> None:
        """Has no methods.

        Args:
            lane: they run on.
            budget: they count to.
            running: told of what is answered.
            max_bytes: of a message; 0: no limit.
            refused: told the reason of each refusal.
        """
        self._lane = lane
        self._budget = budget
        self._running = running
        self._max_bytes = max_bytes
        self._refused = refused
        self._releaser = Releaser()

    def handler(self, method: Method) -> Any:
        """For gRPC, which sees a stream of requests where there is one."""

        def handle(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            call = _Call(self._lane, self._budget.open(), context)
            raw = first(requests, context, self._lane.patience)
            if raw is None:
                abort(context, Code.UNIMPLEMENTED, "The method requires exactly one message.")
            if not self._running.begin():
                self._refused("stopping")
                abort(context, Code.UNAVAILABLE, "The server is stopping. Ask another one.")
            call.ends(self._running.end)
            if len(raw) >= LARGE:
                call.ends(self._releaser.soon)
            try:
                return self._answer(method, raw, call, context)
            except ServingError as error:
                # Its trace holds all that the request had in memory.
                failure = ServingError(error.code, error.message)
            finally:
                del raw
                if call.hold.size >= HUGE:
                    trim()
            abort(context, failure.code, failure.message)

        return grpc.stream_unary_rpc_method_handler(handle)

    def _answer(
        self, method: Method, raw: bytes, call: _Call, context: grpc.ServicerContext
    ) -> bytes:
        hold = call.hold
        request = self._parsed(method, raw, hold)
        del raw
        with _slot(method.slots, context), hold:
            response: bytes = method.answer(request, context).SerializeToString()
        # Once as it is here, once as gRPC has it until the client has taken it.
        hold.note(2 * len(response))
        if len(response) >= LARGE:
            call.ends(self._releaser.soon)
        call.sends()
        return response

    def _parsed(self, method: Method, raw: bytes, hold: Hold) -> Any:
        if self._max_bytes and len(raw) > self._max_bytes:
            self._refused("message")
            raise ServingError(
                Code.RESOURCE_EXHAUSTED,
                f"The message has {len(raw):,} bytes, of which {self._max_bytes:,} are allowed "
                "(--max_message_bytes). Send fewer rows at a time.",
            )
        hold.add(len(raw))
        limit = self._budget.limits.inflight or 1 << 62
        hold.add(method.cost(raw, limit))
        try:
            return method.request.FromString(raw)
        except DecodeError:
            raise ServingError(Code.INTERNAL, "Exception deserializing request!") from None


class _Call:
    """What is to be undone when a call is over, however it ends."""

    def __init__(self, lane: Lane, hold: Hold, context: grpc.ServicerContext) -> None:
        self.hold = hold
        self._lane = lane
        self._context = context
        self._lock = threading.Lock()
        self._over = False
        self._at_end: list[Callable[[], None]] = [lane.leave, hold.release]
        if not context.add_callback(self._end):
            self._end()

    def ends(self, done: Callable[[], None]) -> None:
        """Has `done` called at the end; at once, if that was already."""
        with self._lock:
            if not self._over:
                self._at_end.append(done)
                return
        done()

    def sends(self) -> None:
        """The answer is on its way, for which the client may not take for ever."""
        patience = self._lane.patience
        key = patience.begin(self._context.cancel, on_thread=False)
        self.ends(lambda: patience.over(key))

    def _end(self) -> None:
        with self._lock:
            self._over = True
            at_end, self._at_end = self._at_end, []
        for done in at_end:
            done()


@contextlib.contextmanager
def _slot(slots: threading.Semaphore | None, context: grpc.ServicerContext) -> Iterator[None]:
    if slots is None:
        yield
        return
    left = context.time_remaining()
    if not slots.acquire(timeout=None if left is None else max(0.0, left)):
        raise ServingError(Code.DEADLINE_EXCEEDED, "Deadline exceeded before the run.")
    try:
        yield
    finally:
        slots.release()


def abort(context: grpc.ServicerContext, code: Code, message: str) -> NoReturn:
    """Ends a call with an error; does not return."""
    context.abort(_STATUS[int(code)], cut(message))
    raise AssertionError  # abort has raised
