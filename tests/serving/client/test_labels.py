"""Moving a label: load, wait, move, verify; and nothing changed when one of these fails."""

from pathlib import Path
from typing import Any

import pytest
from fakes import Engine

from serving.client import NO_RETRIES, Client, ClientError, connect, labels, models_config

FOLDER = "/models/m"


@pytest.fixture
def client(grpc_address: str) -> Any:
    with connect(grpc_address, model="m", timeout=10, retries=NO_RETRIES) as made:
        yield made


def change(client: Client, before: dict[str, int], after: dict[str, int], **options: Any) -> Any:
    config = models_config.of(
        [
            models_config.entry("m", FOLDER, before),
            models_config.entry("other", "/models/other", {"live": 5}),
        ]
    )
    return labels.change(client, "m", config, before, after, **options)


def test_a_version_is_loaded_before_its_label_moves(client: Client, engine: Engine) -> None:
    engine.on_disk = {2, 3}
    steps: list[str] = []
    change(client, {}, {"stable": 2}, say=steps.append)
    assert steps == ["loading version 2", "moving the label"]
    assert engine.labels == {"stable": 2}
    assert engine.versions == {2: "AVAILABLE", 3: "AVAILABLE"}
    first = engine.reloads[0]
    assert not models_config.model(first, "m").version_labels


def test_other_models_of_the_configuration_stay(client: Client, engine: Engine) -> None:
    final = change(client, {}, {"stable": 3})
    for config in (*engine.reloads, final):
        other = models_config.model(config, "other")
        assert other.base_path == "/models/other" and dict(other.version_labels) == {"live": 5}


def test_a_label_moves_in_one_step_where_both_are_loaded(client: Client, engine: Engine) -> None:
    engine.on_disk = {2, 3}
    engine.versions = {2: "AVAILABLE", 3: "AVAILABLE"}
    engine.labels = {"stable": 2, "canary": 3}
    change(client, {"stable": 2, "canary": 3}, {"stable": 3, "canary": 3})
    assert len(engine.reloads) == 1
    assert engine.labels == {"stable": 3, "canary": 3}


def test_a_label_is_removed(client: Client, engine: Engine) -> None:
    engine.labels = {"stable": 3}
    change(client, {"stable": 3}, {})
    assert engine.labels == {}


def test_a_version_that_does_not_load_moves_nothing(client: Client, engine: Engine) -> None:
    engine.on_disk, engine.broken = {3, 4}, {4}
    engine.labels = {"stable": 3}
    with pytest.raises(labels.NotMoved, match=r"version 4 of m did not load: NOT_FOUND: no saved"):
        change(client, {"stable": 3}, {"stable": 4})
    assert engine.labels == {"stable": 3}


def test_a_version_that_never_comes_moves_nothing(client: Client, engine: Engine) -> None:
    engine.labels = {"stable": 3}
    with pytest.raises(labels.NotMoved, match=r"version 9 \(not found\).*--base-path"):
        change(client, {"stable": 3}, {"stable": 9}, wait_seconds=0.2)
    assert engine.labels == {"stable": 3}


def test_a_server_of_other_models_is_left_alone(grpc_address: str, engine: Engine) -> None:
    config = models_config.of([models_config.entry("n", "/models/n")])
    with (
        connect(grpc_address, model="n", retries=NO_RETRIES) as other,
        pytest.raises(labels.NotMoved, match="does not serve model n"),
    ):
        labels.change(other, "n", config, {}, {"stable": 1})
    assert engine.reloads == []


def test_a_server_that_answers_with_another_version_is_found_out(
    client: Client, engine: Engine
) -> None:
    engine.on_disk = {2, 3}
    engine.versions = {2: "AVAILABLE", 3: "AVAILABLE"}
    engine.tells_label = 2
    with pytest.raises(ClientError, match="took label stable for version 3, but version 2"):
        change(client, {}, {"stable": 3})


def test_a_labelled_version_stays_when_newer_ones_come() -> None:
    newest = models_config.of([models_config.entry("m", FOLDER)])
    changed = models_config.model(models_config.serving(newest, "m", {"stable": 2}), "m")
    assert changed.model_version_policy.WhichOneof("policy_choice") == "all"
    some = models_config.of([models_config.entry("m", FOLDER, {}, [5])])
    changed = models_config.model(models_config.serving(some, "m", {"stable": 2}, [7]), "m")
    assert list(changed.model_version_policy.specific.versions) == [5, 2, 7]


def test_a_file_keeps_its_comments_at_the_top(tmp_path: Path) -> None:
    path = tmp_path / "models.config"
    path.write_text(
        '# Ours.\n\nmodel_config_list { config { name: "m" base_path: "/m" '
        'model_platform: "tensorflow" } }\n'
    )
    config = models_config.serving(models_config.read(path), "m", {"stable": 3})
    models_config.rewrite(path, config)
    assert path.read_text().startswith("# Ours.\n\nmodel_config_list {")
    assert models_config.read(path) == config
    path.write_text("model_config_list { confg {} }")
    with pytest.raises(ClientError, match=r"no model configuration.*confg"):
        models_config.read(path)
