"""`headrace vertex dataflow`: every job that the pipeline would give Dataflow, and what is wrong.

Importing this module costs seconds (TFX).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from pipeline import files
from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.vertex import prepare
from pipeline.vertex.dataflow import checks
from pipeline.vertex.dataflow.capture import Graph
from pipeline.vertex.dataflow.components import graphs
from pipeline.vertex.lint.finding import Finding


@dataclass(frozen=True)
class Component:
    """A component's job, in figures.

    Attributes:
        node: id of the node.
        steps: transforms that do something.
        graph_bytes: size of the portable pipeline.
        request_bytes: size of the request's JSON.
        image: that the workers run.
        machine: type of a worker; Dataflow's default if empty.
        autoscaling: algorithm, as the API names it.
        max_workers: most workers; 0 if Dataflow decides.
        request: `CreateJobRequest`, as it would be sent.
    """

    node: str
    steps: int
    graph_bytes: int
    request_bytes: int
    image: str
    machine: str
    autoscaling: str
    max_workers: int
    request: dict[str, Any] = field(repr=False)


def dry_run(
    config: Config,
    chosen: Collection[str] = (),
    told: Callable[[str], None] = lambda node: None,
) -> tuple[list[Component], list[Finding]]:
    """Builds and checks; sends nothing and asks nobody.

    Args:
        config: as it is written; what it says of Dataflow counts, whatever `beam.runner` says.
        chosen: nodes to look at; all if empty.
        told: is told a node before its graph is built.

    Raises:
        ConfigError: the configuration cannot run on Vertex.
        RunError: no run here has what the components read, or a node is none of Beam's.
    """
    beam = prepare.view(prepare.for_dataflow(config)).beam
    found = list(checks.of_options(beam))
    if found:
        return [], found
    image = str(beam.options["sdk_container_image"])
    components = []
    for node, graph in graphs(config.model_copy(update={"beam": beam}), chosen, told):
        if isinstance(graph, Finding):
            found.append(graph)
            continue
        components.append(_component(node, graph))
        found.extend(checks.of_graph(node, graph, image))
    return components, found


def _component(node: str, graph: Graph) -> Component:
    pool = graph.pool
    scaling = pool.get("autoscalingSettings", {})
    return Component(
        node=node,
        steps=graph.steps,
        graph_bytes=graph.pipeline_bytes,
        request_bytes=graph.request_bytes,
        image=pool["workerHarnessContainerImage"],
        machine=pool.get("machineType", ""),
        autoscaling=scaling.get("algorithm", "AUTOSCALING_ALGORITHM_BASIC"),
        max_workers=scaling.get("maxNumWorkers", 0),
        request=graph.request,
    )


def write(components: list[Component], folder: str) -> None:
    """Writes each request as `NODE.json`.

    Raises:
        RunError: the folder cannot be written.
    """
    try:
        os.makedirs(folder, exist_ok=True)
        for component in components:
            text = json.dumps(component.request, indent=2, sort_keys=True) + "\n"
            files.write_atomically(os.path.join(folder, f"{component.node}.json"), text.encode())
    except OSError as error:
        raise RunError(
            f"{folder}: cannot be written ({error.strerror or error}). Name another with --out."
        ) from error
