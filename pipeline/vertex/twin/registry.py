"""Models and endpoints of a rehearsal, kept in a JSON file from one to the next."""

from __future__ import annotations

import json
import os
import threading

from pipeline.vertex.twin.answers import Answer, Tree
from pipeline.vertex.twin.bucket import Buckets
from pipeline.vertex.twin.endpoints import Endpoints
from pipeline.vertex.twin.models import Models


class Registry:
    """Both services over one file, one request at a time.

    Args:
        path: the file; made if absent.
        parent: `projects/…/locations/…`.
        buckets: that models must be in.
    """

    def __init__(self, path: str, parent: str, buckets: Buckets) -> None:
        self._path, self._lock = path, threading.Lock()
        self._tree: dict[str, Tree] = {"models": {}, "endpoints": {}}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self._tree = json.load(file)
        self._models = Models(self._tree["models"], parent, buckets)
        self._endpoints = Endpoints(self._tree["endpoints"], parent, self._models)

    def answer(self, method: str, path: str, query: dict[str, str], body: Tree) -> Answer:
        """Status and JSON for a request; `path` begins behind the location: `models/trips@2`."""
        with self._lock:
            if path.startswith("models"):
                code, found = self._models.answer(method, path, body)
            else:
                code, found = self._endpoints.answer(method, path, query, body)
            if method != "GET" and code == 200:
                with open(self._path, "w", encoding="utf-8") as file:
                    json.dump(self._tree, file)
        return code, found
