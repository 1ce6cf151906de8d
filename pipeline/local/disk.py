"""Room on the disk: how much there is, and what to say when there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from pipeline.local.places import Places
from pipeline.local.result import RunResult

#: With less than this, what failed failed for want of room.
FULL_BYTES = 4 * 1024 * 1024


def free(path: str) -> int:
    """Bytes that may still be written."""
    return shutil.disk_usage(path).free


def explain_full_disk(
    places: Places, result: RunResult, free_bytes: Callable[[str], int] = free
) -> None:
    """Says of a failed run that the disk is full: errors say it in many ways, or not at all."""
    if result.status == "failed" and free_bytes(places.output) < FULL_BYTES:
        result.message = (
            f"the disk of {places.output} is full. Free space and run it again. ({result.message})"
        )
