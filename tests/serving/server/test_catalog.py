"""Configuration, reload and labels, with a loader that needs no TensorFlow."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tensorflow_serving.config import model_server_config_pb2

from serving.server import catalog as catalogs
from serving.server.catalog import Catalog
from serving.server.config_checks import watch_file
from serving.server.discovery import fingerprint
from serving.server.errors import Code, ServingError
from serving.server.lifecycle import Manager, RetryOptions

Config = model_server_config_pb2.ModelServerConfig


class Model:
    def __init__(self, version: int) -> None:
        self.version = version

    def close(self) -> None:
        pass


def load(name: str, version: int, path: str) -> Model:
    """A version loads if it has the file `ok`."""
    if not (Path(path) / "ok").exists():
        raise ServingError(Code.NOT_FOUND, f"nothing to load in {path}")
    return Model(version)


Catalogs = Callable[..., Catalog]


@pytest.fixture
def make() -> Iterator[Catalogs]:
    made: list[Catalog] = []

    def make_one(retries: int = 0, interval: float = 0.01, **options: object) -> Catalog:
        manager = Manager(
            load,  # type: ignore[arg-type]
            retry=RetryOptions(retries=retries, interval=interval),
            fingerprint=fingerprint,
        )
        options = {"poll_seconds": 0.05, "reload_seconds": 5.0, **options}
        made.append(Catalog(manager, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make_one
    for one in made:
        one.stop()


@pytest.fixture
def base(tmp_path: Path) -> Path:
    for version in (1, 2, 3):
        push(tmp_path / "m", version)
    push(tmp_path / "other", 7)
    return tmp_path


def push(model: Path, version: int) -> None:
    folder = model / f".staging-{version}"
    folder.mkdir(parents=True)
    (folder / "ok").touch()
    folder.rename(model / str(version))


def config(*models: dict[str, object]) -> Config:
    made = Config()
    made.model_config_list.SetInParent()
    for model in models:
        labels = model.pop("labels", {})
        added = made.model_config_list.config.add(**{"model_platform": "tensorflow", **model})
        for label, version in labels.items():  # type: ignore[attr-defined]
            added.version_labels[label] = version
    return made


def m(base: Path, *versions: int, **more: object) -> dict[str, object]:
    policy = {"specific": {"versions": versions}} if versions else {"latest": {"num_versions": 1}}
    return {
        "name": "m",
        "base_path": str(base / "m"),
        "model_version_policy": policy,
        **more,
    }


def states(catalog: Catalog, name: str = "m") -> dict[int, str]:
    try:
        return {status.version: status.state for status in catalog.statuses(name)}
    except ServingError:
        return {}


def until(catalog: Catalog, wanted: dict[int, str], name: str = "m") -> None:
    end = time.monotonic() + 10
    while states(catalog, name) != wanted:
        assert time.monotonic() < end, states(catalog, name)
        time.sleep(0.01)


def answering(catalog: Catalog, **which: object) -> int:
    with catalog.use("m", **which) as model:  # type: ignore[arg-type]
        return model.version


def refused(call: Callable[[], object], code: Code, text: str) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    assert (caught.value.code, text in caught.value.message) == (code, True), caught.value
    return caught.value


def test_latest_version_is_served_and_replaced_by_a_push(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    push(base / "m", 10)
    until(catalog, {10: "AVAILABLE", 3: "END"})
    (base / "m" / "10").rename(base / "m" / "gone")
    until(catalog, {10: "END", 3: "AVAILABLE"})


def test_scan_once_sees_no_push(make: Catalogs, base: Path) -> None:
    catalog = make(poll_seconds=0)
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    push(base / "m", 4)
    time.sleep(0.3)
    assert states(catalog) == {3: "AVAILABLE"}


def test_folder_that_fills_slowly_is_served_when_complete(make: Catalogs, base: Path) -> None:
    catalog = make(retries=5, interval=3600)
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    (base / "m" / "4").mkdir()
    (base / "m" / "4" / "variables").touch()
    time.sleep(0.3)
    assert states(catalog) == {4: "LOADING", 3: "AVAILABLE"}
    (base / "m" / "4" / "ok").touch()
    until(catalog, {4: "AVAILABLE", 3: "END"})


def test_missing_specific_version_appears(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(config(m(base, 1, 9)))
    until(catalog, {1: "AVAILABLE"})
    push(base / "m", 9)
    until(catalog, {9: "AVAILABLE", 1: "AVAILABLE"})


def test_labels_move_by_reload(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(config(m(base, 1, 2)))
    until(catalog, {2: "AVAILABLE", 1: "AVAILABLE"})
    catalog.reload(config(m(base, 1, 2, labels={"stable": 1})))
    assert answering(catalog, label="stable") == 1
    catalog.reload(config(m(base, 1, 2, labels={"stable": 2, "canary": 2})))
    assert answering(catalog, label="stable") == 2
    catalog.reload(config(m(base, 1, 2, labels={"canary": 2})))
    refused(
        lambda: catalog.use("m", label="stable"),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    )
    refused(
        lambda: catalog.use("unknown", label="stable"),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    )


def test_label_to_a_version_that_is_not_available_changes_nothing(
    make: Catalogs, base: Path
) -> None:
    catalog = make()
    refused(
        lambda: catalog.start(config(m(base, 1, labels={"stable": 1}))),
        Code.FAILED_PRECONDITION,
        "not currently available for inference",
    )
    catalog.start(config(m(base, 1)))
    until(catalog, {1: "AVAILABLE"})
    refused(
        lambda: catalog.reload(config(m(base, 2, labels={"stable": 2}))),
        Code.FAILED_PRECONDITION,
        "Request to assign label to version 2 of model m, which is not currently available",
    )
    time.sleep(0.2)
    assert states(catalog) == {1: "AVAILABLE"}
    assert answering(catalog) == 1


def test_flag_lets_new_labels_wait_but_not_move_away(make: Catalogs, base: Path) -> None:
    catalog = make(allow_labels_for_unavailable=True)
    catalog.start(config(m(base, 1, labels={"stable": 1, "next": 8})))
    until(catalog, {1: "AVAILABLE"})
    assert answering(catalog, label="stable") == 1
    refused(
        lambda: answering(catalog, label="next"),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(m, 8)",
    )
    refused(
        lambda: catalog.reload(config(m(base, 1, labels={"stable": 8}))),
        Code.FAILED_PRECONDITION,
        "not currently available for inference",
    )


def test_reload_adds_and_removes_models(make: Catalogs, base: Path) -> None:
    catalog = make()
    other: dict[str, object] = {"name": "other", "base_path": str(base / "other")}
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    catalog.reload(config(m(base), dict(other)))
    assert states(catalog, "other") == {7: "AVAILABLE"}, "the reload has waited"
    catalog.reload(config(dict(other)))
    until(catalog, {3: "END"})
    refused(lambda: catalog.use("m"), Code.NOT_FOUND, "Latest(m)")
    catalog.reload(config(m(base), dict(other)))
    assert states(catalog) == {3: "AVAILABLE"}
    catalog.reload(config())
    until(catalog, {3: "END"})
    until(catalog, {7: "END"}, "other")


def test_reload_with_a_missing_base_path_ends_and_later_ones_work(
    make: Catalogs, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogs, "_GRACE_SECONDS", 0.2)
    catalog = make()
    catalog.start(config(m(base)))
    nowhere: dict[str, object] = {"name": "new", "base_path": str(base / "nowhere")}
    refused(
        lambda: catalog.reload(config(m(base), nowhere)), Code.UNKNOWN, "Could not find base path"
    )
    catalog.reload(config(m(base), {"name": "other", "base_path": str(base / "other")}))
    assert states(catalog, "other") == {7: "AVAILABLE"}


def test_reload_of_a_broken_model_says_why(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(config(m(base)))
    (base / "bad" / "1").mkdir(parents=True)
    error = refused(
        lambda: catalog.reload(config(m(base), {"name": "bad", "base_path": str(base / "bad")})),
        Code.UNKNOWN,
        "1 servable(s) did not become available: {{name: bad version: 1} due to error:",
    )
    assert "nothing to load" in error.message


@pytest.mark.parametrize(
    "change, text",
    [
        ([{"name": "m"}, {"name": "m"}], "Illegal to list model m multiple times"),
        ([{"name": "m", "base_path": "models/m"}], "to have an absolute path or URI"),
        ([{"name": "m", "model_platform": "other"}], "Illegal to change a model's platform"),
        ([{"name": "n", "model_platform": "nope"}], "requests unsupported platform"),
        ([{"name": "n", "model_platform": ""}], "Illegal setting neither"),
        ([{"name": "n", "model_type": 1}], "Illegal setting both"),
        ([{"name": "m", "logging_config": {}}], "No request-logger-creator provided."),
    ],
)
def test_bad_configuration_is_refused_whole(
    make: Catalogs, base: Path, change: list[dict[str, object]], text: str
) -> None:
    catalog = make()
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    bad = config(*[{"base_path": str(base / "m"), **model} for model in change])
    refused(lambda: catalog.reload(bad), Code.INVALID_ARGUMENT, text)
    assert states(catalog) == {3: "AVAILABLE"}


def test_deprecated_model_type_stands_for_the_platform(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(config(m(base, model_platform="", model_type=1)))
    until(catalog, {3: "AVAILABLE"})
    catalog.reload(config(m(base)))


def test_empty_start_is_filled_and_not_emptied_by_an_empty_file(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(Config())
    catalog.reload(config(m(base)))
    assert states(catalog) == {3: "AVAILABLE"}
    refused(
        lambda: catalog.reload(Config()),
        Code.FAILED_PRECONDITION,
        "Cannot transition to requested config",
    )


def test_file_is_followed_and_a_bad_one_changes_nothing(make: Catalogs, base: Path) -> None:
    file = base / "models.config"
    file.write_text(str(config(m(base))))
    catalog = make()
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    watch_file(str(file), 0.05, catalog.reload)
    time.sleep(0.1)
    file.write_text("nonsense {")
    time.sleep(0.2)
    assert states(catalog) == {3: "AVAILABLE"}
    file.write_text(str(config({"name": "other", "base_path": str(base / "other")})))
    until(catalog, {7: "AVAILABLE"}, "other")
    until(catalog, {3: "END"})


def test_swaps_lose_no_request(make: Catalogs, base: Path) -> None:
    catalog = make()
    catalog.start(config(m(base)))
    until(catalog, {3: "AVAILABLE"})
    done, seen = threading.Event(), []

    def ask() -> None:
        while not done.is_set():
            seen.append(answering(catalog))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for version in range(4, 10):
        push(base / "m", version)
        until(catalog, {n: "AVAILABLE" if n == version else "END" for n in range(3, version + 1)})
    done.set()
    for thread in threads:
        thread.join()
    assert {3, 9} <= set(seen)
