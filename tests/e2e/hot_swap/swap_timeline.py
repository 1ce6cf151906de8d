"""Which version may, and which must, have answered a request: from what was seen of the server.

A status listing sent at `sent` and received at `received` is true of some moment in between. So a
version seen AVAILABLE in a run of listings certainly was from the first one's `received` to the
last one's `sent`, and possibly from the `sent` of the listing before to the `received` of the one
after. Times are of the monotonic clock, in seconds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple


class Listing(NamedTuple):
    """What was AVAILABLE, as one status call told it."""

    sent: float
    received: float
    available: frozenset[int]


class Window(NamedTuple):
    """A stretch of time, ends included."""

    start: float
    end: float


class Timeline:
    """When each version of one model was AVAILABLE, for certain and possibly."""

    def __init__(self, listings: Sequence[Listing]) -> None:
        self.certain: dict[int, list[Window]] = {}
        self.possible: dict[int, list[Window]] = {}
        for version in frozenset[int]().union(*(listing.available for listing in listings)):
            self.certain[version], self.possible[version] = [], []
            for first, last in _runs([version in listing.available for listing in listings]):
                before = listings[first - 1].sent if first else -math.inf
                after = listings[last + 1].received if last + 1 < len(listings) else math.inf
                self.possible[version].append(Window(before, after))
                self.certain[version].append(Window(listings[first].received, listings[last].sent))

    def may(self, version: int, started: float, finished: float) -> bool:
        """Whether a request could find the version AVAILABLE."""
        return any(
            window.start <= finished and started <= window.end
            for window in self.possible.get(version, ())
        )

    def newer(self, version: int, started: float, finished: float) -> int | None:
        """A higher version that was AVAILABLE all the time of a request, which it had to ask."""
        for other, windows in self.certain.items():
            if other > version and any(w.start <= started and finished <= w.end for w in windows):
                return other
        return None


def _runs(seen: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """First and last place of each run of True."""
    place = 0
    for value, run in itertools.groupby(seen):
        first, place = place, place + len(list(run))
        if value:
            yield first, place - 1


class Move(NamedTuple):
    """A label was pointed to a version by a call that took this long."""

    started: float
    finished: float
    version: int


def label_may(moves: Sequence[Move], version: int, started: float, finished: float) -> bool:
    """Whether a request could find the label at the version."""
    for place, move in enumerate(moves):
        until = moves[place + 1].finished if place + 1 < len(moves) else math.inf
        if move.version == version and move.started <= finished and started <= until:
            return True
    return False
