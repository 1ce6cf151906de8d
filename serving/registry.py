"""The registry of pushed models: the one owner of `<base>/<model_name>/<number>/`.

A server that watches the folder sees whole versions only. A push copies into a sibling whose name
is not a number (servers ignore it), verifies and syncs the copy, and renames it to the number; a
deletion renames away from the number first. Both hold a lock, so what a killed process left behind
(`.staging-…`, `.trash-…`) belongs to nobody and the next push clears it away.

    base/model/1/  2/  3/           versions, each with headrace_manifest.json inside
               labels.json          {"stable": 2, "canary": 3}: versions in use
               .highest-version     highest number ever given out; numbers never repeat
               .lock                held while something changes
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from serving import durable, layout
from serving.durable import explained, write_atomic
from serving.labels import labels_to_json, parse_labels
from serving.layout import RegistryBusyError, RegistryError
from serving.manifest import (
    Files,
    Manifest,
    Provenance,
    changed_files,
    compare_files,
    hash_folder,
    parse_manifest,
)

__all__ = ["Registry", "RegistryBusyError", "RegistryError", "Version"]

WAIT_SECONDS = 60.0
_COLLISIONS_MAX = 10


@dataclass(frozen=True, slots=True)
class Version:
    """One version on disk.

    Attributes:
        number: of the version.
        path: its folder, absolute.
        manifest: None if it has none that can be read: not pushed by Headrace, or damaged.
        labels: that point to it, sorted; a version with labels is in use.
    """

    number: int
    path: Path
    manifest: Manifest | None
    labels: tuple[str, ...]


class Registry:
    """The versions of one model on a local disk.

    Reading takes no lock and never blocks. Changing takes the lock and waits for it at most
    `wait_seconds`, then raises RegistryBusyError. Every method raises RegistryError, and nothing
    else, for what the disk refuses.

    Args:
        base: the model base path, a local folder; made by the first push.
        model_name: the name clients ask for.
        wait_seconds: how long a change waits for another process's change.

    Raises:
        RegistryError: `base` is a URL, or `model_name` cannot be a model's name.
    """

    def __init__(
        self, base: str | Path, model_name: str, *, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        if "://" in str(base):
            raise RegistryError(f"{base} is not a local folder; its versions are not listed here.")
        self.model_name = layout.check_model_name(model_name)
        self.folder = Path(base).absolute() / model_name
        self.wait_seconds = wait_seconds

    def versions(self) -> list[Version]:
        """All versions, by ascending number; none if nothing was pushed yet."""
        labels = self.labels()
        return [
            Version(
                number=number,
                path=self.folder / name,
                manifest=self._manifest_or_none(self.folder / name),
                labels=tuple(sorted(label for label, to in labels.items() if to == number)),
            )
            for number, name in layout.index_versions(self._names()).items()
        ]

    def newest(self) -> Version | None:
        """The version with the highest number."""
        return next(reversed(self.versions()), None)

    def newest_whole(self) -> Manifest | None:
        """What the newest version holds; None if there is no version or the newest is damaged."""
        found = layout.index_versions(self._names())
        if not found or self.verify(number := max(found)):
            return None
        return self.manifest(number)

    def location(self, number: int) -> str:
        """The folder a version is pushed to, absolute."""
        return str(self.folder / str(number))

    def version(self, number: int) -> Version:
        """The version with this number.

        Raises:
            RegistryError: there is none; the message lists those there are.
        """
        self._path(number)
        return next(version for version in self.versions() if version.number == number)

    def manifest(self, number: int) -> Manifest:
        """What the version's manifest says.

        Raises:
            RegistryError: no such version, or its manifest is missing or damaged.
        """
        path = self._path(number) / layout.MANIFEST
        with explained("read", path):
            return parse_manifest(path.read_bytes(), path)

    def verify(self, number: int) -> list[str]:
        """Hashes all files of a version again; one line for each problem, empty if it is whole.

        Raises:
            RegistryError: no such version, or a file cannot be read.
        """
        path = self._path(number)
        try:
            manifest = self.manifest(number)
        except RegistryError as error:
            return [str(error)]
        with explained("read", path):
            problems = compare_files(manifest.files, hash_folder(path))
        if manifest.version != number:
            problems.insert(0, f"{layout.MANIFEST}: is of version {manifest.version}")
        return problems

    def changed(self) -> dict[int, list[str]]:
        """Versions that servers refuse, and why: files that are not those of their manifest.

        Hashes all files of all versions. A version without a manifest is somebody else's.
        """
        found = {}
        for number, name in layout.index_versions(self._names()).items():
            path = self.folder / name
            if not (path / layout.MANIFEST).exists():
                continue
            try:
                with explained("read", path):
                    problems = changed_files(self.manifest(number).files, hash_folder(path))
            except RegistryError as error:
                problems = [str(error)]
            if problems:
                found[number] = problems
        return found

    def labels(self) -> dict[str, int]:
        """Label -> version number, sorted by label.

        Raises:
            RegistryError: the labels file cannot be read.
        """
        path = self.folder / layout.LABELS
        with explained("read", path):
            try:
                return parse_labels(path.read_bytes(), path)
            except FileNotFoundError:
                return {}

    def assign_labels(self, changes: Mapping[str, int | None]) -> dict[str, int]:
        """Moves labels, all at once: label -> version number, or None to remove it.

        Returns:
            All labels after the change.

        Raises:
            RegistryError: a label is empty or a version does not exist; nothing was changed.
        """
        with self._changing("assign labels"):
            labels = self.labels()
            for label, number in changes.items():
                if number is None:
                    labels.pop(label, None)
                else:
                    self._path(number)
                    labels[label] = number
            write_atomic(self.folder / layout.LABELS, labels_to_json(labels))
        return self.labels()

    def push(self, source: str | Path, provenance: Provenance) -> Manifest:
        """Makes a copy of a SavedModel the newest version.

        Whenever it is stopped, the version is there whole or not at all. A number is never given
        out twice and an existing folder never written into.

        Args:
            source: folder of the SavedModel; not changed.
            provenance: goes into the manifest.

        Returns:
            The manifest of the new version; its `version` is the number.

        Raises:
            RegistryError: the source is not a SavedModel, or the copy failed; nothing was pushed.
        """
        source = Path(source)
        if not any((source / name).is_file() for name in layout.SAVED_MODEL_FILES):
            raise RegistryError(f"{source} is not a SavedModel: it holds no saved_model.pb.")
        with self._changing("push"):
            durable.clear_leftovers(self.folder)
            number = layout.next_version(self._names(), self._high_water())
            staging = self.folder / f"{layout.STAGING_PREFIX}{number}-{uuid4().hex}"
            try:
                files = durable.copy_verified(source, staging)
                return self._publish(staging, number, files, provenance)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def retain(self, keep_last: int) -> list[int]:
        """Deletes versions older than the `keep_last` newest; returns their numbers.

        Versions with a label stay, and so do folders without a manifest: somebody else put them
        there.

        Raises:
            RegistryError: `keep_last` is below 1, or the labels cannot be read; nothing deleted.
        """
        with self._changing("delete old versions"):
            found = layout.index_versions(self._names())
            expired = [
                number
                for number in layout.expired_versions(found, self.labels().values(), keep_last)
                if (self.folder / found[number] / layout.MANIFEST).is_file()
            ]
            for number in expired:
                trash = self.folder / f"{layout.TRASH_PREFIX}{number}-{uuid4().hex}"
                os.rename(self.folder / found[number], trash)
                durable.sync_folder(self.folder)
            durable.clear_leftovers(self.folder)
        return expired

    def _publish(
        self, staging: Path, number: int, files: Files, provenance: Provenance
    ) -> Manifest:
        for _ in range(_COLLISIONS_MAX):
            manifest = Manifest.of(number, self.model_name, files, provenance)
            write_atomic(staging / layout.MANIFEST, manifest.to_json())
            durable.sync_tree(staging)
            # Before the rename: a kill in between skips a number, the other order could repeat it.
            write_atomic(self.folder / layout.HIGH_WATER, f"{number}\n")
            if durable.rename_to_absent(staging, self.folder / str(number)):
                durable.sync_folder(self.folder)
                return manifest
            number = layout.next_version(self._names(), self._high_water())
        raise RegistryError(
            f"somebody else writes versions into {self.folder}: the next number was taken "
            f"{_COLLISIONS_MAX} times in a row. Stop the other writer, then run again."
        )

    @contextmanager
    def _changing(self, purpose: str) -> Iterator[None]:
        with explained(f"{purpose} in", self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            with durable.locked(self.folder / layout.LOCK, purpose, self.wait_seconds):
                yield

    def _names(self) -> list[str]:
        with explained("read", self.folder):
            try:
                return os.listdir(self.folder)
            except FileNotFoundError:
                return []

    def _path(self, number: int) -> Path:
        found = layout.index_versions(self._names())
        if number not in found:
            raise RegistryError(
                f"no version {number} of model {self.model_name} in {self.folder} "
                f"(there are: {', '.join(map(str, found)) or 'none'})."
            )
        return self.folder / found[number]

    def _manifest_or_none(self, path: Path) -> Manifest | None:
        try:
            return parse_manifest((path / layout.MANIFEST).read_bytes(), path)
        except (OSError, RegistryError):
            return None

    def _high_water(self) -> int:
        path = self.folder / layout.HIGH_WATER
        return layout.parse_high_water(path.read_text("utf-8", "replace")) if path.exists() else 0
