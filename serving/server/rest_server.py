"""uvicorn in a thread of the server's process, on a socket that is bound already."""

from __future__ import annotations

import asyncio
import functools
import socket
import threading
from typing import TYPE_CHECKING

import uvicorn

from serving.server.flags import Options
from serving.server.rest_api import RestApp
from serving.server.rest_connection import Connection
from serving.server.rest_connections import Connections
from serving.server.rest_limits import ConnectionLimits

if TYPE_CHECKING:
    from serving.server.metrics import Metrics

# While a server stops, requests that are on their way come for so long, in seconds, and are told
# so. Closing what is idle at once would cut them off.
_LAST_REQUESTS_SECONDS = 0.3
_LOOK_SECONDS = 0.02


class RestServer:
    """The REST interface.

    Attributes:
        port: it listens on.
    """

    def __init__(
        self,
        app: RestApp,
        listener: socket.socket,
        options: Options,
        metrics: Metrics,
        limits: ConnectionLimits,
    ) -> None:
        """Answers nothing before `start`.

        Args:
            app: what answers.
            listener: bound and listening.
            options: for how long it drains.
            metrics: told what was refused.
            limits: of connections.
        """
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        connections = Connections(limits, metrics)
        self._server = _Server(
            uvicorn.Config(
                app,
                http=functools.partial(Connection, connections),  # type: ignore[arg-type]
                ws="none",
                # Who sends what is no HTTP must not fill the log; the metrics count it.
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_keep_alive=max(1, round(limits.idle_seconds)),
                timeout_graceful_shutdown=max(1, int(options.drain_seconds)),
            ),
            connections,
        )
        self._app = app
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest", daemon=True
        )

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Starts no new requests: they get 503, as do connections that still come for a moment."""
        self._server.connections.stopping = True
        self._server.should_exit = True

    def join(self, seconds: float) -> None:
        """Waits for the requests that run."""
        if self._thread.is_alive():
            self._thread.join(seconds + 1)
        self._listener.close()
        self._app.close()


class _Server(uvicorn.Server):
    """Stops without resetting a connection."""

    def __init__(self, config: uvicorn.Config, connections: Connections) -> None:
        super().__init__(config)
        self.connections = connections

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Lets what is on its way arrive, then closes."""
        self.connections.stopping = True
        loop = asyncio.get_running_loop()
        end = loop.time() + _LAST_REQUESTS_SECONDS
        while len(self.connections) and loop.time() < end:
            await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.sleep(0)
        await super().shutdown(sockets)
