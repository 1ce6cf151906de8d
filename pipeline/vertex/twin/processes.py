"""Starts the commands of containers: in the warm worker where it can, else as they are.

They run in this environment, or in the root file system of their image.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import IO, Any

from pipeline.errors import RunError
from pipeline.provenance import ROOT
from pipeline.vertex.twin.image_root import ImageRoot

#: Told the process' id as soon as there is one.
Started = Callable[[int], None]


class Processes:
    """Runs commands and waits for them; to be closed.

    Args:
        log: file for what the warm worker itself prints.
        image: where commands run; with None in this environment.
    """

    def __init__(self, log: str, image: ImageRoot | None = None) -> None:
        self._log = log
        self._image = image
        self._numbers = itertools.count()
        self._answers: dict[int, SimpleQueue[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._ready = threading.Event()
        self._dead = False
        self._worker: subprocess.Popen[str] | None = None

    def warm(self) -> None:
        """Starts the warm worker, unless it has been; it is ready some seconds later."""
        with self._lock:
            if self._worker is None:
                self._worker = self._started()
                stream = self._worker.stdout
                threading.Thread(target=self._listen, args=(stream,), daemon=True).start()

    def _started(self) -> subprocess.Popen[str]:
        module = ["-m", "pipeline.vertex.twin.worker", self._log]
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command, environment = [sys.executable, *module], {**os.environ, "PYTHONPATH": path}
        if self._image:
            command, environment = self._image.command(["python", *module], {}), {**os.environ}
        with open(self._log, "a", encoding="utf-8") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
            )

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the worker; tasks must have ended before."""
        if self._worker is None:
            return
        with contextlib.suppress(OSError):
            assert self._worker.stdin is not None
            self._worker.stdin.close()
        try:
            self._worker.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._worker.kill()
            self._worker.wait()

    def run(
        self,
        command: Sequence[str],
        log: str,
        environment: Mapping[str, str],
        started: Started = lambda pid: None,
    ) -> int:
        """Runs a command to its end; its output is appended to `log`.

        Returns:
            Its exit code; that of a process ended by a signal is the signal's number, negative.

        Raises:
            RunError: the warm worker is gone.
        """
        if list(command[:2]) == ["python", "-m"]:
            return self._fork(command[2], command[3:], log, environment, started)
        if self._image:
            command = self._image.command(command, environment)
        with open(log, "a", encoding="utf-8") as output:
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **environment},
                    start_new_session=True,
                )
            except OSError as error:
                output.write(f"{command[0]}: {error.strerror}\n")
                return 127
        started(process.pid)
        return process.wait()

    def _fork(
        self,
        module: str,
        arguments: Sequence[str],
        log: str,
        environment: Mapping[str, str],
        started: Started,
    ) -> int:
        self.warm()
        self._ready.wait()
        request = {
            "module": module,
            "arguments": list(arguments),
            "log": log,
            "environment": dict(environment),
        }
        with self._lock:
            number = next(self._numbers)
            answers = self._answers[number] = SimpleQueue()
            if self._dead:
                answers.put({})
            else:
                assert self._worker is not None and self._worker.stdin is not None
                self._worker.stdin.write(json.dumps({"id": number, **request}) + "\n")
                self._worker.stdin.flush()
        while True:
            answer = answers.get()
            if not answer:
                raise RunError(f"the process that runs tasks has ended; see {self._log}.")
            if "code" in answer:
                return int(answer["code"])
            started(int(answer["pid"]))

    def _listen(self, stream: IO[str] | None) -> None:
        assert stream is not None
        for line in stream:
            answer = json.loads(line)
            if "ready" in answer:
                self._ready.set()
            else:
                self._answers[answer["id"]].put(answer)
        with self._lock:
            self._dead = True
            for answers in self._answers.values():
                answers.put({})
        self._ready.set()


def end(pid: int) -> None:
    """Ends a task's process and all that it started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:  # it has ended, or has not made its own group yet
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
