"""Warm-up: requests in the model's folder run before the version takes traffic.

Without them the first real requests would pay for a graph's first run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import islice

import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow_serving.apis import prediction_log_pb2

from serving.server import inference
from serving.server.errors import Code, ServingError
from serving.server.saved_model import LoadedModel, from_op_error

WARMUP_FILE = os.path.join("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000

_RUN: dict[str, Callable[..., object]] = {
    "predict_log": inference.predict_with,
    "classify_log": inference.classify_with,
    "regress_log": inference.regress_with,
    "multi_inference_log": inference.multi_inference_with,
}

#: Told a model's folder, "OK" or the name of an error's code, records read, seconds.
OnWarmup = Callable[[str, str, int, float], None]


def warm_up(model: LoadedModel, iterations: int = 1, on_warmup: OnWarmup | None = None) -> int:
    """Runs the requests in a model's folder; a model without any is fine.

    Args:
        model: loaded, not yet serving.
        iterations: how often each request runs.
        on_warmup: told how it went.

    Returns:
        Requests read.

    Raises:
        ServingError: the file is not what it should be, or a request failed.
    """
    path = os.path.join(model.path, WARMUP_FILE)
    if not tf.io.gfile.exists(path):
        return 0
    started, done, status = time.perf_counter(), 0, Code.OK
    try:
        for record in _records(path):
            for _ in range(max(1, iterations)):
                _run(model, record)
            done += 1
    except ServingError as error:
        status = error.code
        raise
    finally:
        if on_warmup is not None:
            on_warmup(model.path, status.name, done, time.perf_counter() - started)
    return done


def _records(path: str) -> list[bytes]:
    try:
        reader = tf.compat.v1.io.tf_record_iterator(path)
        records = list(islice(reader, MAX_RECORDS + 1))
    except tf.errors.OpError as error:
        found = from_op_error(error)
        raise ServingError(
            found.code,
            f"{found.message}; Please verify your warmup data is in TFRecord format: {path}",
        ) from error
    if len(records) > MAX_RECORDS:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Number of warmup records exceeds the maximum ({MAX_RECORDS}) at {path}",
        )
    return records


def _run(model: LoadedModel, record: bytes) -> None:
    try:
        log = prediction_log_pb2.PredictionLog.FromString(record)
    except DecodeError as error:
        raise ServingError(
            Code.INVALID_ARGUMENT,
            f"Failed to parse warmup record of {model.path}: not a PredictionLog",
        ) from error
    kind = log.WhichOneof("log_type")
    if kind is None:
        return
    run = _RUN.get(kind)
    if run is None:
        raise ServingError(Code.UNIMPLEMENTED, f"Unsupported log_type for warmup: {kind}")
    run(model, getattr(log, kind).request)
