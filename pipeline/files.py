"""Files by path or URI: local ones without TensorFlow, everything else through TFX's fileio.

TFX's `fileio` costs seconds to import (it registers every file system TensorFlow knows), so
commands that only look at local files go around it.
"""

from __future__ import annotations

import glob as _glob
import hashlib
import os
from typing import IO, Any


def is_local(path: str) -> bool:
    """Whether a path needs no remote file system."""
    return "://" not in path


def _fileio() -> Any:
    from tfx.dsl.io import fileio

    return fileio


def open_file(path: str, mode: str = "rb") -> IO[Any]:
    """Opens a file; the caller closes it."""
    if is_local(path):
        return open(path, mode)
    handle: IO[Any] = _fileio().open(path, mode)
    return handle


def glob(pattern: str) -> list[str]:
    """Paths that match a glob pattern, sorted."""
    if is_local(pattern):
        return sorted(_glob.glob(pattern))
    return sorted(map(os.fsdecode, _fileio().glob(pattern)))


def escape(path: str) -> str:
    """A glob pattern that matches this path alone."""
    return _glob.escape(path) if is_local(path) else path


def is_dir(path: str) -> bool:
    """Whether a path is a folder."""
    return os.path.isdir(path) if is_local(path) else bool(_fileio().isdir(path))


def exists(path: str) -> bool:
    """Whether a path exists."""
    return os.path.exists(path) if is_local(path) else bool(_fileio().exists(path))


def write_atomically(path: str, data: bytes) -> None:
    """Writes a whole file or nothing: under a temporary name first, then renamed."""
    temporary = f"{path}.partial"
    if is_local(path):
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        return
    with open_file(temporary, "wb") as file:
        file.write(data)
    _fileio().rename(temporary, path, overwrite=True)


def sha256(path: str) -> str:
    """SHA-256 of a file's content, read in blocks."""
    with open_file(path, "rb") as file:
        if is_local(path):
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()
