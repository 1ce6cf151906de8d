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
import contextlib
import functools
import json
import os
import platform
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
# Ahead of this folder, in which `serving` is this very file.
sys.path.insert(0, str(ROOT))

SIGNATURE = "serving_default"
SIZES = (1, 64)
CONNECTIONS = (1, 2, 4, 8)
FLOOR, GRPC, REST, PLAIN = "floor", "gRPC", "REST", "FastAPI"
P99_MS, TIMES_PLAIN, TIMES_FLOOR = 5.0, 2.0, 1.5

_MODEL = "model"
_START_SECONDS = 120.0
#: From the order to the first request of a phase.
_CONNECT_SECONDS = 0.5
_LIBRARIES = ("tensorflow", "grpcio", "uvicorn", "starlette", "fastapi", "pydantic", "numpy")

#: Column -> values, one a row.
Columns = Mapping[str, npt.NDArray[Any]]


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
        at_half: at half of the best rate; of the floor, at half of gRPC's; None: not measured yet.
    """

    side: str
    rows: int
    alone: Percentiles
    rates: dict[int, float]
    at_half: Percentiles | None

    @property
    def saturation(self) -> float:
        """Requests a second at most."""
        return max(self.rates.values())


@dataclass(frozen=True)
class Target:
    """Where the clients of one side send what.

    Attributes:
        kind: grpc or rest.
        address: host:port.
        path: of the URL, or the method.
        body: rows -> bytes of the request.
        probability: bytes of the answer -> the first row's.
    """

    kind: str
    address: str
    path: str
    body: Callable[[Columns], bytes]
    probability: Callable[[bytes], float]


# --- the model and its rows --------------------------------------------------------------


def newest(config_file: str) -> Path:
    """The newest version that the configuration's pipeline pushed."""
    from pipeline import config_file as reader
    from serving.registry import Registry

    serving = reader.load(config_file).serving
    version = Registry(serving.path, serving.model_name).newest()
    if version is None:
        raise SystemExit("no model pushed yet: run `headrace run`, or give --model FOLDER")
    return version.path


def read_rows(folder: Path) -> dict[str, npt.NDArray[Any]]:
    """The rows of the model's own warm-up requests, repeated up to the largest batch."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    best: dict[str, npt.NDArray[Any]] = {}
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        if request.model_spec.signature_name == SIGNATURE:
            best = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
    if not best:
        raise SystemExit(f"{path} has no request of signature {SIGNATURE} to take rows from")
    return {name: np.resize(_filled(values), max(SIZES)) for name, values in best.items()}


def _filled(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # Not everybody's JSON has a NaN.
    return np.nan_to_num(values) if values.dtype.kind == "f" else values


def as_grpc(columns: Columns) -> bytes:
    """A PredictRequest."""
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = _MODEL
    for name, values in columns.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(values))
    serialized: bytes = request.SerializeToString()
    return serialized


def as_rows(columns: Columns) -> list[dict[str, Any]]:
    """Rows for JSON."""
    texts = {
        name: [v.decode() for v in values] if values.dtype == object else values.tolist()
        for name, values in columns.items()
    }
    return [dict(zip(texts, row, strict=True)) for row in zip(*texts.values(), strict=True)]


def from_grpc(answer: bytes) -> float:
    """The first row's probability in a PredictResponse."""
    from tensorflow_serving.apis import predict_pb2

    return float(predict_pb2.PredictResponse.FromString(answer).outputs["probability"].float_val[0])


# --- sides -------------------------------------------------------------------------------


