"""One warm process that runs the pipeline on fault after fault: TFX is imported once."""

from __future__ import annotations

import dataclasses
import functools
import os
import time
from pathlib import Path

import duckdb
import pyarrow as pa

from pipeline.audit import catalog, observed
from pipeline.audit.fault import CONTROL, Fault, NotApplicableError
from pipeline.audit.instead import instead
from pipeline.audit.observed import Observation
from pipeline.audit.scene import Scene
from pipeline.audit.workshop import Workshop
from pipeline.errors import HeadraceError, RunError
from pipeline.local import quiet
from pipeline.local import run as local
from pipeline.local.places import Places
from pipeline.local.result import RunResult


class _Silent:
    """Watches a run without a word."""

    def say(self, message: str) -> None:
        del message

    def node(self, name: str, seconds: float | None) -> None:
        del name, seconds


def start(log: str) -> None:
    """Prepares a fresh process: its noise goes to a file, TFX is loaded."""
    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    from pipeline.local import collector

    with collector.quiet():
        from pipeline.local import tfx_run  # noqa: F401


def make_champion(workshop: Workshop) -> None:
    """Runs the pipeline on the spans before the newest, so that there is a model to beat.

    Raises:
        RunError: it was not pushed; then a refusal later on would mean nothing.
    """
    if workshop.lacks_schema:
        from pipeline.audit import first_schema

        first_schema.infer(workshop.everything())
    scene = workshop.champion()
    try:
        result = local.run(scene.config, _label(scene), _Silent(), wait_seconds=0)
    except HeadraceError as error:
        # Not all of the family can be sent to another process; this one can.
        raise RunError(f"no champion: {error}") from error
    if result.status != "pushed":
        raise RunError(
            f"no champion: the run on sampled rows of span {scene.newest} is {result.status} "
            f"({result.message}). Take more rows (--rows) or spans, or mend the configuration."
        )


def control(workshop: Workshop) -> Observation:
    """Runs the pipeline on the newest span as it is."""
    started = time.monotonic()
    scene = workshop.control()
    return _run(CONTROL, scene, started)


def rehearse(workshop: Workshop, name: str) -> Observation:
    """Sends one fault through the pipeline."""
    started = time.monotonic()
    fault = catalog.FAULTS[name]
    if fault.sabotage:
        return _sabotaged(workshop, fault, started)
    scene = workshop.spoilt(name)
    scene.seed = fault.seed
    assert fault.spoil is not None
    if fault.after_a_run:
        from pipeline.audit import imported_schema

        imported_schema.import_schema(scene)
    try:
        fault.spoil(scene)
    except NotApplicableError as reason:
        told = f"the data has not: {reason}"
        return Observation(name, "not_applicable", (), told, "", _since(started))
    except (duckdb.Error, pa.ArrowException) as error:
        first = str(error).partition("\n")[0][:200]
        told = f"it cannot be made of this data: {first}"
        return Observation(name, "not_applicable", (), told, "", _since(started))
    from pipeline.audit.audit_runner import AuditRunner, Decided
    from pipeline.local import runner

    made = functools.partial(AuditRunner, fault, Places.of(scene.config).metadata)
    with instead(runner, "ProgressRunner", made):
        try:
            return _run(name, scene, started)
        except Decided as known:
            return _stopped(name, known.result, scene, started)


def _stopped(name: str, result: RunResult, scene: Scene, started: float) -> Observation:
    """What is seen of a run that was ended because its outcome was known."""
    seen = _plain(observed.of_result(name, result, _since(started)), scene)
    return seen if seen.gates else dataclasses.replace(seen, status="stopped")


def _run(name: str, scene: Scene, started: float) -> Observation:
    try:
        result = local.run(scene.config, _label(scene), _Silent(), wait_seconds=0)
    except HeadraceError as error:
        return _plain(observed.of_error(name, error, _since(started)), scene)
    return _plain(observed.of_result(name, result, _since(started)), scene)


def _sabotaged(workshop: Workshop, fault: Fault, started: float) -> Observation:
    from pipeline.audit import sabotaged_run
    from pipeline.audit.audit_runner import Decided

    scene = workshop.sabotaged(fault.name)
    try:
        result = sabotaged_run.run(scene, fault)
    except Decided as known:
        return _stopped(fault.name, known.result, scene, started)
    return _plain(observed.of_result(fault.name, result, _since(started)), scene)


def _label(scene: Scene) -> str | None:
    """None without spans: there is nothing to name."""
    return scene.newest if len(scene.spans) > 1 else None


def _plain(observation: Observation, scene: Scene) -> Observation:
    """Without folders that differ from audit to audit."""
    said = observation.said
    for folder in (scene.config.data.path, scene.config.output):
        said = said.replace(f"{folder}{os.sep}", "").replace(str(Path(folder)), "")
    return dataclasses.replace(observation, said=said)


def _since(started: float) -> float:
    return round(time.monotonic() - started, 1)
