"""A Flink cluster on this machine: job manager, two task managers, Beam's job server."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import downloads
from processes import Processes, free_port, listens

#: What Flink's own configuration opens for it on Java 17.
_OPEN = [
    *(
        f"--add-exports={package}=ALL-UNNAMED"
        for package in (
            "java.base/sun.net.util",
            "java.rmi/sun.rmi.registry",
            "java.security.jgss/sun.security.krb5",
        )
    ),
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.net",
            "java.io",
            "java.nio",
            "sun.nio.ch",
            "java.lang.reflect",
            "java.text",
            "java.time",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "java.util.concurrent.locks",
        )
    ),
]

_LOGGING = """\
rootLogger.level = INFO
rootLogger.appenderRef.console.ref = Console
appender.console.name = Console
appender.console.type = CONSOLE
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{HH:mm:ss,SSS} %-5p %c{1} - %m%n
"""

TASK_MANAGERS = ("task-manager-1", "task-manager-2")


class Flink:
    """A running cluster."""

    def __init__(self, processes: Processes, rest: int, job_server: int) -> None:
        self.processes = processes
        self._rest, self._job_server = rest, job_server

    def options(self, parallelism: int) -> dict[str, Any]:
        """`[beam] options` of a run on this cluster."""
        return {
            "flink_master": f"localhost:{self._rest}",
            "job_endpoint": f"localhost:{self._job_server}",
            "environment_type": "PROCESS",
            "parallelism": parallelism,
            "job_server_timeout": 600,
        }

    def ask(self, path: str) -> Any:
        """Flink's REST interface."""
        with urllib.request.urlopen(f"http://localhost:{self._rest}{path}", timeout=30) as answer:
            return json.load(answer)

    def task_managers(self) -> int:
        """How many there are; none while the job manager is still waking up."""
        try:
            return int(self.ask("/overview")["taskmanagers"])
        except urllib.error.HTTPError:
            return 0

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, the newest last."""
        return sorted(self.ask("/jobs/overview")["jobs"], key=lambda job: job["start-time"])

    def failures(self, job: str) -> list[str]:
        """What a job has recovered from, in Flink's words."""
        history = self.ask(f"/jobs/{job}/exceptions")["exceptionHistory"]["entries"]
        return [str(entry["exceptionName"]) for entry in history]


@contextlib.contextmanager
def cluster(folder: Path, slots: int = 2) -> Iterator[Flink]:
    """Starts a cluster; at the end nothing of it is left but its logs.

    Args:
        folder: for configuration, logs and temporary files.
        slots: of each task manager: one alone can do the work of two.
    """
    java, lib = downloads.java(), downloads.jars("flink")
    server = downloads.job_server("flink")
    rest, rpc, jobs = free_port(), free_port(), free_port()
    with Processes(folder) as processes:
        (folder / "config.yaml").write_text(_configuration(folder, rest, rpc, slots))
        (folder / "log4j.properties").write_text(_LOGGING)
        start = [java, *_OPEN, f"-Dlog4j.configurationFile={folder}/log4j.properties"]
        path = ["-cp", f"{lib}/*"]
        master = "org.apache.flink.runtime.entrypoint.StandaloneSessionClusterEntrypoint"
        processes.start(
            "job-manager", [*start, "-Xmx512m", *path, master, "--configDir", str(folder)]
        )
        worker = "org.apache.flink.runtime.taskexecutor.TaskManagerRunner"
        for name in TASK_MANAGERS:
            memory = ["-Xmx768m", "-XX:MaxDirectMemorySize=768m"]
            named = ["-D", f"taskmanager.resource-id={name}"]
            processes.start(
                name, [*start, *memory, *path, worker, "--configDir", str(folder), *named]
            )
        address = [f"--flink-master=localhost:{rest}", f"--job-port={jobs}"]
        more = ["--artifact-port=0", "--expansion-port=0", f"--artifacts-dir={folder}/artifacts"]
        processes.start("job-server", [java, "-Xmx512m", "-jar", str(server), *address, *more])
        flink = Flink(processes, rest, jobs)
        processes.wait("Flink's job manager", lambda: listens(rest))
        processes.wait("two task managers", lambda: flink.task_managers() == len(TASK_MANAGERS))
        processes.wait("Beam's job server", lambda: listens(jobs))
        yield flink


