"""Whether class paths can be imported, as an executor's container will.

As a program it prints the answer for another Python to read:
`python -m pipeline.vertex.lint.imports PATH…` → {"PATH": "error, or empty"}.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from pipeline.errors import RunError
from pipeline.vertex.lint import executors, graph
from pipeline.vertex.lint.finding import Finding

Tree = dict[str, Any]


def check(job: Tree, python: str | None = None) -> Iterator[Finding]:
    """Everything the tasks import: executors, user functions, artifact types.

    Args:
        job: the job.
        python: the image's Python, if that is not this one.
    """
    wanted = executors.classes(job)
    for name, component in job["pipelineSpec"].get("components", {}).items():
        for kind in ("inputDefinitions", "outputDefinitions"):
            for artifact in component.get(kind, {}).get("artifacts", {}).values():
                title = graph.title(artifact.get("artifactType", {}))
                # TFX knows where its own types are; a custom title is the path of its class.
                if not title.startswith("tfx.") and title.count(".") == 1:
                    wanted.setdefault(name, set()).add(title)
    paths = sorted(set().union(*wanted.values()))
    errors = problems(paths) if python is None else _ask(python, paths)
    for name, each in sorted(wanted.items()):
        for path in sorted(each):
            if errors[path]:
                yield Finding(
                    "import",
                    name,
                    f"{path} cannot be imported ({errors[path]})",
                    "Put the code in the packages that the image holds: pipeline, models, serving.",
                )


def problems(paths: Iterable[str]) -> dict[str, str]:
    """Path → why it cannot be imported, `""` if it can."""
    return {path: _problem(path) for path in paths}


def _problem(path: str) -> str:
    module, _, name = path.rpartition(".")
    try:
        getattr(importlib.import_module(module), name)
    except Exception as error:  # noqa: BLE001 - a module may raise anything when it is imported
        return f"{type(error).__name__}: {str(error).strip() or 'no message'}"[:200]
    return ""


def _ask(python: str, paths: list[str]) -> dict[str, str]:
    command = [python, "-m", __name__, *paths]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError) as error:
        raise RunError(
            f"{python}: cannot tell what it can import ({error}). Name the Python of the image, "
            "with this project installed."
        ) from error
    return found


if __name__ == "__main__":
    print(json.dumps(problems(sys.argv[1:])))
