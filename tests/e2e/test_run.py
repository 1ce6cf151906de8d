"""The whole pipeline on three small spans, and what ML Metadata says about it afterwards."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.local import outcome

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NODES = {
    "SpanExampleGen",
    "StatisticsGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "DistributionValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Champion",
    "Evaluator",
    "InfraValidator",
    "Pusher",
}


def _nodes(project, run_id: str) -> dict[str, outcome.NodeOutcome]:
    store = outcome.connect(str(project.path / "runs" / "metadata.db"))
    return outcome.nodes_of_run(store, run_id)


def _last_run(project) -> dict:
    return project.headrace("runs", "--json").result[0]


def test_the_first_run_pushes_version_1_and_every_node_completed(trained) -> None:
    run = _last_run(trained)
    assert run["status"] == "pushed" and run["model_version"] == 1
    assert run["window"] == {"train": ["2019-10", "2019-11"], "eval": ["2019-12"]}
    assert sum(run["rows"].values()) == 9000
    assert run["rows"]["quarantine"] == sum(run["quarantined"].values()) > 0
    assert run["metrics"]["auc"] > 0.75 and run["champion_metrics"] == {}
    assert run["gates"]["data"]["passed"] and run["gates"]["evaluation"]["passed"]
    assert run["gates"]["proof"]["passed"] and run["gates"]["proof"]["checked"] >= 14
    assert set(run["seconds"]) >= NODES
    nodes = _nodes(trained, run["run_id"])
    assert set(nodes) == NODES
    assert set(_nodes(trained, run["run_id"] + "-schema")) == {
        "SpanExampleGen",
        "StatisticsGen",
        "SchemaGen",
    }
    done = {mlmd.Execution.COMPLETE, mlmd.Execution.CACHED}
    assert {node.state for node in nodes.values()} <= done
    stored = trained.path / "runs" / "history" / run["run_id"]
    assert json.loads((stored / "result.json").read_text()) == run
    assert json.loads((stored / "config.json").read_text())["name"] == "trips"


def test_nothing_reached_for_the_network(trained) -> None:
    notes = trained.path / "network.txt"
    assert not notes.exists(), notes.read_text()


def test_the_inferred_schema_hides_the_label_and_leaks_from_serving(trained) -> None:
    from pipeline import schema_file

    schema = schema_file.read(str(trained.path / "schema.pbtxt"))
    hidden = {f.name for f in schema.feature if schema_file.SERVING in f.not_in_environment}
    assert hidden == {"label", "tip_amount", "total_amount"}
    payment = next(f for f in schema.feature if f.name == "payment_type")
    assert payment.int_domain.is_categorical


def test_a_second_run_is_up_to_date_without_a_node(trained) -> None:
    again = trained.run()
    assert again.code == 0 and again.result["status"] == "up_to_date"
    assert again.result["model_version"] == 1
    assert again.result["seconds"] == {}
    assert trained.versions() == [1]


def test_models_and_lineage_lead_from_the_version_to_the_files(trained) -> None:
    (version,) = trained.headrace("models", "--json").result
    assert version["newest"] and version["manifest"]["span"] == "2019-12"
    lineage = trained.headrace("lineage", "1", "--json").result
    assert {node["node"] for node in lineage["nodes"]} >= NODES - {"Champion"}
    outputs = {o["key"]: o["path"] for node in lineage["nodes"] for o in node["outputs"]}
    for key in ("examples", "schema", "transform_graph", "model", "evaluation", "pushed_model"):
        assert Path(outputs[key]).exists(), key
    shown = trained.headrace("lineage", "1")
    assert "data_fingerprint" in shown.out and outputs["model"] in shown.out
    missing = trained.headrace("lineage", "7")
    assert missing.code == 1 and "version 7" in missing.err


_RESTORE = """
import json, sys
import tensorflow as tf
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1])
    signature = meta.signature_def["serving_default"]
    row = json.loads(sys.argv[2])
    feed = {signature.inputs[name].name: [value] for name, value in row.items()}
    fetch = {name: tensor.name for name, tensor in signature.outputs.items()}
    print(json.dumps({k: v.tolist() for k, v in session.run(fetch, feed).items()}))
