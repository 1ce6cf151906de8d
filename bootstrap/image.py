"""`python -m bootstrap.image LOCK VENV`: the packages of a lock, inside an image being built.

The same uv, pinned, with the same settings as for `.venv`. The rest of what `environment` sees to
on a strange machine is not needed: an image has the right glibc, and a compiler while it is built.
What only those need who build or debug the packages is left out.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bootstrap import index

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"

#: Where the code lies, in a layer of its own.
CODE = "/opt/headrace/code"

#: What nothing imports or opens when the packages are used, below their folder.
NEEDLESS = (
    "tensorflow/include",  # headers, for who compiles operations
    "clang",  # TensorFlow asks for it, and imports it nowhere
    "numpy/**/tests",
    "h5py/tests",
)

#: Libraries with symbols for a debugger. Not those in `*.libs`: patched files do not bear `strip`.
STRIPPED = ("tensorflow/**/*.so", "tensorflow/*.so.2", "uvloop/*.so")


def main(arguments: list[str]) -> None:
    """Makes the virtual environment where there is none, and its packages those of the lock.

    Beside it the file `built` is written, with another content each time.
    """
    lock, venv = arguments
    pip = [str(TOOLS / "bin" / "python"), "-m", "pip"]
    if not TOOLS.exists():
        _run([sys.executable, "-m", "venv", str(TOOLS)])
        command = [*pip, "install", *index.QUICK, "--require-hashes", "--only-binary", ":all:"]
        _run([*command, "--requirement", str(ROOT / "bootstrap" / "tools.lock")])
    if not Path(venv).exists():
        _run([sys.executable, "-m", "venv", "--without-pip", venv])
    sync = [str(TOOLS / "bin" / "uv"), "pip", "sync", "--python", f"{venv}/bin/python"]
    sync += ["--require-hashes", "--build-constraints", lock, "--compile-bytecode"]
    # The cache is on a file system of its own.
    _run([*sync, "--link-mode", "copy", lock], **index.settings_for_uv(pip))
    (packages,) = Path(venv).glob("lib/python3*/site-packages")
    (packages / "headrace.pth").write_text(f"{CODE}\n")
    trim(packages)
    Path(venv).with_name("built").write_text(f"{lock} {time.time_ns()}\n")


def trim(packages: Path) -> None:
    """Removes what is needless from installed packages."""
    for path in _found(packages, NEEDLESS):
        shutil.rmtree(path, ignore_errors=True)  # one may lie in another
    libraries = [str(path) for path in _found(packages, STRIPPED) if not path.is_symlink()]
    _run(["strip", "--strip-unneeded", *libraries])


def _found(packages: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from list(packages.glob(pattern))


def _run(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, **environment})


if __name__ == "__main__":
    main(sys.argv[1:])
