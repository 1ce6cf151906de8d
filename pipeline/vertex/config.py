"""`[vertex]`: what Vertex AI Pipelines needs to know beside the pipeline itself.

Every key has a default, so that a configuration without the section stays valid; what a compile or
a submit cannot do without is asked for there, by `pipeline.vertex.prepare`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from models.config import Section

_LABEL = r"^[a-z0-9_-]{0,63}$"

LabelKey = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
LabelValue = Annotated[str, Field(pattern=_LABEL)]
Account = Annotated[str, Field(pattern=r"^(|[^@\s]+@[^@\s]+\.gserviceaccount\.com)$")]
Alias = Annotated[str, Field(pattern=r"^[a-z][a-zA-Z0-9-]{0,126}[a-z0-9]$")]
Bucket = Annotated[str, Field(pattern=r"^(|gs://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9](/\S*)?)$")]


class Machine(Section):
    """The machine of a node (`default`: of all others).

    Attributes:
        type: a Compute Engine machine type, such as `e2-standard-4`.
        accelerator: such as `NVIDIA_TESLA_T4`; none if empty.
        accelerators: how many of it.
    """

    type: str = "e2-standard-4"
    accelerator: str = ""
    accelerators: int = Field(default=1, ge=1, le=16)


class DataflowConfig(Section):
    """`[vertex.dataflow]`: for `beam.runner = "dataflow"`; `beam.options` win over it.

    Attributes:
        image: of the workers, as `make image TARGET=worker` builds it; with tag or digest.
        machine: machine type of the workers.
        max_workers: autoscaling goes up to this many.
        service_account: the workers run as; `vertex.service_account` if empty.
        subnetwork: `regions/…/subnetworks/…`; with it workers get no public addresses.
    """

    image: str = Field(default="", pattern=r"^\S*$")
    machine: str = "e2-standard-2"
    max_workers: int = Field(default=4, ge=1)
    service_account: Account = ""
    subnetwork: str = Field(
        default="", pattern=r"^(|(https://\S+/)?regions/[^/]+/subnetworks/\S+)$"
    )


class RegistryConfig(Section):
    """`[vertex.registry]`: the pushed model in Vertex's model registry, and on an endpoint.

    Attributes:
        model: id and name of the one model whose versions the pushed ones become; without it
            nothing is registered.
        image: serving container; it must load a SavedModel from `AIP_STORAGE_URI`, as Vertex's
            own TensorFlow images do.
        endpoint: display name of the endpoint, made if there is none; without it versions are
            registered and not deployed.
        traffic: per cent of the endpoint's requests for a new version; the others share the rest
            as they did. The first version gets all.
        machine: machine type of a replica.
        min_replicas, max_replicas: of a version; autoscaling stays between.
        keep_idle: newest versions without traffic that stay deployed, to go back to at once. Each
            costs its replicas.
        labels: of model and endpoint.
        aliases: that the newest version is called by, besides `default`.
    """

    model: str = Field(default="", pattern=r"^(|[a-z_][a-z0-9_-]{0,62})$")
    image: str = Field(default="", pattern=r"^\S*$")
    endpoint: str = Field(default="", pattern=r"^[^\"\\]{0,128}$")
    traffic: int = Field(default=100, ge=0, le=100)
    machine: str = "n1-standard-2"
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    keep_idle: int = Field(default=1, ge=0)
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=60)
    aliases: tuple[Alias, ...] = ()


class VertexConfig(Section):
    """`[vertex]`.

    Attributes:
        project: id of the Google Cloud project.
        region: where the pipeline runs, such as `europe-west4`.
        root: `gs://bucket/folder` for artifacts and for the reviewed schema.
        data_path: `data.path` as Vertex sees it; that one if empty.
        serving_path: `serving.path` as Vertex sees it; that one if empty.
        request_log: `drift.request_log` as Vertex sees it.
        image: container image of all tasks, with tag or digest.
        image_manifest: what the image's build wrote, `build/pipeline.manifest.json`; compared with
            this installation before a submit.
        service_account: the tasks run as.
        network: `projects/NUMBER/global/networks/NAME` to peer with.
        encryption_key: Cloud KMS key for everything the job makes.
        labels: of each job.
        parameters: values of runtime parameters; `span` is the one there is.
        schedule: cron expression that `submit --schedule` takes if none is given.
        max_concurrent_runs: of a schedule.
        failure_policy: after a failed task start no other (`fast`), or all that can run (`slow`).
        retries: further attempts at a task that failed or whose machine went away.
        cache: whether results of earlier jobs may be reused.
        machines: node → machine; `default` for the others.
    """

    project: str = Field(default="", pattern=r"^(|([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9])$")
    region: str = Field(default="", pattern=r"^(|[a-z]+-[a-z]+[0-9]+)$")
    root: Bucket = ""
    data_path: Bucket = ""
    serving_path: Bucket = ""
    request_log: Bucket = ""
    image: str = Field(default="", pattern=r"^\S*$")
    image_manifest: str = ""
    service_account: Account = ""
    network: str = Field(default="", pattern=r"^(|projects/[^/]+/global/networks/[^/]+)$")
    encryption_key: str = Field(
        default="",
        pattern=r"^(|projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+)$",
    )
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=60)
    parameters: dict[Literal["span"], str] = {}
    schedule: str = ""
    max_concurrent_runs: int = Field(default=1, ge=1)
    failure_policy: Literal["fast", "slow"] = "fast"
    retries: int = Field(default=2, ge=0, le=10)
    cache: bool = True
    machines: dict[str, Machine] = {}
    dataflow: DataflowConfig = DataflowConfig()
    registry: RegistryConfig = RegistryConfig()
