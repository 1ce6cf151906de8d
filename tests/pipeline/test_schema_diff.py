"""What new data would change in the schema, and what `schema accept` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline import schema_text
from pipeline.serving_contract import violations

SCHEMA = """\
# What a month must look like.

feature { name: "distance" type: FLOAT float_domain { min: 0.0 } presence { min_fraction: 1.0 } }
# One of two flags.
feature {
  name: "flag"  # as the meter sends it
  type: BYTES
  domain: "flag"
  presence { min_fraction: 1.0 }
}
feature { name: "riders" type: INT int_domain { min: 1 max: 3 is_categorical: true } }
feature { name: "tip" type: FLOAT not_in_environment: "SERVING" presence { min_count: 1 } }
string_domain { name: "flag" value: "Y" value: "N" }
default_environment: "TRAINING"
default_environment: "SERVING"
"""


def parsed(text: str = SCHEMA) -> schema_pb2.Schema:
    return text_format.Parse(text, schema_pb2.Schema())


def test_text_that_says_the_same_stays_as_it_is() -> None:
    assert schema_text.write(parsed(), SCHEMA) == SCHEMA


def test_a_change_touches_its_own_block_only() -> None:
    schema = parsed()
    schema.string_domain[0].value.append("?")
    schema.feature.add(name="new", type=schema_pb2.INT)
    after = schema_text.write(schema, SCHEMA, {"new": "Since May."})
    assert parsed(after) == schema_text_order(schema)
    gone = set(SCHEMA.splitlines()) - set(after.splitlines())
    assert gone == {'string_domain { name: "flag" value: "Y" value: "N" }'}
    assert '\n# Since May.\nfeature {\n  name: "new"' in after
    assert schema_text.write(schema, after) == after


def schema_text_order(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    return parsed(text_format.MessageToString(schema))


def test_what_is_gone_takes_its_comment_along_but_not_the_files_head() -> None:
    schema = parsed()
    del schema.feature[0:2]
    after = schema_text.write(schema, SCHEMA)
    assert after.startswith("# What a month must look like.")
    assert "One of two flags" not in after and parsed(after) == schema


def said(**columns: Any) -> dict[tuple[str, str], tuple[int, tuple[str, ...]]]:
    rows = {"distance": [1.0, 2.0, 3.0], "flag": ["Y", "N", "Y"], "riders": [1, 2, -1]} | columns
    table = pa.table({name: values for name, values in rows.items() if values is not None})
    return {(v.column, v.what): (v.count, v.examples) for v in violations(parsed(), table)}


@pytest.mark.parametrize(
    "columns, found",
    [
        ({}, {}),
        ({"tip": [None, None, None]}, {}),
        ({"tip": [1.0, None, 2.0]}, {("tip", "not_served"): (2, ())}),
        ({"flag": ["Y", "X", "X"]}, {("flag", "values"): (2, ("X",))}),
        ({"flag": [b"Y", b"", b"N"]}, {("flag", "missing"): (1, ())}),
        ({"flag": [1, 2, 3]}, {("flag", "type"): (3, ("1",))}),
        ({"distance": [float("nan"), 1.0, -2.5]}, None),
        ({"distance": None}, {("distance", "missing"): (3, ())}),
        ({"riders": [1, 9, 9]}, {("riders", "range"): (2, ("9",))}),
        ({"riders": [0.5, 1.0, 2.0]}, {("riders", "type"): (3, ("0.5",))}),
        ({"colour": ["red", None, None]}, {("colour", "unknown"): (1, ())}),
        (
            {"flag": pa.array(["Y", "Q", "N"]).dictionary_encode()},
            {("flag", "values"): (1, ("Q",))},
        ),
    ],
)
def test_requests_are_held_to_the_serving_environment(
    columns: dict[str, Any], found: dict[Any, Any] | None
) -> None:
    if found is None:
        found = {("distance", "missing"): (1, ()), ("distance", "range"): (1, ("-2.5",))}
    assert said(**columns) == found


def test_no_rows_break_nothing() -> None:
    assert violations(parsed(), pa.table({"flag": pa.array([], pa.string())})) == []


@pytest.fixture
def contract(bench: Any, tmp_path: Path) -> Path:
    """Two good months and the schema made from the first."""
    pytest.importorskip("tensorflow_data_validation")
    from pipeline import schema_file, schema_infer, schema_look
    from pipeline.ingest.plan import IngestPlan

    for month in ("2019-11", "2019-12"):
        bench.write_csv(f"data/{month}.csv", bench.rows(60))
    config = bench.config()
    seen = schema_look.look(config, span=None, whole_window=False)
    kinds = {**IngestPlan.of(config).columns(), "label": "int"}
    inferred = schema_infer.infer(schema_infer.statistics(seen.rows, kinds))
    text = schema_text.write(schema_file.curate(inferred, config))
    schema_file.write(config.data.schema_file, text)
    return Path(config.data.schema_file)


def changed(bench: Any) -> tuple[Any, dict[tuple[str, str], str]]:
    from pipeline import schema_diff, schema_file, schema_look

    config = bench.config()
    seen = schema_look.look(config, span=None, whole_window=False)
    change = schema_diff.propose(config, schema_file.read(config.data.schema_file), seen)
    return change, {(d.feature, d.kind): d.message for d in change.differences}


@pytest.mark.tfx
def test_good_rows_change_nothing(bench: Any, contract: Path) -> None:
    assert changed(bench)[1] == {}


@pytest.mark.tfx
def test_every_change_is_told_with_counts_and_examples(bench: Any, contract: Path) -> None:
    rows = bench.rows(60, flag=["X" if i % 10 == 0 else "Y" for i in range(60)], fee=1.5)
    for index, row in enumerate(rows):
        del row["note"]
        row["distance"] = None if index < 12 else row["distance"]
        row["fare"] = "free" if index == 3 else row["fare"]
    bench.write_csv("data/2019-12.csv", rows)
    change, told = changed(bench)
    assert set(told) == {
        ("flag", "values"),
        ("fee", "new_column"),
        ("note", "missing_column"),
        ("distance", "missing"),
        ("fare", "type"),
    }
    assert "'X' (6)" in told["flag", "values"] and "of 59 rows" in told["flag", "values"]
    assert "1 of 60 rows hold values that are no numbers: 'free' (1)" in told["fare", "type"]
    assert {d.feature for d in change.differences if d.acceptable} == {"flag", "distance"}


@pytest.mark.tfx
def test_accept_writes_what_was_named_and_nothing_else(bench: Any, contract: Path) -> None:
    from pipeline import schema_diff
    from pipeline.errors import DataError

    flags = ["X" if i % 10 == 0 else "Y" for i in range(60)]
    rows = bench.rows(60, flag=flags, distance=[None if i < 12 else 2.0 for i in range(60)])
    bench.write_csv("data/2019-12.csv", rows)
    change, _ = changed(bench)
    before = contract.read_text()
    after = schema_text.write(schema_diff.accept(change, ["flag"]), before)
    assert sorted(set(after.splitlines()) - set(before.splitlines())) == ['  value: "X"']
    with pytest.raises(DataError, match="nonsense: nothing to accept"):
        schema_diff.accept(change, ["nonsense"])
    contract.write_text(schema_text.write(schema_diff.accept(change, []), before))
    assert changed(bench)[1] == {}


@pytest.mark.tfx
def test_label_problems_are_told(bench: Any, contract: Path) -> None:
    bench.write_csv("data/2019-12.csv", bench.rows(60, tip=90.0))
    _, told = changed(bench)
    assert "is 1 in all 60 rows" in told["label", "label"]
