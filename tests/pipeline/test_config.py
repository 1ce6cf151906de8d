"""The configuration: what is accepted, and what is said of everything that is not."""

import tomllib
from pathlib import Path
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.config import Feature, features_from_json, features_to_json, raw_columns
from pipeline import config_file
from pipeline.config import Config
from pipeline.errors import ConfigError, Fault

FEATURE: pydantic.TypeAdapter[Any] = pydantic.TypeAdapter(Feature)


def faults_of(bench: Any, **sections: Any) -> dict[str, Fault]:
    """Every fault by its key."""
    with pytest.raises(ConfigError) as caught:
        bench.config(**sections)
    assert caught.value.exit_code == 2
    return {fault.key: fault for fault in caught.value.faults}


# --- the file ----------------------------------------------------------------------------


def test_the_committed_configuration_loads(root: Path) -> None:
    config = config_file.load(root / "headrace.toml")
    assert config.name == "nyc-yellow"
    assert raw_columns(config.features)["pickup_datetime"] == "int"
    assert config.data.rename["PULocationID"] == "pickup_location_id"
    assert not set(config.label.leaks) & set(config.features)


def test_paths_are_relative_to_the_file_not_to_the_shell(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "headrace.toml").write_text(
        """
        name = "t"
        output = "~/out"
        data = { path = "../data", pattern = "*.csv", schema_file = "/abs/schema.pbtxt" }
        label = { expression = "y" }
        features = { a = { kind = "numeric" } }
        serving = { path = "gs://bucket/models" }
        """
    )
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/someone")
    config = config_file.load(folder / "headrace.toml")
    assert config.data.path == str(tmp_path / "data")
    assert config.data.schema_file == "/abs/schema.pbtxt"
    assert config.output == "/home/someone/out"
    assert config.serving.path == "gs://bucket/models"


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "No such file or directory. Name one with --config FILE."),
        (b'name = "a\n', "is not TOML: "),
        (b'name = "caf\xe9"\n', "is not UTF-8 text. Save it as UTF-8."),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "headrace.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        config_file.load(path)
    assert str(path) in str(caught.value)
    assert said in str(caught.value)


def test_a_toml_fault_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    path.write_text('name = "a"\nname = "b"\n')
    with pytest.raises(ConfigError, match=r"at line 2, column 11"):
        config_file.load(path)


def test_a_folder_in_place_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Is a directory\. Name one with --config FILE"):
        config_file.load(tmp_path)


# --- faults ------------------------------------------------------------------------------


def test_all_faults_are_told_at_once_each_with_key_value_rule_and_remedy(bench: Any) -> None:
    told = faults_of(
        bench,
        name="Trips!",
        colour="blue",
        data={"csv": {"delimitr": ";"}, "pattern": "{span:%y}.csv"},
        window={"train_spans": 0, "gap": "ignore"},
        label={"expression": "tip >", "leaks": {"tip": "number"}},
        features={
            "fare": {"kind": "numeric", "clip": [10, 0]},
            "flag": {"kind": "categorial"},
            "place": {"kind": "high_cardinality", "max_vocabulry": 3},
        },
        gates={"drift": "retrain!"},
        quarantine={"max_share": 2, "rules": {"odd": "fare <"}},
    )
    assert set(told) == {
        "name",
        "colour",
        "data.csv.delimitr",
        "window.train_spans",
        "window.gap",
        "label.leaks.tip",
        "features.fare.clip",
        "features.flag.kind",
        "features.place.max_vocabulry",
        "gates.drift",
        "quarantine.max_share",
    }
    assert "found 'Trips!'" in str(told["name"])
    assert told["colour"].rule == "is not a known key"
    assert told["data.csv.delimitr"].remedy == "Did you mean 'delimiter'?"
    assert told["window.train_spans"].rule == "must be greater than or equal to 1"
    assert told["window.train_spans"].value == "0"
    assert told["window.gap"].rule == "must be 'error' or 'skip'"
    assert told["label.leaks.tip"].value == "'number'"
    assert "low < high" in told["features.fare.clip"].rule
    assert told["features.flag.kind"].remedy == "Did you mean 'categorical'?"
    assert told["features.place.max_vocabulry"].remedy == "Did you mean 'max_vocabulary'?"
    assert all(fault.rule and fault.remedy for fault in told.values())


