"""The part of a local run that needs TFX. Importing this module costs seconds."""

from __future__ import annotations

import logging

from absl import logging as absl_logging
from ml_metadata import metadata_store
from tfx.orchestration import metadata

from pipeline import files
from pipeline.config import Config
from pipeline.drift import profile
from pipeline.errors import HeadraceError
from pipeline.graph import create_pipeline, create_schema_pipeline
from pipeline.local import beam_memory, champion, dead_runs, outcome, quiet, runner
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.run_plan import plan_run
from pipeline.spans import Window


def run(
    config: Config,
    window: Window,
    result: RunResult,
    places: Places,
    progress: runner.Progress,
) -> None:
    """Runs the pipeline (on new data: first as far as a schema) and completes the result.

    Raises:
        HeadraceError: a node failed for a reason that a person can mend.
        runner.NodeError: a node failed for another.
    """
    absl_logging.set_verbosity(absl_logging.INFO)
    for noisy in ("tensorflow", "apache_beam", "tfx.orchestration.metadata"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    beam_memory.remember()

    def timed(name: str, seconds: float | None) -> None:
        if seconds is not None:
            result.seconds[name] = round(result.seconds.get(name, 0.0) + seconds, 2)
        progress(name, seconds)

    connection = metadata.sqlite_metadata_connection_config(places.metadata)
    dead_runs.close(metadata_store.MetadataStore(connection), places)
    result.notes += champion.mend(config, connection, places, result.run_id)
    plan = plan_run(
        config,
        # Resolved already: a span that arrives meanwhile must not change what is run.
        span="" if window.split_by_row else window.newest.label,
        root=places.artifacts_of(result.run_id),
        metadata=connection,
    )
    result.provenance = plan.provenance
    expected: list[str] = []
    try:
        if not files.exists(config.data.schema_file):
            # Under an id of its own: TFX takes a node that has run under an id for done.
            schema_run = f"{result.run_id}-schema"
            runner.run(create_schema_pipeline(config, plan), schema_run, timed)
            nodes = outcome.nodes_of_run(outcome.connect(places.metadata), schema_run)
            outcome.write_schema(config, nodes)
            profile.write_first(config, nodes["SpanExampleGen"].outputs["examples"].uri)
            result.gates["schema"] = {"passed": True, "written": config.data.schema_file}
        pipeline = create_pipeline(config, plan)
        expected = [node.id for node in pipeline.components]
        runner.run(pipeline, result.run_id, timed)
    except runner.NodeError as error:
        cause = error.__cause__
        outcome.fill(result, outcome.connect(places.metadata), expected)
        result.status = "failed"
        if isinstance(cause, HeadraceError):
            raise cause from error
        first = str(cause).strip().splitlines()[0][:300] if str(cause).strip() else ""
        result.message = f"{error.node} failed: {type(cause).__name__}: {first}"
        quiet.trace(error)
        return
    outcome.fill(result, outcome.connect(places.metadata), expected)
