"""I, J, K: versions that come and go under load, warm-up, metrics, the log of requests."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import tensorflow as tf
import tiny_models
from conftest import push
from servers import AVAILABLE, END, Server, code_of, model_config
from tensorflow_serving.apis import prediction_log_pb2

P0, P1, P2 = pytest.mark.P0, pytest.mark.P1, pytest.mark.P2
Add = Callable[..., None]


def case(name: str, priority: Any, *values: Any) -> Any:
    return pytest.param(*values, id=name, marks=priority)


def answer(server: Server, model: str, **which: Any) -> tuple[float, int]:
    response = server.predict(model, {"x": [2.0]}, **which)
    return response.outputs["y"].float_val[0], response.model_spec.version.value


def not_found(server: Server, model: str, version: int) -> bool:
    return code_of(lambda: answer(server, model, version=version)) == grpc.StatusCode.NOT_FOUND


@contextmanager
def load(server: Server, model: str, threads: int = 2) -> Iterator[list[Any]]:
    """Asks without pause, over gRPC and REST; yields the list of (value, version) or errors."""
    seen: list[Any] = []
    stop = threading.Event()

    def ask(over_rest: bool) -> None:
        while not stop.is_set():
            try:
                if over_rest:
                    body = {"instances": [2.0]}
                    response = server.rest("POST", f"/v1/models/{model}:predict", body)
                    seen.append((response.json()["predictions"][0], None))
                else:
                    seen.append(answer(server, model))
            except Exception as error:  # noqa: BLE001 - any error is what is looked for
                seen.append(error)

    with ThreadPoolExecutor(threads) as pool:
        futures = [pool.submit(ask, bool(number % 2)) for number in range(threads)]
        try:
            yield seen
        finally:
            stop.set()
    for future in futures:
        future.result()


@pytest.mark.parametrize("name", [case("I01,I02,I14", P0, "hot")])
def test_hot_swap_and_roll_back(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, name: str
) -> None:
    two, three = (models / kind / "00000123" for kind in ("half_plus_two", "half_plus_three"))
    push(two, tmp_path, 1)
    add(model_config(name, tmp_path))
    with load(dynamic, name) as seen:
        time.sleep(0.3)
        pushed = push(three, tmp_path, 2)
        dynamic.wait(name, 2)
        dynamic.wait(name, 1, END)
        time.sleep(0.3)
    assert {value for value, _ in seen} == {3.0, 4.0}
    for value, version in seen:
        assert version is None or value == {1: 3.0, 2: 4.0}[version]
    versions = [version for _, version in seen if version is not None]
    assert versions == sorted(versions)  # switches once
    assert dynamic.statuses(name)[2].state == AVAILABLE
    assert not_found(dynamic, name, 1)
    with load(dynamic, name) as seen:
        shutil.rmtree(pushed)
        dynamic.wait(name, 2, END)
    assert {value for value, _ in seen} <= {3.0, 4.0}
    assert answer(dynamic, name) == (3.0, 1)
    assert list(dynamic.statuses(name)) == [2, 1]


@pytest.mark.parametrize("names", [case("I04", P0, ["2.tmp", "tmp-2", "abc", "1e3", "4x"])])
def test_other_names_are_no_versions(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, names: list[str]
) -> None:
    source = models / "half_plus_two" / "00000123"
    push(source, tmp_path, "00000001")
    for name in names:
        shutil.copytree(source, tmp_path / name)
    add(model_config("names", tmp_path))
    time.sleep(1.5)
    assert list(dynamic.statuses("names")) == [1]


@pytest.mark.parametrize("policy, served, absent", [
    case("I05", P0, "latest { num_versions: 2 }", [2, 3], [1]),
    case("I06", P0, "all {}", [1, 2, 3], []),
    case("I07", P0, "specific { versions: 1 versions: 3 }", [1, 3], [2]),
    case("I03", P0, "", [3], [1, 2]),
    case("I03-zero", P1, "latest {}", [3], [1, 2]),
])  # fmt: skip
def test_policies(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, policy: str, served: Any, absent: Any
) -> None:
    for version in (1, 2, 3):
        push(models / "half_plus_two" / "00000123", tmp_path, version)
    add(model_config(tmp_path.name, tmp_path, policy))
    for version in served:
        dynamic.wait(tmp_path.name, version)
        assert answer(dynamic, tmp_path.name, version=version) == (3.0, version)
    assert answer(dynamic, tmp_path.name)[1] == max(served)
    assert all(not_found(dynamic, tmp_path.name, version) for version in absent)


@pytest.mark.parametrize("late", [case("I08", P1, 9)])
def test_a_specific_version_that_comes_later(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, late: int
) -> None:
    source = models / "half_plus_two" / "00000123"
    push(source, tmp_path, 1)
    add(model_config("late", tmp_path, f"specific {{ versions: 1 versions: {late} }}"))
    assert answer(dynamic, "late") == (3.0, 1)
    push(source, tmp_path, 5)
    push(source, tmp_path, late)
    dynamic.wait("late", late)
    assert list(dynamic.statuses("late")) == [late, 1]


@pytest.mark.parametrize("what", [
    case("I09-empty", P0, "empty"), case("I09-truncated", P0, "truncated"),
    case("I09-data", P0, "data"), case("I09-file", P1, "file"),
])  # fmt: skip
def test_a_broken_version_displaces_nothing(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, what: str
) -> None:
    source = models / "half_plus_two" / "00000123"
    push(source, tmp_path, 1)
    add(model_config(tmp_path.name, tmp_path))
    staging = tmp_path / "staging"
    if what == "file":
        staging.write_text("no folder")
    elif what == "empty":
        staging.mkdir()
    else:
        shutil.copytree(source, staging)
        if what == "truncated":
            graph = staging / "saved_model.pb"
            graph.write_bytes(graph.read_bytes()[:500])
        else:
            (staging / "variables" / "variables.data-00000-of-00001").unlink()
    staging.rename(tmp_path / "2")
    status = dynamic.wait(tmp_path.name, 2, END)
    assert status.status.error_code != 0 and status.status.error_message
    assert answer(dynamic, tmp_path.name) == (3.0, 1)
    assert not_found(dynamic, tmp_path.name, 2)
    rest = dynamic.rest("GET", f"/v1/models/{tmp_path.name}/versions/2").json()[
        "model_version_status"
    ][0]
    assert rest["state"] == "END" and rest["status"]["error_code"] != "OK"


@pytest.mark.parametrize("names", [case("I10", P1, ["staging", "tmp"])])
def test_a_base_path_that_loses_its_last_version(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, names: list[str]
) -> None:
    pushed = push(models / "half_plus_two" / "00000123", tmp_path, 1)
    add(model_config("lost", tmp_path))
    pushed.rename(tmp_path / names[0])
    dynamic.wait("lost", 1, END)
    assert not_found(dynamic, "lost", 1)
    (tmp_path / names[0]).rename(tmp_path / "1")
    dynamic.wait("lost", 1)
    assert answer(dynamic, "lost") == (3.0, 1)


@pytest.mark.parametrize("version", [case("I11", P1, 7)])
def test_content_changes_are_not_noticed(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, version: int
) -> None:
    pushed = push(models / "half_plus_two" / "00000123", tmp_path, version)
    add(model_config("content", tmp_path))
    shutil.rmtree(pushed / "variables")
    shutil.copytree(
        models / "half_plus_three" / "00000123" / "variables", pushed / "variables",
        copy_function=shutil.copyfile,
    )  # fmt: skip
    time.sleep(1.5)
    assert answer(dynamic, "content") == (3.0, version)


@pytest.mark.embedded
@pytest.mark.parametrize("gap", [case("I13", P1, 1.2)])
def test_a_slow_copy_becomes_available_soon(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, gap: float
) -> None:
    source = models / "half_plus_three" / "00000123"
    push(models / "half_plus_two" / "00000123", tmp_path, 1)
    add(model_config("slowly", tmp_path))
    shutil.copytree(source, tmp_path / "2", ignore=shutil.ignore_patterns("saved_model.pb"))
    time.sleep(gap)
    assert answer(dynamic, "slowly") == (3.0, 1)
    shutil.copyfile(source / "saved_model.pb", tmp_path / "2" / "saved_model.pb")
    dynamic.wait("slowly", 2, seconds=10)
    assert answer(dynamic, "slowly") == (4.0, 2)


@pytest.mark.parametrize("threads, calls", [case("K10", P2, 16, 60)])
def test_many_threads_during_a_swap(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, threads: int, calls: int
) -> None:
    push(models / "half_plus_two" / "00000123", tmp_path, 1)
    add(model_config("many", tmp_path))

    def ask(_: int) -> set[float]:
        return {answer(dynamic, "many")[0] for _ in range(calls)}

    with ThreadPoolExecutor(threads) as pool:
        results = pool.map(ask, range(threads))
        push(models / "half_plus_three" / "00000123", tmp_path, 2)
        dynamic.wait("many", 2)
        assert set().union(*results) <= {3.0, 4.0}


def predict_log(value: float = 2.0, signature: str = "", model: str = "any") -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.inputs["x"].CopyFrom(tf.make_tensor_proto([value], tf.float32))
    return log


def examples_log(kind: str, signature: str) -> Any:
    log = prediction_log_pb2.PredictionLog()
    request = getattr(log, kind).request
    if kind == "multi_inference_log":
        task = request.tasks.add(method_name="tensorflow/serving/regress")
        task.model_spec.name = "any"
        task.model_spec.signature_name = signature
    else:
        request.model_spec.signature_name = signature
    request.input.example_list.examples.append(tiny_models.example(x=2.0))
    return log


def session_log() -> Any:
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.request.feed.add(name="x")
    return log


@pytest.mark.parametrize("logs, state, code, phrase", [
    case("J01", P1, [predict_log()], AVAILABLE, 0, ""),
    case("J02", P1, [predict_log(signature="nope")], END, 9, "not found"),
    case("J03", P1, "no TFRecord", END, 15, "TFRecord format"),
    case("J04-many", P1, [predict_log()] * 1001, END, 3, "exceeds the maximum"),
    case("J04-most", P1, [predict_log()] * 1000, AVAILABLE, 0, ""),
    case("J05", P1, [b"\xff\xff\xff"], END, 3, "Failed to parse warmup record"),
    case("J06", P1, [session_log()], END, 12, "Unsupported log_type for warmup"),
    case("J06-none", P1, [prediction_log_pb2.PredictionLog()], AVAILABLE, 0, ""),
    case("J07", P1, [examples_log("classify_log", "classify_x_to_y"),
                     examples_log("regress_log", "regress_x_to_y"),
                     examples_log("multi_inference_log", "regress_x_to_y")], AVAILABLE, 0, ""),
    case("J08", P1, [], AVAILABLE, 0, ""),
])  # fmt: skip
def test_warm_up(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, logs: Any, state: int, code: int,
    phrase: str,
) -> None:  # fmt: skip
    push(models / "half_plus_two" / "00000123", tmp_path, 1)
    add(model_config(tmp_path.name, tmp_path))
    push_with_warm_up(models, tmp_path, logs)
    status = dynamic.wait(tmp_path.name, 2, state)
    assert status.status.error_code == code and phrase in status.status.error_message
    assert answer(dynamic, tmp_path.name) == (3.0, 2 if state == AVAILABLE else 1)


def push_with_warm_up(models: Path, base: Path, logs: Any) -> None:
    staging = base / "staging"
    shutil.copytree(models / "half_plus_two" / "00000123", staging)
    folder = staging / "assets.extra"
    folder.mkdir(exist_ok=True)
    path = folder / "tf_serving_warmup_requests"
    if isinstance(logs, str):
        path.write_text(logs * 100)
    else:
        with tf.io.TFRecordWriter(str(path)) as writer:
            for log in logs:
                writer.write(log if isinstance(log, bytes) else log.SerializeToString())
    staging.rename(base / "2")


@pytest.mark.parametrize("records", [case("J01-counted", P1, 3)])
def test_warm_up_is_counted(
    dynamic: Server, add: Add, models: Path, tmp_path: Path, records: int
) -> None:
    push_with_warm_up(models, tmp_path, [predict_log()] * records)
    add(model_config(tmp_path.name, tmp_path))
    dynamic.wait(tmp_path.name, 2)
    labels = f'model_path="{tmp_path}/2",status="OK"'
    read = metric(dynamic, f":tensorflow:serving:model_warmup_records_read{{{labels}}}")
    assert read == records


def metric(server: Server, line: str) -> float:
    text = server.rest("GET", "/monitoring/prometheus/metrics").text
    for found in text.splitlines():
        if found.startswith(line + " "):
            return float(found.rsplit(" ", 1)[1])
    return 0.0


@pytest.mark.parametrize("model, status", [
    case("K02-ok", P1, "default", "OK"), case("K02-missing", P1, "missing-one", "NOT_FOUND")
])  # fmt: skip
@pytest.mark.parametrize("over_rest", [True, False], ids=["rest", "grpc"])
def test_requests_are_counted(serving: Any, model: str, status: str, over_rest: bool) -> None:
    server = serving("half_plus_two")  # a server that others use too would count theirs
    name = f':tensorflow:serving:request_count{{model_name="{model}",status="{status}"}}'
    before = metric(server, name)
    if over_rest:
        server.rest("POST", f"/v1/models/{model}:predict", {"instances": [1.0]})
    else:
        assert not_found(server, model, 77) if status != "OK" else answer(server, model)
    assert metric(server, name) == before + 1


@pytest.mark.parametrize("api, entry", [
    case("K03-rest", P1, "predict", "REST"), case("K03-grpc", P1, "Predict", "GRPC")
])  # fmt: skip
def test_latencies_are_measured(serving: Any, api: str, entry: str) -> None:
    server = serving("half_plus_two")
    labels = f'model_name="default",API="{api}",entrypoint="{entry}"'
    name = f":tensorflow:serving:request_latency_count{{{labels}}}"
    before = metric(server, name)
    if entry == "REST":
        server.rest("POST", "/v1/models/default:predict", {"instances": [1.0]})
    else:
        answer(server, "default")
    assert metric(server, name) == before + 1
    bucket = f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}}'
    assert metric(server, bucket) == before + 1


@pytest.mark.parametrize("path", [case("K01", P1, "/monitoring/prometheus/metrics")])
def test_the_text_format(serving: Any, path: str) -> None:
    response = serving("half_plus_two").rest("GET", path)
    assert response.headers["content-type"].startswith("text/plain")
    assert "# TYPE :tensorflow:serving:request_count counter" in response.text
    assert serving("half_plus_two").rest("GET", f"{path}?x=1").status_code == 400


@pytest.mark.embedded
@pytest.mark.parametrize("version", [case("K12", P1, 123)])
def test_versions_are_told_apart(serving: Any, version: int) -> None:
    server = serving("m")
    labels = f'model_name="m",version="{version}",status="OK"'
    name = f":headrace:serving:version_request_count{{{labels}}}"
    before = metric(server, name)
    server.rest("POST", "/v1/models/m/labels/stable:predict", {"instances": [1.0]})
    answer(server, "m", version=version)
    assert metric(server, name) == before + 2