def test_rules_across_keys_are_told_beside_faults_of_other_sections(bench: Any) -> None:
    told = faults_of(
        bench,
        window={"eval_spans": 0},
        data={"time_column": "flag", "pattern": "/abs/{span}.csv", "optional_columns": ["fair"]},
        label={"expression": "tip >", "leaks": {"fare": "float"}, "name": "riders"},
        features={"minutes": {"kind": "elapsed", "start": "begun", "end": "flag"}},
        evaluation={"slices": ["flg", ["flag", "fare"], ["flag", "place", "zzzz"]]},
        quarantine={"rules": {"ok": "fare < 0", "odd": "fare < 0; SELECT 1"}},
    )
    assert set(told) == {
        "window.eval_spans",
        "data.time_column",
        "data.pattern",
        "data.optional_columns.0",
        "label.expression",
        "label.leaks.fare",
        "label.name",
        "features.minutes.start",
        "features.minutes.end",
        "evaluation.slices.0",
        "evaluation.slices.2",
        "quarantine.rules.odd",
    }
    assert told["data.time_column"].rule == "must name a feature of kind 'timestamp'"
    assert told["data.pattern"].rule == "must be relative to data.path"
    assert told["data.optional_columns.0"].remedy == "Did you mean 'fare'?"
    assert told["label.expression"].rule.startswith("is not SQL: syntax error")
    assert told["label.leaks.fare"].rule == "is also a feature"
    assert told["features.minutes.start"].value == "'begun'"
    assert told["evaluation.slices.0"].remedy == "Did you mean 'flag'?"
    assert told["evaluation.slices.2"].value == "'zzzz'"


@pytest.mark.parametrize(
    "key, near",
    [
        ("outptu", "output"),
        ("data.patern", "pattern"),
        ("data.csv.null_value", "null_values"),
        ("window.train_span", "train_spans"),
        ("features.fare.clp", "clip"),
        ("features.started.part", "parts"),
        ("evaluation.bars.auc_mim", "auc_min"),
        ("model.hiden", "hidden"),
        ("training.epoch", "epochs"),
        ("serving.keep_version", "keep_versions"),
        ("beam.runer", "runner"),
    ],
)
def test_an_unknown_key_is_a_fault_and_the_nearest_known_one_is_named(
    bench: Any, key: str, near: str
) -> None:
    sections: Any = 1
    for part in reversed(key.split(".")):
        sections = {part: sections}
    told = faults_of(bench, **sections)
    assert list(told) == [key]
    assert told[key].rule == "is not a known key"
    assert told[key].remedy == f"Did you mean '{near}'?"


def test_where_no_known_key_is_near_all_are_named(bench: Any) -> None:
    told = faults_of(bench, window={"xyzzy": 1})
    assert told["window.xyzzy"].remedy == (
        "Known here: train_spans, eval_spans, gap, holdout, min_rows_share, max_repeated_share."
    )


@pytest.mark.parametrize("name", ["text", "numeric", "int", "str", "elapsed"])
def test_keys_that_pydantic_uses_for_itself_are_told_whole(bench: Any, name: str) -> None:
    told = faults_of(
        bench,
        features={name: {"kind": "numeric", "clip": ["a", 1]}},
        label={"leaks": {f"{name}2": "float", "bool": "double"}},
        data={"rename": {name: 3}},
    )
    assert set(told) == {f"features.{name}.clip.0", "label.leaks.bool", f"data.rename.{name}"}


@pytest.mark.parametrize("section", ["name", "data", "label", "features"])
def test_a_missing_section_is_told_with_an_example(bench: Any, section: str) -> None:
    told = faults_of(bench, **{section: None})
    assert told[section].rule == "is required but missing"
    assert told[section].remedy.startswith("Add ")


@pytest.mark.parametrize(
    "key, sections",
    [
        ("data.path", {"data": {"path": None}}),
        ("label.expression", {"label": {"expression": None}}),
        ("features.minutes.end", {"features": {"minutes": {"end": None}}}),
    ],
)
def test_a_missing_key_is_told_whole(bench: Any, key: str, sections: dict[str, Any]) -> None:
    told = faults_of(bench, **sections)
    assert list(told) == [key]
    assert told[key].rule == "is required but missing"


