"""Runs of a small graph in TensorFlow's pool, and in the thread that asks for them.

    python benchmarks/session_threads.py [--model FOLDER] [--seconds 2]

What `serving.server.saved_model` decides by: TensorFlow's pool waits by spinning, which costs a
graph of a millisecond more than it gains. Both ways in turn, three times, in one process.
"""

from __future__ import annotations

import argparse
import functools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
# Ahead of this folder, in which `serving` is a script.
sys.path.insert(0, str(ROOT))

SIGNATURE = "serving_default"


def measure(ask: Callable[[], object], threads: int, seconds: float) -> str:
    """Runs it in so many threads; p50, p99, runs a second, and the processors' time for each."""
    from benchmarks.serving_askers import Threads

    spent = time.process_time()
    latencies = Threads(ask, threads).closed(threads, seconds)
    spent = time.process_time() - spent
    p50, p99 = np.percentile(latencies, (50, 99)) * 1000
    each = spent / len(latencies) * 1000
    return f"{p50:8.3f} {p99:8.3f} {len(latencies) / seconds:9.0f} {each:8.3f}"


def main() -> None:
    """Prints the table."""
    from benchmarks.serving_sides import newest, read_rows
    from serving.server import saved_model
    from serving.server.tf_start import start_tensorflow

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="folder of a version; default: the newest")
    parser.add_argument("--config", default=str(ROOT / "headrace.toml"), help="where models are")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    arguments = parser.parse_args()
    folder = (arguments.model or newest(arguments.config)).resolve()
    start_tensorflow()
    columns = read_rows(folder)
    models = {
        # As many as TensorFlow would choose: that a number is said keeps the pool. 0 says none.
        where: saved_model.load(
            "model", 1, str(folder), saved_model.SessionOptions(inter_op_threads=threads)
        )
        for where, threads in (("pool", os.cpu_count() or 1), ("own thread", 0))
    }
    print(f"{'':12}rows threads      p50      p99    runs/s   CPU ms   (ms)")
    for _ in range(3):
        for rows in (1, 64):
            inputs = {name: values[:rows] for name, values in columns.items()}
            for threads in (1, 4):
                for where, model in models.items():
                    ask = functools.partial(model.run, SIGNATURE, inputs)
                    for _ in range(100):
                        ask()
                    figures = measure(ask, threads, arguments.seconds)
                    print(f"{where:12}{rows:4} {threads:7} {figures}", flush=True)


if __name__ == "__main__":
    main()
