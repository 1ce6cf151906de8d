"""A schema for data that has none yet: as a first run infers it, from all sampled rows.

Inferred from the champion's rows alone it would hold no rare value of the others, and the run
without a fault would be refused for it. A person reviews an inferred schema; an audit can't.
"""

from __future__ import annotations

import os

from tfx.orchestration import metadata

from pipeline.audit.scene import Scene
from pipeline.drift import profile
from pipeline.graph import create_schema_pipeline
from pipeline.local import outcome, runner
from pipeline.local.places import Places
from pipeline.run_plan import plan_run

_RUN = "schema"


def infer(scene: Scene) -> None:
    """Writes the scene's schema file."""
    places = Places.of(scene.config)
    os.makedirs(places.output)
    plan = plan_run(
        scene.config,
        span=scene.newest if len(scene.spans) > 1 else "",
        root=places.artifacts_of(_RUN),
        metadata=metadata.sqlite_metadata_connection_config(places.metadata),
    )
    runner.run(create_schema_pipeline(scene.config, plan), _RUN, lambda name, seconds: None)
    nodes = outcome.nodes_of_run(outcome.connect(places.metadata), _RUN)
    outcome.write_schema(scene.config, nodes)
    profile.write_first(scene.config, nodes["SpanExampleGen"].outputs["examples"].uri)
