"""Whatever is changed in the configuration once there is a schema: the run goes on, and accept
writes it down."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline import config_file, findings, schema_file, schema_fit, schema_text
from pipeline.schema_fit import Configured, fit

pytestmark = pytest.mark.tfx

#: The column whose kind changes; whole numbers, so that each kind can read it.
COLUMN = "riders"
KINDS: dict[str, dict[str, Any] | None] = {
    "numeric": {"kind": "numeric"},
    "category": {"kind": "categorical"},
    "code": {"kind": "categorical", "type": "int"},
    "id": {"kind": "high_cardinality"},
    "whole id": {"kind": "high_cardinality", "type": "int"},
    "text": {"kind": "text"},
    "ignored": {"kind": "ignore"},
    "no line": None,
}
TYPES = {
    "numeric": schema_pb2.FLOAT,
    "category": schema_pb2.BYTES,
    "code": schema_pb2.INT,
    "id": schema_pb2.BYTES,
    "whole id": schema_pb2.INT,
    "text": schema_pb2.BYTES,
}


def _config(bench: Any, **kinds: str) -> Any:
    """The small configuration with some columns of other kinds."""
    values = bench.values()
    for name, kind in kinds.items():
        spec = KINDS[kind]
        if spec is None:
            values["features"].pop(name, None)
        else:
            values["features"][name] = spec
    return config_file.parse(values, source="test.toml", folder=bench.folder)


def _seen(config: Any) -> Any:
    from pipeline import schema_look

    return schema_look.look(config, span=None, whole_window=False)


def _infer(config: Any) -> str:
    """The schema of a first run."""
    from pipeline import schema_infer

    columns = Configured.of(config).columns
    inferred = schema_infer.infer(schema_infer.statistics(_seen(config).rows, columns))
    return schema_text.write(schema_file.curate(inferred, config))


def _anomalies(config: Any) -> dict[str, str]:
    """What a run would be blocked by: ExampleValidator's anomalies."""
    from pipeline import schema_infer

    fitted, columns = schema_fit.in_force(config).schema, Configured.of(config).columns
    stats = schema_infer.statistics(_seen(config).rows, columns, fitted)
    return schema_infer.anomalies(fitted, stats)


def _accept(config: Any, *names: str) -> Any:
    from pipeline import schema_diff

    path = Path(config.data.schema_file)
    reviewed = schema_file.read(str(path))
    change = schema_diff.propose(config, reviewed, _seen(config))
    path.write_text(schema_text.write(schema_diff.accept(change, names), path.read_text()))
    return change


def _feature(config: Any, name: str = COLUMN) -> schema_pb2.Feature | None:
    schema = schema_file.read(config.data.schema_file)
    return next((feature for feature in schema.feature if feature.name == name), None)


@pytest.fixture
def data(bench: Any) -> Any:
    for month in ("2019-11", "2019-12"):
        bench.write_csv(f"data/{month}.csv", bench.rows(60))
    return bench


@pytest.fixture(scope="module")
def schemas() -> dict[str, str]:
    """The schema of a first run, by the column's kind."""
    return {}


@pytest.mark.parametrize("before, after", itertools.permutations(KINDS, 2))
def test_every_kind_may_become_every_other(
    before: str, after: str, data: Any, schemas: dict[str, str]
) -> None:
    was = _config(data, riders=before)
    if before not in schemas:
        schemas[before] = _infer(was)
    Path(was.data.schema_file).write_text(schemas[before])
    now = _config(data, riders=after)

    assert _anomalies(now) == {}
    told = set(schema_fit.in_force(now).unreviewed)
    assert told == ({COLUMN} if TYPES.get(before) != TYPES.get(after) and after in TYPES else set())

    _accept(now)
    written = _feature(now)
    if after in TYPES:
        assert written is not None and written.type == TYPES[after]
        assert written.lifecycle_stage == schema_pb2.UNKNOWN_STAGE
        assert (after in ("code", "whole id")) == written.int_domain.is_categorical
    elif after == "ignored":
        assert written is None
    assert schema_fit.in_force(now).unreviewed == {}
    left = {(d.kind, d.acceptable) for d in _accept(now).differences}  # TFDV's anomalies too
    # What neither of the two ever knew is new, and a line with its name settles it.
    assert left == ({("new_column", False)} if (before, after) == ("ignored", "no line") else set())
    domains = {domain.name for domain in schema_file.read(now.data.schema_file).string_domain}
    assert (COLUMN in domains) <= (after in ("category", "id", "text", "no line"))


def test_a_category_written_anew_has_its_list_and_is_held_to_it(data: Any) -> None:
    was = _config(data, flag="ignored")
    Path(was.data.schema_file).write_text(_infer(was))
    now = _config(data, flag="category")
    _accept(now, "flag")
    schema = schema_file.read(now.data.schema_file)
    assert {d.name: list(d.value) for d in schema.string_domain}["flag"] == ["N", "Y"]
    data.write_csv("data/2019-12.csv", data.rows(60, flag="garbage"))
    assert set(_anomalies(now)) == {"flag"}


def test_a_removed_line_keeps_its_column_known_until_the_files_lack_it(data: Any) -> None:
    was = data.config()
    Path(was.data.schema_file).write_text(_infer(was))
    now = _config(data, riders="no line")
    assert schema_fit.in_force(now).left_out == (COLUMN,)
    _accept(now)
    assert _feature(now) is not None
    rows = [{k: v for k, v in row.items() if k != COLUMN} for row in data.rows(60)]
    for month in ("2019-11", "2019-12"):
        data.write_csv(f"data/{month}.csv", rows)
    assert _anomalies(now) == {}
    _accept(now)
    assert _feature(now) is None


