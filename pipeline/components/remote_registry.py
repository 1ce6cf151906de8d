"""Pushing to an object store (gs://, s3://, …), where no folder can be renamed in one step.

There a version counts from the moment its saved_model.pb exists, which therefore is written last,
once everything else has been read back and compared. `serving.registry` is the better way wherever
the base path is a local disk.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import tensorflow as tf
from tfx.dsl.io import fileio

from serving import layout
from serving.labels import parse_labels
from serving.layout import RegistryError
from serving.manifest import FileEntry, Manifest, Provenance, hash_folder, parse_manifest
from serving.registry import Registry

_CHUNK_BYTES = 1 << 20


class Target(Protocol):
    """Where the Pusher puts versions; every method may raise RegistryError."""

    def newest_whole(self) -> Manifest | None:
        """Manifest of the newest version; None if there is none or it is not whole."""

    def location(self, number: int) -> str:
        """Path or URL of a version."""

    def push(self, source: Path, provenance: Provenance) -> Manifest:
        """Makes a copy of the SavedModel in `source` the newest version."""

    def retain(self, keep_last: int) -> list[int]:
        """Deletes versions that are neither among the newest nor labelled."""


def open_target(base: str, model_name: str) -> Target:
    """The registry for a model base path: a local folder's or a URL's."""
    return RemoteRegistry(base, model_name) if "://" in base else Registry(base, model_name)


class RemoteRegistry:
    """The versions of one model below a URL; the same layout as `serving.registry.Registry`.

    There is no lock: an object store has none to give. Two pushes at once may not be made, and
    the orchestrator, which runs one Pusher for a pipeline, is trusted with that.

    Args:
        base: the model base path, a URL that TFX's `fileio` can open.
        model_name: the name clients ask for.

    Raises:
        RegistryError: `model_name` cannot be a model's name.
    """

    def __init__(self, base: str, model_name: str) -> None:
        self.model_name = layout.check_model_name(model_name)
        self.folder = posixpath.join(base, model_name)

    def location(self, number: int) -> str:
        """The URL a version is pushed to."""
        return posixpath.join(self.folder, str(number))

    def newest_whole(self) -> Manifest | None:
        """What the newest version holds; None if there is none or it is unfinished or foreign."""
        with self._explained("read"):
            versions = layout.index_versions(self._names())
            if not versions:
                return None
            path = posixpath.join(self.folder, list(versions.values())[-1])
            manifest = posixpath.join(path, layout.MANIFEST)
            if not (fileio.exists(manifest) and _is_loadable(path)):
                return None
            try:
                return parse_manifest(_read(manifest), manifest)
            except RegistryError:
                return None

    def push(self, source: Path, provenance: Provenance) -> Manifest:
        """Copies a SavedModel from a local folder to the next number; see the module's text.

        Returns:
            The manifest of the new version; its `version` is the number.

        Raises:
            RegistryError: the source is not a SavedModel, or the copy failed; nothing was pushed.
        """
        files = hash_folder(source)
        last = [name for name in layout.SAVED_MODEL_FILES if name in files]
        if not last:
            raise RegistryError(f"{source} is not a SavedModel: it holds no saved_model.pb.")
        with self._explained("push to"):
            self._clear_unfinished()
            mark = posixpath.join(self.folder, layout.HIGH_WATER)
            high_water = layout.parse_high_water(_read(mark)) if fileio.exists(mark) else 0
            number = layout.next_version(self._names(), high_water)
            manifest = Manifest.of(number, self.model_name, files, provenance)
            target = self.location(number)
            # Made explicitly for those file systems that do have folders.
            fileio.makedirs(self.folder)
            _write(mark, f"{number}\n")
            fileio.makedirs(target)
            # The manifest first: an unfinished version is known as ours by it, and cleared away.
            _write(posixpath.join(target, layout.MANIFEST), manifest.to_json())
            for name in [name for name in files if name not in last] + last:
                _copy_verified(source / name, posixpath.join(target, name), files[name])
        return manifest

    def retain(self, keep_last: int) -> list[int]:
        """Deletes versions older than the `keep_last` newest; returns their numbers.

        Versions with a label stay, and so do folders without a manifest.

        Raises:
            RegistryError: `keep_last` is below 1, or the labels cannot be read; nothing deleted.
        """
        labels = posixpath.join(self.folder, layout.LABELS)
        with self._explained("delete old versions in"):
            in_use = parse_labels(_read(labels), labels).values() if fileio.exists(labels) else ()
            found = layout.index_versions(self._names())
            expired = layout.expired_versions(found, in_use, keep_last)
            paths = {number: posixpath.join(self.folder, found[number]) for number in expired}
            ours = [number for number in expired if _is_ours(paths[number])]
            for number in ours:
                _delete(paths[number])
        return ours

    def _clear_unfinished(self) -> None:
        for name in layout.index_versions(self._names()).values():
            path = posixpath.join(self.folder, name)
            if _is_ours(path) and not _is_loadable(path):
                fileio.rmtree(path)

    def _names(self) -> list[str]:
        if not fileio.exists(self.folder):
            return []
        # Object stores list folders with a slash at the end.
        return [str(name).rstrip("/") for name in fileio.listdir(self.folder)]

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, tf.errors.OpError) as error:
            raise RegistryError(
                f"cannot {doing} {self.folder}: {error}. Check that it exists and that this "
                "account may write there, then run again."
            ) from error


def _is_ours(path: str) -> bool:
    return bool(fileio.exists(posixpath.join(path, layout.MANIFEST)))


def _is_loadable(path: str) -> bool:
    return any(fileio.exists(posixpath.join(path, name)) for name in layout.SAVED_MODEL_FILES)


def _delete(path: str) -> None:
    # What makes it loadable goes first: a server must not find half of a model.
    for name in layout.SAVED_MODEL_FILES:
        if fileio.exists(posixpath.join(path, name)):
            fileio.remove(posixpath.join(path, name))
    fileio.rmtree(path)


def _read(path: str) -> str:
    with fileio.open(path, "rb") as file:
        return bytes(file.read()).decode()


def _write(path: str, text: str) -> None:
    with fileio.open(path, "wb") as file:
        file.write(text.encode())


def _copy_verified(source: Path, target: str, expected: FileEntry) -> None:
    fileio.makedirs(posixpath.dirname(target))
    fileio.copy(str(source), target)
    digest = hashlib.sha256()
    with fileio.open(target, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    if digest.hexdigest() != expected.sha256:
        fileio.remove(target)
        raise RegistryError(f"the copy {target} differs from {source}. Run again.")
