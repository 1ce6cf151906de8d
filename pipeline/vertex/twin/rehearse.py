"""`headrace vertex rehearse`: the compiled job, sent to a service on this machine that runs it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pipeline import files
from pipeline.config import Config
from pipeline.vertex import api, jobs, prepare
from pipeline.vertex.jobs import JobStatus, Task
from pipeline.vertex.twin.bucket import Buckets
from pipeline.vertex.twin.engine import Machinery
from pipeline.vertex.twin.faults import Faults
from pipeline.vertex.twin.processes import Processes
from pipeline.vertex.twin.service import Service
from pipeline.vertex.twin.store import MetadataStore

#: Between two looks at a job: nobody else asks this service.
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Twin:
    """A running twin.

    Attributes:
        service: the API.
        buckets: folders behind gs://.
        store: metadata.
        processes: runs commands.
        faults: what is to go wrong.
    """

    service: Service
    buckets: Buckets
    store: MetadataStore
    processes: Processes
    faults: Faults


def folder_of(config: Config) -> str:
    """Where a twin keeps its buckets, metadata and logs."""
    return os.path.join(config.output, "vertex")


@contextlib.contextmanager
def twin(config: Config, faults: Faults | None = None) -> Iterator[Twin]:
    """A twin of the project and region in the configuration.

    While it lives, Google's clients in this process and in its tasks talk to it. Local data is seen
    at `vertex.data_path`.

    Raises:
        RunError: the data's folder is not there.
    """
    folder, vertex = folder_of(config), config.vertex
    logs = os.path.join(folder, "logs")
    os.makedirs(logs, exist_ok=True)
    buckets = Buckets(os.path.join(folder, "gs"))
    for uri in (vertex.root, prepare.data_path(config), vertex.serving_path or config.serving.path):
        buckets.create(uri.removeprefix("gs://").split("/")[0])
    if vertex.data_path and files.is_local(config.data.path):
        buckets.mount(vertex.data_path, config.data.path)
    parent = f"projects/{vertex.project}/locations/{vertex.region}/metadataStores/default"
    store = MetadataStore(os.path.join(folder, "metadata.db"), parent)
    faults = faults or Faults()
    with contextlib.ExitStack() as stack:
        stack.callback(store.close)
        processes = stack.enter_context(Processes(os.path.join(logs, "worker.log")))
        environment: dict[str, str] = {}
        machinery = Machinery(store, buckets, processes, faults, environment, logs)
        service = stack.enter_context(Service(machinery, vertex.project, vertex.region, folder))
        environment |= {
            api.EMULATOR: service.address,
            "STORAGE_EMULATOR_HOST": service.address,
            "GOOGLE_CLOUD_PROJECT": vertex.project,
        }
        stack.enter_context(_environment(environment))
        yield Twin(service, buckets, store, processes, faults)


@contextlib.contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def rehearse(
    config: Config,
    job: dict[str, Any],
    *,
    span: str | None,
    job_id: str,
    watch: Callable[[Task], None] = lambda task: None,
) -> JobStatus:
    """Submits a job to the twin that is running, and waits for its end.

    Raises:
        ApiError: the twin refuses the job.
    """
    jobs.submit(config, job, span=span, job_id=job_id)
    return jobs.wait(config, job_id, watch, poll_seconds=_POLL_SECONDS)
