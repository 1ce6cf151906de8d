"""Time and memory against rows and workers: the four nodes that Beam runs, from cold processes.

    python benchmarks/scale.py --rows 120000 500000 --runners direct:1 direct:2

Runs the pipeline on rows drawn with replacement from the committed ones, in one CSV file a span,
each time in a new process with an empty output folder. For each number of rows the runners take
turns. `direct:N` is Beam's own runner with N processes (1: in this one's memory), `flink:N` a Flink
cluster on this machine at parallelism N (`tests/cluster`; what that needs, `make flink-check`
says). The Trainer, which is not Beam's, makes one pass and is left out of the figures. Memory is
the largest sum over all processes at one moment, shared pages counted once, looked at every second.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

# This folder's `serving.py` must not be taken for the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(1, str(Path(__file__).resolve().parents[1] / "tests" / "cluster"))

from benchmarks import stock
from pipeline import config_file
from pipeline.config import BeamConfig, Config
from pipeline.local.run import run

#: Those that run on Beam.
NODES = ("SpanExampleGen", "StatisticsGen", "Transform", "Evaluator")


@dataclass(frozen=True)
class Point:
    """One run.

    Attributes:
        rows: of the whole window.
        runner: `direct:N` or `flink:N`.
        seconds: by node; wall time.
        cpu_seconds: by node, of the run's process and its children: without those of a cluster.
        peak_bytes: of all processes together, those of a cluster too.
        load: average of the last minute, when the run began.
    """

    rows: int
    runner: str
    seconds: dict[str, float]
    cpu_seconds: dict[str, float]
    peak_bytes: int
    load: float


class Clock:
    """Watches a run: wall and processor time of each node."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}
        self._begun: dict[str, float] = {}

    def say(self, message: str) -> None:
        """See `pipeline.local.run.Watcher`."""

    def node(self, name: str, seconds: float | None) -> None:
        """See `pipeline.local.run.Watcher`."""
        own, children = (
            resource.getrusage(resource.RUSAGE_SELF),
            resource.getrusage(resource.RUSAGE_CHILDREN),
        )
        used = sum(usage.ru_utime + usage.ru_stime for usage in (own, children))
        if seconds is None:
            self._begun[name] = used
        else:
            self.wall[name], self.cpu[name] = seconds, used - self._begun[name]