class Floor:
    """The bare session, in this process."""

    def __init__(self, folder: Path, columns: Columns) -> None:
        from serving.server import saved_model

        self._model = saved_model.load(_MODEL, 1, str(folder))
        self._inputs = {
            rows: {name: values[:rows] for name, values in columns.items()} for rows in SIZES
        }

    def probability(self, rows: int) -> float:
        """The first row's."""
        return float(self._model.run(SIGNATURE, self._inputs[rows])["probability"][0])

    def figures(self, rows: int, seconds: float) -> Figures:
        """All but those at half."""
        ask = self._ask(rows)
        in_threads(ask, 1, seconds / 4)
        runs = {threads: in_threads(ask, threads, seconds) for threads in CONNECTIONS}
        rates = {threads: len(latencies) / seconds for threads, latencies in runs.items()}
        return Figures(FLOOR, rows, Percentiles.of(runs[1]), rates, None)

    def at_rate(self, rows: int, rate: float, seconds: float) -> Percentiles:
        """Latencies when requests arrive at a rate, a second; see `Clients.open`."""
        ask = self._ask(rows)
        latencies: list[float] = []

        def loop(moments: Sequence[float]) -> None:
            own = []
            for moment in moments:
                time.sleep(max(0.0, moment - time.monotonic()))
                ask()
                own.append(time.monotonic() - moment)
            latencies.extend(own)

        start = time.monotonic() + _CONNECT_SECONDS
        each = arrivals(rate, start, seconds, max(CONNECTIONS))
        join([threading.Thread(target=loop, args=(moments,)) for moments in each])
        return Percentiles.of(latencies)

    def _ask(self, rows: int) -> Callable[[], object]:
        return functools.partial(self._model.run, SIGNATURE, self._inputs[rows])


def in_threads(ask: Callable[[], object], threads: int, seconds: float) -> list[float]:
    """Latencies of so many closed loops at a time, in seconds."""
    end = time.monotonic() + seconds
    latencies: list[float] = []

    def loop() -> None:
        own = []
        while (sent := time.monotonic()) < end:
            ask()
            own.append(time.monotonic() - sent)
        latencies.extend(own)

    join([threading.Thread(target=loop) for _ in range(threads)])
    return latencies


def join(workers: Sequence[threading.Thread]) -> None:
    """Starts all, and waits for all."""
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def arrivals(
    rate: float, start: float, seconds: float, askers: int, seed: int = 0
) -> list[list[float]]:
    """Moments of a Poisson process, dealt out to so many askers in turn.

    Args:
        rate: requests a second.
        start: on the monotonic clock.
        seconds: how long.
        askers: who ask.
        seed: of the draw.
    """
    draw, moment, moments = random.Random(seed), start, list[float]()
    while (moment := moment + draw.expovariate(rate)) < start + seconds:
        moments.append(moment)
    return [moments[asker::askers] for asker in range(askers)]


@contextlib.contextmanager
def process(command: list[str], log: Path, **environment: str) -> Iterator[None]:
    """Runs a server within the block; what it says goes to a file."""
    with log.open("w") as out:
        running = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **environment}, stdout=out, stderr=out
        )
    try:
        yield
    finally:
        running.terminate()
        running.wait(60)


@contextlib.contextmanager
def embedded(folder: Path, place: Path, flags: Sequence[str]) -> Iterator[dict[str, Target]]:
    """The embedded server: its two sides."""
    base = place / "base"
    base.mkdir()
    (base / "1").symlink_to(folder)
    ports = place / "ports.json"
    command = [
        *(sys.executable, "-m", "serving", f"--model_name={_MODEL}", f"--model_base_path={base}"),
        *("--port=auto", "--rest_api_port=auto", "--host=127.0.0.1", "--exit_with_parent"),
        *(f"--port_file={ports}", *flags),
    ]
    with process(command, place / "server.log"):
        wait_for(ports.exists, place / "server.log")
        found = json.loads(ports.read_text())
        wait_for(lambda: _available(found["rest_port"]), place / "server.log")
        rest = Target(
            "rest",
            f"127.0.0.1:{found['rest_port']}",
            f"/v1/models/{_MODEL}:predict",
            lambda columns: json.dumps({"instances": as_rows(columns)}).encode(),
            lambda answer: float(json.loads(answer)["predictions"][0]["probability"]),
        )
        grpc = Target(
            "grpc",
            f"127.0.0.1:{found['grpc_port']}",
            "/tensorflow.serving.PredictionService/Predict",
            as_grpc,
            from_grpc,
        )
        yield {GRPC: grpc, REST: rest}


