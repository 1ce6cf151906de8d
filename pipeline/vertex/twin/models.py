"""Vertex's model registry, as far as a pushed model needs it.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models
"""

from __future__ import annotations

import itertools
import os
import re

from pipeline.vertex.twin.answers import Answer, Tree, error, operation
from pipeline.vertex.twin.bucket import Buckets

_ID = re.compile(r"[a-z_][a-z0-9_-]{0,62}")
_ALIAS = re.compile(r"[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]")


class Models:
    """Models by id, each a list of versions; an alias belongs to one version of a model.

    Args:
        tree: id → versions, oldest first, as the API shows them; changed in place.
        parent: `projects/…/locations/…`.
        buckets: that artifacts must be in.
    """

    def __init__(self, tree: dict[str, list[Tree]], parent: str, buckets: Buckets) -> None:
        self._tree, self._parent, self._buckets = tree, parent, buckets
        self._numbers = itertools.count(1001)

    def answer(self, method: str, path: str, body: Tree) -> Answer:
        """Status and JSON for a request; `path` begins behind the location: `models/trips@2`."""
        name, _, verb = path.partition(":")
        number, _, version = name.partition("/")[2].partition("@")
        if verb == "upload":
            return self._upload(body)
        if method == "GET" and not number:
            return 200, {"models": [versions[-1] for versions in self._tree.values()]}
        if method == "GET" and verb == "listVersions" and number in self._tree:
            return 200, {"models": self._tree[number]}
        found = self.find(number, version)
        if found is None:
            return error(404, f"The Model {name} is not found.")
        return 200, found

    def find(self, number: str, version: str = "") -> Tree | None:
        """A version by its number or an alias."""
        wanted = version or "default"
        for each in self._tree.get(number, ()):
            if wanted == each["versionId"] or wanted in each["versionAliases"]:
                return each
        return None

    def _upload(self, body: Tree) -> Answer:
        model, parent = body["model"], body.get("parentModel", "").rsplit("/", 1)[-1]
        number = parent or body.get("modelId") or str(next(self._numbers))
        aliases = model.get("versionAliases", [])
        if parent and parent not in self._tree:
            return error(404, f"The parent Model {parent} is not found.")
        if not parent and number in self._tree:
            return error(409, f"The Model {number} already exists.")
        wrong = [alias for alias in aliases if not _ALIAS.fullmatch(alias)]
        if wrong or not (_ID.fullmatch(number) or number.isdigit()):
            return error(400, f"Not valid: model id {number!r}, version aliases {wrong}.")
        uri = model.get("artifactUri", "")
        if not os.path.isfile(os.path.join(self._buckets.local(uri), "saved_model.pb")):
            return error(
                400,
                f'Model directory "{uri}" is expected to contain exactly one of: '
                "[saved_model.pb, saved_model.pbtxt].",
            )
        versions = self._tree.setdefault(number, [])
        for each in versions:
            each["versionAliases"] = [old for old in each["versionAliases"] if old not in aliases]
        name, version = f"{self._parent}/models/{number}", str(len(versions) + 1)
        versions.append(
            {
                **model,
                "name": name,
                "versionId": version,
                "versionAliases": aliases if versions else sorted({*aliases, "default"}),
                "supportedDeploymentResourcesTypes": ["DEDICATED_RESOURCES"],
            }
        )
        told = {"model": name, "modelVersionId": version}
        return 200, operation(self._parent, "UploadModelResponse", told)