class Memory(threading.Thread):
    """Watches this process's descendants; `peak` is the most they held together, in bytes."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak = 0
        self._over = threading.Event()

    def run(self) -> None:
        """Looks every second."""
        while not self._over.wait(1.0):
            self.peak = max(self.peak, sum(map(_proportional, _descendants(os.getpid()))))

    def stop(self) -> int:
        """Ends the watch; returns the peak."""
        self._over.set()
        self.join()
        return self.peak


def _descendants(root: int) -> list[int]:
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path("/proc", entry, "stat").read_text(encoding="utf-8", errors="replace")
                parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry))
    found, todo = [], [root]
    while todo:
        children = parents.get(todo.pop(), [])
        found += children
        todo += children
    return found


def _proportional(process: int) -> int:
    """Resident bytes of a process; of shared pages its share."""
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc", str(process), "smaps_rollup").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) * 1024
    return 0


@contextlib.contextmanager
def beam(runner: str, folder: Path) -> Iterator[BeamConfig]:
    """`[beam]` for a runner by its name here; a cluster lives as long as the context."""
    kind, _, workers = runner.partition(":")
    if kind == "flink":
        with importlib.import_module("flink").cluster(folder / "cluster") as cluster:
            yield BeamConfig(runner="flink", options=cluster.options(int(workers)))
    elif workers == "1":
        yield BeamConfig()
    else:
        yield BeamConfig(
            options={
                "direct_running_mode": "multi_processing",
                "direct_num_workers": int(workers),
            }
        )


def measure(config: Config, data: Path, rows: int, runner: str, folder: Path) -> Point:
    """Runs the pipeline once on a runner, in a process of its own.

    Raises:
        SystemExit: the run failed.
    """
    load = os.getloadavg()[0]
    with beam(runner, folder) as section:
        own = stock.benchmark_config(config, data / stock.HEADRACE, folder / "output")
        own = own.model_copy(
            update={
                "beam": section,
                "training": own.training.model_copy(update={"epochs": 1}),
                # What a busy machine is slow at is not what is asked here.
                "proof": own.proof.model_copy(
                    update={"load_seconds_max": 3600.0, "latency_p99_ms": 60_000.0}
                ),
            }
        )
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "headrace.toml"
        file.write_text(stock.to_toml(own), encoding="utf-8")
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        memory = Memory()
        memory.start()
        try:
            command = [sys.executable, __file__, "--one", str(file)]
            done = subprocess.run(
                command, env=environment, check=False, stdout=subprocess.PIPE, text=True
            )
        finally:
            peak = memory.stop()
    if done.returncode:
        raise SystemExit(f"{rows} rows on {runner}: {done.stdout}")
    wall, cpu = json.loads(done.stdout.splitlines()[-1])
    return Point(
        rows,
        runner,
        {node: wall[node] for node in NODES},
        {node: cpu[node] for node in NODES},
        peak,
        load,
    )


def run_one(file: str) -> None:
    """One run; prints its nodes' wall and processor seconds.

    Raises:
        SystemExit: it failed.
    """
    clock = Clock()
    result = run(config_file.load(Path(file)), None, clock, wait_seconds=0)
    if result.status != "pushed":
        raise SystemExit(f"{result.status}: {result.message}")
    print(json.dumps([clock.wall, clock.cpu]), flush=True)


def table(points: Sequence[Point]) -> str:
    """The points as Markdown: of each node the wall and, where known, the processor seconds."""
    lines = [
        f"| rows | runner | {' | '.join(NODES)} | all four | peak memory, MB |",
        "|---" * (len(NODES) + 4) + "|",
    ]
    for point in points:
        known = point.runner.startswith("direct")
        wall, cpu = point.seconds, point.cpu_seconds
        pairs = [(wall[node], cpu[node]) for node in NODES]
        pairs.append((sum(wall.values()), sum(cpu.values())))
        cells = [f"{a:.0f} ({b:.0f})" if known else f"{a:.0f}" for a, b in pairs]
        lines.append(
            f"| {point.rows:,} | {point.runner} | {' | '.join(cells)} | "
            f"{point.peak_bytes / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def _runner(text: str) -> str:
    kind, _, workers = text.partition(":")
    if kind not in ("direct", "flink") or not workers.isdigit() or int(workers) < 1:
        raise argparse.ArgumentTypeError("must be direct:N or flink:N")
    return text


def main() -> None:
    """Measures what the command line asks for, and prints each point as it comes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[120_000, 500_000, 2_000_000])
    parser.add_argument("--runners", type=_runner, nargs="+", default=["direct:1", "direct:2"])
    parser.add_argument("--span", default="2019-12")
    parser.add_argument("--json", type=Path, help="write the points to this file")
    parser.add_argument("--one", metavar="CONFIG", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(arguments.one)
        return
    config = config_file.load(stock.ROOT / "headrace.toml")
    points: list[Point] = []
    work = Path(tempfile.mkdtemp(prefix="headrace-scale-"))
    try:
        for rows in arguments.rows:
            data = work / f"data-{rows}"
            stock.write_data(config, arguments.span, rows, 0, data)
            for runner in arguments.runners:
                folder = work / f"{rows}-{runner.replace(':', '-')}"
                points.append(measure(config, data, rows, runner, folder))
                shutil.rmtree(folder)
                print(json.dumps(asdict(points[-1])), flush=True)
            shutil.rmtree(data)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(table(points))
    if arguments.json:
        told: dict[str, Any] = {"machine": stock.machine(), "points": [asdict(p) for p in points]}
        arguments.json.write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
