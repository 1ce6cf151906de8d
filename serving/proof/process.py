"""A model server in a process of its own, on one model."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from serving.proof.verdict import DOCKER, EMBEDDED

#: The name a candidate is served under, as that of TFX's own InfraValidator.
MODEL_NAME = "infra-validation-model"
VERSION = "1"

_TAIL_LINES = 15


class ServerError(Exception):
    """The server cannot be started, or did not come up; the message says why."""


@dataclass(frozen=True, slots=True)
class Running:
    """A server's process.

    Attributes:
        grpc, rest: where it listens, `host:port`.
        process: of the server.
        log: file with all it said.
        started: `time.monotonic()` before it was started.
    """

    grpc: str
    rest: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def check(self) -> None:
        """Raises ServerError if the process has ended."""
        _check(self.process, self.log)

    def tail(self) -> str:
        """The last lines it said, after a line break; `""` if it said nothing."""
        return _tail(self.log)


@contextmanager
def running(server: str, base_path: Path, folder: Path, *, seconds: float) -> Iterator[Running]:
    """Starts a server and stops it afterwards.

    Args:
        server: see `Demands.server`.
        base_path: folder that holds `1/`, the model's or a link to it.
        folder: for its log and the like.
        seconds: how long to wait until it tells its ports.

    Raises:
        ServerError: it cannot be started.
    """
    log = folder / "server.log"
    ports_file = folder / "ports.json"
    container = f"headrace-proof-{os.getpid()}-{time.monotonic_ns()}"
    command, ports = _command(server, base_path, ports_file, container)
    started = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONPATH": _python_path()},
            )
        except OSError as error:
            raise ServerError(f"{command[0]} cannot be started: {error}") from error
    try:
        grpc_port, rest_port = ports or _told(ports_file, process, log, started + seconds)
        yield Running(f"127.0.0.1:{grpc_port}", f"127.0.0.1:{rest_port}", process, log, started)
    finally:
        process.terminate()
        if server.startswith(DOCKER):
            subprocess.run(["docker", "rm", "--force", container], capture_output=True, check=False)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _command(
    server: str, base_path: Path, ports_file: Path, container: str
) -> tuple[list[str], tuple[int, int] | None]:
    """The command line, and the ports if it is we who choose them."""
    model = [f"--model_name={MODEL_NAME}", "--max_num_load_retries=0"]
    if server == EMBEDDED:
        return [
            *(sys.executable, "-m", "serving", "--host=127.0.0.1", "--port=auto"),
            *("--rest_api_port=auto", f"--port_file={ports_file}", "--exit_with_parent"),
            *model,
            f"--model_base_path={base_path}",
        ], None
    ports = _free_port(), _free_port()
    listen = [f"--port={ports[0]}", f"--rest_api_port={ports[1]}"]
    if server.startswith(DOCKER):
        if not shutil.which("docker"):
            raise ServerError(
                f"the proof is to use {server}, but there is no docker on this machine's PATH"
            )
        inside = f"/models/{MODEL_NAME}"
        return [
            *("docker", "run", "--rm", "--name", container, "--network=host"),
            # The version's own folder: inside the container a link would lead nowhere.
            *("--volume", f"{(base_path / VERSION).resolve()}:{inside}/{VERSION}:ro"),
            *("--entrypoint", "tensorflow_model_server"),
            *(server.removeprefix(DOCKER), *listen, *model, f"--model_base_path={inside}"),
        ], ports
    return [server, *listen, *model, f"--model_base_path={base_path}"], ports


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def _told(
    ports_file: Path, process: subprocess.Popen[bytes], log: Path, deadline: float
) -> tuple[int, int]:
    """The ports that the embedded server wrote down."""
    while not ports_file.exists():
        _check(process, log)
        if time.monotonic() > deadline:
            raise ServerError(f"the server did not open its ports in time{_tail(log)}")
        time.sleep(0.05)
    ports = json.loads(ports_file.read_text())
    return ports["grpc_port"], ports["rest_port"]


def _check(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        raise ServerError(f"the server ended, exit code {process.returncode}{_tail(log)}")


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()[-_TAIL_LINES:]
    return "".join(f"\n  {line[:300]}" for line in lines)


def _python_path() -> str:
    """So that `python -m serving` is found wherever the parent found it."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
