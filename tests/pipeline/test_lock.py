"""One run at a time on an output folder, told by real processes."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.errors import RunError
from pipeline.local import lock

#: Holds the lock until it is told to end, or killed.
HOLDER = """
import sys
from pipeline.local import lock
with lock.held(sys.argv[1], "20191201-120000-abcd", wait_seconds=0):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / ".lock")


@pytest.fixture
def hold(path: str, root: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts another process that holds the lock."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            assert stream
            stream.close()


def test_the_second_is_told_who_holds_it_and_what_to_do(
    path: str, hold: Callable[[], subprocess.Popen[str]]
) -> None:
    holder = hold()
    with pytest.raises(RunError) as caught, lock.held(path, "second", wait_seconds=0):
        pytest.fail("two runs at once")
    message = str(caught.value)
    assert message.startswith(f"{Path(path).parent}: run 20191201-120000-abcd")
    assert f"(process {holder.pid}, since " in message
    assert "--wait SECONDS" in message
    assert "another output folder" in message
    # Being turned away must not have changed what the file says.
    assert json.loads(Path(path).read_text())["pid"] == holder.pid


def test_whoever_waits_is_told_once_and_gets_it_when_the_holder_ends(
    path: str, hold: Callable[[], subprocess.Popen[str]]
) -> None:
    holder = hold()
    told: list[str] = []

    def waiting(name: str) -> None:
        told.append(name)
        assert holder.stdin
        holder.stdin.close()

    with lock.held(path, "second", wait_seconds=120, waiting=waiting):
        assert holder.wait() == 0
        assert json.loads(Path(path).read_text())["run_id"] == "second"
    assert len(told) == 1
    assert "run 20191201-120000-abcd" in told[0]


def test_waiting_ends(
    path: str, hold: Callable[[], subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "_POLL_SECONDS", 0.001)
    hold()
    told: list[str] = []
    with (
        pytest.raises(RunError, match="is running there"),
        lock.held(path, "second", wait_seconds=0.1, waiting=told.append),
    ):
        pytest.fail("two runs at once")
    assert len(told) == 1


def test_a_killed_holder_lets_go(path: str, hold: Callable[[], subprocess.Popen[str]]) -> None:
    holder = hold()
    os.kill(holder.pid, signal.SIGKILL)
    assert holder.wait() == -signal.SIGKILL
    assert Path(path).read_text()  # what it wrote is still there, and does not matter
    with lock.held(path, "second", wait_seconds=0):
        assert json.loads(Path(path).read_text())["run_id"] == "second"


def test_an_error_inside_lets_go_and_leaves_nothing_written(path: str) -> None:
    with pytest.raises(KeyError), lock.held(path, "first", wait_seconds=0):
        raise KeyError
    assert Path(path).read_text() == ""
    with lock.held(path, "second", wait_seconds=0):
        pass


@pytest.mark.parametrize("content", ["", "not JSON", "5", "[]", "{}", '{"started": "noon"}'])
def test_a_lock_file_that_says_nothing_of_use(path: str, content: str) -> None:
    with lock.held(path, "first", wait_seconds=0):
        Path(path).write_text(content)
        with (
            pytest.raises(RunError, match="another run is running there"),
            lock.held(path, "second", wait_seconds=0),
        ):
            pytest.fail("two runs at once")
