"""What must not be pushed: the data gate closes (exit code 3), a model is refused (4)."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

_BREAKS = {
    "a new column, nulls where a value is required, a value of no domain": (
        "SELECT * REPLACE (CAST(NULL AS DOUBLE) AS trip_distance, "
        "'maybe' AS store_and_fwd_flag), 1 AS airport_fee FROM trips",
        [
            "new_column (airport_fee",
            "[features]",
            "anomaly (trip_distance",
            "anomaly (store_and_fwd_flag",
            "maybe",
        ],
    ),
    "a column whose type changed": (
        "SELECT * REPLACE ('fare ' || fare_amount AS fare_amount) FROM trips",
        ["quarantine (2019-12", "100.0%", "type: fare_amount is not float", "2019-12.parquet"],
    ),
    "infinity everywhere": (
        "SELECT * REPLACE (CAST('inf' AS DOUBLE) AS trip_distance) FROM trips",
        ["quarantine (2019-12", "not finite: trip_distance"],
    ),
    "half a span": (
        "SELECT * FROM trips LIMIT 100",
        ["rows (2019-12", "100 rows", "window.min_rows_share"],
    ),
}


@pytest.mark.parametrize("case", _BREAKS)
def test_the_gate_closes_and_says_why(changeable, case: str) -> None:
    query, fragments = _BREAKS[case]
    changeable.write(query, "2019-12", "FORMAT parquet")
    blocked = changeable.run()
    assert blocked.code == 3, blocked.out + blocked.err
    result = blocked.result
    assert result["status"] == "blocked" and not result["gates"]["data"]["passed"]
    for fragment in fragments:
        assert fragment in result["message"], result["message"]
    assert "Trainer" not in result["seconds"] or result["seconds"]["Trainer"] < 1
    assert changeable.versions() == [1]


def test_one_class_only_is_an_error(changeable) -> None:
    changeable.configure(
        lambda text: text.replace("tip_amount > 0.2 * fare_amount", "fare_amount > -1")
    )
    failed = changeable.run()
    assert failed.code == 1
    assert "label.expression" in failed.result["message"]
    assert "both classes" in failed.result["message"]
    assert changeable.versions() == [1]


def test_a_model_that_answers_too_slowly_is_not_pushed(changeable) -> None:
    # And what somebody has deleted is made again.
    made = list((changeable.path / "runs" / "artifacts").glob("*/SpanExampleGen"))
    assert made
    for folder in made:
        shutil.rmtree(folder)
    changeable.configure(
        lambda text: text.replace("latency_p99_ms = 1000", "latency_p99_ms = 0.001")
    )
    refused = changeable.run()
    assert refused.code == 4, refused.out + refused.err
    result = refused.result
    assert result["status"] == "not_blessed" and not result["gates"]["proof"]["passed"]
    assert result["gates"]["evaluation"]["passed"]
    assert "latency grpc: p50" in result["message"]
    assert "the budget is 0.001 ms" in result["message"]
    assert changeable.versions() == [1]
    assert "SpanExampleGen" not in result["cached"]


def test_a_model_below_the_bars_is_not_pushed(changeable) -> None:
    changeable.configure(lambda text: text.replace("auc_min = 0.6", "auc_min = 0.99"))
    refused = changeable.run()
    assert refused.code == 4 and refused.result["status"] == "not_blessed"
    assert "auc over all rows" in refused.result["message"]
    assert "0.9900" in refused.result["message"]
    assert changeable.versions() == [1]


def test_drift_blocks_where_it_is_told_to_and_passes_where_it_is_allowed(changeable) -> None:
    dearer = "SELECT * REPLACE (fare_amount * 1.5 AS fare_amount), 1 AS airport_fee FROM trips"
    changeable.write(dearer, "2019-12", "FORMAT parquet")
    changeable.configure(lambda text: text + '\n[gates]\ndrift = "block"\nnew_column = "warn"\n')
    blocked = changeable.run()
    assert blocked.code == 3, blocked.out + blocked.err
    result = blocked.result
    findings = {f["feature"]: f for f in result["gates"]["data"]["findings"]}
    fare = findings["fare_amount"]
    assert (fare["kind"], fare["policy"], fare["split"]) == ("drift", "block", "2019-12")
    assert fare["value"] > fare["threshold"] > 0
    assert fare["worst_bin"]["current"] > 0
    assert "fare_amount" in result["message"] and "went from" in result["message"]
    assert "Trainer" not in result["seconds"] or result["seconds"]["Trainer"] < 1
    # The label is made of the fare, and the champion was asked: both are told, neither blocks.
    assert findings["label"]["policy"] == "warn"
    assert findings["champion's prediction"]["policy"] == "retrain"
    assert result["gates"]["data"]["retrain"]
    allow = '{ kind = "drift", until = 2099-01-01, reason = "a new tariff" }'
    changeable.configure(lambda text: text + f"allow = [{allow}]\n")
    allowed = changeable.headrace("run")
    assert allowed.code in (0, 4), allowed.out + allowed.err
    assert "allowed (a new tariff): drift fare_amount" in allowed.out
    assert "warning: new_column airport_fee" in allowed.out
    # What somebody sees who looks on: the noise of the libraries is in the log.
    for noise in ("WARNING", "I0000", "oneDNN", "INFO", "tensorflow/"):
        assert noise not in allowed.out + allowed.err
    for shown in ("Trainer", "Evaluator", "loading TensorFlow"):
        assert shown in allowed.err
    for shown in ("trained on", "quarantined", "auc", "champion", "next: headrace"):
        assert shown in allowed.out


def test_requests_unlike_the_training_data_are_skew(changeable) -> None:
    log = changeable.path / "requests.tfrecord"
    script = f"""
import sys, duckdb, tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
table = "FROM '{changeable.span("2019-11")}'"
rows = duckdb.sql("SELECT trip_distance * 1.6, coalesce(payment_type, -1) " + table)
made = prediction_log_pb2.PredictionLog()
far, paid = zip(*rows.fetchall())
inputs = made.predict_log.request.inputs
inputs["trip_distance"].CopyFrom(tf.make_tensor_proto(far, tf.float32))
inputs["payment_type"].CopyFrom(tf.make_tensor_proto(paid, tf.int64))
with tf.io.TFRecordWriter({str(log)!r}) as writer:
    writer.write(made.SerializeToString())
"""
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    changeable.configure(
        lambda text: text + '\n[gates]\nskew = "block"\n\n[drift]\nrequest_log = "*.tfrecord"\n'
    )
    blocked = changeable.run()
    assert blocked.code == 3, blocked.out + blocked.err
    findings = [f for f in blocked.result["gates"]["data"]["findings"] if f["kind"] == "skew"]
    told = {f["feature"] for f in findings if f["measure"]}
    assert "trip_distance" in told and "payment_type" not in told
    # The request is also held to the schema: it left out columns that every trip has.
    (lacking,) = (f for f in findings if f["feature"] == "pickup_datetime" and not f["measure"])
    assert "missing" in lacking["message"]
    assert all(f["split"] == "logged requests" for f in findings)