"""


def test_the_pushed_model_answers_in_a_fresh_session_as_a_server_loads_it(trained) -> None:
    row = {
        "pickup_datetime": 1577000000,
        "dropoff_datetime": 1577000900,
        "passenger_count": 1.0,
        "trip_distance": 2.1,
        "store_and_fwd_flag": "N",
        "pickup_location_id": 161,
        "fare_amount": 9.5,
        "payment_type": 1,
    }
    answers = []
    for payment in (1, 2):
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                _RESTORE,
                str(trained.path / "serving" / "trips" / "1"),
                json.dumps(row | {"payment_type": payment}),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        answers.append(json.loads(done.stdout.strip().splitlines()[-1])["probability"][0])
    by_card, in_cash = answers
    assert by_card > 0.5 > in_cash >= 0


def test_a_new_configuration_trains_again_and_is_compared_with_the_champion(changeable) -> None:
    changeable.configure(lambda text: text + "\n[training]\nseed = 7\n")
    changed = changeable.run()
    assert changed.code in (0, 4), changed.out + changed.err
    result = changed.result
    assert result["champion_metrics"]["rows"] == result["metrics"]["rows"]
    assert result["champion_metrics"] != result["metrics"]
    # Not Transform: the new champion was asked about the newest span, so there is a new verdict.
    assert {"SpanExampleGen", "StatisticsGen", "ExampleValidator"} <= set(result["cached"])
    assert "Trainer" not in result["cached"]
    assert changeable.versions() == ([1, 2] if changed.code == 0 else [1])


def test_the_next_run_is_judged_by_the_edited_schema_and_freed_by_accept(changeable) -> None:
    from pipeline import schema_file, schema_text

    file = changeable.path / "schema.pbtxt"
    reviewed = file.read_text()
    schema = schema_file.read(str(file))
    (fare,) = (feature for feature in schema.feature if feature.name == "fare_amount")
    fare.float_domain.min = 10.0
    file.write_text(schema_text.write(schema, reviewed))
    tightened = changeable.run()
    assert tightened.code == 3, tightened.out + tightened.err
    told = tightened.result
    assert {f["feature"] for f in told["gates"]["data"]["findings"] if f["policy"] == "block"} == {
        "fare_amount"
    }
    assert "SpanExampleGen" in told["cached"]
    assert "`headrace schema accept`" in told["message"]

    accepted = changeable.headrace("schema", "accept", "--window")
    assert accepted.code == 0 and "fare_amount accepted" in accepted.out, accepted.out
    freed = changeable.run()
    assert freed.code in (0, 4), freed.out + freed.err
    file.write_text(reviewed + "# taken back\n")
    assert changeable.run().result["status"] == "up_to_date"


def test_kinds_may_change_once_a_model_is_pushed(changeable) -> None:
    def edited(text: str) -> str:
        for name, kind in (
            ("passenger_count", 'kind = "categorical", type = "int"'),
            ("store_and_fwd_flag", 'kind = "ignore"'),
            ("extra", 'kind = "numeric"'),
        ):
            text = re.sub(rf"(?m)^{name} = .*$", f"{name} = {{ {kind} }}", text)
        return text

    changeable.configure(edited)
    changed = changeable.run()
    assert changed.code in (0, 4), changed.out + changed.err
    told = changed.result
    findings = told["gates"]["data"]["findings"]
    unreviewed = {f["feature"]: f["message"] for f in findings if f["kind"] == "unreviewed"}
    assert set(unreviewed) == {"passenger_count", "extra"}
    assert "`headrace schema accept extra`" in unreviewed["extra"]
    assert not [finding for finding in findings if finding["kind"] == "anomaly"]
    (note,) = (note for note in told["notes"] if "champion" in note)
    assert "passenger_count is a number to it, and a whole number now" in note
    assert "store_and_fwd_flag, which it wants, is no feature any more" in note
    assert told["champion_metrics"] == {} and told["metrics"]["auc"] > 0.6


def test_edited_model_code_is_noticed_and_nothing_stale_is_reused(changeable, tmp_path) -> None:
    source = Path(outcome.__file__).parents[2]
    for room in ("pipeline", "models", "serving"):
        shutil.copytree(source / room, tmp_path / "code" / room)
    code = tmp_path / "code" / "models" / "network.py"
    code.write_text(code.read_text() + "\n# an edit that changes nothing\n")
    changeable.environment["PYTHONPATH"] = str(tmp_path / "code")
    edited = changeable.run()
    assert edited.code == 0, edited.out + edited.err
    result = edited.result
    assert "StatisticsGen" in result["cached"]
    assert not {"Transform", "Trainer", "Evaluator"} & set(result["cached"])
    # The same seed, data and network: the same weights, so the same metrics, to the last digit.
    assert result["metrics"] == result["champion_metrics"]
    assert result["status"] == "pushed" and changeable.versions() == [1, 2]
    first, second = changeable.headrace("models", "--json").result
    assert first["manifest"]["weights_sha256"] == second["manifest"]["weights_sha256"]
    assert first["manifest"]["code_sha256"] != second["manifest"]["code_sha256"]