def _configuration(folder: Path, rest: int, rpc: int, slots: int) -> str:
    """Flink's own, with sizes that fit a small machine.

    A lost task manager is noticed when it refuses a connection, not only when it is silent: so
    silence may last long, and a busy machine does not look like a broken one.
    """
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc,
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": rest,
        "io.tmp.dirs": folder / "tmp",
        "jobmanager.memory.process.size": "1g",
        "taskmanager.host": "localhost",
        "taskmanager.numberOfTaskSlots": slots,
        "taskmanager.cpu.cores": slots,
        "taskmanager.memory.framework.heap.size": "128mb",
        "taskmanager.memory.framework.off-heap.size": "128mb",
        "taskmanager.memory.task.heap.size": "512mb",
        "taskmanager.memory.task.off-heap.size": "128mb",
        "taskmanager.memory.managed.size": "256mb",
        "taskmanager.memory.network.min": "256mb",
        "taskmanager.memory.network.max": "256mb",
        "taskmanager.memory.jvm-metaspace.size": "256mb",
        "taskmanager.memory.jvm-overhead.min": "192mb",
        "taskmanager.memory.jvm-overhead.max": "192mb",
        # StatisticsGen is a job of 228 tasks, each of which would take 16 MB to sort in.
        "taskmanager.network.sort-shuffle.min-buffers": 16,
        # Both task managers are to have work.
        "cluster.evenly-spread-out-slots": "true",
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 10,
        "restart-strategy.fixed-delay.delay": "1 s",
        "heartbeat.interval": 2000,
        "heartbeat.timeout": 120000,
        "heartbeat.rpc-failure-threshold": 2,
        "pekko.ask.timeout": "120 s",
        "pekko.startup-timeout": "120 s",
    }
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return "".join(f"{key}: {value}\n" for key, value in settings.items())


class Killer(threading.Thread):
    """Kills a task manager while it works on a job of one node of the pipeline.

    Attributes:
        job: the job it was killed in, `""` before.
        victim: the task manager.
        error: what went wrong with the killing.
    """

    def __init__(self, flink: Flink) -> None:
        super().__init__(daemon=True)
        self.job = self.victim = self.error = ""
        self._flink = flink
        self._since = time.time() * 1000
        self._over = threading.Event()

    def cancel(self) -> None:
        """The node is done: it is too late."""
        self._over.set()
        self.join()

    def run(self) -> None:
        """Waits for a job with workers in two task managers, then kills one."""
        try:
            while not self._over.wait(0.2):
                running = [job for job in self._flink.jobs() if job["start-time"] >= self._since]
                if not running or running[-1]["state"] != "RUNNING":
                    continue
                if self._at_work(running[-1]["jid"]):
                    self.job, self.victim = running[-1]["jid"], TASK_MANAGERS[0]
                    self._flink.processes.kill(self.victim)
                    return
        except Exception as error:  # noqa: BLE001 - told by whoever started this
            self.error = f"{type(error).__name__}: {error}"

    def _at_work(self, job: str) -> bool:
        """Whether the first task manager has a Python worker and an unfinished task with input."""
        if not self._flink.processes.children(TASK_MANAGERS[0]):
            return False
        for vertex in self._flink.ask(f"/jobs/{job}")["vertices"]:
            if vertex["status"] != "RUNNING" or not vertex["metrics"]["read-records"]:
                continue
            for task in self._flink.ask(f"/jobs/{job}/vertices/{vertex['id']}")["subtasks"]:
                if task["status"] == "RUNNING" and task["taskmanager-id"] == TASK_MANAGERS[0]:
                    return True
        return False
