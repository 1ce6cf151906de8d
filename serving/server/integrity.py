"""What must be true of a version's files before they are read."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator

import tensorflow as tf

from serving.layout import MANIFEST, RegistryError
from serving.manifest import FileEntry, Files, changed_files, parse_manifest
from serving.server.errors import Code, ServingError

_CHUNK_BYTES = 1 << 20
# Of the differences, those that a message names.
_NAMED = 5


def check_kinds(path: str) -> None:
    """Refuses what is neither file nor folder: reading a pipe or a device may never end.

    Args:
        path: of a version's folder; of another machine's nothing is known.

    Raises:
        ServingError: FAILED_PRECONDITION.
    """
    if "://" in path:
        return
    for folder, folders, names in os.walk(path, followlinks=False):
        for name in folders + names:
            file = os.path.join(folder, name)
            try:
                mode = os.stat(file).st_mode
            except OSError:  # a link to nothing, or removed meanwhile: whoever needs it will say
                continue
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                raise ServingError(
                    Code.FAILED_PRECONDITION,
                    f"{file} is a pipe, a socket or a device, not a file. Remove it.",
                )


def check_manifest(path: str) -> None:
    """Refuses a version whose files are not those that were pushed; without a manifest, none.

    Args:
        path: of the version's folder, here or in an object store.

    Raises:
        ServingError: DATA_LOSS; the message names the files and the flag.
    """
    manifest = os.path.join(path, MANIFEST)
    if not tf.io.gfile.exists(manifest):
        return
    try:
        with tf.io.gfile.GFile(manifest, "rb") as file:
            expected = parse_manifest(file.read(), manifest).files
        problems = changed_files(expected, _hashed(path))
    except (RegistryError, tf.errors.OpError) as error:
        problems = [str(error)]
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise ServingError(
            Code.DATA_LOSS,
            f"{path} is not what was pushed: {'; '.join(problems[:_NAMED])}{more}. Push the model "
            "again, or start the server with --verify_manifest=false to serve it all the same.",
        )


def _hashed(path: str) -> Files:
    return {name: _entry(os.path.join(path, name)) for name in _files(path) if name != MANIFEST}


def _files(path: str) -> Iterator[str]:
    for folder, _, names in tf.io.gfile.walk(path):
        below = folder[len(path) :].strip("/")
        for name in names:
            yield f"{below}/{name}" if below else name


def _entry(file: str) -> FileEntry:
    digest, size = hashlib.sha256(), 0
    with tf.io.gfile.GFile(file, "rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(sha256=digest.hexdigest(), bytes=size)
