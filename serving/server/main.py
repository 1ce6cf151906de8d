"""The server as a process, and as an object for tests and the command line.

Ports open before the first model is loaded, so that a state can be asked for while it loads.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

from serving.printable import Formatter, printable
from serving.server import flags, memory
from serving.server.flags import ANY_FREE, OFF, Options
from serving.server.ports import PortInUseError, check_free

if TYPE_CHECKING:
    from serving.server.running import Server

_LOG = logging.getLogger(__name__)

#: Exit codes. A start that fails ends like the stock server's.
_USAGE, _PORT_IN_USE, _FAILED = 2, 1, 255
_PARENT_CHECK_SECONDS = 0.5


def start(options: Options) -> Server:
    """Starts a server in this process; returns once its ports listen.

    Args:
        options: as on the command line; `Options(port=0, rest_api_port=ANY_FREE, …)` for free
            ports.

    Raises:
        PortInUseError: a port is in use.
        serving.server.errors.ServingError: the configuration is refused.
    """
    # A port in use is known at once; TensorFlow takes seconds to load.
    for flag, port in (("port", options.port), ("rest_api_port", options.rest_api_port)):
        if port > 0:
            check_free(options.host, port, flag)
    # What TensorFlow makes when it is imported stays: nothing to collect, now or in the middle of
    # a request, where a full collection takes a third of a second.
    gc.disable()
    try:
        from serving.server.tf_start import start_tensorflow

        start_tensorflow()
        from serving.server.running import Server
    finally:
        memory.keep()
        gc.enable()
    return Server(options)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a server until it is told to stop; returns the process's exit code."""
    try:
        parsed = flags.parse(sys.argv[1:] if arguments is None else arguments)
    except flags.FlagError as error:
        print(f"{flags.PROGRAM}: {error}\n\n{flags.usage()}", file=sys.stderr)
        return _USAGE
    if parsed.help:
        print(flags.usage())
        return 0
    if parsed.version:
        version = metadata.version("tensorflow")
        print(f"TensorFlow ModelServer: {version} (Headrace's embedded server)")
        print(f"TensorFlow Library: {version}")
        return 0
    handler = logging.StreamHandler()
    handler.setFormatter(Formatter("%(asctime)s %(levelname).1s %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    for warning in parsed.warnings:
        _LOG.warning("%s", warning)
    return _serve(parsed.options)


def _serve(options: Options) -> int:
    stop = threading.Event()
    # Before the ports open, so that nothing sees a port and is too early with its signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if options.exit_with_parent or options.parent_pid:
        _watch_parent(stop, options.parent_pid)
    from serving.server.errors import ServingError

    try:
        server = start(options)
    except PortInUseError as error:
        return _failed(str(error), _PORT_IN_USE)
    except (ServingError, OSError) as error:
        return _failed(str(error), _FAILED)
    print(printable(server.start_line()), flush=True)
    if options.port_file:
        _write_ports(options.port_file, server)
    # Python wakes for a signal only now and then while it waits without a limit.
    while not stop.wait(3600):
        pass
    _LOG.info("stopping: no new requests; up to %g s for those that run", options.drain_seconds)
    server.stop(options.drain_seconds, exits=True)
    sys.stdout.flush()
    logging.shutdown()
    # A load that hangs in a thread must not keep the process.
    os._exit(0)


def _failed(message: str, code: int) -> int:
    # As the stock server: one line for who started it, one in the log.
    line = printable(f"Failed to start server. Error: {message}")
    print(line, flush=True)
    _LOG.error("%s", line)
    sys.stderr.flush()
    os._exit(code)


def _write_ports(path: str, server: Server) -> None:
    """At once or not at all: whoever waits for the file never reads half of it."""
    ports = {"grpc_port": server.grpc_port, "rest_port": server.rest_port, "pid": os.getpid()}
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(ports, file)
    os.replace(temporary, path)


def _watch_parent(stop: threading.Event, parent: int) -> None:
    """Stops once the starting process has ended, and at once if it ended before this began.

    Args:
        stop: is set then.
        parent: the starting process; 0: whoever it is now.
    """
    gone = is_orphan() if not parent else os.getppid() != parent
    parent = parent or os.getppid()

    def watch() -> None:
        while not (gone or os.getppid() != parent):
            if stop.wait(_PARENT_CHECK_SECONDS):
                return
        _LOG.warning("the starting process has ended")
        stop.set()

    threading.Thread(target=watch, name="parent", daemon=True).start()


def is_orphan() -> bool:
    """Whether this process has been inherited by the system's first one, or by a session's.

    Whom they start themselves is in their group of processes, or leads one of its own.
    """
    parent = os.getppid()
    try:
        return _inherits(parent) and os.getpgrp() not in (os.getpid(), os.getpgid(parent))
    except OSError:  # it ended in between
        return True


def _inherits(process: int) -> bool:
    if process == 1:
        return True
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8") as file:
            return file.read().strip() == "systemd"
    except OSError:
        return False


__all__ = ["ANY_FREE", "OFF", "Options", "main", "start"]
