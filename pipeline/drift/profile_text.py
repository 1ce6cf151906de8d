"""The reviewed profile in the schema file: a line a feature, in the schema's annotation.

`profile price numeric missing=12 above=0 1.5=30 2.25=31` counts rows whose price is at most 1.5,
between that and 2.25, and so on; `profile plan categorical missing=0 others=3 basic=400 plus=300`
counts rows by value. Blanks, equals and percent signs in names are written as in a URL.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args
from urllib.parse import unquote

from tensorflow_metadata.proto.v0 import schema_pb2

Type = Literal["numeric", "categorical", "label"]

_WORD = "profile "
#: What is left of a profile beside its bins: numbers above the last edge, values without a bin.
_REST = {"numeric": "above", "categorical": "others", "label": "others"}


@dataclass(frozen=True)
class Profile:
    """How one feature was distributed when it was reviewed.

    Attributes:
        name: of the feature, as it is compared.
        type: how it is compared.
        bins: upper end of a number's bin, or a value, as text → rows.
        rest: rows above the last edge, or of other values.
        missing: rows without a value.
    """

    name: str
    type: Type
    bins: Mapping[str, int]
    rest: int
    missing: int


def read(schema: schema_pb2.Schema) -> dict[str, Profile]:
    """The profiles that a schema carries, by feature.

    Raises:
        ValueError: a line is not one of `write`; says which.
    """
    found = {}
    for line in schema.annotation.comment:
        if line.startswith(_WORD):
            profile = _parsed(line)
            found[profile.name] = profile
    return found


def write(schema: schema_pb2.Schema, profiles: Iterable[Profile]) -> None:
    """Puts profiles into a schema in place of those that it carries; other comments stay."""
    others = [line for line in schema.annotation.comment if not line.startswith(_WORD)]
    schema.annotation.comment[:] = [*others, *map(_line, profiles)]
    if not schema.annotation.ByteSize():
        schema.ClearField("annotation")


def _line(profile: Profile) -> str:
    counts = {"missing": profile.missing, _REST[profile.type]: profile.rest}
    bins = {_quoted(value): count for value, count in profile.bins.items()}
    told = " ".join(f"{name}={count}" for name, count in (*counts.items(), *bins.items()))
    return f"{_WORD}{_quoted(profile.name)} {profile.type} {told}"


def _quoted(text: str) -> str:
    """Text without what separates: percent-encoded, but for letters of any language."""
    return "".join(
        char
        if char.isprintable() and char not in " =%\"'\\"
        else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))
        for char in text
    )


def _parsed(line: str) -> Profile:
    try:
        name, type_, missing, rest, *bins = line.removeprefix(_WORD).split(" ")
        if type_ not in get_args(Type):
            raise ValueError
        counts = dict(_pair(item) for item in bins)
        if type_ == "numeric":
            edges = [float(edge) for edge in counts]
            if edges != sorted(set(edges)):
                raise ValueError
        return Profile(
            name=unquote(name),
            type=cast(Type, type_),
            bins=counts,
            rest=_named(rest, _REST[type_]),
            missing=_named(missing, "missing"),
        )
    except ValueError as error:
        shown = line if len(line) < 60 else f"{line[:60]}…"
        raise ValueError(f"{shown!r} is no line of a profile") from error


def _pair(item: str) -> tuple[str, int]:
    value, equals, count = item.partition("=")
    if not equals or not count.isdecimal():
        raise ValueError
    return unquote(value), int(count)


def _named(item: str, name: str) -> int:
    found, count = _pair(item)
    if found != name:
        raise ValueError
    return count
