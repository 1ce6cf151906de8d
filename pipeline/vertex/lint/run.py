"""All checks of a compiled job."""

from __future__ import annotations

import json
from typing import Any

from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.vertex.lint import conditions, executors, graph, image, imports, names, protos
from pipeline.vertex.lint.finding import Finding

Tree = dict[str, Any]


def lint(
    job: Tree,
    *,
    pipeline: Any = None,
    manifest: Tree | None = None,
    python: str | None = None,
) -> list[Finding]:
    """Every finding, each once.

    Args:
        job: the job.
        pipeline: the TFX pipeline it should be, for the meaning of conditions and for the cache.
        manifest: of the image, if known.
        python: the image's Python, if that is not this one.
    """
    found = list(protos.check(job))
    if found:
        return found  # nothing else can be said of a job that is none
    local = conditions.local_conditions(pipeline) if pipeline else None
    found = [
        *names.check(job),
        *graph.check(job),
        *executors.check(job, uncached=_uncached(pipeline)),
        *image.check(job, manifest),
        *imports.check(job, python),
    ]
    if not any(finding.check in ("component-ref", "producer") for finding in found):
        found += conditions.check(job, local)
    return list(dict.fromkeys(found))


def _uncached(pipeline: Any) -> frozenset[str]:
    if pipeline is None:
        return frozenset()
    from pipeline.vertex.compile import drivers

    return drivers(pipeline)


def lint_for(config: Config, job: Tree, python: str | None = None) -> list[Finding]:
    """Every finding about a job that should be this configuration's."""
    from pipeline.vertex.compile import vertex_pipeline

    manifest = image.read(config.vertex.image_manifest) if config.vertex.image_manifest else None
    return lint(job, pipeline=vertex_pipeline(config), manifest=manifest, python=python)


def read(path: str) -> Tree:
    """A compiled job from a file.

    Raises:
        RunError: it cannot be read, or is no JSON object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            job = json.load(file)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: is no compiled job ({error}). Write one with `headrace vertex compile`."
        ) from error
    if not isinstance(job, dict):
        raise RunError(f"{path}: is no compiled job. Write one with `headrace vertex compile`.")
    return job
