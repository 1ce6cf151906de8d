"""The commands of a task, each as a custom job with a log of its own."""

from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Callable

from pipeline.vertex.twin import faults, inputs, processes
from pipeline.vertex.twin.job import Job, Tree

#: An attempt that is to lose its machine runs so long before.
_PREEMPT_SECONDS = 0.5

_numbers = itertools.count(1)


class Attempts:
    """Runs the commands of one task.

    Args:
        job: that the task is of.
        name: of the task.
        told: its `ExecutorInput`.
        detail: of the task, as the API shows it; the custom jobs are entered there.
    """

    def __init__(self, job: Job, name: str, told: Tree, detail: Tree) -> None:
        self._job, self._name, self._told, self._detail = job, name, told, detail
        self._log = ""

    def run(self, command: list[str], part: str) -> int:
        """Runs a command, the `driver` or the `main` one; its exit code."""
        job, machinery = self._job, self._job.machinery
        self._begin(part)
        befallen = machinery.faults.befalls(self._name) if part == "main" else None
        if befallen == faults.FAIL:
            with open(self._log, "a", encoding="utf-8") as file:
                file.write("this failure was asked for\n")
            return 1
        arguments = [
            machinery.buckets.to_local(inputs.filled(text, self._told)) for text in command
        ]
        pids: list[int] = []
        try:
            return machinery.processes.run(
                arguments, self._log, machinery.environment, self._watch(pids, befallen)
            )
        finally:
            with job.lock:
                job.pids.difference_update(pids)

    def _begin(self, part: str) -> None:
        """Enters a new custom job."""
        job = self._job
        digest = hashlib.sha256(f"{job.id} {self._name} {next(_numbers)}".encode()).hexdigest()
        number = str(int(digest[:15], 16))
        resource = f"projects/{job.project}/locations/{job.region}/customJobs/{number}"
        self._log = os.path.join(job.machinery.logs, f"{number}.log")
        with job.lock:
            executor = self._detail.setdefault("executorDetail", {})
            container = executor.setdefault("containerDetail", {})
            slot = "mainJob" if part == "main" else "preCachingCheckJob"
            if part == "main" and "mainJob" in container:
                container.setdefault("failedMainJobs", []).append(container["mainJob"])
            container[slot] = resource

    def _watch(self, pids: list[int], befallen: str | None) -> Callable[[int], None]:
        def started(pid: int) -> None:
            pids.append(pid)
            with self._job.lock:
                self._job.pids.add(pid)
            if befallen == faults.PREEMPT:
                threading.Timer(_PREEMPT_SECONDS, processes.end, [pid]).start()
            if self._job.stopping.is_set():
                processes.end(pid)

        return started

    def failure(self, code: int) -> str:
        """What the API says of a failed attempt."""
        if code < 0:
            return f"The replica was terminated by signal {-code}: {self.last_words()}"
        return f"The replica exited with a non-zero status of {code}: {self.last_words()}"

    def last_words(self) -> str:
        """The last line of the log that says something."""
        try:
            with open(self._log, encoding="utf-8", errors="replace") as file:
                lines = [line.strip() for line in file if line.strip()]
        except OSError:
            lines = []
        return lines[-1][:500] if lines else "it printed nothing"
