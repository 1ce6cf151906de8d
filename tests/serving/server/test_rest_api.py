"""The REST application over a catalog of doubles: paths, order of checks, errors, bodies."""

import asyncio
import contextlib
import gzip
import json
import threading
import time
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from serving.server.errors import HTTP_STATUS, Code, ServingError
from serving.server.metrics import Metrics
from serving.server.openapi import describe
from serving.server.rest_api import app
from serving.server.rest_body import BodyLimits
from serving.server.rest_routes import find
from serving.server.versions import VersionStatus

FLOAT = 1  # DataType.DT_FLOAT


class Model:
    """y = x / 2 + 2, or whatever error it is told to raise."""

    version = 123

    def __init__(self) -> None:
        inputs = {"x": SimpleNamespace(dtype=FLOAT)}
        self.signatures = {"serving_default": SimpleNamespace(inputs=inputs)}
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def run(self, signature: str, inputs: Any, outputs: Any, timeout: Any) -> dict[str, np.ndarray]:
        self.gate.wait(5)
        if self.error is not None:
            raise self.error
        return {"y": inputs["x"] / 2 + 2}


class Models:
    """A catalog with one model, `m`."""

    def __init__(self) -> None:
        self.model = Model()

    def use(self, name: str, version: int | None, label: str | None) -> Any:
        if label is not None:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Unrecognized servable version label: {label}"
            )
        if name != "m" or version not in (None, 123):
            raise ServingError(Code.NOT_FOUND, f"Servable not found for request: Latest({name})")
        return contextlib.nullcontext(self.model)

    def statuses(self, name: str, version: int | None = None) -> list[VersionStatus]:
        if name != "m":
            raise ServingError(Code.NOT_FOUND, f"Could not find any versions of model {name}")
        return [VersionStatus(123, "AVAILABLE", Code.OK, "")]

    def models(self) -> list[str]:
        return ["m"]

    def labels(self, name: str) -> dict[str, int]:
        return {"stable": 123}


@pytest.fixture
def models() -> Models:
    return Models()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


class Client:
    """Synchronous requests to an application."""

    def __init__(self, application: Any) -> None:
        self.application = application

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.application)
            content = body if isinstance(body, bytes | str | None) else json.dumps(body)
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
                return await client.request(method, path, content=content, headers=names)

        return asyncio.run(ask())


@pytest.fixture
def ask(models: Models, metrics: Metrics) -> Iterator[Client]:
    application = app(models, metrics=metrics, monitoring_path="/metrics", threads=2)  # type: ignore[arg-type]
    yield Client(application)
    application.close()


def error(response: httpx.Response) -> str:
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert list(body) == ["error"]
    return str(body["error"])


def test_predict(ask: Client) -> None:
    response = ask("POST", "/v1/models/m:predict", {"instances": [2.0, 3.0]})
    assert response.status_code == 200 and response.json() == {"predictions": [3.0, 3.5]}
    assert response.headers["x-model-version"] == "123"
    assert response.headers["content-type"] == "application/json"
    assert ask("POST", "/v1/models/m:predict", {"inputs": 1.0}).json() == {"outputs": 2.5}


def test_status_and_description(ask: Client) -> None:
    entry = {
        "version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}
    }  # fmt: skip
    assert ask("GET", "/v1/models/m/labels/nope").json() == {"model_version_status": [entry]}
    assert ask("GET", "/openapi.json").json() == json.loads(json.dumps(describe()))


def test_each_code_has_its_status(ask: Client, models: Models) -> None:
    for code, status in HTTP_STATUS.items():
        if code != Code.OK:
            models.model.error = ServingError(code, "why")
            response = ask("POST", "/v1/models/m:predict", {"instances": [1]})
            assert response.status_code == status and error(response) == "why"
            assert response.headers["x-model-version"] == "123"


def test_an_error_nobody_thought_of(ask: Client, models: Models) -> None:
    models.model.error = KeyError("a")
    response = ask("POST", "/v1/models/m:predict", {"instances": [1]})
    assert response.status_code == 500 and "KeyError" in error(response)


def test_long_messages_are_cut(ask: Client) -> None:
    response = ask("POST", "/v1/models/" + "n" * 3000 + ":predict", {"instances": [1]})
    assert len(error(response)) < 1100 and error(response).endswith("...TRUNCATED")


