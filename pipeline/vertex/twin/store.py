"""The metadata that lasts from rehearsal to rehearsal: artifacts, cached results, ids of jobs.

A stand-in for Vertex ML Metadata, no more than pipelines see of it. SQLite, one writer at a time.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.vertex import filters

Artifact = dict[str, Any]

_TABLES = """
CREATE TABLE IF NOT EXISTS artifacts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, context TEXT, title TEXT, uri TEXT, state TEXT,
    metadata TEXT, type TEXT
);
CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, outputs TEXT);
CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY);
"""


class MetadataStore:
    """Artifacts by name, and results by cache key.

    An artifact is a dict: `name` (resource name), `uri`, `schema_title`, `type` (as in the spec),
    `state` (`PENDING`, `LIVE`), `metadata`.

    Args:
        path: SQLite file; made if absent.
        parent: resource name of the metadata store, which begins every artifact's name.
    """

    def __init__(self, path: str, parent: str) -> None:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        self._parent = parent
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        """Lets go of the file."""
        self._connection.close()

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def add(
        self,
        context: str,
        title: str,
        uri: str,
        *,
        kind: Mapping[str, Any],
        metadata: Mapping[str, Any],
        state: str = "PENDING",
    ) -> Artifact:
        """A new artifact; `context` is the pipeline's name, `kind` the type as in the spec."""
        with self._lock:
            cursor = self._connection.execute(
                "INSERT INTO artifacts (context, title, uri, state, metadata, type) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (context, title, uri, state, json.dumps(dict(metadata)), json.dumps(dict(kind))),
            )
            number = cursor.lastrowid
        return self._artifact(
            number, title, uri, state, json.dumps(dict(metadata)), json.dumps(kind)
        )

    def _artifact(
        self, number: Any, title: str, uri: str, state: str, metadata: str, kind: str
    ) -> Artifact:
        return {
            "name": f"{self._parent}/artifacts/{number}",
            "uri": uri,
            "schema_title": title,
            "state": state,
            "metadata": json.loads(metadata),
            "type": json.loads(kind),
        }

    def publish(self, artifact: Artifact, uri: str, metadata: Mapping[str, Any]) -> Artifact:
        """The artifact with what its task reported, from now on LIVE."""
        number = artifact["name"].rsplit("/", 1)[-1]
        self._all(
            "UPDATE artifacts SET uri = ?, metadata = ?, state = 'LIVE' WHERE id = ?",
            uri,
            json.dumps(dict(metadata)),
            number,
        )
        return {**artifact, "uri": uri, "metadata": dict(metadata), "state": "LIVE"}

    def latest(self, context: str, terms: Sequence[filters.Term]) -> Artifact | None:
        """The newest artifact of a pipeline that fits all terms."""
        rows = self._all(
            "SELECT id, title, uri, state, metadata, type FROM artifacts "
            "WHERE context = ? ORDER BY id DESC",
            context,
        )
        found = (self._artifact(*row) for row in rows)
        return next((each for each in found if filters.matches(list(terms), each)), None)

    def result(self, key: str) -> dict[str, list[Artifact]] | None:
        """Outputs that a task with this cache key had, if any."""
        rows = self._all("SELECT outputs FROM results WHERE key = ?", key)
        return json.loads(rows[0][0]) if rows else None

    def remember(self, key: str, outputs: Mapping[str, list[Artifact]]) -> None:
        """Keeps a task's outputs under its cache key."""
        self._all("REPLACE INTO results VALUES (?, ?)", key, json.dumps(dict(outputs)))

    def claim(self, job_id: str) -> bool:
        """Takes the id of a job; False if there was one already."""
        try:
            self._all("INSERT INTO jobs VALUES (?)", job_id)
        except sqlite3.IntegrityError:
            return False
        return True
