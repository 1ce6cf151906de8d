"""Spark on this machine: inside Beam's job server, in two threads that start Python workers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import downloads
from processes import Processes, free_port, listens

#: What Spark's own launcher opens for it on Java 17.
_OPEN = [
    "-XX:+IgnoreUnrecognizedVMOptions",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.lang.invoke",
            "java.lang.reflect",
            "java.io",
            "java.net",
            "java.nio",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "jdk.internal.ref",
            "sun.nio.ch",
            "sun.nio.cs",
            "sun.security.action",
            "sun.util.calendar",
        )
    ),
]


@dataclass(frozen=True)
class Spark:
    """A running job server, which is Spark too."""

    job_server: int

    def options(self, parallelism: int) -> dict[str, Any]:
        """`[beam] options` of a run on it."""
        del parallelism  # is the master's number of threads
        return {
            "job_endpoint": f"localhost:{self.job_server}",
            "environment_type": "PROCESS",
            "job_server_timeout": 600,
            # Or each stage would start workers of its own, which import TensorFlow first.
            "environment_cache_millis": 120_000,
        }


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Spark]:
    """Starts Spark; at the end nothing of it is left but its log."""
    java, jars = downloads.java(), downloads.jars("spark")
    server, port = downloads.job_server("spark"), free_port()
    with Processes(folder) as processes:
        processes.start(
            "job-server",
            [
                java,
                *_OPEN,
                "-Xmx2g",
                f"-Djava.io.tmpdir={folder}",
                "-Dspark.ui.enabled=false",
                "-Dspark.driver.bindAddress=127.0.0.1",
                "-Dspark.driver.host=127.0.0.1",
                "-cp",
                f"{server}:{jars}/*",  # in this order: Spark's Guava is too old for Beam
                downloads.JOB_SERVERS["spark"][1],
                "--spark-master-url=local[2]",
                f"--job-port={port}",
                "--artifact-port=0",
                "--expansion-port=0",
                f"--artifacts-dir={folder}/artifacts",
            ],
        )
        processes.wait("Beam's job server", lambda: listens(port))
        yield Spark(port)
