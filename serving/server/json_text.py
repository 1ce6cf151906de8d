"""JSON as the REST interface of TensorFlow Serving reads it, from bytes to Python values.

RFC 8259, and besides:

* `NaN`, `Infinity` and `Inf` are numbers, with or without a minus;
* what follows the first complete value is ignored;
* of a name that occurs twice in an object the first value counts;
* a byte order mark is skipped, and strings need not be valid UTF-8: stray bytes become surrogate
  escapes, which `json_values.to_bytes` turns back;
* a number beyond a double is an error;
* values may be nested a million levels deep.

The usual body is left to the scanner of the standard library, written in C. What that cannot do
(other tokens, deep nesting, error texts), and large bodies, of which it would hold the interpreter
lock for seconds, take a parser with a stack of its own, so nothing here recurses.
"""

from __future__ import annotations

import json
import math
import re
import time
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NoReturn

from serving.server.errors import Code, ServingError

MAX_DEPTH = 1_000_000

_BOM = b"\xef\xbb\xbf"
_LARGE = 1 << 20  # bytes; the C scanner reads these in some 20 ms
_LEAF = 1 << 16  # characters of a container, or of a run of numbers, for the C scanner

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)((?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?)")
_LITERAL = re.compile(r"true|false|null|-?(?:NaN|Inf(?:inity)?)")
_LITERALS = {"true": True, "false": False, "null": None}
_SURROGATE = re.compile("[\ud800-\udfff]")
# Such numbers may be beyond a double, which the C scanner turns into infinity.
_BIG_EXPONENT = re.compile(rb"[eE]\+?[0-9]{3}")
_MANY_DIGITS = b"0" * 200
_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_MAX_DIGITS = 310  # a longer integer is beyond a double
_CHECK_EVERY = 4096  # values between two looks at the clock
_PATIENCE = 64  # values between two attempts to read a run of them at once
_ENDS = {"[": "],", "{": "},", '"': '",'}  # of a value, by its first character

_STRING_ERRORS = {
    "Unterminated": "Missing a closing quotation mark in string.",
    "Invalid control": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\u": "Incorrect hex digit after \\u escape in string.",
}


def parse(body: bytes, deadline: float | None = None) -> Any:
    """The first value in `body`: None, bool, int, float, str, list or dict.

    Args:
        body: the text, in UTF-8.
        deadline: when to give up, on the clock `time.monotonic`.

    Raises:
        ServingError: INVALID_ARGUMENT, with the offset in bytes; DEADLINE_EXCEEDED.
    """
    text = body.removeprefix(_BOM).decode("utf-8", "surrogateescape")
    start = _skip(text, 0)
    if start == len(text):
        at = f". at offset: {start}" if start else ""
        raise ServingError(Code.INVALID_ARGUMENT, f"JSON Parse error: The document is empty{at}")
    plain = _is_plain(body)
    # A lone number ends where the C scanner stops to understand it, in an error or not.
    if plain and len(body) <= _LARGE and text[start] in "{[":
        try:
            return _C_SCANNER.raw_decode(text, start)[0]
        except (ValueError, RecursionError):
            plain = False  # only the other parser can say what it is
    return _Parser(text, plain, deadline).parse(start)


def _is_plain(body: bytes) -> bool:
    """Whether the C scanner gets everything in a text right that it accepts."""
    return not (
        b"\\ud" in body
        or b"\\uD" in body
        # In steps, between which another thread may run.
        or any(_BIG_EXPONENT.search(body, i, i + _LARGE + 8) for i in range(0, len(body), _LARGE))
        or _MANY_DIGITS in body.translate(_TO_ZEROS)
    )


def _first_wins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) == len(pairs):
        return made
    made = {}
    for name, value in pairs:
        made.setdefault(name, value)
    return made


_C_SCANNER = json.JSONDecoder(object_pairs_hook=_first_wins)


