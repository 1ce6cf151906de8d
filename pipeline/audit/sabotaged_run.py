"""The local run of a fault of the model: on healthy data, with a Trainer that is tampered with."""

from __future__ import annotations

import os
import secrets

from tfx.orchestration import metadata

from pipeline.audit.audit_runner import AuditRunner
from pipeline.audit.fault import Fault
from pipeline.audit.scene import Scene
from pipeline.graph import create_pipeline
from pipeline.local import outcome, quiet
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.local.runner import NodeError
from pipeline.run_plan import plan_run
from serving.registry import Registry


def run(scene: Scene, fault: Fault) -> RunResult:
    """Runs the pipeline on healthy data with a fault of the model.

    Raises:
        audit_runner.Decided: the outcome is known before the end.
    """
    places = Places.of(scene.config)
    run_id = f"sabotage-{fault.name}-{secrets.token_hex(2)}"
    os.makedirs(places.run(run_id))
    result = RunResult("failed", run_id, scene.newest, log=places.run(run_id, "run.log"))
    plan = plan_run(
        scene.config,
        span=scene.newest if len(scene.spans) > 1 else "",
        root=places.artifacts_of(fault.name),
        metadata=metadata.sqlite_metadata_connection_config(places.metadata),
    )
    served = Registry(scene.config.serving.path, scene.config.serving.model_name).versions()[-1]
    settings = {"sabotage": fault.name, "served": str(served.path), "seed": fault.seed}
    pipeline = create_pipeline(scene.config, plan)
    expected = [node.id for node in pipeline.components]
    with quiet.output_to(result.log):
        try:
            AuditRunner(fault, places.metadata, run_id, _silent, settings).run(pipeline)
        except NodeError as error:
            quiet.trace(error)
            outcome.fill(result, outcome.connect(places.metadata), expected)
            first = str(error.__cause__).strip().partition("\n")[0][:300]
            result.status = "failed"
            result.message = f"{error.node} failed: {type(error.__cause__).__name__}: {first}"
            return result
    outcome.fill(result, outcome.connect(places.metadata), expected)
    return result


def _silent(name: str, seconds: float | None) -> None:
    del name, seconds
