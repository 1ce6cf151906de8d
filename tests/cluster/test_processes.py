"""A cluster's processes: none is left, whatever they started."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import processes
import pytest

PARENT = "import subprocess, time; subprocess.Popen(['sleep', '60']); time.sleep(60)"


def alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_children_are_known_and_outlive_a_kill_but_not_the_end(tmp_path: Path) -> None:
    with processes.Processes(tmp_path) as running:
        running.start("parent", [sys.executable, "-c", PARENT])
        running.wait("a child", lambda: bool(running.children("parent")))
        (child,) = running.children("parent")
        running.kill("parent")
        assert alive(child)
    end = time.monotonic() + 10
    while alive(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(child)


def test_what_ends_instead_of_starting_is_told_with_its_log(tmp_path: Path) -> None:
    with processes.Processes(tmp_path) as running:
        running.start("job-manager", [sys.executable, "-c", "print('no memory'); exit(3)"])
        with pytest.raises(SystemExit, match="job-manager ended with 3:\nno memory"):
            running.wait("it", lambda: False)


def test_bytecode_may_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    with processes.Processes(tmp_path) as running:
        program = (
            "import sys; print(sys.dont_write_bytecode, flush=True); import time; time.sleep(9)"
        )
        running.start("told", [sys.executable, "-c", program])
        running.wait("its word", lambda: bool(running.tail("told")))
        assert running.tail("told") == "False"
    assert os.environ["PYTHONDONTWRITEBYTECODE"] == "1"
