"""A process that has imported TFX once and forks for each task: a start takes no ten seconds then.

Each task still is a process of its own, with its own arguments, environment and log, as its
container would be. What the parent imported is all that they share.

Protocol, one JSON object a line. To standard input: {"id", "module", "arguments", "log",
"environment"}. From standard output: {"ready": seconds}, then {"id", "pid"} and {"id", "code"}.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import sys
import time
import traceback
from typing import Any, NoReturn

#: What tasks need; imported before the first fork.
MODULES = (
    "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor",
    "tfx.orchestration.kubeflow.v2.file_based_example_gen.driver",
    "pipeline.graph",
    "pipeline.local.beam_memory",
    "models.training",
    "models.preprocessing",
)

_POLL_SECONDS = 0.02


def main(log: str) -> None:
    """Serves requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    _send_output_to(log)
    started = time.monotonic()
    gc.disable()
    for module in MODULES:
        importlib.import_module(module)
    importlib.import_module("pipeline.local.beam_memory").remember()
    gc.freeze()
    gc.enable()
    print(json.dumps({"ready": round(time.monotonic() - started, 2)}), file=answers)
    running: dict[int, Any] = {}
    waiting = b""
    while True:
        readable, _, _ = select.select([0], [], [], _POLL_SECONDS if running else None)
        if readable:
            received = os.read(0, 1 << 16)
            if not received:
                return
            *lines, waiting = (waiting + received).split(b"\n")
            for line in lines:
                request = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    _run(request)
                running[pid] = request["id"]
                print(json.dumps({"id": request["id"], "pid": pid}), file=answers)
        for pid in list(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
                print(json.dumps({"id": running.pop(pid), "code": code}), file=answers)


def _send_output_to(log: str) -> None:
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)


def _run(request: dict[str, Any]) -> NoReturn:
    """In the child: the module as `python -m` would run it."""
    code: object = 1
    try:
        os.setsid()
        _send_output_to(request["log"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.update(request["environment"])
        sys.argv = [request["module"], *request["arguments"]]
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as exit_:
        code = exit_.code
    except BaseException:  # noqa: BLE001 - the process ends here, whatever it was
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    # The parent's exit handlers are not the child's to run.
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main(sys.argv[1])
