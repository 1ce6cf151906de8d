"""L: what no client should do. For each a correct error, no crash, and the memory comes back."""

import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
import tiny_models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from servers import Server
from tensorflow_serving.apis import predict_pb2

P0, P1, P2 = pytest.mark.P0, pytest.mark.P1, pytest.mark.P2
MIB = 1 << 20
PREDICT = "/v1/models/default:predict"
bounded = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def case(name: str, priority: Any, *values: Any) -> Any:
    return pytest.param(*values, id=name, marks=priority)


@pytest.fixture
def server(serving: Any) -> Iterator[Server]:
    """The main server, which must be well before and after."""
    main: Server = serving("types")
    healthy(main)
    yield main
    healthy(main)


def healthy(server: Server) -> None:
    assert server.process is None or server.process.poll() is None
    response = server.rest("POST", PREDICT, {"instances": [2.0]})
    assert response.json() == {"predictions": [3.0]}
    answer = server.predict("default", {"x": [2.0]})
    assert list(answer.outputs["y"].float_val) == [3.0]


def settles(server: Server, before: float, more: float, seconds: float = 10) -> None:
    """Memory comes back to `before`, give or take `more`, in MiB."""
    until = time.monotonic() + seconds
    while (now := server.memory()) > before + more:
        assert time.monotonic() < until, f"{before:.0f} MiB before, {now:.0f} MiB after"
        time.sleep(0.2)


DTYPES = sorted(set(tiny_models.TYPES) - {"bfloat16", "string", "complex64", "complex128", "half"})


@bounded
@given(st.data())
def test_l01_tensors_come_back_over_grpc(server: Server, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([*DTYPES, "half", "complex64"]))
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, max_side=4))
    array = data.draw(hnp.arrays(tiny_models.TYPES[name].as_numpy_dtype, shape))
    sent = tf.make_tensor_proto(array)
    answer = server.predict("types", {"v": sent}, name).outputs["v"]
    np.testing.assert_array_equal(tf.make_ndarray(answer), array)


@bounded
@given(st.data())
def test_l02_tensors_come_back_over_rest(server: Server, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name in DTYPES if name not in ("int16", "uint16")]))
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    array = data.draw(hnp.arrays(tiny_models.TYPES[name].as_numpy_dtype, shape))
    body = {"signature_name": name, "instances": array.tolist()}
    response = server.rest("POST", "/v1/models/types:predict", body)
    assert response.status_code == 200, response.text
    back = np.array(json.loads(response.text)["predictions"], array.dtype)
    np.testing.assert_array_equal(back.reshape(array.shape), array)


@bounded
@given(st.binary(max_size=200))
def test_l03_any_body_gets_an_answer(server: Server, body: bytes) -> None:
    for method in ("predict", "classify", "regress"):
        response = server.rest("POST", f"/v1/models/default:{method}", body)
        assert response.status_code == 400 and list(response.json()) == ["error"]


@bounded
@given(st.binary(max_size=200))
def test_l04_any_message_gets_an_answer(server: Server, message: bytes) -> None:
    service = "/tensorflow.serving.PredictionService"
    for method in ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"):
        call = server.channel.unary_unary(f"{service}/{method}")
        with pytest.raises(grpc.RpcError) as raised:
            call(message, timeout=10)
        assert raised.value.code() in (
            grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL, grpc.StatusCode.NOT_FOUND,
            grpc.StatusCode.UNKNOWN,
        )  # fmt: skip


@bounded
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["x", "b64", "a", "inputs"]), inner, max_size=3)
        ),
        max_leaves=8,
    ),
    st.sampled_from(["instances", "inputs", "examples"]),
    st.sampled_from(["default", "multi", "types", "scalar", "cls"]),
)
def test_l05_any_json_gets_an_answer(server: Server, value: Any, key: str, model: str) -> None:
    method = "predict" if key != "examples" else "regress"
    response = server.rest("POST", f"/v1/models/{model}:{method}", json.dumps({key: value}))
    assert response.status_code in (200, 400, 501), response.text


