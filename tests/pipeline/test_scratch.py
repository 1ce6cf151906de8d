"""A run's temporary files go with it, however it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from pipeline.local import scratch

HOLD = """
import sys, tempfile, time
from pipeline.local import scratch
with scratch.folder() as path:
    open(tempfile.mkstemp()[1], "w").write("x" * 1000)
    print(path, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_temporary_files_of_this_process_and_its_children_are_inside(base: Path) -> None:
    ask = [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"]
    with scratch.folder() as path:
        inside = Path(tempfile.mkdtemp())
        child = subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()
        assert inside.parent == Path(path) == Path(child)
    assert list(base.iterdir()) == []
    assert tempfile.gettempdir() == str(base) == os.environ["TMPDIR"]


def test_what_a_killed_run_left_is_removed_and_a_living_one_is_let_alone(base: Path) -> None:
    def start() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        return process, Path(process.stdout.readline().strip())

    (dead, left), (alive, kept) = start(), start()
    try:
        dead.send_signal(signal.SIGKILL)
        dead.wait()
        assert left.is_dir() and kept.is_dir()
        with scratch.folder() as own:
            assert set(base.iterdir()) == {kept, Path(own)}
    finally:
        alive.kill()
        alive.wait()


def test_a_folder_that_is_just_being_made_is_let_alone(base: Path) -> None:
    young, old = base / "headrace-run-young", base / "headrace-run-old"
    foreign = base / "headrace-else"
    for folder in (young, old, foreign):
        folder.mkdir()
    long_ago = time.time() - 3600
    os.utime(old, (long_ago, long_ago))
    with scratch.folder():
        assert young.is_dir() and foreign.is_dir() and not old.exists()