@contextlib.contextmanager
def plain(folder: Path, place: Path) -> Iterator[dict[str, Target]]:
    """The FastAPI app."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "uvicorn", "serving_plain:app", "--no-access-log"),
        *("--app-dir", str(ROOT / "benchmarks"), "--port", str(port)),
    ]
    with process(command, place / "plain.log", MODEL_DIR=str(folder), TF_CPP_MIN_LOG_LEVEL="2"):
        wait_for(lambda: _listens(port), place / "plain.log")
        target = Target(
            "rest",
            f"127.0.0.1:{port}",
            "/predict",
            lambda columns: json.dumps(as_rows(columns)).encode(),
            lambda answer: float(json.loads(answer)[0]["probability"]),
        )
        yield {PLAIN: target}


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _available(port: int) -> bool:
    from serving.client import connect

    with connect(f"http://127.0.0.1:{port}", model=_MODEL) as client:
        return any(version.state == "AVAILABLE" for version in client.status())


def wait_for(done: Callable[[], bool], log: Path) -> None:
    """Waits until a server is there."""
    end = time.monotonic() + _START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"the server did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


# --- load --------------------------------------------------------------------------------


class Clients:
    """Client processes of one target."""

    def __init__(self, target: Target, body: Path, number: int) -> None:
        """Starts them; each has had one answer when this returns.

        Args:
            target: what they ask.
            body: file with the request.
            number: of processes.
        """
        order = {"kind": target.kind, "address": target.address, "path": target.path}
        script = Path(__file__).with_name("serving_load.py")
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(script), json.dumps({**order, "body": str(body)})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(number)
        ]
        answers = [bytes.fromhex(self._line(client)) for client in self._processes]
        self.first_answer = answers[0]

    def closed(self, connections: int, seconds: float) -> list[float]:
        """Latencies of a closed loop, in seconds."""
        start = time.monotonic() + _CONNECT_SECONDS
        phase = {"start": start, "end": start + seconds, "times": None}
        return self._phase([phase] * connections)

    def open(self, rate: float, seconds: float) -> list[float]:
        """Latencies at a rate, in requests a second, each from the moment it was due."""
        start = time.monotonic() + _CONNECT_SECONDS
        each = arrivals(rate, start, seconds, len(self._processes))
        return self._phase([{"start": start, "end": 0.0, "times": own} for own in each])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._processes:
            client.kill()
            client.communicate()

    def _phase(self, phases: Sequence[Mapping[str, Any]]) -> list[float]:
        for client, phase in zip(self._processes, phases, strict=False):
            assert client.stdin is not None
            client.stdin.write(json.dumps(phase) + "\n")
            client.stdin.flush()
        latencies: list[float] = []
        for client, _ in zip(self._processes, phases, strict=False):
            latencies += json.loads(self._line(client))
        return latencies

    def _line(self, client: subprocess.Popen[str]) -> str:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line:
            raise SystemExit("a client failed; its message is above")
        return line


def measure(
    side: str, target: Target, columns: Columns, answers: Mapping[int, float], seconds: float
) -> Iterator[Figures]:
    """Figures of one side; first sees that it answers like the floor."""
    for rows in SIZES:
        with tempfile.NamedTemporaryFile() as body:
            body.write(target.body({name: values[:rows] for name, values in columns.items()}))
            body.flush()
            with Clients(target, Path(body.name), max(CONNECTIONS)) as clients:
                probability = target.probability(clients.first_answer)
                if abs(probability - answers[rows]) > 1e-5:
                    raise SystemExit(f"{side} answers {probability}, the floor {answers[rows]}")
                clients.closed(max(CONNECTIONS), seconds / 4)
                runs = {number: clients.closed(number, seconds) for number in CONNECTIONS}
                rates = {number: len(latencies) / seconds for number, latencies in runs.items()}
                at_half = Percentiles.of(clients.open(max(rates.values()) / 2, seconds))
        yield Figures(side, rows, Percentiles.of(runs[1]), rates, at_half)


# --- what comes of it --------------------------------------------------------------------


def aims(found: Sequence[Figures]) -> dict[str, tuple[float, float, bool]]:
    """Aim -> figure, limit, whether it is met."""
    by_key = {(one.side, one.rows): one for one in found}
    single, batch = by_key[GRPC, 1], by_key[GRPC, 64]
    assert single.at_half is not None
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
            *(f"{v:.2f}" for v in ((half.p50, half.p95, half.p99) if half else ())),
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
    columns = read_rows(folder)
    seconds = arguments.seconds
    floor = Floor(folder, columns)
    answers = {rows: floor.probability(rows) for rows in SIZES}
    bare = [floor.figures(rows, seconds) for rows in SIZES]
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
    rates = {one.rows: one.saturation / 2 for one in found if one.side == GRPC}
    found = [
        replace(one, at_half=floor.at_rate(one.rows, rates[one.rows], seconds)) for one in bare
    ] + found
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