@pytest.mark.parametrize("port", [case("L06-rest", P1, "rest"), case("L06-grpc", P1, "grpc")])
def test_random_bytes_on_a_port(server: Server, port: str) -> None:
    number = random.Random(7)
    starts = [b"", b"GET / HTTP/1.1\r\n", b"POST ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
    for attempt in range(60):
        with socket.create_connection(address(server, port), 5) as connection:
            connection.settimeout(0.2)
            connection.sendall(starts[attempt % 4] + number.randbytes(number.randrange(4000)))
            with suppress(TimeoutError, ConnectionError):
                connection.recv(1000)


def address(server: Server, port: str) -> tuple[str, int]:
    text = server.target if port == "grpc" else server.rest_url.removeprefix("http://")
    host, _, number = text.rpartition(":")
    return host, int(number)


def numbers(size: int) -> bytes:
    return b'{"instances":[' + b"1.2345678901234567," * (size // 19) + b"1]}"


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("body, statuses", [
    case("L07-numbers", P1, lambda: numbers(100 * MIB), (200, 504)),
    case("L07-lists", P1, lambda: b'{"instances":[' + b"[" * (100 * MIB), (400,)),
    case("L07-string", P1, lambda: b'{"instances":["' + b"a" * (100 * MIB) + b'"]}', (400,)),
    case("L07-space", P1, lambda: b" " * (100 * MIB), (400,)),
    case("L07-objects", P1, lambda: b'{"instances":[' + b"{}," * (5 * MIB) + b"{}]}", (400,)),
    case("L07-limit", P1, lambda: b" " * (257 * MIB), (413,)),
])  # fmt: skip
def test_large_bodies(server: Server, body: Callable[[], bytes], statuses: Any) -> None:
    before = server.memory()
    try:
        response = server.http.post(PREDICT, content=body(), timeout=60)  # type: ignore[union-attr]
        assert response.status_code in statuses, response.text[:300]
    except (httpx.WriteError, httpx.ReadError):  # refused before all of it was sent
        assert statuses == (413,)
    settles(server, before, 150)


@pytest.mark.slow
@pytest.mark.embedded
@pytest.mark.parametrize("count", [case("L08", P1, 25_000_000)])
def test_large_tensors(server: Server, count: int) -> None:
    content = np.ones(count, "<f4").tobytes()
    sent = tf.make_tensor_proto([0.0], tf.float32)
    sent.ClearField("float_val")
    sent.tensor_content = content
    sent.tensor_shape.dim[0].size = count
    before = 0.0
    for _ in range(3):  # gRPC keeps the buffers of the first
        answer = server.predict("default", {"x": sent}, timeout=60)
        assert len(answer.outputs["y"].float_val) == count
        before = before or server.memory()
    settles(server, before, 150)


@pytest.mark.parametrize("size", [case("L09", P0, 2**40), case("L09-more", P0, 2**62)])
def test_a_small_message_cannot_ask_for_all_memory(server: Server, size: int) -> None:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    tensor = request.inputs["x"]
    tensor.dtype = 1
    tensor.float_val.append(1.0)
    tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(grpc.RpcError) as raised:
        server.predictions.Predict(request, timeout=10)
    assert raised.value.code() in (
        grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("count", [case("L10", P1, 500)])
def test_idle_connections(server: Server, count: int) -> None:
    connections = []
    try:
        for number in range(count):
            where = address(server, "rest" if number % 2 else "grpc")
            connections.append(socket.create_connection(where, 5))
            if number % 4 == 1:  # half a request
                connections[-1].sendall(b"POST /v1/models/default:predict HTTP/1.1\r\nHost: a\r\n")
        healthy(server)
    finally:
        for connection in connections:
            connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("clients", [case("L11", P1, 40)])
def test_slow_clients_hold_up_nobody(server: Server, clients: int) -> None:
    body = b'{"instances":[2.0]}'
    head = f"POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    stop = threading.Event()

    def drip(_: int) -> bytes:
        with socket.create_connection(address(server, "rest"), 5) as connection:
            connection.sendall(head)
            for byte in body:
                stop.wait(0.1)
                connection.sendall(bytes([byte]))
            connection.settimeout(10)
            return connection.recv(10_000)

    with ThreadPoolExecutor(clients) as pool:
        answers = pool.map(drip, range(clients))
        for _ in range(10):
            started = time.monotonic()
            healthy(server)
            assert time.monotonic() - started < 2
        assert all(answer.startswith(b"HTTP/1.1 200") for answer in answers)


@pytest.mark.parametrize("linger", [case("L12-gone", P1, False), case("L12-reset", P1, True)])
def test_clients_that_go_away(server: Server, linger: bool) -> None:
    for cut in (10, 60, 95, 110):
        text = f'POST {PREDICT} HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n{{"instances":[2.0'
        with socket.create_connection(address(server, "rest"), 5) as connection:
            if linger:
                option = struct.pack("ii", 1, 0)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
            connection.sendall(text.encode()[:cut])


@pytest.mark.embedded
@pytest.mark.parametrize("depth", [case("L13", P0, 10_000), case("L13-more", P0, 200_000)])
def test_deep_nesting(server: Server, depth: int) -> None:
    for body in (
        b'{"instances":' + b"[" * depth,
        b'{"instances":' + b"[" * depth + b"]" * depth + b"}",
        b'{"instances":' + b'{"x":' * depth + b"1" + b"}" * depth + b"}",
    ):
        response = server.rest("POST", PREDICT, body)
        assert response.status_code == 400 and response.json()["error"]


@pytest.mark.embedded
@pytest.mark.parametrize("ratio", [case("L14", P1, 300 * MIB)])
def test_a_body_that_inflates_to_a_thousand_times_its_size(server: Server, ratio: int) -> None:
    import zlib

    packer = zlib.compressobj(9, wbits=31)
    block = b" " * MIB
    body = b"".join(packer.compress(block) for _ in range(ratio // MIB)) + packer.flush()
    response = server.rest("POST", PREDICT, body, **{"Content-Encoding": "gzip"})
    assert response.status_code == 413
