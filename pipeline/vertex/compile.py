"""The pipeline job for Vertex AI Pipelines: spec 2.1, the same bytes for the same input.

TFX's KubeflowV2DagRunner makes the job; what it leaves open is added to it here: which tasks may
not answer from the cache, machines, retries, labels, and the default of the runtime parameter.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Literal

from tfx.dsl.components.base import base_component, base_driver
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner as kubeflow
from tfx.orchestration.pipeline import Pipeline

from pipeline import beam_options
from pipeline.config import Config
from pipeline.errors import ConfigError, Fault, shorten
from pipeline.graph import create_pipeline
from pipeline.run_plan import RunPlan, plan_run
from pipeline.vertex import machines
from pipeline.vertex.prepare import view

SPAN: Literal["span"] = "span"

#: Vertex replaces it by the job's id.
#: https://github.com/kubeflow/pipelines/blob/master/sdk/python/kfp/dsl/__init__.py
JOB_NAME = "{{$.pipeline_job_name}}"

Job = dict[str, Any]


def vertex_pipeline(config: Config) -> Pipeline:
    """The pipeline as it is compiled for Vertex, from the configuration as it is written.

    Raises:
        ConfigError: the configuration cannot run there, or Beam would refuse its options.
        RunError: there is no reviewed schema yet.
    """
    seen = view(config)
    beam_options.check(seen.beam)
    return create_pipeline(seen, _plan(config))


def _plan(config: Config) -> RunPlan:
    # Of the configuration as it is written: what lies beside the schema (drift thresholds) is read
    # here and travels as an execution property.
    plan = plan_run(
        config,
        span=RuntimeParameter(name=SPAN, ptype=str, default=""),
        root=config.vertex.root,
    )
    return dataclasses.replace(plan, cache=config.vertex.cache, run_id=JOB_NAME)


def compile_job(config: Config) -> Job:
    """The PipelineJob, as JSON has it.

    Raises:
        ConfigError: the configuration cannot run on Vertex.
        RunError: there is no reviewed schema yet.
    """
    pipeline = vertex_pipeline(config)
    job: Job = kubeflow.KubeflowV2DagRunner(
        config=kubeflow.KubeflowV2DagRunnerConfig(
            display_name=config.name,
            default_image=config.vertex.image,
            use_pipeline_spec_2_1=True,
        )
    ).run(
        pipeline,
        parameter_values={SPAN: config.vertex.parameters.get(SPAN, "")},
        write_out=False,
    )
    _check_machines(config, pipeline)
    job["labels"] = {**job.get("labels", {}), **config.vertex.labels}
    _default_parameters(job)
    _limit_cache(job, pipeline)
    _set_retries(job, config.vertex.retries)
    _set_machines(job, config)
    return job


def to_bytes(job: Job) -> bytes:
    """The job as a file: keys sorted, so that two compiles can be compared."""
    return (json.dumps(job, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _check_machines(config: Config, pipeline: Pipeline) -> None:
    known = [node.id for node in pipeline.components]
    faults = [
        Fault(
            f"vertex.machines.{node}",
            shorten(node),
            "names no node of the pipeline",
            f"Nodes: {', '.join(known)}; or default.",
        )
        for node in config.vertex.machines
        if node not in (*known, "default")
    ]
    if faults:
        raise ConfigError("[vertex]", faults)


def _default_parameters(job: Job) -> None:
    """A schedule, or a person in the console, may leave runtime parameters out."""
    declared = job["pipelineSpec"]["root"]["inputDefinitions"]["parameters"]
    for name, value in job["runtimeConfig"]["parameterValues"].items():
        declared[name] |= {"defaultValue": value, "isOptional": True}


def drivers(pipeline: Pipeline) -> frozenset[str]:
    """Nodes with a driver of their own; Vertex runs none, so their cache key lacks what it adds.

    Each adds the content of what is read from outside: without it, new data under old names, or an
    edited schema, would be taken for the old. Everything downstream is keyed by the artifact that
    such a node then makes.
    """
    plain = base_driver.BaseDriver
    return frozenset(
        node.id
        for node in pipeline.components
        if isinstance(node, base_component.BaseComponent) and node.DRIVER_CLASS is not plain
    )


def _limit_cache(job: Job, pipeline: Pipeline) -> None:
    for name in drivers(pipeline):
        job["pipelineSpec"]["root"]["dag"]["tasks"][name].pop("cachingOptions", None)


def _set_retries(job: Job, retries: int) -> None:
    if not retries:
        return
    for task, executor in _containers(job).values():
        del executor
        task["retryPolicy"] = {
            "maxRetryCount": retries,
            "backoffDuration": "60s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "3600s",
        }


def _set_machines(job: Job, config: Config) -> None:
    wanted = config.vertex.machines
    for node, (_, executor) in _containers(job).items():
        machine = wanted.get(node, wanted.get("default"))
        limits = machines.limits(machine.type) if machine else None
        if machine is None or limits is None:
            continue  # Vertex's own default
        resources: dict[str, Any] = {"cpuLimit": limits[0], "memoryLimit": limits[1]}
        if machine.accelerator:
            resources["accelerator"] = {
                "type": machine.accelerator,
                "count": str(machine.accelerators),
            }
        executor["container"]["resources"] = resources


def _containers(job: Job) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Task and executor of each node that is a container, by node id."""
    spec = job["pipelineSpec"]
    executors = spec["deploymentSpec"]["executors"]
    found = {}
    for name, task in spec["root"]["dag"]["tasks"].items():
        component = spec["components"][task["componentRef"]["name"]]
        executor = executors[component["executorLabel"]]
        if "container" in executor:
            found[name] = (task, executor)
    return found
