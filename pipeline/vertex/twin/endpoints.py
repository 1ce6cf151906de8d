"""Vertex's endpoints: which versions are deployed, and how requests are split between them.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints
"""

from __future__ import annotations

import itertools

from pipeline.vertex.twin.answers import Answer, Tree, error, operation
from pipeline.vertex.twin.models import Models

#: In a request, the key of the version that is being deployed.
_NEW = "0"


class Endpoints:
    """Endpoints by id.

    Args:
        tree: id → endpoint, as the API shows it; changed in place.
        parent: `projects/…/locations/…`.
        models: what can be deployed.
    """

    def __init__(self, tree: dict[str, Tree], parent: str, models: Models) -> None:
        self._tree, self._parent, self._models = tree, parent, models
        used = [
            int(number)
            for name, endpoint in tree.items()
            for number in (name, *(each["id"] for each in endpoint["deployedModels"]))
        ]
        self._numbers = itertools.count(max(used, default=1000) + 1)

    def answer(self, method: str, path: str, query: dict[str, str], body: Tree) -> Answer:
        """Status and JSON for a request; `path` begins behind the location: `endpoints/7`."""
        name, _, verb = path.partition(":")
        number = name.partition("/")[2]
        if method == "GET" and not number:
            wanted = query.get("filter", "").partition("=")[2].strip("\"'")
            each = self._tree.values()
            return 200, {"endpoints": [e for e in each if wanted in ("", e["displayName"])]}
        if method == "POST" and not number:
            return 200, self._create(body)
        found = self._tree.get(number)
        if found is None:
            return error(404, f"The Endpoint {number} is not found.")
        if verb == "deployModel":
            return self._deploy(found, body)
        if verb == "undeployModel":
            return self._undeploy(found, body)
        if method == "PATCH":
            return self._update(found, body)
        return 200, found

    def _create(self, body: Tree) -> Tree:
        number = str(next(self._numbers))
        name = f"{self._parent}/endpoints/{number}"
        self._tree[number] = {**body, "name": name, "deployedModels": [], "trafficSplit": {}}
        return operation(self._parent, "Endpoint", self._tree[number])

    def _deploy(self, endpoint: Tree, body: Tree) -> Answer:
        deployed = body["deployedModel"]
        model, _, version = deployed["model"].rsplit("/", 1)[-1].partition("@")
        found = self._models.find(model, version)
        if found is None:
            return error(404, f"The Model {model}@{version} is not found.")
        known = {each["id"] for each in endpoint["deployedModels"]}
        split = body.get("trafficSplit", {})
        refused = _refused(split, {*known, _NEW})
        if refused:
            return refused
        number = str(next(self._numbers))
        deployed = {
            **deployed, "id": number, "model": found["name"], "modelVersionId": found["versionId"]
        }  # fmt: skip
        endpoint["deployedModels"].append(deployed)
        endpoint["trafficSplit"] = {
            number if key == _NEW else key: share for key, share in split.items() if share
        }
        told = {"deployedModel": deployed}
        return 200, operation(self._parent, "DeployModelResponse", told)

    def _undeploy(self, endpoint: Tree, body: Tree) -> Answer:
        number = body["deployedModelId"]
        known = {each["id"] for each in endpoint["deployedModels"]} - {number}
        split = body.get("trafficSplit") or endpoint["trafficSplit"]
        if split.get(number) and known:
            return error(400, f"The deployed model {number} still has traffic.")
        split = {key: share for key, share in split.items() if share and key != number}
        refused = _refused(split, known) if known else None
        if refused:
            return refused
        endpoint["deployedModels"] = [
            each for each in endpoint["deployedModels"] if each["id"] != number
        ]
        endpoint["trafficSplit"] = split
        return 200, operation(self._parent, "UndeployModelResponse", {})

    def _update(self, endpoint: Tree, body: Tree) -> Answer:
        split = body.get("trafficSplit")
        if split is not None:
            refused = _refused(split, {each["id"] for each in endpoint["deployedModels"]})
            if refused:
                return refused
            endpoint["trafficSplit"] = {key: share for key, share in split.items() if share}
        return 200, endpoint


def _refused(split: dict[str, int], known: set[str]) -> Answer | None:
    """The rule that a split breaks."""
    if not split.keys() <= known:
        return error(400, f"Traffic for {sorted(split.keys() - known)}, which is not deployed.")
    if any(share < 0 for share in split.values()) or sum(split.values()) != 100:
        return error(400, f"The traffic split must add up to 100; it is {split}.")
    return None
