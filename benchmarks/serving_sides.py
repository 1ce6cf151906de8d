"""Who answers in `benchmarks/serving.py`: the model, the rows it is asked about, the servers."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parent.parent
SIGNATURE = "serving_default"
MODEL = "model"
#: Rows of a request.
SIZES = (1, 64)
FLOOR, GRPC, REST, PLAIN = "floor", "gRPC", "REST", "FastAPI"

_START_SECONDS = 120.0

#: Column -> values, one a row.
Columns = Mapping[str, npt.NDArray[Any]]


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
    request.model_spec.name = MODEL
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
        *(sys.executable, "-m", "serving", f"--model_name={MODEL}", f"--model_base_path={base}"),
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
            f"/v1/models/{MODEL}:predict",
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

    with connect(f"http://127.0.0.1:{port}", model=MODEL) as client:
        return any(version.state == "AVAILABLE" for version in client.status())


def wait_for(done: Callable[[], bool], log: Path) -> None:
    """Waits until a server is there."""
    end = time.monotonic() + _START_SECONDS
    while not done():
        if time.monotonic() > end:
            raise SystemExit(f"the server did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
