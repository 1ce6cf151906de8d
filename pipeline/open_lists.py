"""Which lists of values are closed: those to which the data's past has added nothing lately.

A schema that lists the companies seen so far refuses the next span for a new company. Whether a
list keeps growing shows in its past: how many values each part brought that none before it had, and
in how many of its rows. Where it grows, a share of the rows may be new, several times what was new
so far; a burst of garbage is more than that. Where it has not grown, it is closed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

#: Share of the rows that is let pass, at least, where new values must be expected.
LEAST = 0.01
#: The same, at most: beyond it a list says nothing, and there is none.
MOST = 0.8
#: How many times what was new before may be new.
_TIMES_NEXT, _TIMES_AGED, _TIMES_CHANCE = 3.0, 1.5, 5.0


@dataclass(frozen=True)
class Growth:
    """How a list of values grew.

    Attributes:
        late: values that none of the oldest third of the parts had.
        share: of a later part's rows, those with a value that no part before it had; the largest.
        aged: of the newest part's rows, those with a value that none of the older half had: what a
            list misses once it has become as old as half of the past.
        chance: that the next value was never seen: values seen once / rows (Good 1953).
        rows: of the smallest of the later parts.
    """

    late: int
    share: float
    aged: float
    chance: float
    rows: int

    @property
    def let_pass(self) -> float:
        """Share of rows whose value may be in no list, in [0, 1]; 0 for a list that is closed."""
        if not self.late and not self.chance:
            return 0.0
        expected = max(
            _TIMES_NEXT * self.share, _TIMES_AGED * self.aged, _TIMES_CHANCE * self.chance
        )
        expected = min(1.0, expected)
        # What few rows hold varies by chance.
        noise = 2 * math.sqrt(expected * (1 - expected) / self.rows) if self.rows else 0.0
        return min(1.0, max(LEAST, expected + noise))


def growth(parts: Sequence[pa.Array | pa.ChunkedArray]) -> Growth:
    """Measures how the values of a column grew.

    Args:
        parts: the column, oldest rows first; of rows without a time, all in one part.
    """
    counted = [_counts(part) for part in parts]
    counted = [counts for counts in counted if counts]
    total: dict[object, int] = {}
    old: set[object] = set()
    first, half = -(-len(counted) // 3), (len(counted) + 1) // 2
    share, late, smallest = 0.0, 0, 0
    for at, counts in enumerate(counted):
        rows = sum(counts.values())
        if at >= first:
            share = max(share, _rows_beside(counts, total) / rows)
            late += len(counts.keys() - total.keys())
            smallest = min(smallest or rows, rows)
        for value, count in counts.items():
            total[value] = total.get(value, 0) + count
        if at == half - 1:
            old = set(total)
    aged = 0.0
    if len(counted) > 1:
        newest = counted[-1]
        aged = _rows_beside(newest, old) / sum(newest.values())
    seen = sum(total.values())
    once = sum(count == 1 for count in total.values())
    return Growth(late, share, aged, once / seen if seen else 0.0, smallest or seen)


def _rows_beside(counts: dict[object, int], known: dict[object, int] | set[object]) -> int:
    return sum(count for value, count in counts.items() if value not in known)


def _counts(part: pa.Array | pa.ChunkedArray) -> dict[object, int]:
    counted = part.value_counts()
    return {
        item["values"]: item["counts"]
        for item in counted.to_pylist()
        if item["values"] not in (None, "")
    }


def open_list(feature: schema_pb2.Feature, let: float) -> str:
    """Lets a share of the rows hold other values than a feature's list has.

    Returns:
        What was done, for a person; `""` if the list is closed.
    """
    if let <= 0:
        return ""
    if let > MOST:
        feature.ClearField("domain")
        return "New values keep coming, in most rows: there is no list of them."
    feature.distribution_constraints.min_domain_mass = math.floor(1000 * (1 - let)) / 1000
    return f"others may come, so {let:.1%} of the rows may hold them."
