"""What requests hold in memory, counted before it is allocated.

A few bytes may stand for a tensor of gigabytes, so what is counted is not what was sent but what it
becomes: the message, parsed; the arrays; and TensorFlow's copy of them. A request that answers to
nobody, a warm-up's, is bound by the limits of a single request alone.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from serving.server.errors import Code, ServingError

#: Requests that hold less, in bytes, are let in whatever the others hold: a status, a row.
SMALL = 1 << 20
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryLimits:
    """What bounds the memory of requests, in bytes; 0: no limit.

    Attributes:
        filled: of a request's tensors, what a shape stands for beyond the values that were sent.
        inflight: of all requests that are being received, answered or sent back.
    """

    filled: int = 64 << 20
    inflight: int = 2 << 30


class Budget:
    """What all requests of a server may hold. Thread-safe.

    Attributes:
        limits: see there.
    """

    def __init__(
        self,
        limits: MemoryLimits | None = None,
        refused: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """Holds nothing.

        Args:
            limits: see there.
            refused: told the reason of each refusal, one of `metrics.REFUSALS`.
        """
        self.limits = limits or MemoryLimits()
        self._refused = refused
        self._lock = threading.Lock()
        self._held = 0

    @property
    def held(self) -> int:
        """Bytes that all requests hold now."""
        return self._held

    def open(self) -> Hold:
        """What one request holds: nothing yet."""
        return Hold(self)

    def take(self, size: int, of_request: int) -> None:
        """Counts `size` bytes more of a request that will then hold `of_request`.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, that is more than there may be.
        """
        limit = self.limits.inflight
        with self._lock:
            if limit and self._held + size > limit and of_request > SMALL:
                held = self._held
            else:
                self._held += size
                return
        self._refused("inflight")
        raise ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"The request takes {of_request / _MIB:,.0f} MiB of memory, and others take "
            f"{max(0, held - of_request + size) / _MIB:,.0f} of the {limit / _MIB:,.0f} MiB that "
            "all may take (--max_inflight_bytes). Send fewer rows at a time, or try again later.",
        )

    def give_back(self, size: int) -> None:
        """Counts `size` bytes no more."""
        with self._lock:
            self._held -= size

    def refuse_filled(self, filled: int) -> ServingError:
        """The error of a request whose tensors stand for too much; counted."""
        self._refused("filled")
        limit = self.limits.filled
        return ServingError(
            Code.RESOURCE_EXHAUSTED,
            f"Shapes in the request stand for {filled / _MIB:,.0f} MiB beyond the values sent, of "
            f"which {limit / _MIB:,.0f} MiB are allowed (--max_filled_bytes). Send all values.",
        )


class Hold:
    """What one request holds; a `with` block makes it the one that its thread answers."""

    __slots__ = ("_budget", "_filled", "_size", "_token")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._size = 0
        self._filled = 0
        self._token: contextvars.Token[Hold] | None = None

    def __enter__(self) -> Hold:
        self._token = _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._token is not None:
            _current.reset(self._token)
            self._token = None

    @property
    def size(self) -> int:
        """Bytes that the request holds."""
        return self._size

    def add(self, size: int) -> None:
        """Counts bytes that are about to be allocated.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, there is no room for them.
        """
        self._budget.take(size, self._size + size)
        self._size += size

    def fill(self, size: int) -> None:
        """Counts bytes that values stand for which were not sent.

        Raises:
            ServingError: RESOURCE_EXHAUSTED, they are too many.
        """
        limit = self._budget.limits.filled
        if limit and self._filled + size > limit:
            raise self._budget.refuse_filled(self._filled + size)
        self._filled += size
        self.add(size)

    def note(self, size: int) -> None:
        """Counts bytes that are there already; refuses nothing."""
        self._size += size
        self._budget.give_back(-size)

    def release(self) -> None:
        """The request is done."""
        size, self._size = self._size, 0
        self._budget.give_back(size)


_current: contextvars.ContextVar[Hold] = contextvars.ContextVar("hold")


def current() -> Hold:
    """What the request holds that this thread answers."""
    hold = _current.get(None)
    return Budget(MemoryLimits(inflight=0)).open() if hold is None else hold
