"""What a person sees when set-up can't go on: one line, no traceback, nothing marked as right."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]

#: On an older glibc these are looked for before anything else is.
APT = ("apt-get", "apt-config", "dpkg-deb")


@pytest.fixture
def clone(tmp_path):
    """A copy of what set-up needs, and a PATH with nothing on it but `sh` and its like."""
    root = tmp_path / "clone"
    shutil.copytree(
        ROOT / "bootstrap", root / "bootstrap", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copy(ROOT / "setup.py", root)
    (tmp_path / "bin").mkdir()
    for name in ("sh", "dirname", *APT):
        if found := shutil.which(name):
            (tmp_path / "bin" / name).symlink_to(found)
    return root


def program(clone: Path, name: str, body: str) -> None:
    path = clone.parent / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def set_up(clone: Path, **env: str) -> str:
    """Runs the set-up, which must fail with one line; returns it."""
    done = subprocess.run(
        ["sh", "bootstrap/ensure.sh"],
        cwd=clone,
        env={"PATH": str(clone.parent / "bin"), "HOME": str(clone.parent), **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert not (clone / ".venv" / "headrace.json").exists()
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("headrace: ")
    return lines[0]


def test_an_unsupported_python_is_named(clone):
    program(clone, "python3", "printf 3.10.13; exit 1")
    program(clone, "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    assert "needs Python 3.11, 3.12 or 3.13 (python3 is 3.10.13)" in set_up(clone)


def test_a_python_asked_for_that_is_too_new(clone):
    program(clone, "python3.14", "printf 3.14.0; exit 1")
    assert "python3.14 is 3.14.0" in set_up(clone, PYTHON="python3.14")


def test_no_python_at_all(clone):
    assert "none found" in set_up(clone)


def test_no_compiler(clone):
    assert "no C++ compiler found" in set_up(clone, PYTHON=BASE)


def test_a_compiler_without_pythons_headers(clone):
    program(clone, "g++", "echo 'fatal error: Python.h: No such file' >&2; exit 1")
    line = set_up(clone, PYTHON=BASE)
    assert "Python.h" in line


def test_no_network(clone):
    program(clone, "g++", "exit 0")
    line = set_up(
        clone,
        PYTHON=BASE,
        PIP_INDEX_URL="http://127.0.0.1:9/simple",
        PIP_NO_CACHE_DIR="1",
        PIP_CONFIG_FILE=os.devnull,
    )
    assert "installing uv failed: the package index could not be reached" in line
    assert "setup.log" in line


def test_a_foreign_environment_is_left_alone(clone):
    (clone / ".venv").mkdir()
    (clone / ".venv" / "precious").touch()
    assert "was not made by this project" in set_up(clone, PYTHON=BASE)
    assert (clone / ".venv" / "precious").exists()


def test_a_disk_that_fills_up(clone):
    (clone / ".bootstrap").mkdir()
    (clone / ".bootstrap" / "setup.log").symlink_to("/dev/full")
    program(clone, "g++", "exit 0")
    assert "No space left on device" in set_up(clone, PYTHON=BASE)
