"""Rows that a span holds more than once: what a delivery that is tried again leaves behind.

Equal shares leave every distribution as it was, so no comparison of distributions can see it; and
a sample of rows loses the copies of a row. Here rows draw by their content: all copies of a row
draw the same number, and the rows with the smallest ones are counted whole ("coordinated" or
bottom-k sampling by hash, Cohen & Kaplan, PODC 2007). Counts of files can be joined to those of
their span, and memory does not grow with the rows.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Different rows that are counted: a share of 5 % is known to half a percentage point.
LIMIT = 4096

_HIGHEST = np.uint64(2**64 - 1)
_PAIR = np.dtype([("hash", "<u8"), ("count", "<u4")])

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Repeats:
    """Some different rows of a file or span, and how often each is there.

    Attributes:
        hashes: of their content, uint64, ascending.
        counts: uint32, of each.
        below: whatever hashes above it was not counted.
    """

    hashes: Array
    counts: Array
    below: np.uint64 = _HIGHEST

    @property
    def share(self) -> float:
        """Share of the rows whose content is there more than once; 0.0 without a row."""
        total = int(self.counts.sum())
        return float(self.counts[self.counts > 1].sum() / total) if total else 0.0

    def to_text(self) -> str:
        """For a shard's report."""
        pairs = np.empty(len(self.hashes), _PAIR)
        pairs["hash"], pairs["count"] = self.hashes, self.counts
        below = np.array([self.below], "<u8").tobytes()
        return base64.b64encode(below + pairs.tobytes()).decode("ascii")

    @classmethod
    def from_text(cls, text: str) -> Repeats:
        """The inverse of `to_text`; `""` is no row."""
        content = base64.b64decode(text)
        if not content:
            return _EMPTY
        pairs = np.frombuffer(content, _PAIR, offset=8)
        return cls(pairs["hash"], pairs["count"], np.frombuffer(content, "<u8", 1)[0])


_EMPTY = Repeats(np.empty(0, np.uint64), np.empty(0, np.uint32))


class Counter:
    """Counts the rows it is shown, in bounded memory."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._kept = _EMPTY
        self._new: list[Array] = []

    def add(self, hashes: Array) -> None:
        """Shows it rows, as hashes of their content (uint64)."""
        self._new.append(hashes[hashes <= self._kept.below])
        if sum(map(len, self._new)) > 8 * self._limit:
            self._shrink()

    def counted(self) -> Repeats:
        """What it has seen."""
        self._shrink()
        return self._kept

    def _shrink(self) -> None:
        new = np.concatenate([np.empty(0, np.uint64), *self._new])
        self._new = []
        seen = Repeats(new, np.ones(len(new), np.uint32), self._kept.below)
        self._kept = joined([self._kept, seen], self._limit)


def joined(parts: Iterable[Repeats], limit: int = LIMIT) -> Repeats:
    """Counts of several files as one."""
    parts = [_EMPTY, *parts]
    below = min(part.below for part in parts)
    hashes = np.concatenate([part.hashes for part in parts])
    counts = np.concatenate([part.counts for part in parts])
    shown = hashes <= below
    unique, places = np.unique(hashes[shown], return_inverse=True)
    sums = np.bincount(places, counts[shown], len(unique)).astype(np.uint32)
    if len(unique) > limit:
        unique, sums = unique[:limit], sums[:limit]
        below = unique[-1]
    return Repeats(unique, sums, below)
