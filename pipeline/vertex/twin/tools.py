"""What a rehearsal does with TFX beside running tasks; started in the warm worker like those.

`python -m pipeline.vertex.twin.tools COMMAND REQUEST ANSWER`: both files hold JSON. An error that a
person can mend is an answer: {"error", "exit_code"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline.config import Config
from pipeline.errors import HeadraceError

Tree = dict[str, Any]


def compile_job(request: Tree) -> Tree:
    """{"config"} → {"job", "findings"}."""
    from pipeline.vertex import compile as compiler
    from pipeline.vertex.lint import run as linter

    config = Config.model_validate(request["config"])
    job = compiler.compile_job(config)
    return {"job": job, "findings": [str(each) for each in linter.lint_for(config, job)]}


def outcome(request: Tree) -> Tree:
    """{"status", "gs"} → {"result", "evidence"}."""
    from pipeline.vertex.twin import evidence

    result = evidence.result_of(request["status"], request["gs"])
    nodes = evidence.of_tasks(request["status"]["tasks"], request["gs"])
    return {"result": json.loads(result.to_json()), "evidence": evidence.collect(result, nodes)}


def local(request: Tree) -> Tree:
    """{"config", "span"} → {"result", "evidence"} of a run by LocalDagRunner."""
    from pipeline.local import outcome as local_outcome
    from pipeline.local import run
    from pipeline.local.places import Places
    from pipeline.vertex.twin import evidence

    config = Config.model_validate(request["config"])
    result = run.run(config, request["span"], _Nobody(), wait_seconds=0)
    store = local_outcome.connect(Places.of(config).metadata)
    nodes = local_outcome.nodes_of_run(store, result.run_id)
    return {"result": json.loads(result.to_json()), "evidence": evidence.collect(result, nodes)}


class _Nobody:
    """Watches nothing."""

    def say(self, message: str) -> None: ...

    def node(self, name: str, seconds: float | None) -> None: ...


COMMANDS = {"compile": compile_job, "outcome": outcome, "local": local}


def main(command: str, request: str, answer: str) -> None:
    """Runs a command; see the module's text."""
    with open(request, encoding="utf-8") as file:
        told = json.load(file)
    try:
        found = COMMANDS[command](told)
    except HeadraceError as error:
        found = {"error": str(error), "exit_code": error.exit_code}
    with open(answer, "w", encoding="utf-8") as file:
        json.dump(found, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