@pytest.mark.parametrize(
    "method, path, status, phrase",
    [
        ("POST", "/v1/models", 400, "Malformed request: POST /v1/models"),
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("GET", "/v1/models/", 400, "Malformed request"),
        ("GET", "/v1/models/m/", 400, "Malformed request"),
        ("GET", "/v1/", 400, "Malformed request"),
        ("GET", "/v1/models/m:predict", 400, "Malformed request"),
        ("POST", "/v1/models/m", 400, "Malformed request"),
        ("POST", "/v1/models/m/metadata", 400, "Malformed request"),
        ("POST", "/v1/models/m/version/1:predict", 400, "Malformed request"),
        ("POST", "/v1/models/m/versions/HELLO:regress", 400, "Malformed request"),
        ("POST", "/v1/models/m/versions/-1:regress", 400, "Malformed request"),
        ("POST", "/v1/models/m/versions/1/labels/a:regress", 400, "Malformed request"),
        ("POST", "/v1/models/m:predict?x=1", 400, "Malformed request"),
        ("POST", "/v1/models/m:PREDICT", 400, "Malformed request"),
        ("PUT", "/v1/models/m", 400, "Malformed request: PUT"),
        ("DELETE", "/v1/models/m", 400, "Malformed request: DELETE"),
        ("GET", "/v1/models/m/versions/99999999999999999999", 400, "Failed to convert version"),
        ("GET", "/v1/models/m?x=1", 404, "any versions of model m?x=1"),
        ("POST", "/v1/models/m/labels/nope:predict", 400, "Unrecognized servable version label"),
        ("POST", "/v1/models/other:predict", 404, "Servable not found for request: Latest(other)"),
    ],
)
def test_paths_that_lead_nowhere(
    ask: Client, method: str, path: str, status: int, phrase: str
) -> None:
    response = ask(method, path, {"instances": [1]} if method == "POST" else None)
    assert response.status_code == status and phrase in error(response)


@pytest.mark.parametrize(
    "method, target, route",
    [
        ("POST", "/v1/models/a%20b%2Fc:predict", ("predict", "a b/c", None, None)),
        ("POST", "/V1/MODELS/m/VERSIONS/007:predict", ("predict", "m", 7, None)),
        ("POST", "/v1/models/m/labels/a%3Ab:regress", ("regress", "m", None, "a:b")),
        ("GET", "/v1/models/metadata", ("status", "metadata", None, None)),
        ("GET", "/v1/models/m/metadata", ("metadata", "m", None, None)),
        ("GET", "/v1/models/m/METADATA", ("status", "m", None, None)),
        ("GET", "/v1/models/m/versions/1/metadata", ("metadata", "m", 1, None)),
        ("GET", "/v1/models/m?x=1", ("status", "m?x=1", None, None)),
    ],
)
def test_routes(method: str, target: str, route: tuple[Any, ...]) -> None:
    assert find(method, target) == route


@pytest.mark.parametrize("path", ["/", "/v1", "/v2/models/m", "/nothing", "/metrics/", "/v1x/"])
def test_other_paths_are_not_found_and_not_json(ask: Client, path: str) -> None:
    response = ask("GET", path)
    assert response.status_code == 404
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()


@pytest.mark.parametrize(
    "path, body, status, phrase",
    [
        ("other", "{", 400, "JSON Parse error"),
        ("other", "[]", 400, "Is not object"),
        ("other", {"signature_name": 1}, 400, "'signature_name' key must be a string value."),
        ("other", {"signature_name": "foo"}, 404, "Servable not found"),
        ("m", {"signature_name": "foo"}, 400,
         'Serving signature name: "foo" not found in signature def'),
        ("m", {}, 400, "Missing 'inputs' or 'instances' key"),
        ("m", "", 400, "JSON Parse error: The document is empty"),
        ("m", '{"instances": [NaN]} garbage', 200, ""),
        ("m", {"signature_name": "", "instances": [1], "more": [[]]}, 200, ""),
    ],
)  # fmt: skip
def test_order_of_checks(ask: Client, path: str, body: Any, status: int, phrase: str) -> None:
    response = ask("POST", f"/v1/models/{path}:predict", body)
    assert response.status_code == status
    assert phrase in response.text.replace('\\"', '"')