def _skip(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None
    return match.end()


class _Parser:
    """Reads a value without recursion; leaves small parts without nesting to the C scanner."""

    def __init__(self, text: str, leaves: bool, deadline: float | None) -> None:
        self._text = text
        self._leaves = leaves
        self._deadline = math.inf if deadline is None else deadline
        self._patience = 0
        self._names: list[str] = []  # of the values that open objects wait for

    def parse(self, position: int) -> Any:
        """The value that starts at `position`."""
        text = self._text
        open_: list[Any] = []
        turns = 0
        while True:
            turns += 1
            if turns % _CHECK_EVERY == 0:
                self._look_at_the_clock()
            position = _skip(text, position)
            start = text[position : position + 1]
            if self._leaves and open_ and type(open_[-1]) is list:
                self._patience -= 1
                if self._patience < 0:
                    position = self._run(open_[-1], position, start)
                    start = text[position : position + 1]
            if start == "[" or start == "{":
                leaf = self._leaf(position, "]" if start == "[" else "}") if self._leaves else None
                if leaf is not None:
                    value, position = leaf
                else:
                    inside = _skip(text, position + 1)
                    value = [] if start == "[" else {}
                    if text[inside : inside + 1] != ("]" if start == "[" else "}"):
                        if len(open_) >= MAX_DEPTH:
                            self._fail(f"Nested more than {MAX_DEPTH} levels deep.", position)
                        open_.append(value)
                        position = inside if start == "[" else self._name(inside)
                        continue
                    position = inside + 1
            elif start == '"':
                value, position = self._string(position)
            else:
                value, position = self._scalar(position)
            done, value, position = self._put(open_, value, position)
            if done:
                return value

    def _put(self, open_: list[Any], value: Any, position: int) -> tuple[bool, Any, int]:
        """Puts a value where it belongs and closes what ends after it."""
        text = self._text
        while open_:
            position = _skip(text, position)
            follows = text[position : position + 1]
            top = open_[-1]
            if type(top) is list:
                top.append(value)
                if follows == ",":
                    return False, None, position + 1
                if follows != "]":
                    self._fail("Missing a comma or ] after an array element.", position)
            else:
                top.setdefault(self._names.pop(), value)
                if follows == ",":
                    return False, None, self._name(_skip(text, position + 1))
                if follows != "}":
                    self._fail("Missing a comma or } after an object member.", position)
            position += 1
            value = open_.pop()
        return True, value, position

    def _name(self, position: int) -> int:
        """Reads a member's name and colon; returns where its value starts."""
        if self._text[position : position + 1] != '"':
            self._fail("Missing a name for object member.", position)
        name, position = self._string(position)
        position = _skip(self._text, position)
        if self._text[position : position + 1] != ":":
            self._fail("Missing a colon after a name of object member.", position)
        self._names.append(name)
        return position + 1

    def _string(self, position: int) -> tuple[str, int]:
        try:
            value, end = scanstring(self._text, position + 1, True)
        except json.JSONDecodeError as error:
            for start, message in _STRING_ERRORS.items():
                if error.msg.startswith(start):
                    self._fail(message, error.pos)
            raise
        found = len(_SURROGATE.findall(value))
        # Stray bytes are surrogates in the text already; others come from half an escaped pair.
        if found and found != len(_SURROGATE.findall(self._text, position, end)):
            self._fail("The surrogate pair in string is invalid.", position)
        return value, end

    def _scalar(self, position: int) -> tuple[Any, int]:
        literal = _LITERAL.match(self._text, position)
        if literal:
            word = literal.group()
            value = _LITERALS[word] if word in _LITERALS else float(word)
            return value, literal.end()
        number = _NUMBER.match(self._text, position)
        if not number:
            self._fail("Invalid value.", position)
        end = number.end()
        follows = self._text[end : end + 1]
        if follows in ("e", "E"):
            self._fail("Miss exponent in number.", end)
        if follows == "." and "e" not in number.group(1).lower() and "." not in number.group(1):
            self._fail("Miss fraction part in number.", end)
        whole = number.group()
        if not number.group(1) and len(whole) <= _MAX_DIGITS:
            value = int(whole)
            try:
                float(value)
            except OverflowError:
                self._fail("Number too big to be stored in double.", position)
            return value, end
        value = float(whole)
        if math.isinf(value):
            self._fail("Number too big to be stored in double.", position)
        return value, end

    def _leaf(self, position: int, closing: str) -> tuple[Any, int] | None:
        """A small container without others in it, if that is what starts here."""
        text = self._text
        if text[position + 1 : position + 2] in ("[", "{"):
            return None
        close = text.find(closing, position, position + _LEAF)
        if close < 0 or text.find("[", position + 1, close) > 0:
            return None
        if text.find("{", position + 1, close) > 0:
            return None
        try:
            return _C_SCANNER.raw_decode(text, position)
        except (ValueError, RecursionError):
            self._leaves = False
            return None

    def _run(self, array: list[Any], position: int, start: str) -> int:
        """Appends many elements of a long array at once, if they are simple enough.

        The text up to the end of some element, in brackets, is a JSON array just if that element
        ends on this array's level.
        """
        text = self._text
        end = _ENDS.get(start, ",")
        while (cut := text.rfind(end, position, position + _LEAF)) > 0:
            cut += len(end) - 1
            part = f"[{text[position:cut]}]"
            try:
                values, length = _C_SCANNER.raw_decode(part)
            except (ValueError, RecursionError):
                length = 0
            if length != len(part):
                break
            array += values
            self._look_at_the_clock()
            position = _skip(text, cut + 1)
            end = _ENDS.get(text[position : position + 1], ",")
        self._patience = _PATIENCE
        return position

    def _look_at_the_clock(self) -> None:
        if time.monotonic() > self._deadline:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out while reading the JSON text.")

    def _fail(self, what: str, position: int) -> NoReturn:
        offset = len(self._text[:position].encode("utf-8", "surrogateescape"))
        raise ServingError(Code.INVALID_ARGUMENT, f"JSON Parse error: {what} at offset: {offset}")
