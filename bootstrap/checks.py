"""What must hold before anything is made, as decisions on plain values.

Each `*_problem` returns None, or the one line that says what is wrong and what to do.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

PYTHONS = ((3, 11), (3, 12), (3, 13))

#: The wheels of ml-metadata and tensorflow-data-validation are tagged manylinux_2_39; an
#: installer refuses them below that, though the symbols they use end at 2.38.
GLIBC_NEEDED = (2, 39)

CONTAINER = "run it in a container of Debian 13 for x86-64 instead"

GIB = 1 << 30
#: Measured: 3.0 GiB of packages, 0.6 GiB of bytecode and 0.2 GiB while unpacking.
NEEDED_GIB = 4.0
#: With every package in uv's cache on the same disk, files are linked and only bytecode is new.
NEEDED_CACHED_GIB = 1.0


@dataclass(frozen=True)
class Interpreter:
    """The facts about a Python that decide whether it will do.

    Attributes:
        version: major, minor, micro.
        implementation: `cpython`, `pypy`, …
        free_threaded: built without the global lock; few wheels exist for that.
        bits: 32 or 64.
    """

    version: tuple[int, int, int]
    implementation: str
    free_threaded: bool
    bits: int

    @classmethod
    def running(cls) -> Interpreter:
        """The one that executes this."""
        return cls(
            version=sys.version_info[:3],
            implementation=sys.implementation.name,
            free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
            bits=64 if sys.maxsize > 1 << 32 else 32,
        )


def python_problem(python: Interpreter) -> str | None:
    """Is this Python one that TFX 1.21 has wheels for?"""
    found = ".".join(map(str, python.version))
    if python.implementation != "cpython" or python.bits != 64 or python.free_threaded:
        kind = "free-threaded " if python.free_threaded else ""
        return (
            f"this needs a plain 64-bit CPython, found {kind}{python.implementation} {found} "
            f"({python.bits} bit); name another: make run PYTHON=/path/to/python3.12"
        )
    if python.version[:2] not in PYTHONS:
        return (
            f"this needs Python 3.11, 3.12 or 3.13, found {found}; "
            "name one: make run PYTHON=/path/to/python3.12"
        )
    return None


def glibc_version(text: str | None) -> tuple[int, int] | None:
    """`glibc 2.36` → (2, 36); None where the C library is not glibc."""
    match = re.fullmatch(r"glibc (\d+)\.(\d+).*", text or "")
    return (int(match[1]), int(match[2])) if match else None


def running_glibc() -> tuple[int, int] | None:
    """The glibc this process runs on, or None."""
    try:
        return glibc_version(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError, AttributeError):
        return None


def platform_problem(system: str, machine: str, glibc: tuple[int, int] | None) -> str | None:
    """Do ml-metadata, TFDV and tfx-bsl 1.21 have wheels for this kind of machine?

    They exist for x86-64 Linux with glibc and for macOS on Apple silicon, and nowhere else.
    """
    if system == "Darwin" and machine == "arm64":
        return None
    if system == "Linux" and machine in ("x86_64", "AMD64"):
        if glibc is not None:
            return None
        return f"TFX 1.21 has no wheels for a Linux without glibc (musl); {CONTAINER}"
    return (
        f"TFX 1.21 has wheels for x86-64 Linux and for macOS on Apple silicon only, this is "
        f"{system} on {machine}; {CONTAINER}, for linux/amd64"
    )


def path_problem(root: Path) -> str | None:
    """Can an environment live in this folder?"""
    if os.pathsep in str(root):
        return f"a Python environment can't live under a path with {os.pathsep!r} in it: {root}"
    if not os.access(root, os.W_OK):
        return f"{root} can't be written to; clone the project where you may write"
    return None


def disk_problem(where: Path, free_bytes: int, cached: bool) -> str | None:
    """Is there room for the packages?"""
    needed = NEEDED_CACHED_GIB if cached else NEEDED_GIB
    if free_bytes >= needed * GIB:
        return None
    return (
        f"not enough disk: the environment needs {needed:.0f} GB and {where} has "
        f"{free_bytes / GIB:.1f} GB free; free some space and run this again"
    )


def unwritable(error: OSError, root: Path) -> str:
    """One line for a disk that filled up, or a folder that may not be written, half-way."""
    if isinstance(error, PermissionError) or not error.filename:
        where = error.filename or root
    else:
        where = error.filename
    return f"{error.strerror} ({where}); put that right and run this again"


def compiler_problem(
    compiler: str | None, probe_output: str | None, include: str, version: tuple[int, ...]
) -> str | None:
    """Can the one dependency without a wheel (pyfarmhash, C++) be built?

    Args:
        compiler: the C++ compiler found, or None.
        probe_output: what it said about a file that includes <string> and Python.h; None
            when it compiled.
        include: the folder in which this Python's Python.h belongs.
        version: of this Python.
    """
    short = f"{version[0]}.{version[1]}"
    why = "one dependency, pyfarmhash, is built from source"
    if compiler is None:
        return (
            f"no C++ compiler found ({why}); install one: apt-get install g++ "
            "(dnf install gcc-c++, xcode-select --install)"
        )
    if probe_output is None:
        return None
    if not (Path(include) / "Python.h").is_file():
        return (
            f"Python {short}'s headers are missing, {include}/Python.h ({why}); install them: "
            f"apt-get install python{short}-dev (dnf install python{short}-devel)"
        )
    lines = probe_output.strip().splitlines()
    last = next((line for line in lines if "error" in line), lines[-1] if lines else "")
    return f"{compiler} can't compile C++ ({why}): {last[:200]}; apt-get install g++ may mend it"


def find_compiler() -> tuple[str | None, str | None]:
    """The C++ compiler to use, and its complaint about a file like those of pyfarmhash."""
    named = os.environ.get("CXX", "").split()
    compiler = shutil.which(named[0]) if named else None
    for name in ("g++", "c++", "clang++"):
        compiler = compiler or shutil.which(name)
    if compiler is None:
        return None, None
    probe = subprocess.run(
        [compiler, "-fsyntax-only", "-x", "c++", f"-I{sysconfig.get_path('include')}", "-"],
        input="#include <string>\n#include <Python.h>\nint main() { return 0; }\n",
        capture_output=True,
        text=True,
        check=False,
    )
    return compiler, None if probe.returncode == 0 else probe.stderr
