"""Local file operations that survive a kill or a power cut: they happen wholly or not at all."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from serving.layout import LEFTOVER_PREFIXES, TEMPORARY_PREFIX, RegistryBusyError, RegistryError
from serving.manifest import Files, compare_files, hash_folder, walk_folder

_POLL_SECONDS = 0.05
_REMEDIES = {
    errno.ENOSPC: "Free some space (or keep fewer versions), then run again.",
    errno.EDQUOT: "Free some of the quota (or keep fewer versions), then run again.",
    errno.EROFS: "Mount it writable or choose another folder, then run again.",
    errno.EACCES: "Give this user the right to read and write there, then run again.",
    errno.EPERM: "Give this user the right to read and write there, then run again.",
}


@contextmanager
def explained(doing: str, path: Path) -> Iterator[None]:
    """Turns an OSError within into a RegistryError: "cannot <doing> <path>: why. What to do."."""
    try:
        yield
    except OSError as error:
        why = error.strerror or str(error)
        at = f" (at {error.filename})" if error.filename not in (None, str(path)) else ""
        remedy = _REMEDIES.get(error.errno or 0, "Mend that, then run again.")
        raise RegistryError(f"cannot {doing} {path}: {why}{at}. {remedy}") from error


def sync_folder(folder: Path) -> None:
    """Makes creations and renames directly inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(root: Path) -> None:
    """Makes every file and folder below `root`, and `root`, durable."""
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(folder))


def write_atomic(path: Path, text: str) -> None:
    """Replaces `path` by a file with this text (UTF-8); a reader sees the old or the new whole.

    Raises:
        OSError: it could not be written; the old file, if any, is untouched.
    """
    # Not tempfile.mkstemp: its files are private to this user, and a server is another user.
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}-{uuid4().hex}")
    try:
        with temporary.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise
    sync_folder(path.parent)


def copy_verified(source: Path, target: Path) -> Files:
    """Copies a folder to `target`, which must not exist, and compares the hashes of both.

    Returns:
        The files copied, as `manifest.hash_folder` gives them.

    Raises:
        RegistryError: the copy differs, because something still writes to the source.
        OSError: a file cannot be read or written.
    """
    expected = hash_folder(source)
    target.mkdir()
    # Not shutil.copytree: its error hides whether the disk is full in a list of tuples.
    for path in walk_folder(source):
        copy = target / path.relative_to(source)
        if path.is_dir():
            copy.mkdir()
        else:
            shutil.copyfile(path, copy)
    problems = compare_files(expected, hash_folder(target))
    if problems:
        raise RegistryError(
            f"the copy of {source} differs from it ({'; '.join(problems[:3])}). "
            "Is something still writing there? Run again."
        )
    return expected


def rename_to_absent(source: Path, target: Path) -> bool:
    """Renames a folder if nothing has the name `target`; returns whether it did."""
    # rename(2) refuses a target folder that holds anything, which guards the moment between the
    # two calls. An empty folder made in that moment would be replaced; there is nothing in it.
    if os.path.lexists(target):
        return False
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        raise
    return True


def clear_leftovers(folder: Path) -> None:
    """Removes what killed changes left in a model's folder. Only for the holder of its lock.

    What cannot be removed is in nobody's way, so that is no error; the next change tries again.
    """
    for path in folder.iterdir():
        if path.name.startswith(LEFTOVER_PREFIXES):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                with suppress(OSError):
                    path.unlink()


@contextmanager
def locked(path: Path, purpose: str, wait_seconds: float) -> Iterator[None]:
    """Holds an exclusive lock on a file.

    The kernel frees it when its holder dies, however it dies. Not re-entrant: a second `locked`
    of the same path waits, in another thread too.

    Args:
        path: of the file; made if absent, never removed.
        purpose: what the holder is doing; shown to those who wait in vain.
        wait_seconds: how long to wait for another holder, in seconds.

    Raises:
        RegistryBusyError: another holder kept it longer; names process, host and since when.
        OSError: the file cannot be made or written.
    """
    deadline = time.monotonic() + wait_seconds
    with open(path, "a+", encoding="utf-8") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise RegistryBusyError(
                        f"{path.parent} is held by {_holder(path)}; waited {wait_seconds:g} "
                        "seconds. Run again when it has finished."
                    ) from None
                time.sleep(_POLL_SECONDS)
        file.truncate(0)
        holder = {
            "process": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
            "purpose": purpose,
        }
        file.write(json.dumps(holder))
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return "process {process} on {host} ({purpose}, since {since})".format_map(holder)
    except (OSError, ValueError, KeyError, TypeError):  # it is just writing its name
        return "another process"
