"""The decisions of the set-up, on plain values."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from bootstrap import checks
from bootstrap.checks import GIB, Interpreter


def python(*version: int, **changes: object) -> Interpreter:
    facts = {"implementation": "cpython", "free_threaded": False, "bits": 64, **changes}
    return Interpreter(version=(*version,), **facts)  # type: ignore[arg-type]


@pytest.mark.parametrize("minor", [11, 12, 13])
def test_the_three_pythons_will_do(minor):
    assert checks.python_problem(python(3, minor, 1)) is None


@pytest.mark.parametrize(
    "other, named",
    [
        (python(3, 10, 13), "found 3.10.13"),
        (python(3, 14, 0), "found 3.14.0"),
        (python(2, 7, 18), "found 2.7.18"),
        (python(3, 11, 9, implementation="pypy"), "found pypy 3.11.9"),
        (python(3, 13, 0, free_threaded=True), "free-threaded cpython 3.13.0"),
        (python(3, 12, 0, bits=32), "(32 bit)"),
    ],
)
def test_another_python_is_named_with_the_remedy(other, named):
    problem = checks.python_problem(other)
    assert named in problem
    assert "make run PYTHON=" in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    "text, version",
    [
        ("glibc 2.36", (2, 36)),
        ("glibc 2.41-dev", (2, 41)),
        ("musl", None),
        ("", None),
        (None, None),
    ],
)
def test_glibc_version(text, version):
    assert checks.glibc_version(text) == version


@pytest.mark.parametrize(
    "system, machine, glibc, part",
    [
        ("Linux", "x86_64", (2, 36), None),
        ("Darwin", "arm64", None, None),
        ("Linux", "x86_64", None, "musl"),
        ("Linux", "aarch64", (2, 41), "Linux on aarch64"),
        ("Darwin", "x86_64", None, "Darwin on x86_64"),
        ("Windows", "AMD64", None, "Windows on AMD64"),
    ],
)
def test_platforms_without_wheels_are_sent_to_the_container(system, machine, glibc, part):
    problem = checks.platform_problem(system, machine, glibc)
    if part is None:
        assert problem is None
    else:
        assert part in problem
        assert "container" in problem


def test_disk_is_asked_for_less_when_the_cache_has_the_packages():
    here = Path("/somewhere")
    assert checks.disk_problem(here, 5 * GIB, cached=False) is None
    assert checks.disk_problem(here, 2 * GIB, cached=True) is None
    problem = checks.disk_problem(here, 2 * GIB, cached=False)
    assert "needs 4 GB" in problem
    assert "/somewhere has 2.0 GB free" in problem


def test_a_path_that_python_environments_refuse(tmp_path):
    assert checks.path_problem(tmp_path) is None
    assert "':'" in checks.path_problem(Path("/a:b"))


def test_no_compiler_and_no_headers_are_told_apart(tmp_path):
    version = (3, 12, 1)
    assert checks.compiler_problem("/bin/g++", None, str(tmp_path), version) is None
    none = checks.compiler_problem(None, None, str(tmp_path), version)
    assert "no C++ compiler" in none
    assert "g++" in none
    headers = checks.compiler_problem("/bin/g++", "fatal error", str(tmp_path), version)
    assert f"{tmp_path}/Python.h" in headers
    assert "python3.12-dev" in headers
    (tmp_path / "Python.h").touch()
    broken = checks.compiler_problem(
        "/bin/g++", "x.cc:1: error: no <string>", str(tmp_path), version
    )
    assert "no <string>" in broken


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_a_disk_that_fills_up_half_way(number, tmp_path):
    line = checks.unwritable(OSError(number, "It is full", "/x/file"), tmp_path)
    assert line.startswith("It is full (/x/file)")
    assert str(tmp_path) in checks.unwritable(OSError(number, "It is full"), tmp_path)
