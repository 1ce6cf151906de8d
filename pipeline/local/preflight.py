"""What can be known to be wrong before TensorFlow is loaded: seconds, not minutes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipeline import beam_options, files, spans
from pipeline.config import Config
from pipeline.errors import ConfigError, DataError, Fault, HeadraceError, RunError
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard, shards
from pipeline.local import cluster
from pipeline.local.disk import free
from pipeline.local.places import Places

#: A run needs room for its artifacts; less than this ends in a half-written one.
MIN_FREE_BYTES = 200 * 1024 * 1024


def check_beam(config: Config) -> None:
    """Sees that Beam's runner can do its work with the options it is given.

    Raises:
        ConfigError: an option is missing, unknown or wrong, or a cluster does not answer.
    """
    if config.beam.runner == "dataflow":
        rule = "cannot be used by a run on this machine, whose disk Dataflow's workers do not see"
        remedy = "Use `headrace vertex submit`, or another runner."
        raise ConfigError("[beam]", [Fault("beam.runner", "'dataflow'", rule, remedy)])
    beam_options.check(config.beam)
    if unreachable := list(cluster.faults(config.beam)):
        raise ConfigError("[beam]", unreachable)


def check_output(places: Places, free_bytes: Callable[[str], int] = free) -> None:
    """Makes the output folder and sees that it can be written and has room.

    Raises:
        RunError: it can't, or has not.
    """
    try:
        os.makedirs(places.history, exist_ok=True)
        probe = os.path.join(places.output, ".writable")
        with open(probe, "w", encoding="utf-8") as file:
            file.write("x")
        os.remove(probe)
    except OSError as error:
        raise RunError(
            f"output: cannot write to {places.output} ({error.strerror}). Free space, change its "
            "permissions, or set another output folder in the configuration."
        ) from error
    left = free_bytes(places.output)
    if left < MIN_FREE_BYTES:
        raise RunError(
            f"output: {places.output} has {left / 1e6:.0f} MB free; a run needs at least "
            f"{MIN_FREE_BYTES / 1e6:.0f} MB. Free space, or set another output folder."
        )


def check_metadata(places: Places) -> None:
    """Sees that the metadata store, if there is one, is a sound SQLite database.

    Raises:
        RunError: it is damaged.
    """
    if not os.path.exists(places.metadata):
        return
    try:
        # Not read-only: after a killed run SQLite must first roll its journal back.
        database = f"{Path(places.metadata).as_uri()}?mode=rw"
        with contextlib.closing(sqlite3.connect(database, uri=True)) as connection:
            (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        answer = str(error)
    if answer != "ok":
        raise RunError(
            f"{places.metadata}: the metadata database is damaged ({answer}). Restore it from a "
            "backup, or move it away to begin a new history (pushed models stay as they are)."
        )


def check_data(config: Config, span: str | None) -> tuple[spans.Window, str]:
    """Finds the window and opens every local file of it.

    Returns:
        The window and the fingerprint of its files.

    Raises:
        HeadraceError: something is wrong with spans, files, columns or expressions; of many
            files' faults the first few are told together.
    """
    window = spans.window_of(config, span)
    plan = IngestPlan.of(config)
    local = [shard for shard in shards(window) if files.is_local(shard.path)]
    with ThreadPoolExecutor(max_workers=4) as pool:
        faults = [fault for fault in pool.map(lambda s: _fault(s, plan), local) if fault]
    if faults:
        # One expression is at fault in every file in the same way: told once, of the first.
        told = {tuple(f.faults) if isinstance(f, ConfigError) else str(f): f for f in faults[::-1]}
        messages = [str(fault) for fault in reversed(told.values())]
        more = [f"… and {len(messages) - 5} more like these"] if len(messages) > 5 else []
        error = DataError("\n".join(messages[:5] + more))
        error.exit_code = faults[0].exit_code
        raise error
    return window, spans.fingerprint(window, config.data.path)


def _fault(shard: Shard, plan: IngestPlan) -> HeadraceError | None:
    try:
        shard_work.check(shard, plan)
    except HeadraceError as error:
        return error
    return None