@pytest.mark.parametrize(
    "key, sections",
    [
        ("data", {"data": 3}),
        ("window", {"window": "all"}),
        ("features.fare", {"features": {"fare": "numeric"}}),
        ("features.fare.kind", {"features": {"fare": {"kind": None}}}),
        ("label.name", {"label": {"name": "my label"}}),
        ("quarantine.rules.", {"quarantine": {"rules": {"": "fare < 0"}}}),
        ("training.learning_rate", {"training": {"learning_rate": float("inf")}}),
        ("window.holdout", {"window": {"holdout": 1.0}}),
        ("data.csv.delimiter", {"data": {"csv": {"delimiter": ",,"}}}),
        ("label.name", {"label": {"name": "tip"}}),
    ],
)
def test_a_wrong_value_is_told_with_its_key(bench: Any, key: str, sections: dict[str, Any]) -> None:
    assert list(faults_of(bench, **sections)) == [key]


def test_features_that_give_the_model_nothing_are_a_fault(bench: Any) -> None:
    values = bench.values() | {"features": {"operator": {"kind": "ignore"}}}
    with pytest.raises(ConfigError, match="features: names no column that the model could use"):
        config_file.parse(values, source="t", folder=Path("/"))


def test_a_long_value_does_not_fill_the_screen(bench: Any) -> None:
    told = faults_of(bench, name="x" * 10_000)
    assert len(str(told["name"])) < 300


@pytest.mark.parametrize(
    "expression",
    ["tip > 0", "tip > 0 -- generous", "CASE WHEN tip > 1 THEN 1 ELSE 0 END", "\"tip\" > 'a;b'"],
)
def test_expressions_that_parse(bench: Any, expression: str) -> None:
    assert bench.config(label={"expression": expression}).label.expression == expression


@pytest.mark.parametrize(
    "expression", ["tip >", "tip > 0; DROP TABLE x", "tip > 0) --", "'open", "tip > 1 LIMIT 3"]
)
def test_expressions_that_do_not_parse(bench: Any, expression: str) -> None:
    assert list(faults_of(bench, label={"expression": expression})) == ["label.expression"]


# --- what is kept of it ------------------------------------------------------------------


def test_a_configuration_cannot_be_changed(bench: Any) -> None:
    config = bench.config()
    for section, key in [(config, "name"), (config.window, "gap"), (config.data.csv, "encoding")]:
        with pytest.raises(pydantic.ValidationError, match="frozen"):
            setattr(section, key, "other")


def test_where_the_outcome_is_put_does_not_change_the_digest(bench: Any, tmp_path: Path) -> None:
    digest = bench.config().digest()
    elsewhere = config_file.parse(bench.values(), source="t", folder=tmp_path / "elsewhere")
    assert elsewhere.digest() == digest
    for sections in (
        {"output": "other"},
        {"serving": {"path": "other", "keep_versions": 1}},
        {"beam": {"runner": "flink", "options": {"parallelism": 4}}},
        {"data": {"path": "other", "schema_file": "other.pbtxt"}},
    ):
        assert bench.config(**sections).digest() == digest, sections


@pytest.mark.parametrize(
    "sections",
    [
        {"name": "other"},
        {"data": {"pattern": "{span:%Y-%m}.parquet"}},
        {"data": {"rename": {"Fare": "fare"}}},
        {"data": {"csv": {"delimiter": ";"}}},
        {"window": {"train_spans": 3}},
        {"label": {"expression": "tip > 0.1 * fare"}},
        {"features": {"extra": {"kind": "numeric"}}},
        {"features": {"fare": {"clip": [0, 10]}}},
        {"quarantine": {"rules": {"odd": "fare < 0"}}},
        {"gates": {"drift": "block"}},
        {"model": {"hidden": [3]}},
        {"training": {"seed": 1}},
        {"evaluation": {"bars": {"auc_min": 0.9}}},
    ],
)
def test_what_decides_the_outcome_changes_the_digest(bench: Any, sections: dict[str, Any]) -> None:
    assert bench.config(**sections).digest() != bench.config().digest()


