"""Keeps the noise of TensorFlow, Beam and TFX out of the terminal, and in the run's log."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from collections.abc import Iterator
from typing import TextIO

from serving.printable import printable

#: Set before TensorFlow is imported, unless the user has set them.
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "1",
    "GRPC_VERBOSITY": "ERROR",
    # Google's client libraries look for a metadata server, over the network, unless told not to.
    "NO_GCE_CHECK": "true",
}


@contextlib.contextmanager
def output_to(log: str) -> Iterator[TextIO]:
    """Sends standard output and error, C++ included, to a file.

    Yields:
        A stream that still writes to where standard error went.
    """
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    saved_out, saved_err = os.dup(1), os.dup(2)
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    terminal = os.fdopen(
        os.dup(saved_err), "w", buffering=1, encoding=encoding, errors="backslashreplace"
    )
    records = logging.getLogRecordFactory()
    logging.setLogRecordFactory(_Record)
    try:
        os.dup2(target, 1)
        os.dup2(target, 2)
        yield terminal
    finally:
        logging.setLogRecordFactory(records)
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):  # a full disk takes no log
                stream.flush()
        os.dup2(saved_out, 1)
        os.dup2(saved_err, 2)
        for descriptor in (saved_out, saved_err, target):
            os.close(descriptor)
        terminal.close()


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """For commands that need one of these libraries for a moment, and have no log."""
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    with output_to(os.devnull):
        yield


def trace(error: BaseException) -> None:
    """Writes an error's trace to the log, if the disk still takes it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(indented("".join(traceback.format_exception(error))) + "\n")


def indented(text: str) -> str:
    """A text of the log: below its first line all is indented, so that no name forges a line."""
    return "\n    ".join(printable(line) for line in text.rstrip("\n").split("\n"))


class _Record(logging.LogRecord):
    def getMessage(self) -> str:  # noqa: N802 - logging's name
        return indented(super().getMessage())
