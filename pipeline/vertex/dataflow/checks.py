"""What Dataflow would refuse, or would run otherwise than meant, of a job that was not sent.

https://cloud.google.com/dataflow/docs/request-quotas
https://cloud.google.com/compute/docs/labeling-resources
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pipeline import beam_options
from pipeline.config import BeamConfig
from pipeline.vertex import machines
from pipeline.vertex.dataflow.capture import Graph, environments
from pipeline.vertex.lint.finding import Finding

#: Of the request's JSON, and of the graph; a worker pool's size, with Dataflow's own shuffle.
REQUEST_BYTES = 20_000_000
GRAPH_BYTES = 10_000_000
WORKERS = 4000

#: Beam writes it for each job; nothing is installed from it.
_HARMLESS = {"submission_environment_dependencies.txt"}
_MAIN_SESSION = "pickled_main_session"

_LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")


def of_options(beam: BeamConfig) -> Iterator[Finding]:
    """Of the options alone: with one of these there is no graph to build."""
    for fault in beam_options.faults(beam):
        yield Finding("option", "", f"{fault.key} {fault.rule}", fault.remedy)
    options = beam.options
    region, subnetwork = options.get("region"), str(options.get("subnetwork") or "")
    there = re.search(r"regions/([^/]+)/", subnetwork)
    if there and there[1] != region:
        yield Finding(
            "subnetwork",
            "",
            f"the workers' subnetwork is in {there[1]}, and the job runs in {region}",
            "Name a subnetwork of that region in vertex.dataflow.subnetwork.",
        )
    machine = options.get("worker_machine_type") or options.get("machine_type")
    if machine and machines.limits(str(machine)) is None:
        yield Finding(
            "machine",
            "",
            f"{machine} is no known machine type",
            f"Known families: {', '.join(machines.FAMILIES)}, with -<processors> behind.",
        )
    most = options.get("max_num_workers")
    if isinstance(most, int) and most > WORKERS:
        yield Finding(
            "workers",
            "",
            f"max_num_workers is {most}, and a job gets {WORKERS} at most",
            "Lower vertex.dataflow.max_workers.",
        )


def of_graph(node: str, graph: Graph, image: str) -> Iterator[Finding]:
    """Of a node's job.

    Args:
        node: its id.
        graph: its job.
        image: that the workers are to run.
    """
    yield from _sizes(node, graph)
    job = graph.request["job"]
    if job["type"] != "JOB_TYPE_BATCH":
        yield Finding(
            "streaming",
            node,
            "it reads from a source that never ends: the job would stream, and never finish",
            "Bound its sources; take streaming out of beam.options.",
        )
    for other in environments(graph):
        if other != image:
            yield Finding(
                "image",
                node,
                f"steps of it would run in {other}, not in {image}",
                "Build every transform from this installation, without cross-language ones.",
            )
    yield from _labels(node, job)
    yield from _staged(node, graph)


def _sizes(node: str, graph: Graph) -> Iterator[Finding]:
    for check, size, limit, what in (
        ("request-size", graph.request_bytes, REQUEST_BYTES, "request"),
        ("graph-size", graph.pipeline_bytes, GRAPH_BYTES, "graph"),
    ):
        if size > limit:
            yield Finding(
                check,
                node,
                f"its {what} has {size / 1e6:.1f} MB, and Dataflow takes {limit / 1e6:.0f}",
                "Something large is pickled into a transform: read it in setup() instead.",
            )


def _labels(node: str, job: dict[str, Any]) -> Iterator[Finding]:
    for key, value in job.get("labels", {}).items():
        if not (_LABEL_KEY.fullmatch(key) and _LABEL_VALUE.fullmatch(str(value))):
            yield Finding(
                "label",
                node,
                f"the label {key}={value} must hold only a-z, 0-9, _ and -, at most 63 of them, "
                "and its key begin with a-z",
                "Change beam.options.labels.",
            )


def _staged(node: str, graph: Graph) -> Iterator[Finding]:
    """The worker image has everything; what is installed at a start is another version of it."""
    for name in sorted(set(graph.staged) - _HARMLESS):
        if name == _MAIN_SESSION:
            message = "it pickles the main session, which on Vertex is TFX's and not this project's"
            remedy = "Write no_save_main_session = true in beam.options, and no save_main_session."
        else:
            message = f"it uploads {name}, which every worker would install at its start"
            remedy = "Put it into the worker image, and take the option that names it out."
        yield Finding("staged", node, message, remedy)
