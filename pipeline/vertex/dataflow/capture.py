"""What Beam would send to Dataflow, without sending it.

Beam's own DataflowRunner translates the pipeline and its own client describes the job; only what
would leave this machine is left out: clients, credentials, uploads.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, TestOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.dataflow.internal import apiclient
from apache_beam.runners.internal import names
from google.cloud import dataflow_v1beta3

Tree = dict[str, Any]


@dataclass(frozen=True)
class Graph:
    """A job as Dataflow's API would get it.

    Attributes:
        request: `CreateJobRequest` as JSON.
        request_bytes: size of that JSON.
        pipeline: Beam's portable pipeline, after the runner's own changes to it.
        pipeline_bytes: size of it, serialized; that file is uploaded next to the request.
        staged: name → size in bytes of each other file that would be uploaded.
    """

    request: Tree
    request_bytes: int
    pipeline: Any
    pipeline_bytes: int
    staged: dict[str, int] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Transforms that do something; composite ones only hold others."""
        transforms = self.pipeline.components.transforms.values()
        return sum(1 for each in transforms if each.spec.urn and not each.subtransforms)

    @property
    def pool(self) -> Tree:
        """The pool of workers, as the API's JSON has it."""
        pools = self.request["job"]["environment"]["workerPools"]
        return dict(pools[0])


class Captured(Exception):
    """Raised where the job would have been sent, so that nothing after it runs.

    Attributes:
        graph: the job.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__("the graph is captured; nothing was sent")
        self.graph = graph


class _Describer(apiclient.DataflowApplicationClient):  # type: ignore[misc]
    """Describes jobs as its base does; notes files instead of uploading them."""

    def __init__(self, options: PipelineOptions, root: str) -> None:
        # Not the base's: it asks for credentials and opens channels.
        self._root_staging_location = root
        self._enable_caching = False
        self._sdk_image_overrides = self._get_sdk_image_overrides(options)
        self.environment_version = apiclient._FNAPI_ENVIRONMENT_MAJOR_VERSION
        self.staged: dict[str, int] = {}

    def stage_file(
        self,
        gcs_or_local_path: str,
        file_name: str,
        stream: Any,
        mime_type: str = "",
        total_size: int | None = None,
    ) -> None:
        del gcs_or_local_path, mime_type
        self.staged[file_name] = len(stream.read()) if total_size is None else total_size


class DataflowRunner(dataflow_runner.DataflowRunner):  # type: ignore[misc]
    """Raises `Captured` instead of running.

    Beam's validator knows Dataflow by the name of the runner's class; under another it would leave
    out all that it checks for Dataflow alone.
    """

    def run_pipeline(self, pipeline: Any, options: PipelineOptions, **unused: Any) -> Any:
        del unused
        # `dry_run` makes Beam's runner stop where it would make a client.
        job = super().run_pipeline(pipeline, options).job
        options.view_as(TestOptions).dry_run = False  # it is no part of the job
        raise Captured(_described(job))


def _described(job: Any) -> Graph:
    describer = _Describer(job.options, job.root_staging_location)
    describer.create_job_description(job)
    cloud = job.google_cloud_options
    # The types of the API's own package refuse a field or an enum that it does not have.
    request = dataflow_v1beta3.CreateJobRequest(
        project_id=cloud.project, location=cloud.region, job=job.proto
    )
    text = dataflow_v1beta3.CreateJobRequest.to_json(
        request, including_default_value_fields=False, use_integers_for_enums=False, indent=None
    )
    size = describer.staged.pop(names.STAGED_PIPELINE_FILENAME)
    return Graph(json.loads(text), len(text.encode()), job.proto_pipeline, size, describer.staged)


def make_pipeline(arguments: Callable[[], list[str]]) -> Callable[[], beam.Pipeline]:
    """What to give a TFX executor as `make_beam_pipeline_fn`: its pipeline raises `Captured`.

    Args:
        arguments: Beam's, asked when the executor makes its pipeline; it adds labels to them.
    """

    def make() -> beam.Pipeline:
        # Said before Beam validates, which else asks the bucket about its soft-delete policy.
        options = PipelineOptions([*arguments(), "--dry_run=True"])
        return beam.Pipeline(runner=DataflowRunner(), options=options)

    return make


def environments(graph: Graph) -> list[str]:
    """Images that the steps run in."""
    payloads = (
        beam_runner_api_pb2.DockerPayload.FromString(each.payload)
        for each in graph.pipeline.components.environments.values()
    )
    return sorted({payload.container_image for payload in payloads})
