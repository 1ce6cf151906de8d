"""Faults that depend on what ran before in the same folder: the contract is edited between runs."""

from __future__ import annotations

import os

from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline import schema_file, schema_text, sql
from pipeline.audit.fault import Fault, NotApplicableError
from pipeline.audit.scene import Scene


def _tightened(scene: Scene) -> None:
    """Sets a number's lower bound to its median."""
    path = scene.config.data.schema_file
    if not os.path.exists(path):
        raise NotApplicableError("a schema")
    (number, *_) = scene.numbers()
    name = sql.quote(number)
    (median,) = scene.query(f"SELECT median({name}) AS m FROM rows").column("m").to_pylist()
    schema = schema_file.read(path)
    feature = next((each for each in schema.feature if each.name == number), None)
    if feature is None:
        raise NotApplicableError("a schema that knows all features")
    if feature.type == schema_pb2.INT:
        feature.int_domain.min = int(median)
    else:
        feature.float_domain.min = float(median)
    with open(path, encoding="utf-8") as file:
        before = file.read()
    schema_file.write(path, schema_text.write(schema, before))


CONTRACT_FAULTS = (
    Fault(
        "schema-tightened",
        "After a run somebody tightened a bound in the schema, which half of the rows break; the "
        "next run is in the same folder.",
        ("schema",),
        spoil=_tightened,
        after_a_run=True,
    ),
)
