"""What the parts of a running job share, and what becomes of its tasks."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.vertex.twin.bucket import Buckets
from pipeline.vertex.twin.faults import Faults
from pipeline.vertex.twin.processes import Processes
from pipeline.vertex.twin.store import MetadataStore

Tree = dict[str, Any]
Artifacts = dict[str, list[Tree]]


def now() -> str:
    """The moment, as the API writes it."""
    return dt.datetime.now(dt.UTC).isoformat().replace("+00:00", "Z")


class TaskFailed(Exception):
    """A task ended badly; the text is what the API says of it."""


@dataclass
class Outcome:
    """What became of a task: its state, and what those after it can take."""

    state: str
    artifacts: Artifacts = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass
class Machinery:
    """What all jobs of a service share.

    Attributes:
        store: metadata.
        buckets: folders behind gs://.
        processes: runs commands.
        faults: what is to go wrong.
        environment: of every task.
        logs: folder for the logs of tasks, one file a custom job.
        parallel: tasks that may run at a time.
    """

    store: MetadataStore
    buckets: Buckets
    processes: Processes
    faults: Faults
    environment: Mapping[str, str]
    logs: str
    parallel: int = 2


class Job:
    """A job that runs.

    Args:
        resource: the PipelineJob as it was sent, with `name`.
        machinery: shared.

    Attributes:
        spec: its pipeline.
        name: resource name; `project`, `region` and `id` are parts of it.
        root: `gs://…` below which its tasks write.
        created: when, as the API writes it.
        lock: of what threads of the job share, `pids` and the details of tasks.
        pids: processes that run.
        stopping: set once it is to be cancelled.
    """

    def __init__(self, resource: Tree, machinery: Machinery) -> None:
        self.machinery = machinery
        self.spec: Tree = resource["pipelineSpec"]
        self.name: str = resource["name"]
        parts = self.name.split("/")
        self.project, self.region, self.id = parts[1], parts[3], parts[5]
        self.root: str = resource["runtimeConfig"].get("gcsOutputDirectory", "").rstrip("/")
        self.created = now()
        self.lock = threading.Lock()
        self.pids: set[int] = set()
        self.stopping = threading.Event()

    @property
    def context(self) -> str:
        """The pipeline's name, below which its metadata is kept."""
        return str(self.spec["pipelineInfo"]["name"])
