"""The files of logged requests: whole or not there, and not more of them than fit."""

from __future__ import annotations

import logging
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

SUFFIX = ".tfrecord"

_LOG = logging.getLogger(__name__)


class LogFile:
    """A file that is being written, under a name that readers of `*.tfrecord` pass over."""

    def __init__(self, folder: str) -> None:
        import tensorflow as tf

        os.makedirs(folder, exist_ok=True)
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        name = f"requests-{stamp}-{nanoseconds:09d}-{os.getpid()}{SUFFIX}"
        self._path = os.path.join(folder, name)
        self._temporary = os.path.join(folder, f".{name}.writing")
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


def make_room(folder: str, limit: int) -> None:
    """Removes the oldest files until the rest take at most `limit` bytes."""
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    sizes = {name: os.path.getsize(os.path.join(folder, name)) for name in names}
    total = sum(sizes.values())
    for name in names[:-1]:
        if total <= limit:
            return
        _LOG.warning("the log of requests in %s is full: %s goes", folder, name)
        with suppress(FileNotFoundError):
            os.remove(os.path.join(folder, name))
        total -= sizes[name]
