"""Memory: what is kept for good is not looked through, what was large is given back."""

from __future__ import annotations

import ctypes
import gc
import os
import threading

#: Seconds after a large request until its memory is given back.
SECONDS = 1.0
#: What makes a request or an answer large, in bytes.
LARGE = 8 << 20
#: What makes it so large that the next one may find no room before its memory is given back.
HUGE = 64 << 20


def keep() -> None:
    """Tells Python's collector that what exists now stays.

    A full collection over TensorFlow's objects and a model's graph takes a third of a second, in
    the middle of whatever request is being answered.
    """
    gc.freeze()


def release() -> None:
    """Gives back what an unloaded version or a large request held; a graph is full of cycles."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim()


def trim() -> None:
    """Gives freed memory back to the system; takes some milliseconds, in which others go on."""
    if os.name == "posix":
        # Only glibc has it; without it freed memory stays with the process.
        malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if malloc_trim is not None:
            malloc_trim(0)


class Releaser:
    """Releases memory once, some time after it was asked to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def soon(self) -> None:
        """Asks for it; returns at once."""
        with self._lock:
            if self._timer is None:
                self._timer = threading.Timer(SECONDS, self._release)
                self._timer.daemon = True
                self._timer.start()

    def close(self) -> None:
        """Forgets what was asked for."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()

    def _release(self) -> None:
        with self._lock:
            self._timer = None
        release()
