"""Whether the cluster that `[beam]` names is there: asked before TensorFlow is loaded."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pipeline.config import BeamConfig
from pipeline.errors import Fault, shorten

_SECONDS = 5.0

#: Runner → option that says where it is, the port that is meant without one, and its own jar.
_MASTERS = {
    "flink": ("flink_master", 8081, "flink_job_server_jar"),
    "spark": ("spark_master_url", 7077, "spark_job_server_jar"),
}


def faults(beam: BeamConfig) -> Iterator[Fault]:
    """What keeps a run from reaching the cluster of `[beam]`.

    Tries to connect, for at most five seconds an address; sends nothing.
    """
    if beam.runner not in _MASTERS:
        return
    options = beam.options
    master, port, jar = _MASTERS[beam.runner]
    if endpoint := options.get("job_endpoint"):
        if endpoint != "embed":
            # The job server knows the cluster; its address need not be known from here.
            yield from _connect("job_endpoint", endpoint, None)
        return
    if not options.get(f"{beam.runner}_submit_uber_jar"):
        yield from _job_server(beam.runner, jar, options)
    address = str(options.get(master, ""))
    if address and not re.match(r"\[|local", address):
        yield from _connect(master, address, port)


def _job_server(runner: str, jar: str, options: dict[str, Any]) -> Iterator[Fault]:
    """Beam starts its job server itself: with Java, from a jar that it fetches unless told."""
    if shutil.which("java") is None:
        yield Fault(
            f"beam.options.{jar}",
            shorten(options.get(jar, "")),
            "is run with Java, of which there is none on PATH",
            "Install a Java 11 or 17, or name a running job server by job_endpoint.",
        )
    path = str(options.get(jar, ""))
    if path and "://" not in path and not os.path.isfile(path):
        rule, remedy = "is no file", f"Correct it, or leave it out: Beam fetches its {runner} jar."
        yield Fault(f"beam.options.{jar}", shorten(path), rule, remedy)


def _connect(option: str, address: object, default_port: int | None) -> Iterator[Fault]:
    text = str(address).strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host, port = parts.hostname, parts.port or default_port
    except ValueError:
        host = port = None
    key = f"beam.options.{option}"
    if not host or not port:
        yield Fault(key, shorten(text), "is not HOST:PORT", "Write it so.")
        return
    try:
        socket.create_connection((host, port), timeout=_SECONDS).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        rule = f"does not answer on port {port} of {host} ({reason})"
        yield Fault(key, shorten(text), rule, "Start it, or correct the address.")
