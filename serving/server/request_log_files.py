"""The files of logged requests: whole or not there, and not more of them than fit."""

from __future__ import annotations

import logging
import os
import re
import socket
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

SUFFIX = ".tfrecord"
_WRITING = ".writing"
# Folders may be shared: a number of a process means something on its own machine only.
_HOST = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64] or "unknown"
_UNFINISHED = re.compile(rf"\.requests-.*-(\d+){re.escape(SUFFIX)}(?:\.(.*))?{re.escape(_WRITING)}")

_LOG = logging.getLogger(__name__)


# Of this process.
_open: set[str] = set()


class LogFile:
    """A file that is being written, under a name that readers of `*.tfrecord` pass over."""

    def __init__(self, folder: str) -> None:
        import tensorflow as tf

        os.makedirs(folder, exist_ok=True)
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        name = f"requests-{stamp}-{nanoseconds:09d}-{os.getpid()}{SUFFIX}"
        self._path = os.path.join(folder, name)
        self._temporary = os.path.join(folder, f".{name}.{_HOST}{_WRITING}")
        _open.add(self._temporary)
        self._writer: tf.io.TFRecordWriter = tf.io.TFRecordWriter(self._temporary)
        self.started = time.monotonic()
        self.records = 0
        self.size = 0

    def write(self, record: bytes) -> None:
        """Adds a record."""
        self._writer.write(record)
        self.records += 1
        self.size += len(record) + 16  # its framing: length and two checksums

    def finish(self) -> None:
        """The file appears, whole."""
        self._writer.close()
        os.rename(self._temporary, self._path)
        _open.discard(self._temporary)

    def abandon(self) -> None:
        """What was written is lost: the disk may be full."""
        with suppress(Exception):
            self._writer.close()
        with suppress(OSError):
            os.remove(self._temporary)
        _open.discard(self._temporary)


def remove_unfinished(folder: str, seconds: float) -> int:
    """Removes files that nobody will finish, because the server that wrote them was killed.

    Args:
        folder: of a model.
        seconds: without a change, after which a file of another machine is given up.

    Returns:
        How many there were.
    """
    removed = 0
    for name in os.listdir(folder):
        found = _UNFINISHED.fullmatch(name)
        path = os.path.join(folder, name)
        if found is None or not _is_given_up(path, int(found[1]), found[2] or _HOST, seconds):
            continue
        with suppress(FileNotFoundError):
            os.remove(path)
            removed += 1
    if removed:
        _LOG.warning("%d unfinished file(s) of logged requests in %s go", removed, folder)
    return removed


def _is_given_up(path: str, process: int, host: str, seconds: float) -> bool:
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        return False
    if age > seconds:
        return True
    if host != _HOST:
        return False
    if process == os.getpid():
        # A container's first process has the number of the one before it.
        return path not in _open
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def make_room(folder: str, limit: int) -> None:
    """Removes the oldest files until the rest take at most `limit` bytes, unfinished ones too."""
    listed = [name for name in os.listdir(folder) if name.endswith((SUFFIX, _WRITING))]
    sizes = {name: _size(os.path.join(folder, name)) for name in listed}
    names = sorted(name for name in listed if name.endswith(SUFFIX))
    total = sum(sizes.values())
    for name in names[:-1]:
        if total <= limit:
            return
        _LOG.warning("the log of requests in %s is full: %s goes", folder, name)
        with suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))
        total -= sizes[name]


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # finished or removed meanwhile
        return 0
