"""As much of a run as imports the schema: what a later run may find in the cache."""

from __future__ import annotations

from typing import Any

from tfx.orchestration import metadata
from tfx.proto.orchestration import pipeline_pb2

from pipeline.audit.scene import Scene
from pipeline.graph import create_pipeline
from pipeline.local import runner
from pipeline.local.places import Places
from pipeline.run_plan import plan_run

_NODE, _RUN = "ImportSchemaGen", "before"


class _OneNode(runner.ProgressRunner):
    """Runs the node that imports the schema; it waits for no other."""

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: Any = None) -> None:
        """See base class."""
        del run_options
        launch = self.launcher(pipeline)
        for item in pipeline.nodes:
            if item.pipeline_node.node_info.id == _NODE:
                launch(item.pipeline_node)


def import_schema(scene: Scene) -> None:
    """Imports the scene's schema as it is now."""
    places = Places.of(scene.config)
    plan = plan_run(
        scene.config,
        span=scene.newest if len(scene.spans) > 1 else "",
        root=places.artifacts_of(_RUN),
        metadata=metadata.sqlite_metadata_connection_config(places.metadata),
    )
    _OneNode(_RUN, lambda name, seconds: None).run(create_pipeline(scene.config, plan))
