"""`python -m bootstrap.image LOCK VENV`: the packages of a lock, inside an image being built.

The same uv, pinned, with the same settings as for `.venv`. The rest of what `environment` sees to
on a strange machine is not needed: an image has the right glibc, and a compiler while it is built.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from bootstrap import index

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / "tools"


def main(arguments: list[str]) -> None:
    """Makes the virtual environment where there is none, and its packages those of the lock."""
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


def _run(command: list[str], **environment: str) -> None:
    subprocess.run(command, check=True, env={**os.environ, **environment})


if __name__ == "__main__":
    main(sys.argv[1:])