@pytest.mark.parametrize("origin, status", [("http://a.b", 200), ("null", 400), ("", 400)])
@pytest.mark.parametrize("cors", [True, False])
def test_options(models: Models, metrics: Metrics, origin: str, status: int, cors: bool) -> None:
    ask = Client(app(models, metrics=metrics, cors=cors))  # type: ignore[arg-type]
    response = ask("OPTIONS", "/v1/models/m:predict", origin=origin)
    assert response.status_code == status and response.content == b""
    assert ("access-control-allow-origin" in response.headers) == cors
    posted = ask("POST", "/v1/models/m:predict", {"instances": [1]})
    assert ("access-control-allow-origin" in posted.headers) == cors


def test_gzip(models: Models, metrics: Metrics) -> None:
    limits = BodyLimits(bytes=1000)
    ask = Client(app(models, metrics=metrics, limits=limits))  # type: ignore[arg-type]
    body = json.dumps({"instances": [2.0]}).encode()
    path = "/v1/models/m:predict"
    assert ask("POST", path, gzip.compress(body), content_encoding="gzip").status_code == 200
    two = gzip.compress(body[:5]) + gzip.compress(body[5:])
    assert ask("POST", path, two, content_encoding="GZIP").status_code == 200
    assert "gzip" in error(ask("POST", path, body, content_encoding="gzip"))
    assert "gzip" in error(ask("POST", path, gzip.compress(body)[:-9], content_encoding="gzip"))
    bomb = ask("POST", path, gzip.compress(b" " * 10_000), content_encoding="gzip")
    assert bomb.status_code == 413 and "larger than" in error(bomb)
    assert ask("POST", path, b" " * 2000).status_code == 413


def test_a_body_that_never_ends_is_not_waited_for(models: Models, metrics: Metrics) -> None:
    limits = BodyLimits(seconds=0.2)
    application = app(models, metrics=metrics, limits=limits)  # type: ignore[arg-type]

    async def slowly() -> AsyncIterator[bytes]:
        yield b'{"instances":'
        await asyncio.sleep(5)
        yield b"[1]}"

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post("/v1/models/m:predict", content=slowly())

    response = asyncio.run(ask())
    assert response.status_code == 408 and "did not come" in error(response)


def test_a_slow_model_times_out_and_status_is_told_meanwhile(
    models: Models, metrics: Metrics
) -> None:
    application = app(models, metrics=metrics, timeout=0.3, threads=1)  # type: ignore[arg-type]
    models.model.gate.clear()

    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            path = "/v1/models/m"
            posts = [client.post(f"{path}:predict", content='{"instances":[1]}') for _ in range(3)]
            return await asyncio.gather(*posts, client.get(path))

    started = time.monotonic()
    *slow, status = asyncio.run(ask())
    models.model.gate.set()
    assert time.monotonic() - started < 3
    assert [response.status_code for response in slow] == [504] * 3
    assert "Timed out" in error(slow[0]) and status.status_code == 200


def test_a_large_body_is_answered_like_a_small_one(models: Models, metrics: Metrics) -> None:
    limits = BodyLimits(large=100)
    ask = Client(app(models, metrics=metrics, limits=limits))  # type: ignore[arg-type]
    rows = [float(row) for row in range(1000)]
    for _ in range(2):
        response = ask("POST", "/v1/models/m:predict", {"instances": rows})
        assert response.json() == {"predictions": [row / 2 + 2 for row in rows]}


def test_metrics(ask: Client) -> None:
    ask("POST", "/v1/models/m:predict", {"instances": [1]})
    ask("POST", "/v1/models/other:predict", {"instances": [1]})
    ask("GET", "/v1/models/m")
    response = ask("GET", "/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    for line in (
        ':tensorflow:serving:request_count{model_name="m",status="OK"} 2',
        ':tensorflow:serving:request_count{model_name="other",status="NOT_FOUND"} 1',
        ':tensorflow:serving:request_latency_count{model_name="m",API="predict",entrypoint="REST"} '
        "1",
        ':tensorflow:serving:request_latency_count{model_name="m",API="",entrypoint="REST"} 1',
        ':headrace:serving:version_request_count{model_name="m",version="123",status="OK"} 1',
        ':headrace:serving:version_state{model_name="m",version="123",state="AVAILABLE"} 1',
        ':headrace:serving:version_label{model_name="m",label="stable"} 123',
    ):
        assert line in lines
    refused = ask("GET", "/metrics?x=1")
    assert refused.status_code == 400


def test_no_metrics_without_a_path(models: Models, metrics: Metrics) -> None:
    ask = Client(app(models, metrics=metrics))  # type: ignore[arg-type]
    assert ask("GET", "/monitoring/prometheus/metrics").status_code == 404
