"""Text of strangers, made fit for a terminal and for a log."""

from __future__ import annotations

import logging
import re

# Control characters of either set, and what Unicode has to end lines and to turn their direction.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_MOST_CHARACTERS = 4096


def printable(text: str) -> str:
    r"""One line of text: control characters as escapes, so that `\n` stays two characters."""
    return _UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


class Formatter(logging.Formatter):
    """A line a record, whatever names are in it; lines of a trace are indented."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The record's line."""
        message = record.message
        if len(message) > _MOST_CHARACTERS:
            message = f"{message[:_MOST_CHARACTERS]}… ({len(message):,} characters)"
        record.message = printable(message)
        return super().formatMessage(record)

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """The trace of an exception."""
        trace = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"    {printable(line)}" for line in trace.split("\n"))
