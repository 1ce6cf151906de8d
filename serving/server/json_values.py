"""Single JSON values: their names and texts in messages, and the bytes that strings stand for."""

from __future__ import annotations

import binascii
import re
from typing import Any

from serving.server.errors import Code, ServingError
from serving.server.json_numbers import float_text

_MAX_RENDERED = 256  # characters
_TYPES = {
    type(None): "Null",
    bool: "Bool",
    int: "Number",
    float: "Number",
    str: "String",
    list: "Array",
    dict: "Object",
}
_B64 = "b64"
_SPACE = re.compile(rb"[ \t\n\v\f\r]+")


def type_name(value: Any) -> str:
    """What JSON calls the type of a value."""
    return _TYPES[type(value)]


def rendered(value: Any) -> str:
    """A value for a message: at most 256 characters of it, however large or deep it is."""
    parts: list[str] = []
    size = 0
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, _Text):
            part = item.text
        elif isinstance(item, list):
            part = "["
            todo.append(_Text("]"))
            for index, element in reversed(list(enumerate(item[:_MAX_RENDERED]))):
                todo += [element] if index == 0 else [element, _Text(",")]
        elif isinstance(item, dict):
            part = "{"
            todo.append(_Text("}"))
            members = list(item.items())[:_MAX_RENDERED]
            for index, (name, element) in reversed(list(enumerate(members))):
                todo += [element, _Text(f"{'' if index == 0 else ','}{_scalar(name)}:")]
        else:
            part = _scalar(item)
        parts.append(part)
        size += len(part)
        if size > _MAX_RENDERED:
            return "".join(parts)[:_MAX_RENDERED] + "..."
    return "".join(parts)


class _Text:
    """Punctuation among the values still to be rendered."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _scalar(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, str):
        shown = value[: _MAX_RENDERED + 1].encode("utf-8", "surrogateescape")
        return '"' + shown.decode(errors="replace") + '"'
    return str(value)


def is_b64(value: Any) -> bool:
    """Whether a value is an object that stands for bytes: `{"b64": "…"}`."""
    return type(value) is dict and len(value) == 1 and type(value.get(_B64)) is str


def to_bytes(value: str) -> bytes:
    """What a JSON string stands for, stray bytes included."""
    return value.encode("utf-8", "surrogateescape")


def from_b64(value: dict[str, str]) -> bytes:
    """The bytes that `{"b64": "…"}` stands for. The padding may be missing.

    Raises:
        ServingError: INVALID_ARGUMENT, it is not base64 (standard alphabet).
    """
    text = _SPACE.sub(b"", to_bytes(value[_B64]))
    digits = text.rstrip(b"=")
    padding = len(text) - len(digits)
    try:
        if padding > 2 or (padding and len(text) % 4):
            raise binascii.Error("wrong padding")
        return binascii.a2b_base64(digits + b"=" * (-len(digits) % 4), strict_mode=True)
    except binascii.Error as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Unable to base64 decode {rendered(value)}: {error}"
        ) from error
