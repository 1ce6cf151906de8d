"""The REST interface, as an ASGI application.

Bare ASGI rather than a framework's router: the grammar of the paths works on the text as it came,
not decoded and with its query, which no router offers. (Speed is no reason: a predict took the same
0.2 ms through Starlette's.)

The event loop only moves bytes. Everything else (JSON, models) happens in a bounded pool of
threads, except for the status, which must be told while all of these are busy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.server.errors import Code, ServingError, cut, http_status
from serving.server.memory import Releaser
from serving.server.openapi import describe
from serving.server.rest_body import (
    Body,
    BodyLimits,
    BodyReader,
    BodyRefusedError,
    Disconnected,
)
from serving.server.rest_methods import Answer, RestMethods
from serving.server.rest_routes import STATUS, Route, find, is_api

if TYPE_CHECKING:
    from serving.server.catalog import Catalog
    from serving.server.metrics import Metrics
    from serving.server.request_log import RequestLog

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_LOG = logging.getLogger(__name__)

OPENAPI_PATH = "/openapi.json"
_JSON, _TEXT, _HTML = b"application/json", b"text/plain", b"text/html"
_NOT_FOUND = (
    b"<html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>\n"
)
_STOPPED = ServingError(Code.UNAVAILABLE, "The server stopped before it had answered. Try again.")
_CORS: Headers = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET"),
    (b"access-control-allow-headers", b"Content-Type"),
]
# Requests that wait for a thread; more are refused at once rather than late.
_MAX_WAITING = 1000


class _Response(NamedTuple):
    status: int
    body: bytes
    content_type: bytes = _JSON
    version: int | None = None
    close: bool = False


def app(
    catalog: Catalog,
    *,
    metrics: Metrics,
    request_log: RequestLog | None = None,
    timeout: float | None = 30.0,
    monitoring_path: str | None = None,
    cors: bool = False,
    threads: int | None = None,
    limits: BodyLimits | None = None,
) -> RestApp:
    """Makes the application.

    Args:
        catalog: the models.
        metrics: told of each request, and shown at `monitoring_path`.
        request_log: given what was answered; None: nothing is logged.
        timeout: of a request, in seconds, once its body is there; None for no limit.
        monitoring_path: of the metrics; None: not shown.
        cors: whether browsers may use answers on pages of other origins.
        threads: that run requests; None: four per processor.
        limits: of bodies.
    """
    methods = RestMethods(catalog, metrics, request_log)
    pool = ThreadPoolExecutor(threads or 4 * (os.cpu_count() or 1), "rest")
    return RestApp(
        methods, pool, BodyReader(limits or BodyLimits()), timeout, monitoring_path, cors
    )


class RestApp:
    """See `app`."""

    def __init__(
        self,
        methods: RestMethods,
        pool: ThreadPoolExecutor,
        bodies: BodyReader,
        timeout: float | None,
        monitoring_path: str | None,
        cors: bool,
    ) -> None:
        self._methods = methods
        self._metrics = methods.metrics
        self._pool = pool
        self._bodies = bodies
        self._timeout = timeout
        self._monitoring_path = monitoring_path
        self._cors = cors
        self._waiting = 0
        self._releaser = Releaser()
        self._large = asyncio.Semaphore(1)
        self._openapi = json.dumps(describe()).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request (or the start and end of a server's life)."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})
        else:
            try:
                response, headers = await self._answer(scope, receive)
            except Disconnected:
                return
            except asyncio.CancelledError:  # it did not end before the server had to
                response, headers = _failure(_STOPPED, None), []
            await _send(send, response, headers)
            if len(response.body) >= self._bodies.limits.large:
                self._releaser.soon()

    def close(self) -> None:
        """Ends the threads once they are idle."""
        self._releaser.close()
        self._bodies.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[_Response, Headers]:
        raw_path = scope.get("raw_path") or scope["path"].encode()
        path = raw_path.decode("utf-8", "surrogateescape")
        query = scope["query_string"].decode("utf-8", "surrogateescape")
        if path == self._monitoring_path:
            if query:
                return _Response(400, b"The metrics take no query.\n", _TEXT), []
            return _Response(200, self._methods.metrics_text().encode(), _TEXT), []
        if path == OPENAPI_PATH:
            return _Response(200, self._openapi), []
        if not is_api(path):
            return _Response(404, _NOT_FOUND, _HTML), []
        cors = _CORS if self._cors else []
        if scope["method"] == "OPTIONS":
            return _Response(200 if _from_web(scope["headers"]) else 400, b""), cors
        target = f"{path}?{query}" if query else path
        return await self._api(scope, target, receive), cors

    async def _api(self, scope: Scope, target: str, receive: Receive) -> _Response:
        started = time.perf_counter()
        name, api = "", ""
        try:
            route = find(scope["method"], target)
            name = route.model
            if route.method == STATUS:
                answer = Answer(self._methods.status(route))
            else:
                api = route.method if scope["method"] == "POST" else ""
                large = self._releaser.soon
                async with self._bodies.receive(scope["headers"], receive, large) as body:
                    answer = await self._in_thread(route, body)
        except ServingError as error:
            if isinstance(error, BodyRefusedError):
                self._metrics.refused(f"rest_{error.reason}")
            answer = Answer("", None, error)
        seconds = time.perf_counter() - started
        if answer.error is None:
            self._metrics.request(name, answer.version, Code.OK)
            self._metrics.request_latency(name, api, "REST", seconds, answer.version)
            return _Response(200, answer.text.encode(), version=answer.version)
        self._metrics.request(name, answer.version, answer.error.code)
        return _failure(answer.error, answer.version)

    async def _in_thread(self, route: Route, body: Body) -> Answer:
        if self._waiting >= _MAX_WAITING:
            raise ServingError(
                Code.UNAVAILABLE, f"{_MAX_WAITING} requests are waiting already. Try again later."
            )
        deadline = None if self._timeout is None else time.monotonic() + self._timeout
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout):
                if body.large:
                    await self._large.acquire()
                future = self._pool.submit(self._run, route, body, deadline)
                if body.large:
                    # Not when the client is told that its time is up: the thread goes on.
                    loop = asyncio.get_running_loop()
                    future.add_done_callback(
                        lambda _: loop.call_soon_threadsafe(self._large.release)
                    )
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise ServingError(
                Code.DEADLINE_EXCEEDED, f"Timed out: no answer within {self._timeout:g} seconds."
            ) from None
        finally:
            self._waiting -= 1

    def _run(self, route: Route, body: Body, deadline: float | None) -> Answer:
        answer = self._run_caught(route, body, deadline)
        if answer.error is not None:
            _forget_frames(answer.error)
        return answer

    def _run_caught(self, route: Route, body: Body, deadline: float | None) -> Answer:
        try:
            return self._methods.run(route, body, deadline)
        except ServingError as error:
            return Answer("", None, error)
        except MemoryError:
            message = "Out of memory. Send fewer rows at a time."
            return Answer("", None, ServingError(Code.RESOURCE_EXHAUSTED, message))
        except Exception as error:  # noqa: BLE001 - whatever it was, the client gets a status
            _LOG.exception("%s of model %s", route.method, route.model)
            message = f"{type(error).__name__}: {error}"
            return Answer("", None, ServingError(Code.INTERNAL, message))


def _forget_frames(error: ServingError) -> None:
    """An error's trace holds all that the request had in memory."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


def _failure(error: ServingError, version: int | None) -> _Response:
    refused = isinstance(error, BodyRefusedError)
    status = error.status if isinstance(error, BodyRefusedError) else http_status(error.code)
    # A message may quote what is no Unicode; JSON must be.
    text = json.dumps({"error": cut(error.message)}, ensure_ascii=False)
    content = text.encode("utf-8", "replace") + b"\n"
    # Of a body that was refused the rest is not read.
    return _Response(status, content, version=version, close=refused)


def _from_web(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"origin" and (b"http://" in value or b"https://" in value)
        for name, value in headers
    )


async def _send(send: Send, response: _Response, headers: Headers) -> None:
    own: Headers = [
        (b"content-type", response.content_type),
        (b"content-length", str(len(response.body)).encode()),
    ]
    if response.close:
        own.append((b"connection", b"close"))
    if response.version is not None:
        own.append((b"x-model-version", str(response.version).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": own + headers})
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
