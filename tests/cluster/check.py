"""`make flink-check`, `make spark-check`: the pipeline on a cluster, next to DirectRunner.

Starts a cluster on this machine, runs the default pipeline on it as `headrace run` does (of the
default data three spans: two to train on, one to judge), kills one of Flink's task managers in the
middle, and compares everything with a run on DirectRunner. Ends with 1 if anything differs. Wants
Java 11 to 17, Maven and, the first time, a network.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import compare
import downloads

from pipeline import config_file
from pipeline.config import BeamConfig, Config
from pipeline.local import outcome
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.local.run import run
from pipeline.vertex.twin import evidence, parity
from pipeline.vertex.twin.parity import Row

#: Enough to have several files in a split, and quick.
TRAIN_SPANS = 2

_TERMINAL = os.fdopen(os.dup(1), "w")

NODES = ("SpanExampleGen", "StatisticsGen", "Transform", "Evaluator")


class Told:
    """Says where a run is, and starts and stops what is to happen during a node."""

    def __init__(self, name: str, during: dict[str, Any] | None = None) -> None:
        self._name, self._during = name, during or {}
        self.started: dict[str, Any] = {}

    def say(self, message: str) -> None:
        """See `pipeline.local.run.Watcher`."""
        # A run sends what TFX prints to its log; this is for the terminal.
        print(f"  {self._name}: {message}", file=_TERMINAL, flush=True)

    def node(self, name: str, seconds: float | None) -> None:
        """See `pipeline.local.run.Watcher`."""
        if seconds is not None:
            self.say(f"{name} {seconds:.1f} s")
            if name in self.started:
                self.started[name].cancel()
        elif name in self._during:
            self.started[name] = self._during[name]()
            self.started[name].start()


def configuration(folder: Path, beam: BeamConfig) -> Config:
    """The default configuration on fewer spans, with an output folder of its own."""
    config = config_file.load(downloads.ROOT / "headrace.toml")
    return config.model_copy(
        update={
            "output": str(folder),
            "window": config.window.model_copy(update={"train_spans": TRAIN_SPANS}),
            "serving": config.serving.model_copy(update={"path": str(folder / "serving")}),
            # How quick the model server is on a busy machine is not what is compared.
            "proof": config.proof.model_copy(
                update={"load_seconds_max": 600.0, "latency_p99_ms": 60_000.0}
            ),
            "beam": beam,
        }
    )


def completed(config: Config, span: str, told: Told) -> RunResult:
    """Runs the pipeline.

    Raises:
        SystemExit: it failed.
    """
    begun = time.monotonic()
    result = run(config, span, told, wait_seconds=0)
    if result.status == "failed":
        raise SystemExit(f"{result.message}\nlog: {result.log}")
    told.say(f"{result.status} after {time.monotonic() - begun:.0f} s")
    return result


def nodes_of(config: Config, result: RunResult) -> dict[str, outcome.NodeOutcome]:
    """What each node of a run wrote."""
    return outcome.nodes_of_run(outcome.connect(Places.of(config).metadata), result.run_id)


def records(examples: str, split: str) -> list[bytes]:
    """Serialized examples of a split, sorted; of each the features in one order.

    The order in which the features of an example are written differs from process to process.
    """
    import tensorflow as tf

    files = tf.io.gfile.glob(os.path.join(examples, f"Split-{split}", "*"))
    data = tf.data.TFRecordDataset(sorted(files), compression_type="GZIP")
    parsed = map(tf.train.Example.FromString, data.as_numpy_iterator())
    return sorted(example.SerializeToString(deterministic=True) for example in parsed)


def transform(graph: str, serialized: list[bytes]) -> compare.Arrays:
    """Rows as a run's transform graph makes them."""
    import numpy as np
    import tensorflow as tf
    import tensorflow_transform as tft
    from absl import logging

    logging.set_verbosity(logging.WARNING)
    output = tft.TFTransformOutput(graph)
    layer, spec = output.transform_features_layer(), output.raw_feature_spec()
    parts: dict[str, list[Any]] = {}
    for start in range(0, len(serialized), 5000):
        made = layer(tf.io.parse_example(serialized[start : start + 5000], spec))
        for name, tensor in made.items():
            dense = tf.sparse.to_dense(tensor) if isinstance(tensor, tf.SparseTensor) else tensor
            parts.setdefault(name, []).append(dense.numpy())
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}


