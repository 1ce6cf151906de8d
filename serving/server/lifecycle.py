"""Keeps what is loaded in step with what should be: loads, retries, hot swaps, unloads.

* A version is loaded while the one before it still answers, and that one is unloaded after.
* Loads, retries and unloads run in a few threads of their own: a bad or slow version delays
  neither another model's versions nor requests.
* A failed load is tried again some times, and whenever the version's folder has changed since: a
  folder seen half copied becomes available soon after it is complete.
* A request pins its version; unloading waits for the last one.
* Entries of versions that ended stay for as long as the process runs.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

from serving.server.errors import Code, ServingError, cut
from serving.server.versions import (
    AVAILABLE,
    END,
    LOADING,
    START,
    UNLOADING,
    Entry,
    VersionStatus,
    next_step,
)

if TYPE_CHECKING:
    from serving.server.saved_model import LoadedModel

#: Name, version, folder -> a model that is ready to answer.
Loader = Callable[[str, int, str], "LoadedModel"]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """What follows a failed load.

    Attributes:
        retries: further attempts.
        interval: seconds between them.
    """

    retries: int = 5
    interval: float = 2.0


class Lease:
    """Pins a version for a `with` block."""

    __slots__ = ("_entry", "_manager")

    def __init__(self, manager: Manager, entry: Entry) -> None:
        self._manager = manager
        self._entry = entry

    def __enter__(self) -> LoadedModel:
        servable = self._entry.servable
        assert servable is not None
        return servable

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._manager.release(self._entry)


class Manager:
    """Loads and unloads versions so that what is served follows what is aspired. Thread-safe."""

    def __init__(
        self,
        loader: Loader,
        *,
        retry: RetryOptions | None = None,
        load_threads: int = 4,
        unload_threads: int = 1,
        fingerprint: Callable[[str], object] = lambda path: None,
        on_load: Callable[[str, int, float, bool], None] | None = None,
        released: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the threads.

        Args:
            loader: name, version, folder -> a model that is ready to answer, warm-up included.
            retry: what follows a failed load.
            load_threads: loads that run at a time.
            unload_threads: unloads that run at a time.
            fingerprint: folder -> something that differs after a change of its files.
            on_load: told model, version, seconds and success of each attempt.
            released: called after each unload.
        """
        self._loader = loader
        self._retry = retry or RetryOptions()
        self._fingerprint = fingerprint
        self._on_load = on_load
        self._released = released
        self._changed = threading.Condition()
        self._entries: dict[str, dict[int, Entry]] = {}
        self._stopped = False
        self._loads = ThreadPoolExecutor(load_threads, "load")
        self._unloads = ThreadPoolExecutor(unload_threads, "unload")
        threading.Thread(target=self._retries, name="load-retries", daemon=True).start()

    def aspire(self, name: str, versions: Mapping[int, str]) -> None:
        """Says which versions of a model should be served, replacing what was said before.

        Args:
            name: of the model.
            versions: number -> folder. Empty: none, unload all.
        """
        with self._changed:
            entries = self._entries.setdefault(name, {})
            for version, entry in entries.items():
                if version not in versions:
                    self._abandon(entry)
            for version, path in versions.items():
                known = entries.get(version)
                if known is None or (known.state == END and not known.aspired):
                    entries[version] = Entry(name, version, path)
                else:
                    known.aspired = True
            self._advance(name)
            self._changed.notify_all()

    def reexamine(self) -> None:
        """Loads failed versions again whose folders have changed since the last attempt."""
        with self._changed:
            failed = [
                entry
                for entries in self._entries.values()
                for entry in entries.values()
                if entry.aspired and entry.failures and entry.state in (LOADING, END)
            ]
        for entry in failed:
            now = self._fingerprint(entry.path)
            with self._changed:
                if now == entry.fingerprint or not entry.aspired:
                    continue
                if entry.state == END:
                    self._entries[entry.name][entry.version] = entry.fresh()
                    self._advance(entry.name)
                elif entry.next_attempt is not None:
                    entry.failures = 0
                    self._submit_load(entry)
                self._changed.notify_all()

    def lease(self, name: str, version: int | None = None) -> Lease:
        """Pins a version, the highest available one by default.

        Raises:
            ServingError: NOT_FOUND, it is not available.
        """
        with self._changed:
            entries = self._entries.get(name, {})
            if version is not None:
                entry = entries.get(version)
            else:
                ready = [number for number, e in entries.items() if e.state == AVAILABLE]
                entry = entries[max(ready)] if ready else None
            if entry is None or entry.state != AVAILABLE:
                wanted = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise ServingError(Code.NOT_FOUND, f"Servable not found for request: {wanted}")
            entry.pins += 1
            return Lease(self, entry)

    def release(self, entry: Entry) -> None:
        """Ends a lease."""
        with self._changed:
            entry.pins -= 1
            if not entry.pins and entry.state == UNLOADING:
                self._submit_unload(entry)

    def statuses(self, name: str) -> list[VersionStatus]:
        """All versions ever wanted, highest first."""
        with self._changed:
            entries = self._entries.get(name, {})
            return [entries[version].status() for version in sorted(entries, reverse=True)]

    def names(self) -> list[str]:
        """All models ever wanted."""
        with self._changed:
            return sorted(self._entries)

    def wait(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Waits until `done`, which is asked after each change; False after `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(done, timeout)

    def stop(self) -> None:
        """Starts no more loads and closes what is loaded, once nobody uses it."""
        with self._changed:
            self._stopped = True
            for name in self._entries:
                for entry in self._entries[name].values():
                    self._abandon(entry)
                self._advance(name)
            self._changed.notify_all()
        self._loads.shutdown(wait=False, cancel_futures=True)

    def _abandon(self, entry: Entry) -> None:
        entry.aspired = False
        if entry.state == START or entry.next_attempt is not None:
            entry.next_attempt = None
            entry.state = END

    def _advance(self, name: str) -> None:
        """Takes every step that the versions of a model allow now."""
        entries = self._entries[name].values()
        while (step := next_step(entries)) is not None:
            state, entry = step
            if state == UNLOADING:
                self._set(entry, UNLOADING)
                if not entry.pins:
                    self._submit_unload(entry)
            elif self._stopped:
                return
            else:
                self._set(entry, LOADING)
                self._submit_load(entry)

    def _set(self, entry: Entry, state: str, code: Code = Code.OK, message: str = "") -> None:
        entry.state, entry.code, entry.message = state, code, message
        _LOG.info("%s is %s%s", entry, state, f": {code.name}: {message}" if code else "")
        self._changed.notify_all()

    def _submit_load(self, entry: Entry) -> None:
        entry.next_attempt = None
        if not self._stopped:
            self._loads.submit(self._load, entry)

    def _submit_unload(self, entry: Entry) -> None:
        self._unloads.submit(self._unload, entry)

    def _load(self, entry: Entry) -> None:
        before = self._fingerprint(entry.path)
        started = time.monotonic()
        servable, error = None, None
        try:
            servable = self._loader(entry.name, entry.version, entry.path)
        except ServingError as failure:
            error = failure
        except Exception as failure:  # noqa: BLE001 - a load of somebody's files may fail in any way
            _LOG.exception("loading %s", entry)
            error = ServingError(Code.INTERNAL, f"{type(failure).__name__}: {failure}")
        changed = self._fingerprint(entry.path) != before
        if servable is not None and changed and entry.failures < self._retry.retries:
            # Somebody still writes there: what was read may be half of something.
            servable.close()
            servable = None
            error = ServingError(
                Code.UNAVAILABLE, f"the files in {entry.path} changed while they were loaded"
            )
        if self._on_load is not None:
            seconds = time.monotonic() - started
            self._on_load(entry.name, entry.version, seconds, servable is not None)
        with self._changed:
            entry.fingerprint = before
            if servable is not None:
                entry.servable = servable
                self._set(entry, AVAILABLE)
            else:
                assert error is not None
                self._failed(entry, error)
            self._advance(entry.name)

    def _failed(self, entry: Entry, error: ServingError) -> None:
        entry.failures += 1
        _LOG.warning(
            "loading %s from %s failed (attempt %d of %d): %s",
            entry, entry.path, entry.failures, self._retry.retries + 1, error,
        )  # fmt: skip
        if entry.aspired and entry.failures <= self._retry.retries:
            entry.next_attempt = time.monotonic() + self._retry.interval
            self._changed.notify_all()
        else:
            self._set(entry, END, error.code, cut(error.message))

    def _unload(self, entry: Entry) -> None:
        servable = entry.servable
        entry.servable = None
        if servable is not None:
            try:
                servable.close()
            except Exception:  # noqa: BLE001 - it is gone either way
                _LOG.exception("unloading %s", entry)
        del servable
        self._released()
        with self._changed:
            self._set(entry, END)
            # It may have been aspired again meanwhile.
            if entry.aspired:
                self._entries[entry.name][entry.version] = entry.fresh()
            self._advance(entry.name)

    def _retries(self) -> None:
        with self._changed:
            while not self._stopped:
                waiting = [
                    entry
                    for entries in self._entries.values()
                    for entry in entries.values()
                    if entry.next_attempt is not None
                ]
                now = time.monotonic()
                due = [e for e in waiting if (e.next_attempt or 0.0) <= now]
                for entry in due:
                    self._submit_load(entry)
                times = [e.next_attempt for e in waiting if e.next_attempt is not None]
                self._changed.wait(max(0.01, min(times) - now) if times else None)
