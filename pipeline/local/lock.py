"""One run at a time on one output folder: ML Metadata's SQLite file knows one writer."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator

from pipeline.errors import RunError

_POLL_SECONDS = 0.5


@contextlib.contextmanager
def held(
    path: str,
    run_id: str,
    *,
    wait_seconds: float,
    waiting: Callable[[str], None] = lambda holder: None,
) -> Iterator[None]:
    """Holds the lock; the system gives it up when the process dies, however it dies.

    Args:
        path: lock file.
        run_id: written into the file, for others to read.
        wait_seconds: how long to wait for another holder, 0 for not at all.
        waiting: called once with the holder's name when waiting begins.

    Raises:
        RunError: another run holds it for longer than `wait_seconds`.
    """
    with open(path, "a+", encoding="utf-8") as file:
        deadline = time.monotonic() + wait_seconds
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                holder = _holder(path)
                if time.monotonic() >= deadline:
                    raise RunError(
                        f"{os.path.dirname(path)}: {holder} is running there. Wait for it "
                        "(--wait SECONDS), stop it, or use another output folder."
                    ) from error
                if not told:
                    waiting(holder)
                    told = True
                time.sleep(_POLL_SECONDS)
        file.seek(0)
        file.truncate()
        json.dump({"run_id": run_id, "pid": os.getpid(), "started": time.time()}, file)
        file.flush()
        try:
            yield
        finally:
            file.seek(0)
            file.truncate()
            fcntl.flock(file, fcntl.LOCK_UN)


def _holder(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            holder = json.load(file)
        started = time.strftime("%H:%M:%S", time.localtime(holder["started"]))
        return f"run {holder['run_id']} (process {holder['pid']}, since {started})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another run"
