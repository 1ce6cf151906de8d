"""What a model brings along is the schema's SERVING environment, and a server reads it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import features_from_json
from models.contract import CONTRACT_FILE, contract

SCHEMA = """
default_environment: "TRAINING"
default_environment: "SERVING"
feature { name: "fare" type: FLOAT presence { min_fraction: 1.0 } float_domain { min: 0.0 } }
feature { name: "riders" type: INT presence { min_fraction: 0.8 } int_domain { min: 1 max: 9 } }
feature { name: "flag" type: BYTES domain: "flags" presence { min_fraction: 0.5 }
  distribution_constraints { min_domain_mass: 0.9 } }
feature { name: "pay" type: BYTES string_domain { value: "é" value: "card" } }
feature { name: "tip" type: FLOAT not_in_environment: "SERVING" }
feature { name: "label" type: INT not_in_environment: "SERVING" }
feature { name: "old" type: INT lifecycle_stage: DEPRECATED }
feature { name: "other" type: INT }
string_domain { name: "flags" value: "N" value: "Y" }
"""
FEATURES = features_from_json(
    '{"fare": {"kind": "numeric"}, "riders": {"kind": "categorical", "type": "int"},'
    ' "flag": {"kind": "categorical"}, "pay": {"kind": "categorical"},'
    ' "other": {"kind": "ignore"}}'
)


@pytest.fixture(scope="module")
def made() -> dict[str, Any]:
    schema = text_format.Parse(SCHEMA, schema_pb2.Schema())
    return contract(schema, FEATURES, {"serving_default": "columns", "classify": "examples"})


def test_it_says_what_the_schema_says_of_a_request(made: dict[str, Any]) -> None:
    assert made == {
        "environment": "SERVING",
        "signatures": {"serving_default": "columns", "classify": "examples"},
        "not_served": ["tip", "label"],
        "features": {
            "fare": {"type": "float", "presence": 1.0, "min": 0.0},
            "riders": {"type": "int", "presence": pytest.approx(0.8), "min": 1, "max": 9},
            "flag": {
                "type": "string",
                "presence": 0.5,
                "values": ["N", "Y"],
                "mass": pytest.approx(0.9),
            },
            "pay": {"type": "string", "presence": 0.0, "values": ["é", "card"], "mass": 1.0},
        },
    }


def test_a_server_reads_what_a_trainer_writes(made: dict[str, Any]) -> None:
    from serving.server.contract import CONTRACT_FILE as READ
    from serving.server.contract import Contract

    assert READ == CONTRACT_FILE
    inputs = {
        "fare": np.array([-1.0], np.float32),
        "riders": np.array([-1]),
        "flag": np.array([b"X"], object),
        "pay": np.array(["é".encode()], object),
    }
    _, broken = Contract(json.dumps(made)).check("serving_default", inputs)
    told = {(one.feature, one.rule): one.forbidden for one in broken}
    assert told == {
        ("fare", "below"): True,
        ("riders", "missing"): False,
        ("flag", "values"): False,
    }


@pytest.mark.tfx
@pytest.mark.slow
def test_it_is_in_the_export_and_among_the_hashes_of_its_files(trained: Any) -> None:
    held_to = json.loads((trained.model / CONTRACT_FILE).read_text())
    assert held_to["features"] == {"fare": {"type": "float", "presence": 1.0, "max": 60.0}}
    assert held_to["not_served"] == ["tip"]
    assert set(held_to["signatures"]) == {
        *("serving_default", "serve_tf_examples", "classify", "transform_features"),
    }
    record = json.loads((trained.model / "assets.extra/headrace_training.json").read_text())
    assert CONTRACT_FILE in record["files"]


def test_a_moment_in_milliseconds_breaks_it() -> None:
    from serving.server.contract import Contract

    schema = text_format.Parse(
        'feature { name: "at" type: INT } '
        'feature { name: "since" type: INT int_domain { min: 5 } }',
        schema_pb2.Schema(),
    )
    features = features_from_json(
        '{"at": {"kind": "timestamp"}, "since": {"kind": "timestamp", "parts": []}}'
    )
    made = contract(schema, features, {"serving_default": "columns"})
    assert made["features"] == {
        "at": {
            "type": "int",
            "presence": 0.0,
            "min": -62135596800,
            "max": 253402300799,
            "moment": True,
        },
        "since": {"type": "int", "presence": 0.0, "min": 5, "max": 253402300799, "moment": True},
    }
    held = Contract(json.dumps(made))
    good = {"at": np.array([1704445500, -1, -62135596800]), "since": np.array([253402300799] * 3)}
    assert held.check("serving_default", good) == (3, [])
    wrong = good | {"at": np.array([1704445500, 1704445500000, 1704445500000000])}
    (_, (broken,)) = held.check("serving_default", wrong)
    assert (broken.feature, broken.rule, broken.count, broken.forbidden) == ("at", "above", 2, True)
    assert (
        "1704445500000, and it must be at most 253402300799, in seconds since 1970 (not in mil"
        in (broken.said(3))
    )
