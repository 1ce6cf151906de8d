"""How fast a pushed model answers: the embedded server, the bare session, a plain FastAPI app.

    python benchmarks/serving.py [--model FOLDER] [--seconds 10] [--json FILE]

All answer the signature `serving_default` of the same model on the same rows (those of its warm-up
requests; missing numbers are sent as 0). One row at a time, and 64.

* floor: `serving.server.saved_model.LoadedModel.run` on arrays, in this process; what is left of a
  request when there is no protocol. Threads instead of connections. "At half" it is asked at the
  moments at which gRPC was: what a run costs the machine more after a pause is in it too.
* gRPC, REST: `python -m serving` with its default flags, in a process of its own.
* FastAPI: `benchmarks/serving_plain.py`, `tf.saved_model.load` behind a pydantic row model, one
  uvicorn process.

Clients are processes of their own, one connection and one request at a time each, that send bytes
made beforehand (`benchmarks/serving_load.py`). They share the machine's cores with the server, so
throughput is that of both together.

Figures, all of the measured phases only, each after a phase that is not counted:

* alone: p50, p95, p99 of a closed loop over one connection, in milliseconds.
* req/s: requests a second of a closed loop over 1, 2, 4 and 8 connections; the best of them is
  called saturation.
* at half: p50, p95, p99 at half of saturation, requests arriving as a Poisson process (seeded)
  whatever the answers do; a latency counts from the moment the request was due.
* ×floor: p50 alone over the floor's.

Aims, on two cores: gRPC single-row p99 at half of saturation under 5 ms; saturation of gRPC, single
rows, at least twice that of FastAPI; gRPC with 64 rows within 1.5 times the floor (p50 alone).
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

# Ahead of this folder, in which `serving` is this very file.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.serving_askers import Clients, Threads
from benchmarks.serving_sides import (
    FLOOR,
    GRPC,
    MODEL,
    PLAIN,
    ROOT,
    SIGNATURE,
    SIZES,
    Columns,
    Target,
    embedded,
    newest,
    plain,
    read_rows,
)

CONNECTIONS = (1, 2, 4, 8)
P99_MS, TIMES_PLAIN, TIMES_FLOOR = 5.0, 2.0, 1.5

_LIBRARIES = ("tensorflow", "grpcio", "uvicorn", "starlette", "fastapi", "pydantic", "numpy")


@dataclass(frozen=True)
class Percentiles:
    """Of latencies, in milliseconds."""

    p50: float
    p95: float
    p99: float
    count: int

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Percentiles:
        """Of latencies in seconds."""
        if not seconds:
            raise SystemExit("no answer in a whole phase; measure longer: --seconds")
        p50, p95, p99 = (float(p) * 1000 for p in np.percentile(seconds, (50, 95, 99)))
        return cls(p50, p95, p99, len(seconds))


@dataclass(frozen=True)
class Figures:
    """What was measured of one side and one number of rows.

    Attributes:
        side: floor, gRPC, REST or FastAPI.
        rows: of a request.
        alone: over one connection.
        rates: connections -> requests a second.
        at_half: at half of the best rate; of the floor, at half of gRPC's.
    """

    side: str
    rows: int
    alone: Percentiles
    rates: dict[int, float]
    at_half: Percentiles

    @property
    def saturation(self) -> float:
        """Requests a second at most."""
        return max(self.rates.values())


def measure_floor(
    ask: Callable[[], object], rows: int, seconds: float, at_rate: float | None
) -> Figures:
    """Figures of the bare session.

    Args:
        ask: one run.
        rows: of a run.
        seconds: of a phase.
        at_rate: requests a second, for "at half".
    """
    threads = Threads(ask, max(CONNECTIONS))
    threads.closed(1, seconds / 4)
    return _figures(FLOOR, rows, threads, seconds, at_rate)


def measure(
    side: str, target: Target, columns: Columns, answers: Mapping[int, float], seconds: float
) -> Iterator[Figures]:
    """Figures of one server; first sees that it answers like the floor."""
    for rows in SIZES:
        with tempfile.NamedTemporaryFile() as body:
            body.write(target.body({name: values[:rows] for name, values in columns.items()}))
            body.flush()
            with Clients(target, Path(body.name), max(CONNECTIONS)) as clients:
                probability = target.probability(clients.first_answer)
                if abs(probability - answers[rows]) > 1e-5:
                    raise SystemExit(f"{side} answers {probability}, the floor {answers[rows]}")
                clients.closed(max(CONNECTIONS), seconds / 4)
                yield _figures(side, rows, clients, seconds)


def _figures(
    side: str, rows: int, askers: Threads | Clients, seconds: float, at_rate: float | None = None
) -> Figures:
    runs = {number: askers.closed(number, seconds) for number in CONNECTIONS}
    rates = {number: len(latencies) / seconds for number, latencies in runs.items()}
    at_half = askers.open(at_rate or max(rates.values()) / 2, seconds)
    return Figures(side, rows, Percentiles.of(runs[1]), rates, Percentiles.of(at_half))


# --- what comes of it --------------------------------------------------------------------


def aims(found: Sequence[Figures]) -> dict[str, tuple[float, float, bool]]:
    """Aim -> figure, limit, whether it is met."""
    by_key = {(one.side, one.rows): one for one in found}
    single, batch = by_key[GRPC, 1], by_key[GRPC, 64]
    p99 = single.at_half.p99
    times_plain = single.saturation / by_key[PLAIN, 1].saturation
    times_floor = batch.alone.p50 / by_key[FLOOR, 64].alone.p50
    return {
        "gRPC, 1 row: p99 at half of saturation, ms, below": (p99, P99_MS, p99 < P99_MS),
        "gRPC, 1 row: saturation over FastAPI's, at least": (
            times_plain,
            TIMES_PLAIN,
            times_plain >= TIMES_PLAIN,
        ),
        "gRPC, 64 rows: p50 alone over the floor's, at most": (
            times_floor,
            TIMES_FLOOR,
            times_floor <= TIMES_FLOOR,
        ),
    }


def show(found: Sequence[Figures], title: str) -> None:
    """The tables."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for heading in ("", "rows", "alone p50", "p95", "p99", "×floor"):
        table.add_column(heading, justify="right")
    for number in CONNECTIONS:
        table.add_column(f"req/s {number}", justify="right")
    for heading in ("at half p50", "p95", "p99"):
        table.add_column(heading, justify="right")
    floor = {one.rows: one.alone.p50 for one in found if one.side == FLOOR}
    for one in sorted(found, key=lambda figures: figures.rows):
        alone, half = one.alone, one.at_half
        table.add_row(
            one.side,
            str(one.rows),
            *(f"{value:.2f}" for value in (alone.p50, alone.p95, alone.p99)),
            f"{alone.p50 / floor[one.rows]:.2f}",
            *(f"{rate:.0f}" for rate in one.rates.values()),
            *(f"{value:.2f}" for value in (half.p50, half.p95, half.p99)),
        )
    console.print(table)
    for aim, (figure, limit, met) in aims(found).items():
        console.print(f"{'met   ' if met else 'MISSED'}  {aim} {limit:g}: {figure:.2f}")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
    }


