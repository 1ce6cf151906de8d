"""When an environment counts as right, and that one set-up runs at a time."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap import environment

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    """A project folder whose environment was just finished, and the Python it is for."""
    root = tmp_path / "clone"
    (root / "bootstrap").mkdir(parents=True)
    (root / ".venv").mkdir()
    for name in ("bootstrap/requirements.lock", "bootstrap/checks.py", "setup.py"):
        (root / name).write_text(name)
    base = tmp_path / "python3"
    base.write_text("a program")
    finish(root, base)
    return root, base


def finish(root: Path, base: Path) -> None:
    stamp = json.dumps(environment.identity(root, base))
    (root / ".venv" / environment.STAMP).write_text(stamp)


def test_a_finished_environment_is_right(clone):
    root, base = clone
    assert environment.is_right(root)
    assert environment.is_right(root, base)


def test_another_python_is_noticed(clone, tmp_path):
    root, _ = clone
    other = tmp_path / "other"
    other.write_text("a program")
    assert not environment.is_right(root, other)


def test_an_upgraded_or_removed_python_is_noticed(clone):
    root, base = clone
    base.write_text("a newer program")
    assert not environment.is_right(root)
    base.unlink()
    assert not environment.is_right(root)


def test_a_moved_clone_is_noticed(clone, tmp_path):
    root, _ = clone
    assert not environment.is_right(root.rename(tmp_path / "elsewhere"))


@pytest.mark.parametrize("name", ["bootstrap/requirements.lock", "bootstrap/checks.py", "setup.py"])
def test_a_change_in_what_it_is_made_from_is_noticed(clone, name):
    root, base = clone
    (root / name).write_text("changed")
    assert not environment.is_right(root)
    finish(root, base)
    assert environment.is_right(root)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_a_missing_or_broken_stamp_is_not_right(clone, content):
    root, _ = clone
    stamp = root / ".venv" / environment.STAMP
    stamp.write_text(content)
    assert not environment.is_right(root)
    stamp.unlink()
    assert not environment.is_right(root)


def test_a_second_set_up_waits_for_the_first(tmp_path):
    (tmp_path / ".bootstrap").mkdir()
    held = os.open(tmp_path / ".bootstrap" / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    program = (
        "import sys; from pathlib import Path; from bootstrap.environment import exclusive\n"
        "with exclusive(Path(sys.argv[1])): print('mine')"
    )
    second = subprocess.Popen(
        [sys.executable, "-c", program, tmp_path], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert "waiting" in second.stdout.readline()
    assert second.poll() is None
    os.close(held)
    assert second.communicate(timeout=20)[0] == "mine\n"


def test_a_child_of_a_killed_set_up_keeps_the_lock(tmp_path):
    (tmp_path / ".bootstrap").mkdir()
    holder = (
        "import os, subprocess, sys; from pathlib import Path\n"
        "from bootstrap.environment import exclusive\n"
        "with exclusive(Path(sys.argv[1])) as console:\n"
        "    child = subprocess.Popen(\n"
        "        ['sleep', '30'], stdout=subprocess.DEVNULL, pass_fds=console.inherited\n"
        "    )\n"
        "    print(child.pid, flush=True)\n"
        "    os._exit(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", holder, tmp_path],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        check=True,
    )
    lock = os.open(tmp_path / ".bootstrap" / "lock", os.O_RDWR)
    try:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.kill(int(done.stdout), 9)
        os.close(lock)
