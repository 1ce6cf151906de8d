"""Machine types as the limits that a pipeline task asks for.

A pipeline spec has no machine type: Vertex picks the smallest machine that holds the processors and
the memory a task asks for.
https://cloud.google.com/vertex-ai/docs/pipelines/machine-types
https://cloud.google.com/compute/docs/general-purpose-machines
"""

from __future__ import annotations

import re

#: GB of memory per virtual processor, by family and class.
_GB_PER_CPU = {
    "e2-standard": 4.0,
    "e2-highmem": 8.0,
    "e2-highcpu": 1.0,
    "n1-standard": 3.75,
    "n1-highmem": 6.5,
    "n1-highcpu": 0.9,
    "n2-standard": 4.0,
    "n2-highmem": 8.0,
    "n2-highcpu": 1.0,
    "n2d-standard": 4.0,
    "n2d-highmem": 8.0,
    "c2-standard": 4.0,
    "c3-standard": 4.0,
    "c3-highmem": 8.0,
}

FAMILIES = tuple(_GB_PER_CPU)

#: Accelerators attach to these alone.
ACCELERATED = "n1"


def limits(machine_type: str) -> tuple[float, float] | None:
    """Processors and GB of memory of a machine type; None if it is none of `FAMILIES`."""
    parts = re.fullmatch(r"([a-z0-9]+-[a-z]+)-([1-9][0-9]*)", machine_type)
    if parts is None or parts[1] not in _GB_PER_CPU:
        return None
    cpus = int(parts[2])
    return float(cpus), cpus * _GB_PER_CPU[parts[1]]