def rows_of(configs: tuple[Config, Config], results: tuple[RunResult, RunResult]) -> Iterator[Row]:
    """Everything compared: what the two runs say, then row by row."""
    nodes = [nodes_of(*pair) for pair in zip(configs, results, strict=True)]
    told = [evidence.collect(*pair) for pair in zip(results, nodes, strict=True)]
    yield from parity.compare(*told, metric_tolerance=compare.TOLERANCE)
    for split in ("train", "eval", "quarantine"):
        found = [records(run["SpanExampleGen"].outputs["examples"].uri, split) for run in nodes]
        yield compare.multisets(split, *found)
        if split != "quarantine":
            graphs = [run["Transform"].outputs["transform_graph"].uri for run in nodes]
            made = [transform(*pair) for pair in zip(graphs, found, strict=True)]
            yield compare.transformed(split, *made)


def check(engine: str, span: str, kill: list[str], folder: Path) -> bool:
    """Runs on both and compares; prints a table.

    Returns:
        Whether all is equal and each worker that was to be killed was, in the middle of a job.
    """
    module = importlib.import_module(engine)
    with module.cluster(folder / "cluster") as cluster:
        print(f"{engine}: started", flush=True)
        beam = BeamConfig(runner=engine, options=cluster.options(parallelism=2))
        there = configuration(folder / engine, beam)
        told = Told(engine, {name: lambda: module.Killer(cluster) for name in kill})
        on_cluster = completed(there, span, told)
        lost = [_killed(name, told.started.get(name), cluster) for name in kill]
    here = configuration(folder / "direct", BeamConfig())
    direct = completed(here, span, Told("direct"))
    rows = list(rows_of((here, there), (direct, on_cluster)))
    print(compare.table(rows, engine))
    for text, _ in lost:
        print(text)
    return all(row.same for row in rows) and all(good for _, good in lost)


def _killed(node: str, killer: Any, cluster: Any) -> tuple[str, bool]:
    """What killing a worker during a node came to, in words."""
    if killer is None or not killer.job:
        reason = killer.error if killer is not None and killer.error else "the node was over first"
        return f"{node}: no worker was killed ({reason})", False
    failures = cluster.failures(killer.job)
    if not failures:
        return f"{node}: {killer.victim} killed, but the job did not notice", False
    return f"{node}: {killer.victim} killed; the job recovered (failures: {len(failures)})", True


def main() -> None:
    """Parses the command line, checks, cleans up."""
    parser = argparse.ArgumentParser(prog="make flink-check ARGS=", description=__doc__)
    parser.add_argument("engine", choices=("flink", "spark"))
    parser.add_argument("--span", default="2019-12", help="newest span (default %(default)s)")
    parser.add_argument(
        "--kill",
        action="append",
        choices=NODES,
        help="node during which a task manager of Flink's is killed (default StatisticsGen)",
    )
    parser.add_argument("--keep", action="store_true", help="keep what the runs wrote")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = downloads.ROOT / "runs" / f"{arguments.engine}-check"
    shutil.rmtree(folder, ignore_errors=True)
    kill = arguments.kill or (["StatisticsGen"] if arguments.engine == "flink" else [])
    if kill and arguments.engine == "spark":
        parser.error("--kill: Spark runs in one process here, there is none to lose")
    good = check(arguments.engine, arguments.span, kill, folder)
    if good and not arguments.keep:
        shutil.rmtree(folder)
    else:
        print(f"what the runs wrote: {folder}")
    print(f"{arguments.engine}: {'equal' if good else 'NOT equal'}")
    sys.exit(not good)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