def test_every_section_is_in_the_digest_or_left_out_on_purpose(bench: Any) -> None:
    # A section added later must be thought about here.
    assert set(Config.model_fields) == {
        *("name", "data", "window", "label", "features", "quarantine", "gates", "drift"),
        *("model", "training", "evaluation", "proof", "output", "serving", "beam"),
        "vertex",
    }


def test_the_stored_configuration_is_the_effective_one(bench: Any) -> None:
    config = bench.config(window={"train_spans": 3})
    assert Config.model_validate_json(config.model_dump_json()) == config


KINDS = {
    "numeric": '{ kind = "numeric", clip = [0, 1.5] }',
    "categorical": '{ kind = "categorical", type = "int", max_vocabulary = 3, min_count = 2 }',
    "high_cardinality": '{ kind = "high_cardinality", oov_buckets = 3 }',
    "timestamp": '{ kind = "timestamp", parts = ["minute_of_day", "day_of_month", "month"] }',
    "elapsed": '{ kind = "elapsed", start = "t", end = "t", unit = "days", clip = [0, 9] }',
    "text": '{ kind = "text", max_tokens = 3 }',
    "ignore": '{ kind = "ignore" }',
}


def test_every_kind_of_feature_is_accepted(bench: Any) -> None:
    features = {name: tomllib.loads(f"x = {text}")["x"] for name, text in KINDS.items()}
    features["t"] = {"kind": "timestamp"}
    config = config_file.parse(
        bench.values() | {"features": features}, source="t", folder=Path("/")
    )
    assert {name: feature.kind for name, feature in config.features.items()} == {
        **{kind: kind for kind in KINDS},
        "t": "timestamp",
    }
    assert raw_columns(config.features) == {
        "numeric": "float",
        "categorical": "int",
        "high_cardinality": "string",
        "timestamp": "int",
        "text": "string",
        "t": "int",
    }


counts = st.integers(1, 10_000)
clips = st.none() | st.tuples(st.integers(-99, 0), st.integers(1, 99))
vocabularies = {"max_vocabulary": counts, "min_count": counts, "oov_buckets": counts}
stored = st.sampled_from(["int", "string"])
features = st.one_of(
    st.fixed_dictionaries({"kind": st.just("numeric")}, optional={"clip": clips}),
    st.fixed_dictionaries(
        {"kind": st.sampled_from(["categorical", "high_cardinality"])},
        optional={"type": stored} | vocabularies,
    ),
    st.fixed_dictionaries(
        {"kind": st.just("timestamp")},
        optional={"parts": st.lists(st.sampled_from(["hour", "weekday", "year"]), max_size=3)},
    ),
    st.fixed_dictionaries(
        {"kind": st.just("elapsed"), "start": st.text(), "end": st.text()},
        optional={"unit": st.sampled_from(["seconds", "hours"]), "clip": clips},
    ),
    st.fixed_dictionaries({"kind": st.just("text")}, optional=vocabularies),
    st.just({"kind": "ignore"}),
)


@given(st.dictionaries(st.text(min_size=1), features, max_size=5))
def test_features_survive_json(tree: dict[str, Any]) -> None:
    parsed = {name: FEATURE.validate_python(value) for name, value in tree.items()}
    text = features_to_json(parsed)
    again = features_from_json(text)
    assert again == parsed
    assert list(again) == list(parsed)
    assert features_to_json(again) == text


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(sorted(Config.model_fields)) | st.text(max_size=5), json_like)
)
def test_whatever_the_file_says_the_answer_is_faults_with_keys(tree: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        config_file.parse(tree | {"name": "No name"}, source="t", folder=Path("/"))
    for fault in caught.value.faults:
        assert fault.key.startswith((*Config.model_fields, *tree))
        assert fault.rule and fault.remedy


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "headrace.toml"
    path.write_bytes(b"\xef\xbb\xbf" + b'name = "trips"\nfoo = 1\n')
    with pytest.raises(ConfigError) as caught:
        config_file.load(path)
    told = str(caught.value)
    assert "foo" in told and "is not TOML" not in told and "name: " not in told
