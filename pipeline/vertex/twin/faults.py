"""Faults on demand: what the service, or a machine, may do to a job."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.errors import RunError

#: What can befall a task: its command fails each time; its machine goes away once, in the middle.
FAIL, PREEMPT = "fail", "preempt"

_HELP = (
    "403, 429, 503 (the service refuses the job once), NODE=fail, NODE=preempt, or registry=403 "
    "(429, 503: uploads and deployments are refused)"
)

_CODES = ("400", "401", "403", "404", "429", "500", "503")


@dataclass
class Faults:
    """What is still to go wrong.

    Attributes:
        refusals: HTTP statuses with which the next jobs are refused.
        tasks: task → `fail` or `preempt`.
        registry: HTTP status with which every upload, deployment and the like is refused.
    """

    refusals: list[int] = field(default_factory=list)
    tasks: dict[str, str] = field(default_factory=dict)
    registry: int | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Faults:
        """Faults as the command line names them.

        Raises:
            RunError: one is none.
        """
        faults = cls()
        for text in texts:
            node, _, what = text.partition("=")
            if text in _CODES:
                faults.refusals.append(int(text))
            elif node == "registry" and what in _CODES:
                faults.registry = int(what)
            elif node and what in (FAIL, PREEMPT):
                faults.tasks[node] = what
            else:
                raise RunError(f"--fault {text}: is none of {_HELP}.")
        return faults

    def refuse(self) -> int | None:
        """The status to refuse a job with, once."""
        with self._lock:
            return self.refusals.pop(0) if self.refusals else None

    def befalls(self, task: str) -> str | None:
        """What happens to an attempt at a task."""
        with self._lock:
            what = self.tasks.get(task)
            if what == PREEMPT:
                del self.tasks[task]
            return what
