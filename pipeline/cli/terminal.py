"""What the commands print: data cannot steer the terminal, nor its encoding end a command.

Names and values come from files that strangers wrote: an escape sequence in one would move the
cursor, rewrite lines or set the clipboard; square brackets are no markup; a text that the terminal
cannot show is written in characters that it can.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import re
import sys

import click

from serving.printable import printable

_LINES_AND_TABS = re.compile("([\n\t])")
#: Ours, where a terminal has no such character.
_PLAIN = {
    "✔": "+", "✘": "x", "–": "-", "—": "-", "…": "...", "→": "->", "≥": ">=", "≤": "<=",
    "×": "x", "·": ".", "“": '"', "”": '"', "‘": "'", "’": "'", "−": "-", "µ": "u",
}  # fmt: skip
#: Name of the way texts are written that a terminal's encoding has not.
ERRORS = "headrace"


def visible(text: str) -> str:
    r"""A text with its control characters written out: an escape as `\x1b`."""
    return "".join(
        part if part in ("\n", "\t") else printable(part) for part in _LINES_AND_TABS.split(text)
    )


def one_line(text: str) -> str:
    """The same, of a name or a value that must not look like two lines."""
    return printable(text)


def echo(message: object = "", *, err: bool = False, fg: str | None = None) -> None:
    """Prints a line for people. JSON is printed by `click.echo`, as it is."""
    click.secho(visible(str(message)), err=err, fg=fg)


def prepare() -> None:
    """Makes the standard streams write any text, whatever their encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(ValueError, OSError):
                stream.reconfigure(errors=ERRORS)


def encoding() -> str:
    """Of the terminal, for another stream to it."""
    return getattr(sys.stderr, "encoding", None) or "utf-8"


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _write(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    characters = error.object[error.start : error.end]
    return "".join(map(_in_ascii, characters)), error.end


def _in_ascii(character: str) -> str:
    code = ord(character)
    return _PLAIN.get(character) or (_escape(character) if code <= 0xFFFF else f"\\U{code:08x}")


codecs.register_error(ERRORS, _write)
