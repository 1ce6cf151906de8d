"""Vertex's model registry and endpoints, as far as a pushed model needs them.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.models
https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints
"""

from __future__ import annotations

import itertools
import json
import os
import threading
from typing import Any

Tree = dict[str, Any]
Answer = tuple[int, Any]

_TYPES = "type.googleapis.com/google.cloud.aiplatform.v1."


class Models:
    """Models and endpoints of a rehearsal, kept in a JSON file.

    Args:
        path: the file; made if absent.
        parent: `projects/…/locations/…`.
    """

    def __init__(self, path: str, parent: str) -> None:
        self._path, self._parent = path, parent
        self._lock = threading.Lock()
        self._tree: Tree = {"models": {}, "endpoints": {}}
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                self._tree = json.load(file)
        used = [int(name) for kind in self._tree.values() for name in kind]
        self._numbers = itertools.count(max(used, default=1000) + 1)

    def answer(self, method: str, path: str, query: dict[str, str], body: Tree) -> Answer:
        """Status and JSON for a request; `path` begins behind the location: `models/7`."""
        with self._lock:
            code, found = self._routed(method, path, query, body)
            if method != "GET" and code == 200:
                with open(self._path, "w", encoding="utf-8") as file:
                    json.dump(self._tree, file)
        return code, found

    def _routed(self, method: str, path: str, query: dict[str, str], body: Tree) -> Answer:
        name, _, verb = path.partition(":")
        kind, _, number = name.partition("/")
        number = number.partition("@")[0]
        if kind == "models" and verb == "upload":
            return 200, self._upload(body)
        if method == "GET" and not number:
            return 200, {kind: self._listed(kind, query.get("filter", ""))}
        if kind == "endpoints" and method == "POST" and not number:
            return 200, self._create(body)
        found = self._tree[kind].get(number)
        if found is None:
            return 404, {"error": {"code": 404, "message": f"{name} is not found."}}
        if verb == "deployModel":
            return 200, self._deploy(found, body)
        if verb == "undeployModel":
            return self._undeploy(found, body)
        if method == "PATCH":
            found.update({key: body[key] for key in ("trafficSplit", "displayName") if key in body})
        return 200, found

    def _listed(self, kind: str, text: str) -> list[Tree]:
        wanted = text.partition("=")[2].strip("\"'") if text.startswith("display_name") else None
        each = reversed(list(self._tree[kind].values()))
        return [item for item in each if wanted is None or item["displayName"] == wanted]

    def _operation(self, kind: str, response: Tree) -> Tree:
        return {
            "name": f"{self._parent}/operations/{next(self._numbers)}",
            "done": True,
            "response": {"@type": f"{_TYPES}{kind}", **response},
        }

    def _upload(self, body: Tree) -> Tree:
        model, parent = body["model"], body.get("parentModel", "")
        number = parent.rsplit("/", 1)[-1] or str(next(self._numbers))
        version = int(self._tree["models"].get(number, {}).get("versionId", "0")) + 1
        name = f"{self._parent}/models/{number}"
        self._tree["models"][number] = {**model, "name": name, "versionId": str(version)}
        return self._operation(
            "UploadModelResponse", {"model": name, "modelVersionId": str(version)}
        )

    def _create(self, body: Tree) -> Tree:
        number = str(next(self._numbers))
        endpoint = {**body, "name": f"{self._parent}/endpoints/{number}"}
        self._tree["endpoints"][number] = endpoint
        return self._operation("Endpoint", endpoint)

    def _deploy(self, endpoint: Tree, body: Tree) -> Tree:
        deployed = {**body["deployedModel"], "id": str(next(self._numbers))}
        endpoint.setdefault("deployedModels", []).append(deployed)
        split = body.get("trafficSplit", {})
        endpoint["trafficSplit"] = {
            deployed["id"] if key == "0" else key: share for key, share in split.items()
        }
        return self._operation("DeployModelResponse", {"deployedModel": deployed})

    def _undeploy(self, endpoint: Tree, body: Tree) -> Answer:
        number = body["deployedModelId"]
        split = {k: v for k, v in (body.get("trafficSplit") or {}).items() if v}
        if endpoint.get("trafficSplit", {}).get(number) and not split:
            message = f"deployed model {number} has traffic"
            return 400, {"error": {"code": 400, "message": message}}
        endpoint["deployedModels"] = [
            each for each in endpoint.get("deployedModels", []) if each["id"] != number
        ]
        endpoint["trafficSplit"] = {
            key: share
            for key, share in (split or endpoint.get("trafficSplit", {})).items()
            if key != number
        }
        return 200, self._operation("UndeployModelResponse", {})
