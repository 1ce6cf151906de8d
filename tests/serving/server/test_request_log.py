"""Logged requests: whole files, read back; bounds; nothing blocks."""

import os
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tiny_models
from tensorflow_serving.apis import classification_pb2, predict_pb2, prediction_log_pb2

from serving.server.metrics import Metrics
from serving.server.request_log import Limits, RequestLog


def predict_request(value: float) -> predict_pb2.PredictRequest:
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "m"
    request.model_spec.signature_name = "serving_default"
    request.inputs["x"].CopyFrom(tiny_models.tensor([value]))
    return request


def read(folder: Path) -> list[Any]:
    files = sorted(str(path) for path in folder.rglob("*.tfrecord"))
    records = tf.data.TFRecordDataset(files) if files else []
    return [prediction_log_pb2.PredictionLog.FromString(r.numpy()) for r in records]


def test_records_say_who_answered_and_appear_on_close(tmp_path: Path) -> None:
    log = RequestLog(str(tmp_path), 1.0, metrics=(metrics := Metrics()))
    response = predict_pb2.PredictResponse()
    log.predict("m", 7, predict_request(1.0), response)
    log.predict("m", 7, lambda: predict_request(2.0), lambda: response, size=8)
    log.classify(
        "../odd/..", 1, classification_pb2.ClassificationRequest(),
        classification_pb2.ClassificationResponse(),
    )  # fmt: skip
    log.close()
    log.predict("m", 7, predict_request(3.0), response)
    one, two = read(tmp_path / "m")
    assert one.log_metadata.model_spec.name == "m"
    assert one.log_metadata.model_spec.version.value == 7
    assert one.log_metadata.model_spec.signature_name == "serving_default"
    assert one.log_metadata.sampling_config.sampling_rate == 1.0
    assert tf.make_ndarray(two.predict_log.request.inputs["x"]).tolist() == [2.0]
    assert len(read(tmp_path)) == 3
    assert len(list(tmp_path.iterdir())) == 2 and len(list(tmp_path.parent.glob("odd"))) == 0
    assert 'request_log_count{model_name="m",status_code="OK"} 2' in metrics.text()


def test_files_are_whole_and_bounded(tmp_path: Path) -> None:
    limits = Limits(file_records=3, folder_bytes=400)
    log = RequestLog(str(tmp_path), 1.0, metrics=Metrics(), limits=limits)
    for value in range(30):
        log.predict("m", 1, predict_request(value), predict_pb2.PredictResponse())
    log.close()
    files = list((tmp_path / "m").iterdir())
    assert all(path.suffix == ".tfrecord" for path in files)
    assert sum(path.stat().st_size for path in files) <= 400
    values = [tf.make_ndarray(r.predict_log.request.inputs["x"])[0] for r in read(tmp_path)]
    assert values == list(range(30))[-len(values) :] and len(values) >= 3


def test_a_file_appears_after_a_while(tmp_path: Path) -> None:
    limits = Limits(file_seconds=0.2)
    log = RequestLog(str(tmp_path), 1.0, metrics=Metrics(), limits=limits)
    log.predict("m", 1, predict_request(1), predict_pb2.PredictResponse())
    until = time.monotonic() + 20
    while not read(tmp_path) and time.monotonic() < until:
        time.sleep(0.05)
    assert len(read(tmp_path)) == 1
    log.close()


@pytest.mark.parametrize("limits", [Limits(queued_records=2), Limits(queued_bytes=120)])
def test_what_does_not_fit_is_dropped_and_counted(tmp_path: Path, limits: Limits) -> None:
    metrics = Metrics()
    log = RequestLog(str(tmp_path), 1.0, metrics=metrics, limits=limits)
    gate = threading.Event()

    def stuck() -> predict_pb2.PredictRequest:
        gate.wait(10)
        return predict_request(0)

    log.predict("m", 1, stuck, predict_pb2.PredictResponse(), size=0)
    time.sleep(0.2)
    started = time.monotonic()
    for value in range(10):
        log.predict("m", 1, predict_request(value), predict_pb2.PredictResponse())
    assert time.monotonic() - started < 1
    gate.set()
    log.close()
    assert len(read(tmp_path)) == 3
    assert 'status_code="RESOURCE_EXHAUSTED"} 8' in metrics.text()


def test_a_part_is_logged_and_models_may_differ(tmp_path: Path) -> None:
    rates = {"all": 1.0, "none": 0.0}
    log = RequestLog(str(tmp_path), 0.2, metrics=Metrics(), rates=lambda: rates)
    for _ in range(500):
        for model in ("all", "none", "some"):
            log.predict(model, 1, predict_request(1), predict_pb2.PredictResponse())
        time.sleep(0.001)
    log.close()
    assert len(read(tmp_path / "all")) == 500 and not (tmp_path / "none").exists()
    some = read(tmp_path / "some")
    assert 50 < len(some) < 170
    assert np.isclose(some[0].log_metadata.sampling_config.sampling_rate, 0.2)


def test_a_request_that_cannot_be_logged_hurts_nobody(tmp_path: Path) -> None:
    log = RequestLog(str(tmp_path), 1.0, metrics=(metrics := Metrics()))

    def broken() -> predict_pb2.PredictRequest:
        raise ValueError("no")

    log.predict("m", 1, broken, predict_pb2.PredictResponse(), size=0)
    log.predict("m", 1, predict_request(1), predict_pb2.PredictResponse())
    log.close()
    assert len(read(tmp_path)) == 1
    assert 'status_code="INTERNAL"} 1' in metrics.text()


def test_what_a_killed_server_left_goes_and_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    host = re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:64]
    stamp = ".requests-20260101T000000-000000000"
    left = [
        f"{stamp}-4194300.tfrecord.writing",  # no process has this number
        f"{stamp}-4194300.tfrecord.{host}.writing",
        f"{stamp}-{os.getpid()}.tfrecord.{host}.writing",  # a container's first process, before
        f"{stamp}-1.tfrecord.old-pod.writing",
    ]
    kept = [f"{stamp}-1.tfrecord.other-pod.writing", f"{stamp}-1.tfrecord.{host}.writing", "a.txt"]
    for name in left + kept:
        (folder / name).write_bytes(b"half a record")
    os.utime(folder / left[3], (1e9, 1e9))
    log = RequestLog(str(tmp_path), 1.0, metrics=(metrics := Metrics()))
    log.predict("m", 1, predict_request(1.0), predict_pb2.PredictResponse())
    log.close()
    names = {path.name for path in folder.iterdir()}
    assert not names & set(left) and names >= set(kept)
    assert len(read(folder)) == 1
    assert ":headrace:serving:request_log_file_lost_count{} 4" in metrics.text()
