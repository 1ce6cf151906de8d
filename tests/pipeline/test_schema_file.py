"""The reviewed schema: what is read, what the first run writes, what is said of a damaged one."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline import config_file, schema_file
from pipeline.errors import ConfigError, DataError

INFERRED = """
feature { name: "distance" type: FLOAT presence { min_fraction: 1.0 } }
feature { name: "riders" type: INT }
feature { name: "place" type: INT }
feature { name: "flag" type: BYTES domain: "flag" }
feature { name: "started" type: INT }
feature { name: "tip" type: FLOAT }
feature { name: "label" type: INT }
string_domain { name: "flag" value: "Y" value: "N" }
"""


def features(schema: schema_pb2.Schema) -> dict[str, schema_pb2.Feature]:
    return {feature.name: feature for feature in schema.feature}


def written(bench: Any, folder: Path) -> Path:
    """The schema file that a first run writes."""
    (folder / "schema.pbtxt").write_text(INFERRED)
    config = bench.config(data={"schema_file": str(folder / "new" / "schema.pbtxt")})
    schema_file.write_inferred(config, str(folder))
    return folder / "new" / "schema.pbtxt"


def test_what_gives_the_label_away_is_not_served(bench: Any, tmp_path: Path) -> None:
    schema = schema_file.read(str(written(bench, tmp_path)))
    assert list(schema.default_environment) == ["TRAINING", "SERVING"]
    hidden = {name for name, f in features(schema).items() if f.not_in_environment}
    assert hidden == {"tip", "label"}
    assert list(features(schema)["label"].not_in_environment) == ["SERVING"]


def test_ids_are_categories_not_amounts(bench: Any, tmp_path: Path) -> None:
    schema = schema_file.read(str(written(bench, tmp_path)))
    categories = {name for name, f in features(schema).items() if f.int_domain.is_categorical}
    assert categories == {"riders", "place"}


def test_what_was_inferred_is_kept(bench: Any, tmp_path: Path) -> None:
    schema = schema_file.read(str(written(bench, tmp_path)))
    assert list(features(schema)) == [
        *("distance", "riders", "place", "flag", "started", "tip", "label")
    ]
    assert features(schema)["distance"].presence.min_fraction == 1.0
    assert list(schema.string_domain[0].value) == ["Y", "N"]


def test_curating_again_changes_nothing(bench: Any) -> None:
    config = bench.config()
    inferred = text_format.Parse(INFERRED, schema_pb2.Schema())
    once = schema_file.curate(inferred, config)
    assert schema_file.curate(once, config) == once
    assert not inferred.default_environment


def test_the_file_says_what_it_is_and_leaves_nothing_beside_it(bench: Any, tmp_path: Path) -> None:
    path = written(bench, tmp_path)
    assert path.read_text().startswith("# The data contract of 'trips'.")
    assert [file.name for file in path.parent.iterdir()] == ["schema.pbtxt"]


def test_a_comment_is_no_change_of_the_schema(bench: Any, tmp_path: Path) -> None:
    path = written(bench, tmp_path)
    before = schema_file.digest(str(path))
    path.write_text("# reviewed\n" + path.read_text())
    assert schema_file.digest(str(path)) == before
    path.write_text(path.read_text().replace("min_fraction: 1.0", "min_fraction: 0.5"))
    assert schema_file.digest(str(path)) != before


def test_the_committed_schema_fits_the_committed_configuration(root: Path) -> None:
    config = config_file.load(root / "headrace.toml")
    schema = schema_file.read(config.data.schema_file)
    known = features(schema)
    hidden = {name for name, f in known.items() if "SERVING" in f.not_in_environment}
    assert hidden == {"label", *config.label.leaks}
    assert schema_file.curate(schema, config) == schema


@pytest.mark.parametrize(
    "content, reason",
    [
        (b"feature { name: 'a'\n  nme: 3 }", '2:3 : Message type "tensorflow.metadata'),
        (b'{"feature": []}', "1:1"),
        (b"feature { name: 'caf\xe9' }", "'utf-8' codec can't decode"),
        (b"", "it has no feature"),
        (b"# only a comment\n", "it has no feature"),
        (b"\x0a\x07\x12\x05", "is not a schema"),
    ],
)
def test_a_file_that_is_no_schema(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "schema.pbtxt"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        schema_file.read(str(path))
    message = str(caught.value)
    assert message.startswith(f"{path}: 1 fault")
    assert "data.schema_file: is not a schema in protocol buffer text form" in message
    assert reason in message
    assert "Restore it from version control, or remove it to have it inferred again." in message
    assert caught.value.exit_code == 2


def test_a_folder_in_place_of_the_schema(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.schema_file: cannot be read \(Is a directory\)"):
        schema_file.read(str(tmp_path))


def test_a_schema_that_cannot_be_written(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "schema.pbtxt").write_text(INFERRED)
    (tmp_path / "file").write_text("")
    config = bench.config(data={"schema_file": str(tmp_path / "file" / "schema.pbtxt")})
    with pytest.raises(DataError, match=r"data\.schema_file: cannot write .*schema\.pbtxt"):
        schema_file.write_inferred(config, str(tmp_path))
