"""H: configuration, reload and labels."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
from conftest import push
from servers import END, Launcher, Server, code_of, free_port, model_config, write_config
from tensorflow_serving.apis import model_management_pb2, prediction_log_pb2

P0, P1, P2 = pytest.mark.P0, pytest.mark.P1, pytest.mark.P2
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
Add = Callable[..., None]


def case(name: str, priority: Any, *values: Any) -> Any:
    return pytest.param(*values, id=name, marks=priority)


def answer(server: Server, model: str, **which: Any) -> float:
    return float(server.predict(model, {"x": [2.0]}, **which).outputs["y"].float_val[0])


def refusal(call: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


def becomes_not_found(server: Server, model: str, seconds: float = 10) -> None:
    until = time.monotonic() + seconds
    while (code := code_of(lambda: answer(server, model))) != NOT_FOUND:
        assert code == grpc.StatusCode.OK and time.monotonic() < until
        time.sleep(0.05)


@pytest.fixture(scope="module")
def frozen(
    launcher: Launcher, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Server, Path]]:
    """A server that reads everything once: config file, folders; no monitoring; a socket."""
    folder = tmp_path_factory.mktemp("frozen")
    push(models / "half_plus_two" / "00000123", folder / "still", 1)
    config = write_config(folder / "models.config", [model_config("still", folder / "still")])
    server = launcher.start(
        f"--model_config_file={config}",
        "--file_system_poll_wait_seconds=0",
        f"--grpc_socket_path={folder / 'socket'}",
        "--enable_batching=true",
    )
    server.wait("still", 1)
    yield server, folder
    server.close()


@P1
@pytest.mark.parametrize("seconds", [pytest.param(2.0, id="H04,I15")])
def test_nothing_is_read_again_without_polling(
    frozen: tuple[Server, Path], models: Path, seconds: float
) -> None:
    server, folder = frozen
    push(models / "half_plus_three" / "00000123", folder / "still", 2)
    write_config(folder / "models.config", [model_config("other", folder / "still")])
    time.sleep(seconds)
    assert answer(server, "still") == 3.0 and list(server.statuses("still")) == [1]


@pytest.mark.parametrize("model", [case("E16", P2, "still")])
def test_unix_socket(frozen: tuple[Server, Path], model: str) -> None:
    server, folder = frozen
    other = Server(server.kind, f"unix:{folder / 'socket'}", "")
    assert answer(other, model) == 3.0
    other.close()


@pytest.mark.parametrize("path", [case("K04", P1, "/monitoring/prometheus/metrics")])
def test_no_monitoring_unless_asked_for(frozen: tuple[Server, Path], path: str) -> None:
    assert frozen[0].rest("GET", path).status_code == 404


@pytest.mark.parametrize("rows", [case("K11", P2, 5)])
def test_batching_changes_no_answer(frozen: tuple[Server, Path], rows: int) -> None:
    values = [float(row) for row in range(rows)]
    output = frozen[0].predict("still", {"x": values}).outputs["y"].float_val
    assert list(output) == [value / 2 + 2 for value in values]


@P1
@pytest.mark.parametrize("label", [pytest.param("stable", id="H03,H12,K05,K06,K09,K13")])
def test_a_server_with_all_options(
    launcher: Launcher, dynamic: Server, add: Add, models: Path, tmp_path: Path, label: str
) -> None:
    """One start for many flags: a start takes longer than all its checks."""
    two = model_config("two", models / "versions", "all {}", {label: 123})
    three = model_config("three", models / "half_plus_three")
    (tmp_path / "late").mkdir()
    late = [model_config("late", tmp_path / "late")] if launcher.kind == "E" else []
    config = write_config(tmp_path / "models.config", [two, *late])
    monitoring = tmp_path / "monitoring.config"
    monitoring.write_text('prometheus_config { enable: true path: "/custom/metrics" }\n')
    logs = tmp_path / "logs"
    own = [f"--request_log_dir={logs}", "--request_log_sampling_rate=1.0"]
    server = launcher.start(
        f"--model_config_file={config}",
        "--model_config_file_poll_wait_seconds=1",
        f"--monitoring_config_file={monitoring}",
        "--rest_api_enable_cors_support=true",
        "--allow_version_labels_for_unavailable_models=true",
        *(own if launcher.kind == "E" else []),
    )
    try:
        server.wait("two", 123)
        server.wait("two", 124)
        spec = server.predict("two", {"x": [2.0]}, label=label).model_spec
        assert spec.version.value == 123
        assert "# TYPE" in server.rest("GET", "/custom/metrics").text
        assert server.rest("GET", "/monitoring/prometheus/metrics").status_code == 404
        allowed = server.rest("OPTIONS", "/v1/models/two:predict", Origin="http://a")
        assert allowed.status_code == 200 and not allowed.content
        assert allowed.headers["access-control-allow-origin"] == "*"
        assert "POST" in allowed.headers["access-control-allow-methods"]
        if late:
            assert server.statuses("late") == {}
            assert server.rest("GET", "/v1/models/late").status_code == 404
            push(models / "half_plus_two" / "00000123", tmp_path / "late", 1)
            server.wait("late", 1)
            for number in range(5):
                server.rest("POST", "/v1/models/late:predict", {"instances": [float(number)]})
                answer(server, "late")
        config.write_text("model_config_list { config {")  # half written: nothing changes
        time.sleep(1.5)
        assert answer(server, "two") == 3.0
        write_config(config, [three])
        server.wait("three", 123, seconds=10)
        assert answer(server, "three") == 4.0
        becomes_not_found(server, "two")
    finally:
        code = server.close()
    if launcher.kind == "E":
        assert code == 0
        check_log(logs / "late", models, tmp_path / "next", dynamic, add)


def check_log(folder: Path, models: Path, base: Path, dynamic: Server, add: Add) -> None:
    """Logged requests are whole and true, and warm up another version as they are."""
    (path,) = folder.iterdir()
    records = [
        prediction_log_pb2.PredictionLog.FromString(record.numpy())
        for record in tf.data.TFRecordDataset(str(path))
    ]
    assert len(records) == 10
    for record in records:
        assert record.log_metadata.model_spec.version.value == 1
        sent = tf.make_ndarray(record.predict_log.request.inputs["x"])
        answered = tf.make_ndarray(record.predict_log.response.outputs["y"])
        assert (answered == sent / 2 + 2).all()
    version = push(models / "half_plus_two" / "00000123", base.with_name("staged"), 1)
    (version / "assets.extra").mkdir(exist_ok=True)
    shutil.copyfile(path, version / "assets.extra" / "tf_serving_warmup_requests")
    add(model_config("warmed", version.parent))
    dynamic.wait("warmed", 1)


@pytest.mark.parametrize("kind", [
    case("K06-origin", P2, {"Origin": "https://a"}), case("K06-none", P2, {})
])  # fmt: skip
def test_options_without_cors(dynamic: Server, kind: dict[str, str]) -> None:
    response = dynamic.rest("OPTIONS", "/v1/models/m:predict", **kind)
    assert response.status_code == (200 if kind else 400) and not response.content
    assert "access-control-allow-origin" not in response.headers


@pytest.mark.parametrize("name", [case("H05,H06,H07", P1, "reloaded")])
def test_reload_adds_removes_and_adds_again(
    dynamic: Server, add: Add, models: Path, name: str
) -> None:
    config = model_config(name, models / "half_plus_two")
    response = dynamic.reload([config])
    assert response.status.error_code == 0 and answer(dynamic, name) == 3.0
    dynamic.reload([])
    becomes_not_found(dynamic, name)
    assert dynamic.wait(name, 123, END).status.error_code == 0
    dynamic.reload([config])
    assert answer(dynamic, name) == 3.0
    assert dynamic.statuses(name)[123].state == 30


@pytest.mark.parametrize("kind", [case("H08", P1, "none")])
def test_reload_without_a_config(dynamic: Server, kind: str) -> None:
    request = model_management_pb2.ReloadConfigRequest()
    error = refusal(lambda: dynamic.models.HandleReloadConfigRequest(request, timeout=10))
    assert error.code() == INVALID
    assert "not supported by HandleReloadConfigRequest" in error.details()


@pytest.mark.parametrize("what, phrase", [
    case("H09-duplicate", P1, "duplicate", "multiple times"),
    case("H09-relative", P1, "relative", "absolute path or URI"),
    case("H09-platform", P1, "platform", "platform"),
    case("H09-changed", P1, "changed", "Illegal to change a model's platform"),
    case("H09-no-platform", P1, "no-platform", "Illegal setting neither"),
])  # fmt: skip
def test_reload_refused(dynamic: Server, add: Add, models: Path, what: str, phrase: str) -> None:
    kept = model_config("kept", models / "half_plus_two")
    add(kept)
    new = model_config("new", models / "half_plus_two")
    wanted = [kept, new]
    if what == "duplicate":
        wanted.append(new)
    elif what == "relative":
        new.base_path = "models/new"
    elif what == "platform":
        new.model_platform = "nope"
    elif what == "no-platform":
        new.model_platform = ""
    else:
        changed = model_config("kept", models / "half_plus_two")
        changed.model_platform = "nope"
        wanted = [changed]
    error = refusal(lambda: dynamic.reload(wanted))
    assert error.code() == INVALID and phrase in error.details()
    assert answer(dynamic, "kept") == 3.0
    assert dynamic.statuses("new") == {}


@pytest.mark.parametrize("version", [case("H11", P1, 99)])
def test_a_label_to_what_is_not_loaded(
    dynamic: Server, add: Add, models: Path, version: int
) -> None:
    add(model_config("labelled", models / "versions", "all {}"))
    dynamic.wait("labelled", 123)
    bad = model_config("labelled", models / "versions", "all {}", {"new": version})
    error = refusal(lambda: dynamic.reload([bad]))
    assert error.code() == PRECONDITION
    assert "not currently available for inference" in error.details()
    assert set(dynamic.statuses("labelled")) == {123, 124}
    assert answer(dynamic, "labelled") == 3.0


@pytest.mark.parametrize("label", [case("H10,H13,H14", P1, "stable")])
def test_labels_move_and_vanish(dynamic: Server, add: Add, models: Path, label: str) -> None:
    def labelled(**labels: int) -> Any:
        return model_config("moving", models / "versions", "all {}", labels)

    add(labelled())
    for version in (123, 124):
        dynamic.wait("moving", version)
    for version in (123, 124, 123):
        add(labelled(**{label: version, "other": 124}))
        spec = dynamic.predict("moving", {"x": [2.0]}, label=label).model_spec
        assert spec.version.value == version and spec.name == "moving"
    add(labelled(other=124))
    error = refusal(lambda: answer(dynamic, "moving", label=label))
    assert error.code() == INVALID and "Unrecognized servable version label" in error.details()
    assert answer(dynamic, "moving", label="other") == 3.0


FAILING = {
    "nothing": ([], "empty"),
    "relative": (["--model_base_path=models/m"], "absolute path or URI"),
    "unparsable": (
        ["--model_config_file={folder}/bad"],
        "Error parsing text-format tensorflow.serving.ModelServerConfig",
    ),
    "labels": (["--model_config_file={folder}/labels"], "not currently available for inference"),
}


@pytest.fixture(scope="module")
def failing(
    launcher: Launcher, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Any]]:
    """Servers that cannot start, all started at once."""
    folder = tmp_path_factory.mktemp("failing")
    (folder / "bad").write_text("model_config_list: [")
    labelled = model_config("m", models / "versions", "all {}", {"a": 123})
    write_config(folder / "labels", [labelled])
    started = {
        name: launcher.spawn(
            f"--port={free_port()}", *[flag.format(folder=folder) for flag in flags]
        )
        for name, (flags, _) in FAILING.items()
    }
    yield started
    for process, _ in started.values():
        process.kill()


@pytest.mark.parametrize("name", [
    case("H15-nothing", P1, "nothing"), case("H15-relative", P1, "relative"),
    case("H01", P1, "unparsable"), case("H12-refused", P1, "labels"),
])  # fmt: skip
def test_starts_that_fail(failing: dict[str, Any], name: str) -> None:
    process, log = failing[name]
    assert process.wait(60) not in (0, None)
    assert FAILING[name][1] in log.read_text()


@pytest.mark.embedded
@pytest.mark.parametrize("seconds", [case("H17", P1, 20.0)])
def test_a_missing_base_path_blocks_nobody(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, seconds: float
) -> None:
    started = time.monotonic()
    missing = model_config("missing", tmp_path / "missing")
    error = refusal(lambda: add(missing, timeout=seconds))
    assert time.monotonic() - started < seconds
    assert error.code() != grpc.StatusCode.OK
    dynamic.reload([model_config("next", models / "half_plus_two")])
    assert answer(dynamic, "next") == 3.0


@pytest.mark.stock
@pytest.mark.parametrize("phrase", [case("H16", P1, "No request-logger-creator provided")])
def test_logging_config_at_the_start(
    launcher: Launcher, models: Path, tmp_path: Path, phrase: str
) -> None:
    config = model_config("m", models / "half_plus_two")
    config.logging_config.sampling_config.sampling_rate = 1.0
    path = write_config(tmp_path / "models.config", [config])
    process, log = launcher.spawn("--port=0", f"--model_config_file={path}")
    try:
        assert process.wait(60) != 0
    finally:
        process.kill()
    assert phrase in log.read_text()
