"""Deadlines, and trying again where it is safe and may help."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from serving.client.errors import DeadlineExceeded, Unreachable

_Answer = TypeVar("_Answer")


class Deadline:
    """A point in time by which something must have happened.

    Args:
        seconds: from now; None: never.
        clock: seconds since some fixed moment.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    def remaining(self) -> float | None:
        """Seconds left, below zero when it has passed; None: no limit."""
        return None if self._end is None else self._end - self._clock()

    def check(self, where: str) -> float | None:
        """Seconds left, above zero.

        Raises:
            DeadlineExceeded: none are.
        """
        left = self.remaining()
        if left is not None and left <= 0:
            raise DeadlineExceeded(
                f"{where} did not answer within {self.seconds:g} s. Allow more with timeout=…, "
                "or send fewer rows at a time with batch_size=…."
            )
        return left


@dataclass(frozen=True, slots=True)
class Retries:
    """How often, and how long between.

    The wait before try n is drawn evenly from 0 to `first * 2^n`, at most `longest`: clients that
    lost their server together do not come back together.

    Attributes:
        tries: at most so many requests, the first included.
        first: longest wait before the second try, in seconds.
        longest: of any wait, in seconds.
        sleep: waits, in seconds.
        draw: a random number in [0, 1).
    """

    tries: int = 4
    first: float = 0.2
    longest: float = 3.0
    sleep: Callable[[float], None] = time.sleep
    draw: Callable[[], float] = random.random

    def run(self, ask: Callable[[], _Answer], deadline: Deadline) -> _Answer:
        """Calls `ask` until it raises no Unreachable; every other error is raised at once.

        Raises:
            Unreachable: the last one, when the tries or the time are used up.
        """
        started = time.monotonic()
        for attempt in range(self.tries):
            try:
                return ask()
            except Unreachable as error:
                wait = self.draw() * min(self.longest, self.first * 2**attempt)
                left = deadline.remaining()
                if attempt + 1 < self.tries and (left is None or wait < left):
                    self.sleep(wait)
                    continue
                if attempt == 0:
                    raise
                passed = time.monotonic() - started
                raise Unreachable(f"{error} ({attempt + 1} tries in {passed:.1f} s)") from error
        raise AssertionError("unreachable: tries is at least 1")


NO_RETRIES = Retries(tries=1)
