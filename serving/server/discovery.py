"""From folders to versions that should be served: scans base paths, applies version policies.

Each model is scanned on its own: a base path that is missing changes nothing for that model and
nothing at all for the others.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from serving.layout import SAVED_MODEL_FILES, index_versions
from serving.server.errors import Code, ServingError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Policy:
    """Which of the versions present should be served.

    Attributes:
        latest: so many of the highest numbers; None: see the others.
        specific: these numbers; None: all.
    """

    latest: int | None = 1
    specific: frozenset[int] | None = None

    def choose(self, found: Mapping[int, str]) -> dict[int, str]:
        """The versions to serve, of those found (number -> folder)."""
        if self.latest is not None:
            return {number: found[number] for number in sorted(found)[-self.latest :]}
        if self.specific is not None:
            return {number: found[number] for number in sorted(self.specific & found.keys())}
        return dict(found)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a model's versions are.

    Attributes:
        name: of the model.
        base_path: of the folder with a folder per version; absolute, or a URI.
        policy: which of them to serve.
    """

    name: str
    base_path: str
    policy: Policy = Policy()


def scan(source: Source) -> dict[int, str]:
    """Version number -> folder of the versions that should be served now.

    Raises:
        ServingError: NOT_FOUND, the base path cannot be listed.
    """
    try:
        names = _listdir(source.base_path)
    except OSError as error:
        raise ServingError(
            Code.NOT_FOUND,
            f"Could not find base path {source.base_path} for servable {source.name}: {error}",
        ) from error
    found = {
        number: os.path.join(source.base_path, name)
        for number, name in index_versions(names).items()
    }
    return source.policy.choose(found)


def fingerprint(path: str) -> object:
    """Something that differs once a file under a local folder was added, removed or written."""
    files = []
    for folder, _, names in os.walk(path):
        for name in names:
            file = os.path.join(folder, name)
            try:
                stat = os.stat(file)
            except OSError:  # removed meanwhile
                continue
            files.append((file, stat.st_size, stat.st_mtime_ns))
    return tuple(sorted(files))


class Watcher:
    """Scans base paths again and again, and says what should be served."""

    def __init__(
        self,
        aspire: Callable[[str, Mapping[int, str]], None],
        reexamine: Callable[[], None],
        poll_seconds: float,
    ) -> None:
        """Nothing is scanned before `start`.

        Args:
            aspire: told a model's name and versions after each scan.
            reexamine: called once after each round of scans.
            poll_seconds: between two rounds; 0: scan what is new once; below 0: never scan.
        """
        self._aspire = aspire
        self._reexamine = reexamine
        self._poll_seconds = poll_seconds
        self._sources: dict[str, Source] = {}
        self._said: dict[str, str] = {}
        # One round at a time, so that an old scan cannot overwrite a newer one.
        self._round = threading.Lock()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Scans from now on, in a thread of its own."""
        if self._poll_seconds > 0:
            threading.Thread(target=self._poll, name="file-system-poll", daemon=True).start()

    def stop(self) -> None:
        """Scans no more."""
        self._stopped.set()

    def watch(self, sources: Iterable[Source]) -> None:
        """Watches these models and no others; new and changed ones are scanned at once."""
        with self._round:
            old, self._sources = self._sources, {source.name: source for source in sources}
            for name in old.keys() - self._sources.keys():
                self._said.pop(name, None)
                self._aspire(name, {})
            if self._poll_seconds >= 0:
                for name, source in self._sources.items():
                    if source != old.get(name):
                        self._scan(source)

    def scan_all(self) -> None:
        """One round."""
        with self._round:
            for source in self._sources.values():
                self._scan(source)
        self._reexamine()

    def problem(self, name: str) -> str:
        """Why a model has no versions to serve, as of its last scan; "" if it has some."""
        return self._said.get(name, "")

    def _poll(self) -> None:
        while not self._stopped.wait(self._poll_seconds):
            try:
                self.scan_all()
            except Exception:  # noqa: BLE001 - one bad round must not end all later ones
                _LOG.exception("scanning the base paths")

    def _scan(self, source: Source) -> None:
        try:
            versions = scan(source)
        except ServingError as error:
            self._say(source, error.message)
            return
        missing = (source.policy.specific or frozenset()) - versions.keys()
        if not versions and source.policy.specific is None:
            self._say(
                source,
                f"No versions of servable {source.name} found under base path {source.base_path}. "
                + _hint(source.base_path),
            )
        elif missing or source.policy.specific == frozenset():
            self._say(
                source,
                f"Version(s) {sorted(missing)} of servable {source.name}, requested by its "
                f"version policy, are not under base path {source.base_path}.",
            )
        else:
            self._said.pop(source.name, None)
        self._aspire(source.name, versions)

    def _say(self, source: Source, problem: str) -> None:
        """Warns once for as long as the problem stays the same."""
        if self._said.get(source.name) != problem:
            self._said[source.name] = problem
            _LOG.warning("%s", problem)


def _hint(base_path: str) -> str:
    if any(os.path.exists(os.path.join(base_path, name)) for name in SAVED_MODEL_FILES):
        return "It is a version itself: give the folder above it, and a number as its name."
    return "Did you forget to name the folder of a version with a number?"


def _listdir(path: str) -> list[str]:
    if "://" not in path:
        return os.listdir(path)
    import tensorflow as tf

    try:
        names: list[str] = tf.io.gfile.listdir(path)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error
    return [name.rstrip("/") for name in names]
