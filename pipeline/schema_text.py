"""The schema file as text that a review reads well: one block an entry, comments kept.

`text_format` alone would lose every comment and so make each review a review of everything. Here
a block that says the same stays as it is, byte for byte; a block that changed is written anew
below its own comments; new blocks come after the others of their kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from google.protobuf import text_format
from google.protobuf.message import Message
from tensorflow_metadata.proto.v0 import schema_pb2

#: Entries that have a name of their own; all others are one block for all of their kind.
_KINDS = frozenset(
    "feature sparse_feature weighted_feature string_domain float_domain int_domain".split()
)


@dataclass(frozen=True)
class Block:
    """A top-level entry of the file.

    Attributes:
        above: blank lines and comments before it.
        text: the entry itself, without the line break at its end.
        field: of the schema, such as `feature`.
        name: of a named entry; `""` of others.
    """

    above: str
    text: str
    field: str
    name: str


def write(schema: schema_pb2.Schema, before: str = "", why: Mapping[str, str] | None = None) -> str:
    """The text of a schema.

    Args:
        schema: what it is to say.
        before: the file's text now; what it says the same way is kept as it stands.
        why: comment above a feature that `before` has not, by name.

    Returns:
        Text that parses to `schema`. The same arguments give the same bytes.
    """
    blocks, tail = _split(before) if before else ([], "")
    wanted = list(_entries(schema))
    comments = why or {}
    known = {(field, name) for field, name, _ in wanted}
    texts = {(field, name): text for field, name, text in wanted}
    written: list[tuple[str, str]] = []  # field and text, in order
    done: set[tuple[str, str]] = set()
    for block in blocks:
        place = (block.field, block.name)
        if place not in known or (place in done and block.field in _KINDS):
            # What is gone takes its comments along; but the file's head belongs to all.
            if block is blocks[0]:
                written.append(("", block.above))
            continue
        if block.field not in _KINDS:
            same = _says(blocks, block.field) == _parsed(texts[place])
            if not same and place in done:
                continue
            text = block.text if same else texts[place]
        else:
            text = block.text if _same(block, texts[place]) else texts[place]
        done.add(place)
        written.append((block.field, block.above + text + "\n"))
    for field, name, text in wanted:
        if (field, name) in done:
            continue
        comment = _comment(comments.get(name, "")) if field == "feature" else ""
        apart = "\n" if written and (comment or not before) else ""
        entry = (field, apart + comment + text + "\n")
        at = max((i for i, (f, _) in enumerate(written) if f == field), default=-1)
        if at >= 0:
            written.insert(at + 1, entry)
        else:
            written.append(entry)
    return "".join(text for _, text in written) + tail


def _comment(text: str) -> str:
    printable = "".join(c if c.isprintable() or c == "\n" else "�" for c in text)
    return "".join(f"# {line}\n" for line in printable.splitlines())


def _entries(schema: schema_pb2.Schema) -> Iterator[tuple[str, str, str]]:
    """Field, name and text of every top-level entry, in the order of the proto's fields."""
    for descriptor, value in schema.ListFields():
        field = descriptor.name
        if field in _KINDS:
            for item in value:
                single = schema_pb2.Schema()
                getattr(single, field).add().CopyFrom(item)
                yield field, item.name, _text(single)
            continue
        single = schema_pb2.Schema()
        if isinstance(value, Message):
            getattr(single, field).CopyFrom(value)
        elif isinstance(value, str | bytes | int | float | bool):
            setattr(single, field, value)
        else:
            getattr(single, field).extend(value)
        yield field, "", _text(single)


def _text(schema: schema_pb2.Schema) -> str:
    # Unicode values of a domain are for people to read.
    return str(text_format.MessageToString(schema, as_utf8=True)).rstrip("\n")


def _same(block: Block, text: str) -> bool:
    return bool(_parsed(block.text) == _parsed(text))


def _says(blocks: list[Block], field: str) -> schema_pb2.Schema:
    return _parsed("\n".join(block.text for block in blocks if block.field == field))


def _parsed(text: str) -> schema_pb2.Schema:
    return text_format.Parse(text, schema_pb2.Schema())


_TOKEN = re.compile(
    r"""(?P<comment>\#[^\n]*)|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')|(?P<open>[{<])"""
    r"""|(?P<close>[}>])|(?P<blank>\s+)|(?P<other>[^\s{}<>"'\#]+)"""
)


def _split(text: str) -> tuple[list[Block], str]:
    """Top-level entries with what stands before each, and what stands after the last."""
    blocks: list[Block] = []
    depth, start, begun, words = 0, 0, -1, 0
    above_end = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if begun < 0:
            if kind in ("comment", "blank"):
                continue
            begun, above_end, words = token.start(), token.start(), 0
        if kind in ("comment", "blank"):
            continue
        if kind == "open":
            depth += 1
        elif kind == "close":
            depth -= 1
        words += 1
        # `name: value` ends with its value, `name { … }` with its brace.
        ended = depth == 0 and (
            kind == "close" or (kind in ("text", "other") and words > 1 and token[0] != ":")
        )
        if ended:
            entry = text[begun : token.end()]
            end = token.end()
            rest = re.match(r"[ \t,;]*(#[^\n]*)?(\n|$)", text[end:])
            if rest:
                entry += rest[0].rstrip("\n")
                end += len(rest[0])
            blocks.append(_block(text[start:above_end], entry))
            start, begun = end, -1
    return blocks, text[start:]


def _block(above: str, entry: str) -> Block:
    parsed = _parsed(entry)
    (descriptor, value), *_ = parsed.ListFields()
    name = value[0].name if descriptor.name in _KINDS else ""
    return Block(above, entry, descriptor.name, name)
