"""uvicorn in a thread of the server's process, on a socket that is bound already."""

from __future__ import annotations

import socket
import threading

import uvicorn

from serving.server.flags import Options
from serving.server.rest_api import RestApp


class RestServer:
    """The REST interface.

    Attributes:
        port: it listens on.
    """

    def __init__(self, app: RestApp, listener: socket.socket, options: Options) -> None:
        """Answers nothing before `start`.

        Args:
            app: what answers.
            listener: bound and listening.
            options: for how long it drains.
        """
        self.port: int = listener.getsockname()[1]
        self._listener = listener
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=max(1, int(options.drain_seconds)),
            )
        )
        self._app = app
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="rest", daemon=True
        )

    def start(self) -> None:
        """Answers from now on."""
        self._thread.start()

    def begin_stop(self) -> None:
        """Accepts no new connections."""
        self._server.should_exit = True

    def join(self, seconds: float) -> None:
        """Waits for the requests that run."""
        if self._thread.is_alive():
            self._thread.join(seconds + 1)
        self._listener.close()
        self._app.close()
