"""What a message becomes in memory is not estimated too low, nor a plain one far too high."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import classification_pb2, inference_pb2, predict_pb2

from serving.server import wire
from serving.server.admission import Budget, MemoryLimits, current
from serving.server.errors import Code, ServingError

COUNT = 300_000
MIB = 1 << 20


def field(number: int, content: bytes) -> bytes:
    length, size = b"", len(content)
    while size > 0x7F:
        length += bytes([size & 0x7F | 0x80])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def in_tensor(fields: bytes) -> bytes:
    return field(2, field(1, b"v") + field(2, b"\x08\x01" + fields))


def in_list(fields: bytes) -> bytes:
    return field(2, field(1, fields))


PREDICT = (predict_pb2.PredictRequest, wire.predict_bytes)
CLASSIFY = (classification_pb2.ClassificationRequest, wire.examples_bytes)
TASKS = (inference_pb2.MultiInferenceRequest, wire.examples_bytes)
#: Two bytes again and again, where each pair becomes an object.
SWELLING = {
    "entries": (PREDICT, b"\x12\x00" * COUNT),
    "tensors": (PREDICT, b"\x12\x02\x12\x00" * COUNT),
    "dimensions": (PREDICT, in_tensor(field(2, b"\x12\x00" * COUNT))),
    "strings": (PREDICT, in_tensor(b"\x42\x00" * COUNT)),
    "resources": (PREDICT, in_tensor(b"\x72\x00" * COUNT)),
    "variants": (PREDICT, in_tensor(b"\x7a\x00" * COUNT)),
    "tensors in a variant": (PREDICT, in_tensor(field(15, b"\x1a\x00" * COUNT))),
    "filters": (PREDICT, b"\x1a\x00" * COUNT),
    "examples": (CLASSIFY, in_list(b"\x0a\x00" * COUNT)),
    "features": (CLASSIFY, in_list(field(1, field(1, b"\x0a\x00" * COUNT)))),
    "maps": (CLASSIFY, in_list(b"\x0a\x04\x0a\x02\x0a\x00" * COUNT)),
    "maps with lists": (CLASSIFY, in_list(b"\x0a\x06\x0a\x04\x0a\x02\x12\x00" * COUNT)),
    "numbers": (
        CLASSIFY,
        in_list(field(1, field(1, field(1, field(2, field(3, field(1, b"\x01" * COUNT))))))),
    ),
    "tasks": (TASKS, b"\x0a\x00" * COUNT),
}


@pytest.mark.parametrize("name", SWELLING)
def test_estimates_are_no_less_than_what_is_allocated(name: str) -> None:
    (kind, cost), raw = SWELLING[name]
    # In a process of its own, so that nothing that was freed before is used again.
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        before = resident()
        message = kind.FromString(raw)
        os.write(writing, str(resident() - before).encode())
        os._exit(0 if message.IsInitialized() else 1)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        grown = int(answer.read())
    assert cost(raw, 1 << 60) >= grown - MIB // 4


def resident() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def plain(**inputs: Any) -> bytes:
    request = predict_pb2.PredictRequest()
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return request.SerializeToString()


def image(size: int) -> bytes:
    feature = field(2, field(1, field(1, bytes(size))))
    return in_list(field(1, field(1, field(1, field(1, b"i") + feature))))


@pytest.mark.parametrize("make, factor", [
    (lambda: plain(x=np.random.default_rng(1).random(10 * MIB // 8)), 1.1),
    (lambda: plain(x=np.random.default_rng(1).random((20_000, 64), np.float32)), 1.1),
    (lambda: plain(x=[b"x" * 1000] * 5000), 4),
    (lambda: plain(**{f"c{n}": np.arange(10_000) for n in range(20)}), 9),
    (lambda: image(5 * MIB), 4),
])  # fmt: skip
def test_plain_messages_are_not_taken_for_much(make: Callable[[], bytes], factor: float) -> None:
    raw = make()
    cost = wire.examples_bytes if raw[:1] == b"\x12" and b"i" in raw[:40] else wire.predict_bytes
    assert len(raw) <= cost(raw, 1 << 60) + 100 <= factor * len(raw) + 1000


def test_what_all_requests_hold_is_bounded_but_for_small_ones() -> None:
    reasons: list[str] = []
    budget = Budget(MemoryLimits(filled=MIB, inflight=10 * MIB), reasons.append)
    one, two, small = budget.open(), budget.open(), budget.open()
    one.add(8 * MIB)
    with pytest.raises(ServingError, match="--max_inflight_bytes") as raised:
        two.add(4 * MIB)
    assert raised.value.code is Code.RESOURCE_EXHAUSTED
    small.add(1000)
    two.add(2 * MIB - 1000)
    with two:
        assert current() is two
        with pytest.raises(ServingError, match="--max_filled_bytes"):
            current().fill(2 * MIB)
    assert reasons == ["inflight", "filled"]
    for hold in (one, two, small):
        hold.release()
        hold.release()
    assert budget.held == 0
