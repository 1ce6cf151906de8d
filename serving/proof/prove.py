"""The proof, step by step."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import prediction_log_pb2

from serving.proof import files, process, rows
from serving.proof.asking import Asker, Signatures, b64, filled, plain, tensors
from serving.proof.process import ServerError
from serving.proof.rows import Probe
from serving.proof.verdict import Demands, Finding, Verdict
from serving.server.warmup import WARMUP_FILE

RAW, EXAMPLES, CLASSIFY, TRANSFORM = (
    *("serving_default", "serve_tf_examples"),
    *("classify", "transform_features"),
)

_LOAD = "load"
_ATTEMPTS = 3
_FLOAT, _INT, _STRING = types_pb2.DT_FLOAT, types_pb2.DT_INT64, types_pb2.DT_STRING
_OUTPUTS = {
    RAW: {"probability": _FLOAT, "label": _INT},
    EXAMPLES: {"probability": _FLOAT, "label": _INT},
    CLASSIFY: {"classes": _STRING, "scores": _FLOAT},
    TRANSFORM: {},
}
_INPUTS = {EXAMPLES: "examples", CLASSIFY: "inputs", TRANSFORM: "examples"}


def prove(model: Path, demands: Demands) -> Verdict:
    """Serves a model and asks it.

    Args:
        model: an exported SavedModel's folder, local.
        demands: what it must stand.

    Returns:
        Every finding; those after a model that cannot be served are missing.
    """
    return Verdict(tuple(_findings(model, demands)))


def _findings(model: Path, demands: Demands) -> Iterator[Finding]:
    yield from files.check(model, demands)
    with tempfile.TemporaryDirectory(prefix="headrace-proof-") as temporary:
        folder = Path(temporary)
        base = folder / process.MODEL_NAME
        base.mkdir()
        # A link, not a copy: servers follow it, and the candidate may be large.
        (base / process.VERSION).symlink_to(model.absolute(), target_is_directory=True)
        try:
            with process.running(
                demands.server, base, folder, seconds=demands.load_seconds_max
            ) as server:
                asker = Asker(server, int(process.VERSION))
                try:
                    seconds = asker.wait(demands.load_seconds_max)
                    yield Finding(
                        _LOAD, True, f"available {seconds:.1f} s after the start of the server",
                        {"load_seconds": round(seconds, 3)},
                    )  # fmt: skip
                    yield from _answers(asker, model, demands)
                finally:
                    asker.close()
        except ServerError as error:
            yield Finding(_LOAD, False, str(error))


def _answers(asker: Asker, model: Path, demands: Demands) -> Iterator[Finding]:
    try:
        probe = rows.read(model)
    except ValueError as error:
        yield Finding("probe", False, str(error))
        return
    signatures = asker.signatures()
    wrong = _wrong_signatures(signatures, probe)
    if wrong:
        yield Finding("signatures", False, "; ".join(wrong))
    else:
        yield Finding("signatures", True, f"{len(_OUTPUTS)} signatures have the types they should")
    for name, ask in _surfaces(asker, signatures, probe).items():
        yield _compared(name, ask, probe, demands.tolerance)
    yield _transformed(asker, probe)
    yield _warmup(asker, model)
    if not wrong:
        yield from _latency(asker, signatures, probe, demands)


def _wrong_signatures(signatures: Signatures, probe: Probe) -> list[str]:
    problems = [f"signature {name} is missing" for name in _OUTPUTS if name not in signatures]
    for name, outputs in _OUTPUTS.items():
        if name not in signatures:
            continue
        signature = signatures[name]
        wanted = {("output", output): dtype for output, dtype in outputs.items()}
        if name in _INPUTS:
            wanted["input", _INPUTS[name]] = _STRING
        else:
            columns = sorted(_column_types(probe).items())
            wanted |= {("input", column): dtype for column, dtype in columns}
        for (side, tensor), dtype in wanted.items():
            found = (signature.inputs if side == "input" else signature.outputs).get(tensor)
            if found is None:
                problems.append(f"{name} has no {side} {tensor!r}")
            elif found.dtype != dtype:
                is_, should = map(types_pb2.DataType.Name, (found.dtype, dtype))
                problems.append(f"{side} {tensor!r} of {name} is {is_}, and should be {should}")
    return problems


def _column_types(probe: Probe) -> dict[str, int]:
    """Types of the columns that have a value in some row."""
    kinds = {"float_list": _FLOAT, "int64_list": _INT, "bytes_list": _STRING}
    return {
        name: kinds[kind]
        for example in probe.examples
        for name, feature in example.features.feature.items()
        if (kind := feature.WhichOneof("kind")) and getattr(feature, kind).value
    }


Ask = Callable[[], "npt.ArrayLike"]


def _surfaces(asker: Asker, signatures: Signatures, probe: Probe) -> dict[str, Ask]:
    """Every way to ask for the probability of all rows."""
    serialized = [example.SerializeToString() for example in probe.examples]

    def raw_rows() -> list[dict[str, Any]]:
        columns = {
            name: filled(probe.values(name), dtype)
            for name, dtype in _dtypes(signatures, RAW).items()
        }
        return [
            {name: plain(values[row]) for name, values in columns.items()}
            for row in range(len(serialized))
        ]

    return {
        f"grpc {RAW}": lambda: asker.predict(RAW, _raw_tensors(signatures, probe))["probability"],
        f"grpc {EXAMPLES}": lambda: asker.predict(
            EXAMPLES, {"examples": tf.make_tensor_proto(serialized, tf.string)}
        )["probability"],
        f"grpc {CLASSIFY}": lambda: asker.classify(CLASSIFY, probe),
        f"rest {RAW}": lambda: [
            row["probability"]
            for row in asker.rest("predict", {"instances": raw_rows()})["predictions"]
        ],
        f"rest {EXAMPLES}": lambda: asker.rest(
            "predict",
            {"signature_name": EXAMPLES, "inputs": {"examples": [b64(row) for row in serialized]}},
        )["outputs"]["probability"],
        f"rest {CLASSIFY}": lambda: [
            dict(row)["1"]
            for row in asker.rest(
                "classify",
                {
                    "signature_name": CLASSIFY,
                    "examples": [_json(example) for example in probe.examples],
                },
            )["results"]
        ],
    }


def _raw_tensors(signatures: Signatures, probe: Probe) -> dict[str, tf.Tensor]:
    dtypes = _dtypes(signatures, RAW)
    return tensors({name: probe.values(name) for name in dtypes}, dtypes)


def _dtypes(signatures: Signatures, name: str) -> dict[str, int]:
    if name not in signatures:
        raise ServerError(f"signature {name} is missing")
    return {column: info.dtype for column, info in signatures[name].inputs.items()}


def _json(example: Any) -> dict[str, Any]:
    values = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        if kind:
            values[name] = [plain(value) for value in getattr(feature, kind).value]
    return values


def _compared(name: str, ask: Ask, probe: Probe, tolerance: float) -> Finding:
    try:
        answers = np.asarray(ask(), np.float64)
    except (ServerError, KeyError, TypeError, ValueError) as error:
        return Finding(name, False, f"no answer: {_told(error)}")
    wanted = probe.probability
    if answers.shape != wanted.shape:
        return Finding(name, False, f"{len(wanted)} rows asked, answers have shape {answers.shape}")
    differences = np.abs(answers - wanted)
    worst = int(np.argmax(np.where(np.isnan(differences), np.inf, differences)))
    figures = {"rows": float(len(wanted)), "largest_difference": float(differences[worst])}
    if not differences[worst] <= tolerance:
        return Finding(
            name,
            False,
            f"row {worst}: the server says {answers[worst]:.6f}, the trained model "
            f"{wanted[worst]:.6f}; {int(np.sum(~(differences <= tolerance)))} of {len(wanted)} "
            f"rows differ by more than {tolerance:g}",
            figures,
        )
    return Finding(
        name,
        True,
        f"{len(wanted)} rows, largest difference from the trained model {differences[worst]:.1e}",
        figures,
    )


def _transformed(asker: Asker, probe: Probe) -> Finding:
    name = f"grpc and rest {TRANSFORM}"
    serialized = [example.SerializeToString() for example in probe.examples]
    try:
        over_grpc = asker.predict(
            TRANSFORM, {"examples": tf.make_tensor_proto(serialized, tf.string)}
        )
        body = {"signature_name": TRANSFORM, "inputs": {"examples": [b64(r) for r in serialized]}}
        outputs = asker.rest("predict", body)["outputs"]
    except (ServerError, KeyError) as error:
        return Finding(name, False, f"no answer: {_told(error)}")
    over_rest = outputs if isinstance(outputs, dict) else {next(iter(over_grpc)): outputs}
    for output, values in over_grpc.items():
        if len(values) != len(serialized):
            return Finding(name, False, f"{output} has {len(values)} rows of {len(serialized)}")
        told = np.asarray(over_rest.get(output, []), values.dtype)
        same = told.shape == values.shape and (
            np.allclose(told, values, rtol=1e-5, equal_nan=True)
            if values.dtype.kind == "f"
            else np.array_equal(told, values)
        )
        if not same:
            return Finding(name, False, f"gRPC and REST tell {output} differently")
    return Finding(name, True, f"{len(over_grpc)} tensors, gRPC and REST agree")


def _warmup(asker: Asker, model: Path) -> Finding:
    path = model / WARMUP_FILE
    if not path.exists():
        return Finding("warm-up", False, f"{WARMUP_FILE} is missing: the first answers are slow")
    count = 0
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            asker.replay(prediction_log_pb2.PredictionLog.FromString(record))
            count += 1
    except ServerError as error:
        return Finding("warm-up", False, f"request {count + 1} is refused: {error}")
    except Exception as error:  # noqa: BLE001 - a file that is no TFRecord, or holds no such proto
        return Finding("warm-up", False, f"{WARMUP_FILE} cannot be read: {_told(error)}")
    return Finding("warm-up", count > 0, f"{count} requests", {"requests": float(count)})


def _latency(
    asker: Asker, signatures: Signatures, probe: Probe, demands: Demands
) -> Iterator[Finding]:
    dtypes = _dtypes(signatures, RAW)
    columns = {name: filled(probe.values(name), dtype) for name, dtype in dtypes.items()}
    requests = []
    for row in range(min(len(probe.examples), demands.latency_requests)):
        values = {name: column[row] for name, column in columns.items()}
        body = {"instances": [{name: plain(value) for name, value in values.items()}]}
        requests.append((tensors({n: [v] for n, v in values.items()}, dtypes), body))
    for surface, send in (
        ("grpc", lambda request: asker.predict(RAW, request[0])),
        ("rest", lambda request: asker.rest("predict", request[1])),
    ):
        for _ in range(_ATTEMPTS):
            # Again, because a neighbour on the machine may have been in the way, never the model.
            finding = _timed(f"latency {surface}", send, requests, demands)
            if finding.passed:
                break
        yield finding


def _timed(name: str, send: Callable[[Any], object], requests: Any, demands: Demands) -> Finding:
    milliseconds = []
    try:
        for index in range(demands.latency_requests):
            started = time.perf_counter()
            send(requests[index % len(requests)])
            milliseconds.append((time.perf_counter() - started) * 1e3)
    except ServerError as error:
        return Finding(name, False, f"no answer: {error}")
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return Finding(
        name,
        bool(p99 <= demands.latency_p99_ms),
        f"p50 {p50:.1f} ms, p99 {p99:.1f} ms for one row; the budget is "
        f"{demands.latency_p99_ms:g} ms at p99",
        {"p50_ms": round(float(p50), 3), "p99_ms": round(float(p99), 3)},
    )


def _told(error: Exception) -> str:
    text = f"it has no {error}" if isinstance(error, KeyError) else str(error)
    return text[:300]