@pytest.mark.parametrize("to_feature", [True, False])
def test_a_column_that_gives_the_label_away_may_turn_out_not_to(
    to_feature: bool, data: Any
) -> None:
    was = data.config()
    now = data.config(features={"tip": {"kind": "numeric"}}, label={"leaks": None})
    if not to_feature:
        was, now = now, was
    Path(was.data.schema_file).write_text(_infer(was))
    hidden = _hidden(schema_fit.in_force(now).schema)
    assert ("tip" in hidden) is not to_feature and "label" in hidden
    assert _anomalies(now) == {}


def _hidden(schema: schema_pb2.Schema) -> set[str]:
    return {f.name for f in schema.feature if schema_file.SERVING in f.not_in_environment}


REVIEWED = """\
# Reviewed by Ada.
feature { name: "a" type: FLOAT float_domain { min: 0 } }
# Two of them.
feature { name: "b" type: BYTES domain: "b" }
feature { name: "old" type: INT presence { min_fraction: 1 } }
feature { name: "retired" type: INT lifecycle_stage: DEPRECATED }
feature { name: "untyped" presence { min_fraction: 1 } }
string_domain { name: "b" value: "x" value: "y" }
default_environment: "TRAINING"
"""
_TYPED: dict[str, Any] = {"a": "float", "b": "string", "untyped": "string", "label": "int"}


def test_what_is_configured_as_it_was_stays_byte_for_byte() -> None:
    schema = text_format.Parse(REVIEWED, schema_pb2.Schema())
    configured = Configured(columns=_TYPED, hidden=("label",), ignored=("retired",))
    fitted = fit(schema, configured)
    kept = schema_text.write(fitted.schema, REVIEWED).splitlines()
    assert kept[:4] == REVIEWED.splitlines()[:4]
    assert fitted.left_out == ("old",)
    assert set(fitted.unreviewed) == {"label"}
    names = [feature.name for feature in fitted.schema.feature]
    assert names == ["a", "b", "untyped", "label"]
    (untyped,) = (f for f in fitted.schema.feature if f.name == "untyped")
    assert untyped.type == schema_pb2.BYTES and untyped.presence.min_fraction == 1


def test_each_disagreement_is_told_with_the_command_that_settles_it() -> None:
    schema = text_format.Parse(REVIEWED, schema_pb2.Schema())
    columns = {"a": "string", "b": "string", "retired": "int", "fresh": "float", "label": "int"}
    unreviewed = fit(schema, Configured(columns=columns, hidden=("label",))).unreviewed  # type: ignore[arg-type]
    assert unreviewed == {
        "a": "it is text to the configuration, and numbers to the schema",
        "retired": "the configuration names it, the schema has retired it",
        "fresh": "the configuration names it, the schema does not",
        "label": "the configuration names it, the schema does not",
    }
    found = list(findings.of_schema(unreviewed))
    assert {one.kind for one in found} == {"unreviewed"}
    assert all(f"`headrace schema accept {one.feature}`" in one.message for one in found)


def test_the_node_writes_what_is_in_force_and_tells_what_is_not(bench: Any) -> None:
    from tfx.types import standard_artifacts

    from pipeline.components.reviewed_schema import ReviewedSchemaExecutor

    path = bench.write("schema.pbtxt", REVIEWED)
    configured = Configured(columns=_TYPED, hidden=("label",), ignored=("retired",))
    artifact = standard_artifacts.Schema()
    (bench.folder / "out").mkdir()
    artifact.uri = str(bench.folder / "out")
    ReviewedSchemaExecutor().Do(
        {},
        {"schema": [artifact]},
        {"schema_file": str(path), "configured": configured.model_dump_json()},
    )
    written = schema_file.read(str(bench.folder / "out" / "schema.pbtxt"))
    assert written == fit(schema_file.read(str(path)), configured).schema
    assert json.loads(artifact.get_string_custom_property("left_out")) == ["old"]
    assert set(json.loads(artifact.get_string_custom_property("unreviewed"))) == {"label"}


def test_the_file_in_the_pipeline_has_the_digest_that_up_to_date_compares(data: Any) -> None:
    config = _config(data, riders="ignored", distance="category")
    was = data.config()
    Path(was.data.schema_file).write_text(_infer(was))
    path = Path(config.data.schema_file)
    fitted = schema_fit.in_force(config).schema
    inside = data.write("inside.pbtxt", schema_text.write(fitted, path.read_text()))
    assert schema_file.digest(str(inside)) == schema_fit.digest(config)
    assert schema_fit.digest(config) != schema_file.digest(str(path))


def test_a_column_that_the_schema_knows_is_not_new() -> None:
    from pipeline.ingest.summary import Ingested, SpanRows

    columns = {"riders": ["data/a.csv"], "surprise": ["data/a.csv"]}
    policies = findings.Policies.model_construct(
        min_rows_share=0.1, max_share=1.0, rule_shares={}, max_repeated_share=1.0
    )
    counted = Ingested("print", {}, {}, {"a": SpanRows(6, 0, {}, {})}, columns)
    found = {one.feature: one for one in findings.of_ingestion(counted, policies, ("riders",))}
    assert found["riders"].kind == "unreviewed" and found["surprise"].kind == "new_column"
    assert 'riders = { kind = "ignore" }' in found["riders"].message
