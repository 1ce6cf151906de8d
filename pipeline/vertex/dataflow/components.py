"""The Beam components of the pipeline, brought as far as their Beam graphs.

A graph depends on what a component reads: the schema that Transform traces, the model that is
evaluated. So each is given what it had in a run of this machine. It builds its whole graph from
that, and is stopped where the graph would be sent.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Collection, Iterator
from typing import Any

from ml_metadata.metadata_store import MetadataStore
from tfx.dsl.components.base import base_beam_executor, executor_spec
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Artifact
from tfx.types.artifact_utils import deserialize_artifact

from pipeline.beam_options import beam_arguments
from pipeline.config import Config
from pipeline.errors import HeadraceError, RunError
from pipeline.graph import create_pipeline
from pipeline.local import history, outcome
from pipeline.local.places import Places
from pipeline.run_plan import plan_run
from pipeline.vertex.dataflow.capture import Captured, Graph, make_pipeline
from pipeline.vertex.lint.finding import Finding

Artifacts = dict[str, list[Artifact]]


def graphs(
    config: Config, chosen: Collection[str], told: Callable[[str], None]
) -> Iterator[tuple[str, Graph | Finding]]:
    """Each Beam component by its node id, with its graph, or with why Beam makes none of it.

    Args:
        config: as it is run here, but for `beam`, which is Dataflow's.
        chosen: nodes to look at; all if empty.
        told: is told a node before its graph is built.

    Raises:
        RunError: no run here has what the components read, or a node is none of Beam's.
    """
    places = Places.of(config)
    with tempfile.TemporaryDirectory(prefix="headrace-dataflow-") as folder:
        for run in history.runs(places):
            plan = plan_run(config, span=run.span or "", root=folder)
            pipeline = create_pipeline(config, plan)
            read = _inputs_of_run(places, run.run_id, pipeline)
            if read is not None:
                break
        else:
            raise RunError(
                f"{config.output}: holds no run that came as far as a model, and the graphs are "
                "built from what its components read. Run `headrace run` once."
            )
        nodes = _beam_nodes(pipeline)
        unknown = sorted(set(chosen) - {node.id for node in nodes})
        if unknown:
            known = ", ".join(node.id for node in nodes)
            raise RunError(f"{unknown[0]} has no Beam pipeline. Nodes that have one: {known}.")
        for node in nodes:
            if chosen and node.id not in chosen:
                continue
            told(node.id)
            yield node.id, _graph(node, read[node.id], config, os.path.join(folder, node.id))


def _beam_nodes(pipeline: Pipeline) -> list[Any]:
    return [
        node
        for node in pipeline.components
        if isinstance(node.executor_spec, executor_spec.BeamExecutorSpec)
    ]


def _inputs_of_run(places: Places, run_id: str, pipeline: Pipeline) -> dict[str, Artifacts] | None:
    """What each Beam node read in a run; None if something is missing."""
    if not os.path.exists(places.metadata):
        return None
    store = outcome.connect(places.metadata)
    nodes = outcome.nodes_of_run(store, run_id)
    read: dict[str, Artifacts] = {}
    for node in _beam_nodes(pipeline):
        read[node.id] = {}
        for key, channel in node.inputs.items():
            made = nodes.get(channel.producer_component_id)
            artifact = made.outputs.get(channel.output_key) if made else None
            if artifact is not None and os.path.exists(artifact.uri):
                read[node.id][key] = [_artifact(store, artifact)]
            elif node.spec.INPUTS[key].optional:  # such as a champion, on a first run
                read[node.id][key] = []
            else:
                return None
    return read


def _artifact(store: MetadataStore, artifact: Any) -> Artifact:
    (kind,) = store.get_artifact_types_by_id([artifact.type_id])
    return deserialize_artifact(kind, artifact)


def _graph(node: Any, read: Artifacts, config: Config, folder: str) -> Graph | Finding:
    written: Artifacts = {}
    for key, channel in node.outputs.items():
        artifact = channel.type()
        artifact.uri = os.path.join(folder, key)
        os.makedirs(artifact.uri)
        written[key] = [artifact]
    properties = {key: value for key, value in node.exec_properties.items() if value is not None}
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=beam_arguments(config.beam),
        tmp_dir=os.path.join(folder, "temp"),
        unique_id="dry-run",
        # TFX adds labels to the arguments, so they are asked of the executor itself.
        make_beam_pipeline_fn=make_pipeline(lambda: executor._beam_pipeline_args),
    )
    executor = node.executor_spec.executor_class(context)
    try:
        executor.Do(read, written, properties)
    except Captured as captured:
        return captured.graph
    except HeadraceError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever Beam or a component objects to
        told = " ".join(str(error).split()) or type(error).__name__
        return Finding(
            "graph",
            node.id,
            f"its graph cannot be built for Dataflow: {told[:400]}",
            "See the options of [beam] and [vertex.dataflow], then the component's code.",
        )
    return Finding(
        "graph", node.id, "it ended without a Beam pipeline", "It must use _make_beam_pipeline()."
    )
