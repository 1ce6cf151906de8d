"""The processes of a cluster on this machine: started, watched, and all gone at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

#: A cluster starts in some ten seconds; a busy machine takes many times that.
START_SECONDS = 300.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Processes:
    """Processes by name, each with a log in `folder` and in a session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._orphaned: list[int] = []  # groups of processes that were killed

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str, command: list[str]) -> None:
        """Starts a process. Bytecode may be written whatever the caller's environment says."""
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        with open(self.folder / f"{name}.log", "ab") as log:
            self._running[name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=self.folder,
                env=environment,
            )

    def wait(self, what: str, ready: Callable[[], bool]) -> None:
        """Waits until something holds.

        Raises:
            SystemExit: a process has ended instead, or it takes too long.
        """
        end = time.monotonic() + START_SECONDS
        while not ready():
            for name, process in self._running.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended with {process.returncode}:\n{self.tail(name)}")
            if time.monotonic() > end:
                raise SystemExit(f"{what}: nothing after {START_SECONDS:.0f} s")
            time.sleep(0.5)

    def tail(self, name: str, lines: int = 20) -> str:
        """The end of a process's log."""
        text = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def children(self, name: str) -> list[int]:
        """Ids of the processes that a process has started and that still run."""
        group = self._running[name].pid
        found = []
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError, ValueError):
                if int(entry) != group and os.getpgid(int(entry)) == group:
                    found.append(int(entry))
        return found

    def kill(self, name: str) -> None:
        """Kills a process as a power cut would, without a word; its children live on for now."""
        process = self._running.pop(name)
        process.kill()
        process.wait()
        self._orphaned.append(process.pid)

    def stop(self) -> None:
        """Ends all processes and what they have started."""
        groups = [process.pid for process in self._running.values()]
        for group in groups:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGTERM)
        end = time.monotonic() + 5
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
        for group in [*groups, *self._orphaned]:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        for process in self._running.values():
            process.wait()
        self._running = {}


def listens(port: int) -> bool:
    """Whether somebody accepts connections on a port of this machine."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
