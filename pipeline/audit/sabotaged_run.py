"""The local run, with a Trainer that is given another `run_fn`.

`create_pipeline` is what it always is. The runner alters one parameter of one node of the compiled
pipeline, as somebody would who edits what is deployed; every gate after it is the real one.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

from tfx.orchestration import metadata
from tfx.proto.orchestration import pipeline_pb2

from pipeline.audit.fault import Fault
from pipeline.audit.scene import Scene
from pipeline.graph import create_pipeline
from pipeline.local import outcome, quiet
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.local.runner import NodeError, ProgressRunner
from pipeline.run_plan import plan_run
from serving.registry import Registry

_RUN_FN = "pipeline.audit.sabotage.run_fn"


class SabotageRunner(ProgressRunner):
    """Runs a pipeline whose Trainer does what a fault says.

    Args:
        run_id: of the run.
        settings: what `pipeline.audit.sabotage.run_fn` finds in its `custom_config` besides.
    """

    def __init__(self, run_id: str, settings: dict[str, Any]) -> None:
        super().__init__(run_id, lambda name, seconds: None)
        self._settings = settings

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: Any = None) -> None:
        """See base class."""
        (trainer,) = (
            item.pipeline_node
            for item in pipeline.nodes
            if item.pipeline_node.node_info.id == "Trainer"
        )
        parameters = trainer.parameters.parameters
        parameters["run_fn"].field_value.string_value = _RUN_FN
        custom = parameters["custom_config"].field_value
        custom.string_value = json.dumps({**json.loads(custom.string_value), **self._settings})
        super().run_with_ir(pipeline, run_options)


def run(scene: Scene, fault: Fault) -> RunResult:
    """Runs the pipeline on healthy data with a fault of the model."""
    places = Places.of(scene.config)
    run_id = f"sabotage-{fault.name}-{secrets.token_hex(2)}"
    os.makedirs(places.run(run_id))
    result = RunResult("failed", run_id, scene.newest, log=places.run(run_id, "run.log"))
    plan = plan_run(
        scene.config,
        span=scene.newest if len(scene.spans) > 1 else "",
        root=places.artifacts,
        metadata=metadata.sqlite_metadata_connection_config(places.metadata),
    )
    served = Registry(scene.config.serving.path, scene.config.serving.model_name).versions()[-1]
    settings = {"sabotage": fault.name, "served": str(served.path), "seed": fault.seed}
    pipeline = create_pipeline(scene.config, plan)
    expected = [node.id for node in pipeline.components]
    with quiet.output_to(result.log):
        try:
            SabotageRunner(run_id, settings).run(pipeline)
        except NodeError as error:
            quiet.trace(error)
            outcome.fill(result, outcome.connect(places.metadata), expected)
            first = str(error.__cause__).strip().partition("\n")[0][:300]
            result.status = "failed"
            result.message = f"{error.node} failed: {type(error.__cause__).__name__}: {first}"
            return result
    outcome.fill(result, outcome.connect(places.metadata), expected)
    return result
