"""The runs of an output folder, read from their `result.json`."""

from __future__ import annotations

import os

from pipeline.local.places import Places
from pipeline.local.result import RunResult


def runs(places: Places) -> list[RunResult]:
    """All runs, newest first. One without a result was killed, or is still going on."""
    if not os.path.isdir(places.history):
        return []
    found = []
    for run_id in sorted(os.listdir(places.history), reverse=True):
        try:
            with open(places.run(run_id, "result.json"), encoding="utf-8") as file:
                found.append(RunResult.from_json(file.read()))
        except (OSError, ValueError, TypeError, AttributeError):
            found.append(
                RunResult(
                    "failed",
                    run_id,
                    message="no result: killed, or still running",
                    log=places.run(run_id, "run.log"),
                )
            )
    return found
