"""Whether two runs of the pipeline came to the same. Pure but for the files it is given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.vertex.twin.parity import Row

#: Of metrics, statistics and transformed numbers: sums that were made in another order.
TOLERANCE = 1e-6

Arrays = dict[str, np.ndarray[Any, Any]]


def multisets(split: str, direct: Sequence[bytes], cluster: Sequence[bytes]) -> Row:
    """Records of a split, in whatever order."""
    left, right = Counter(direct), Counter(cluster)
    only = (left - right).total(), (right - left).total()
    told = [f"{len(records):,} records" for records in (direct, cluster)]
    if any(only):
        told = [
            f"{text}, {count:,} of them here only" for text, count in zip(told, only, strict=True)
        ]
    return Row(f"examples, {split}", *told, not any(only))


def transformed(split: str, direct: Arrays, cluster: Arrays) -> Row:
    """Transformed rows, in one order: whole numbers equal, others within `TOLERANCE`.

    Args:
        split: of which the rows are.
        direct, cluster: feature → array `[rows, …]`; the same rows in the same order.
    """
    what = f"transformed, {split}"
    if direct.keys() != cluster.keys():
        return Row(what, " ".join(sorted(direct)), " ".join(sorted(cluster)), False)
    wrong, largest, cells = [], 0.0, 0
    for name, left in sorted(direct.items()):
        right = cluster[name]
        if left.shape != right.shape or left.dtype != right.dtype:
            wrong.append(name)
        elif not np.issubdtype(left.dtype, np.floating):
            wrong += [] if np.array_equal(left, right) else [name]
        elif not np.allclose(left, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            wrong.append(name)
        elif left.size:
            largest = max(largest, float(np.nanmax(np.abs(left - right), initial=0.0)))
        cells += left.size
    if wrong:
        return Row(what, "differs in", " ".join(wrong), False)
    return Row(what, f"{cells:,} values", f"largest difference {largest:.1e}", True)


def table(rows: Sequence[Row], cluster: str) -> str:
    """The rows for a terminal."""
    cells = [("", "DirectRunner", cluster, "")]
    cells += [(row.what, row.local, row.twin, "equal" if row.same else "DIFFERS") for row in rows]
    widths = [max(len(line[column]) for line in cells) for column in range(3)]
    return "\n".join(
        "  ".join(
            text.ljust(width) for text, width in zip(line, [*widths, 0], strict=True)
        ).rstrip()
        for line in cells
    )
