"""What a serialized request takes in memory once it is parsed, estimated from its bytes.

A message of two bytes in a list of messages becomes an object of two hundred, so the length of the
whole says little. Estimates are upper bounds for what protobuf's C library (upb) and the arrays of
`serving.server.tensors` allocate; they were compared with the growth of a process.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

# Below, the worst that any message can become is still little; it is not looked into.
_SMALL_BYTES = 64 << 10
_WORST = 128


class _Cost(NamedTuple):
    """Of a field with a length.

    Attributes:
        each: bytes per occurrence.
        per_byte: bytes per byte of its content.
        content: what its content is, if that is looked into.
    """

    each: int
    per_byte: int = 1
    content: str = ""


_UNKNOWN = _Cost(250, _WORST)
_FIELDS: dict[str, dict[int, _Cost]] = {
    "PredictRequest": {1: _Cost(256, 8), 2: _Cost(400, 1, "entry"), 3: _Cost(80)},
    "entry": {1: _Cost(16), 2: _Cost(256, 1, "TensorProto")},
    "TensorProto": {
        2: _Cost(64, 1000),  # the shape, of which a long one is nonsense and slow to read
        4: _Cost(32),  # tensor_content
        5: _Cost(16, 3),  # float_val
        6: _Cost(16, 3),  # double_val
        7: _Cost(16, 10),  # int_val: a byte on the wire may be four, and an array grows by doubling
        8: _Cost(128, 3),  # string_val: protobuf's, Python's and TensorFlow's
        9: _Cost(16),  # scomplex_val
        10: _Cost(16, 20),  # int64_val
        11: _Cost(16),  # bool_val
        12: _Cost(16),  # dcomplex_val
        13: _Cost(16, 10),  # half_val
        16: _Cost(16, 10),  # uint32_val
        17: _Cost(16, 20),  # uint64_val
    },
    # Classify's, Regress' and MultiInference's.
    "ExamplesRequest": {1: _Cost(64, 32), 2: _Cost(64, 1, "Input")},
    "Input": {1: _Cost(64, 1, "ExampleList"), 2: _Cost(64, 1, "ExampleList")},
    # With a context or without.
    "ExampleList": {1: _Cost(160, 1, "Example"), 2: _Cost(160, 1, "Example")},
    "Example": {1: _Cost(40, 1, "Features")},
    "Features": {1: _Cost(250, 1, "feature entry")},
    "feature entry": {1: _Cost(24), 2: _Cost(64, 1, "Feature")},
    "Feature": {1: _Cost(40, 1, "BytesList"), 2: _Cost(40, 3), 3: _Cost(40, 20)},
    "BytesList": {1: _Cost(40)},
}


# Fields that are looked at one by one, which takes a tenth of a second.
_MOST_FIELDS = 200_000
# Of what follows: tag -> bytes per field. Entries and dimensions; strings; resources; variants.
_TAGS = {
    "PredictRequest": {0x0A: 32, 0x12: 400, 0x42: 128, 0x72: 250, 0x7A: 250},
    # The lengths of lists; of a feature in an example there are three.
    "ExamplesRequest": {0x0A: 160, 0x12: 110, 0x1A: 110},
}


def predict_bytes(raw: bytes, limit: int) -> int:
    """Memory of a parsed PredictRequest, in bytes; looks no further once it is above `limit`."""
    return _scanned(raw, "PredictRequest", limit)


def examples_bytes(raw: bytes, limit: int) -> int:
    """Memory of a parsed request with examples; as `predict_bytes`."""
    # Each example is written anew, and TensorFlow has a copy of it.
    return 2 * len(raw) + _scanned(raw, "ExamplesRequest", limit)


def other_bytes(raw: bytes, limit: int) -> int:
    """Memory of any other request; as `predict_bytes`."""
    del limit
    return _WORST * len(raw)


def _scanned(raw: bytes, kind: str, limit: int) -> int:
    if len(raw) <= _SMALL_BYTES:
        return _WORST * len(raw)
    scan = _Scan(raw, limit, _TAGS[kind])
    # An IndexError: it ends within a number, and is no message.
    with contextlib.suppress(IndexError):
        scan.message(0, len(raw), kind)
    return scan.total


class _Scan:
    """Reads a message field by field; of one with very many, the first ones."""

    def __init__(self, raw: bytes, limit: int, tags: dict[int, int]) -> None:
        self._raw = raw
        self._limit = limit
        self._tags = tags
        self._fields = 0
        self._ended = False
        self.total = 0

    def message(self, at: int, end: int, kind: str) -> None:
        """Adds what lies between two places, which is a message of this kind."""
        raw, fields = self._raw, _FIELDS[kind]
        while at < end and not self._ended:
            self._fields += 1
            if self._fields > _MOST_FIELDS or self.total > self._limit:
                self._rest(at)
                return
            tag, at = _varint(raw, at)
            wire = tag & 7
            if wire == 2:
                length, at = _varint(raw, at)
                each, per_byte, content = fields.get(tag >> 3, _UNKNOWN)
                stop = min(at + length, end)
                self.total += each
                if content:
                    self.message(at, stop, content)
                else:
                    self.total += per_byte * (stop - at)
                at = stop
            elif wire == 0:
                _, at = _varint(raw, at)
                self.total += 8
            elif wire in (1, 5):
                at += 8 if wire == 1 else 4
                self.total += 8
            else:  # a group: unknown, and kept as bytes, or no message at all
                self.total += end - at
                return

    def _rest(self, at: int) -> None:
        """The most that can follow: every byte that looks like a tag is one."""
        rest = self._raw[at:]
        self.total += 20 * len(rest)
        self.total += sum(each * rest.count(bytes([tag])) for tag, each in self._tags.items())
        self._ended = True


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    """A number and where the next field begins."""
    byte = raw[at]
    at += 1
    if byte < 0x80:
        return byte, at
    number, shift = byte & 0x7F, 7
    while byte >= 0x80:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if shift > 70:
            raise IndexError
    return number, at