def main() -> None:
    """Prints the table; see `--help`."""
    arguments = _arguments()
    description = machine()
    folder = (arguments.model or newest(arguments.config)).resolve()
    from serving.server.tf_start import start_tensorflow

    start_tensorflow()
    from serving.server import saved_model

    columns = read_rows(folder)
    seconds = arguments.seconds
    model = saved_model.load(MODEL, 1, str(folder))
    runs = {
        rows: functools.partial(
            model.run, SIGNATURE, {name: values[:rows] for name, values in columns.items()}
        )
        for rows in SIZES
    }
    answers = {rows: float(run()["probability"][0]) for rows, run in runs.items()}
    found: list[Figures] = []
    with tempfile.TemporaryDirectory(prefix="headrace-serving-") as name:
        place = Path(name)
        for start in (
            functools.partial(embedded, folder, place, arguments.flag),
            functools.partial(plain, folder, place),
        ):
            with start() as targets:
                for side, target in targets.items():
                    print(f"measuring {side}", file=sys.stderr, flush=True)
                    found += measure(side, target, columns, answers, seconds)
    # Last, because it is asked at gRPC's pace too.
    half = {one.rows: one.saturation / 2 for one in found if one.side == GRPC}
    floor = [measure_floor(run, rows, seconds, half[rows]) for rows, run in runs.items()]
    found = floor + found
    cores, load = description["cores"], description["load_before"]
    show(found, f"{folder.name}; {seconds:g} s a phase, {cores} cores, load before {load:.1f}; ms")
    if arguments.json:
        report = {
            "model": str(folder),
            "seconds": seconds,
            "flags": arguments.flag,
            "machine": description,
            "figures": [{**asdict(one), "saturation": one.saturation} for one in found],
            "aims": aims(found),
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="folder of a version; default: the newest")
    parser.add_argument("--config", default=str(ROOT / "headrace.toml"), help="where models are")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measured phase")
    parser.add_argument(
        "--flag", action="append", default=[], help="for the embedded server, as --flag=--x=y"
    )
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


if __name__ == "__main__":
    main()
