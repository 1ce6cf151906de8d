"""Kills real processes in the middle of registry changes; run by test_registry.py as a script.

`kill_driver.py steps|random CHANGE TEMPLATE SOURCE FOLDER` copies TEMPLATE (a base path) once for
each kill to FOLDER/<n>, forks a process that makes CHANGE there, and kills it with SIGKILL: just
before its n-th call that can change a disk (`steps`, until a change completes unharmed) or after a
random time (`random`, 20 times). What the kills left behind is for the test to judge.
"""

import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from serving.manifest import Provenance
from serving.registry import Registry

RANDOM_KILLS = 20
CHANGING_CALLS = {
    *("open", "write", "flush", "close", "fsync", "sendfile", "truncate", "flock"),
    *("mkdir", "rename", "replace", "unlink", "remove", "rmdir"),
}


def change(name: str, base: Path, source: Path) -> None:
    registry = Registry(base, "m")
    match name:
        case "push":
            registry.push(source, Provenance())
        case "retain":
            registry.retain(1)
        case "label":
            registry.assign_labels({"stable": 2, "canary": 3})


def forked(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        work()
        os._exit(0)
    return child


def die_before(step: int) -> None:
    seen = 0

    def profile(_: object, event: str, called: Any) -> None:
        nonlocal seen
        if event == "c_call" and called.__name__ in CHANGING_CALLS:
            seen += 1
            if seen == step:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(profile)


def steps(name: str, template: Path, source: Path, folder: Path) -> None:
    status, number = 1, 0
    while status != 0:
        number += 1
        base = Path(shutil.copytree(template, folder / str(number)))

        def work(number: int = number, base: Path = base) -> None:
            die_before(number)
            change(name, base, source)

        _, status = os.waitpid(forked(work), 0)


def at_random(name: str, template: Path, source: Path, folder: Path) -> None:
    started = time.monotonic()
    change(name, Path(shutil.copytree(template, folder / "0")), source)
    seconds = time.monotonic() - started
    for number in range(1, RANDOM_KILLS + 1):
        base = Path(shutil.copytree(template, folder / str(number)))
        child = forked(lambda base=base: change(name, base, source))  # type: ignore[misc]
        time.sleep(random.uniform(0, seconds))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


if __name__ == "__main__":
    mode, name, *paths = sys.argv[1:]
    {"steps": steps, "random": at_random}[mode](name, *map(Path, paths))
