"""A pushed version in Vertex's model registry and on an endpoint: each step once, however often.

Everything is looked for before it is made, so that a run which was killed, or refused half-way, is
simply run again. The mark of a pushed version is an alias made of its number and its digest
(`pushed-7-3fa1b2c4d5e6`), which Vertex keeps unique within a model. A version that is deployed
already keeps the traffic it has: somebody may have given it more since, or taken it away.

One gap is left: who is killed while Google's side of an upload still works, and runs again before
that has ended, uploads twice. The alias then is the later one's.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from absl import logging
from google.api_core.exceptions import NotFound
from google.cloud import aiplatform

from pipeline.errors import RunError
from pipeline.vertex import api, traffic
from pipeline.vertex.api_errors import explained
from pipeline.vertex.config import VertexConfig
from serving.manifest import Manifest


@dataclass(frozen=True)
class Registration:
    """Where a pushed version is on Vertex.

    Attributes:
        model: resource name of the version, `projects/…/models/ID@VERSION`.
        uploaded: whether it was not there before.
        endpoint: resource name, `""` if versions are not deployed.
        deployed_model: its id on the endpoint.
        split: deployed id → per cent of the endpoint's requests.
        undeployed: ids that were taken from the endpoint.
    """

    model: str
    uploaded: bool
    endpoint: str = ""
    deployed_model: str = ""
    split: Mapping[str, int] = field(default_factory=dict)
    undeployed: tuple[str, ...] = ()


def register(vertex: VertexConfig, uri: str, manifest: Manifest) -> Registration:
    """Uploads and deploys a pushed version, as far as that is not done.

    Args:
        vertex: project, region, and what `[vertex.registry]` says.
        uri: `gs://…` of the version.
        manifest: of the version.

    Raises:
        ApiError: Google's API refuses; what is done stays, and is found by the next run.
        RunError: two endpoints have the name.
    """
    api.connect(vertex)
    model, uploaded = _uploaded(vertex, uri, manifest)
    name = str(model.versioned_resource_name)
    if not vertex.registry.endpoint:
        return Registration(name, uploaded)
    endpoint = _endpoint(vertex)
    deployed = _deployed(vertex, endpoint, model)
    gone = _retired(vertex, endpoint, deployed)
    with _told(f"look at {vertex.registry.endpoint}", vertex):
        split = dict(endpoint.traffic_split)
    return Registration(name, uploaded, endpoint.resource_name, deployed, split, gone)


def alias_of(manifest: Manifest) -> str:
    """What marks a pushed version in the registry."""
    return f"pushed-{manifest.version}-{manifest.model_sha256[:12]}"


def _uploaded(vertex: VertexConfig, uri: str, manifest: Manifest) -> tuple[Any, bool]:
    registry, alias = vertex.registry, alias_of(manifest)
    with _told(f"upload version {manifest.version} to the model registry", vertex):
        found = _model(registry.model, alias)
        if found is not None:
            logging.info("Registered before as %s.", found.versioned_resource_name)
            return found, False
        parent = _model(registry.model)
        model = aiplatform.Model.upload(
            display_name=registry.model,
            # The first version names the model; the others are told whose versions they are.
            **({"parent_model": parent.resource_name} if parent else {"model_id": registry.model}),
            artifact_uri=uri,
            serving_container_image_uri=registry.image,
            is_default_version=True,
            version_aliases=[alias, *registry.aliases],
            version_description=_description(manifest),
            labels=dict(registry.labels),
        )
    logging.info("Registered as %s.", model.versioned_resource_name)
    return model, True


def _model(name: str, version: str | None = None) -> Any:
    try:
        return aiplatform.Model(name, version=version)
    except NotFound:
        return None


def _description(manifest: Manifest) -> str:
    parts = {"span": manifest.span, "run": manifest.run_id, "sha256": manifest.model_sha256}
    told = ", ".join(f"{key} {value}" for key, value in parts.items() if value)
    return f"{manifest.model_name} version {manifest.version}: {told}"


def _endpoint(vertex: VertexConfig) -> Any:
    name = vertex.registry.endpoint
    with _told(f"find the endpoint {name}", vertex):
        found = aiplatform.Endpoint.list(filter=f'display_name="{name}"')
    if len(found) > 1:
        names = ", ".join(each.resource_name for each in found)
        raise RunError(
            f"vertex.registry.endpoint: {len(found)} endpoints are called {name!r} ({names}). "
            "Delete or rename all but one."
        )
    if found:
        return found[0]
    with _told(f"make the endpoint {name}", vertex):
        return aiplatform.Endpoint.create(display_name=name, labels=dict(vertex.registry.labels))


def _ours(vertex: VertexConfig, endpoint: Any) -> dict[str, int]:
    """Deployed id → version of our model; other models on the endpoint are left alone.

    By the model's id alone: answers name the project by its number.
    """
    return {
        each.id: int(each.model_version_id)
        for each in endpoint.list_models()
        if each.model.rsplit("/", 1)[-1].partition("@")[0] == vertex.registry.model
    }


def _deployed(vertex: VertexConfig, endpoint: Any, model: Any) -> str:
    registry, version = vertex.registry, int(model.version_id)
    with _told(f"deploy {registry.model}@{version} to {registry.endpoint}", vertex):
        for name, number in _ours(vertex, endpoint).items():
            if number == version:
                logging.info("Deployed before as %s; its traffic stays as it is.", name)
                return name
        split = traffic.with_new(dict(endpoint.traffic_split), registry.traffic)
        endpoint.deploy(
            model,
            deployed_model_display_name=f"{registry.model}-{version}",
            traffic_split=split,
            machine_type=registry.machine,
            min_replica_count=registry.min_replicas,
            max_replica_count=registry.max_replicas,
        )
        (name,) = (key for key, number in _ours(vertex, endpoint).items() if number == version)
    logging.info("Deployed as %s with %d %% of the traffic.", name, split[traffic.NEW])
    return name


def _retired(vertex: VertexConfig, endpoint: Any, deployed: str) -> tuple[str, ...]:
    """Takes idle versions from the endpoint, and the one just deployed never."""
    with _told(f"look at {vertex.registry.endpoint}", vertex):
        others = {key: value for key, value in _ours(vertex, endpoint).items() if key != deployed}
        split = dict(endpoint.traffic_split)
    gone = traffic.idle_beyond(others, split, vertex.registry.keep_idle)
    for name in gone:
        with _told(f"undeploy {name} from {vertex.registry.endpoint}", vertex):
            endpoint.undeploy(name)
        logging.info("Undeployed %s, which had no traffic.", name)
    return tuple(gone)


def _told(doing: str, vertex: VertexConfig) -> AbstractContextManager[None]:
    account = vertex.service_account or "the account that runs this task"
    again = "Then run again: the model is pushed already, and only what is missing is done."
    return explained(
        doing,
        vertex,
        {
            400: "Check [vertex.registry]: image, machine, replicas, labels, aliases.",
            403: f"Give {account} roles/aiplatform.user on {vertex.project}. {again}",
            404: "Somebody has deleted it in the meantime. Run again.",
            409: "Another run registers at the same moment. Wait for its end and run again.",
            429: f"A quota of {vertex.project} in {vertex.region} is used up: of requests, or of "
            f"processors for {vertex.registry.machine} on endpoints. Ask for more under IAM & "
            f"Admin, Quotas, or undeploy what is idle. {again}",
        },
    )
