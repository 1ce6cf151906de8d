"""A run's temporary files: in one folder that goes with the run, however the run ends."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator

_PREFIX, _LOCK = "headrace-run-", "lock"
#: A folder without a lock may be one that is just being made.
_YOUNG_SECONDS = 600.0


@contextlib.contextmanager
def folder() -> Iterator[str]:
    """Where this process and its children put temporary files meanwhile; removed afterwards.

    A killed run removes nothing, so what such runs of this user left is removed first: the system
    gave up their locks when they died.
    """
    base = tempfile.gettempdir()
    _sweep(base)
    path = tempfile.mkdtemp(prefix=_PREFIX)
    before, variable = tempfile.tempdir, os.environ.get("TMPDIR")
    try:
        with open(os.path.join(path, _LOCK), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            tempfile.tempdir = os.environ["TMPDIR"] = path
            yield path
    finally:
        tempfile.tempdir = before
        if variable is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = variable
        shutil.rmtree(path, ignore_errors=True)


def _sweep(base: str) -> None:
    with contextlib.suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if entry.name.startswith(_PREFIX) and entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    if entry.stat(follow_symlinks=False).st_uid == os.getuid():
                        _remove_if_dead(entry.path)


def _remove_if_dead(path: str) -> None:
    try:
        lock = open(os.path.join(path, _LOCK), "r+", encoding="utf-8")  # noqa: SIM115
    except FileNotFoundError:
        if time.time() - os.stat(path).st_mtime > _YOUNG_SECONDS:
            shutil.rmtree(path, ignore_errors=True)
        return
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        shutil.rmtree(path, ignore_errors=True)
