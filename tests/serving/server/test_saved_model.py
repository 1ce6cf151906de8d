"""Loads that must fail, warm-up, and what an unloaded version leaves behind."""

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tiny_models import example, tensor

from serving.server import saved_model
from serving.server.errors import Code, ServingError
from serving.server.saved_model import LoadedModel
from serving.server.warmup import WARMUP_FILE, warm_up


def refused(call: Callable[[], object]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


@pytest.fixture
def model(tiny: Path, tmp_path: Path) -> Path:
    """A copy to break."""
    return Path(shutil.copytree(tiny / "half_plus_two" / "1", tmp_path / "1"))


def load(path: Path, **options: object) -> LoadedModel:
    return saved_model.load("m", 1, str(path), **options)  # type: ignore[arg-type]


def no_graph(path: Path) -> None:
    (path / "saved_model.pb").unlink()


def cut_graph(path: Path) -> None:
    graph = path / "saved_model.pb"
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size // 2])


def no_variables(path: Path) -> None:
    shutil.rmtree(path / "variables")


def no_data(path: Path) -> None:
    (path / "variables" / "variables.data-00000-of-00001").unlink()


def cut_data(path: Path) -> None:
    (path / "variables" / "variables.data-00000-of-00001").write_bytes(b"")


@pytest.mark.parametrize("damage", [no_graph, cut_graph, no_variables, no_data, cut_data])
@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_tf2"])
def test_incomplete_version_does_not_load(
    tiny: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    copy = Path(shutil.copytree(tiny / name / "1", tmp_path / "1"))
    damage(copy)
    error = refused(lambda: load(copy))
    assert error.code is not Code.OK
    assert error.message


def test_missing_graph_is_named(model: Path) -> None:
    no_graph(model)
    error = refused(lambda: load(model))
    assert (error.code, str(model) in error.message) == (Code.NOT_FOUND, True)


def test_other_tags_are_not_found(model: Path) -> None:
    options = saved_model.SessionOptions(tags=("nobody",))
    error = refused(lambda: load(model, options=options))
    assert error.code is Code.NOT_FOUND
    assert "matching supplied tags" in error.message


def test_many_threads_share_a_model(model: Path) -> None:
    loaded = load(model)
    wrong = []

    def ask(value: float) -> None:
        for _ in range(200):
            y = loaded.run("serving_default", {"x": np.array([[value]], np.float32)})["y"]
            if y.tolist() != [[value / 2 + 2]]:
                wrong.append(y)

    threads = [threading.Thread(target=ask, args=(float(n),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    loaded.close()
    assert wrong == []


def write_warmup(model: Path, records: list[bytes]) -> None:
    path = model / WARMUP_FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def predict_log(signature: str = "", name: str = "anything") -> bytes:
    log = prediction_log_pb2.PredictionLog()
    request = log.predict_log.request
    request.model_spec.name, request.model_spec.signature_name = name, signature
    request.inputs["x"].CopyFrom(tensor([2.0]))
    return log.SerializeToString()


def all_kinds() -> list[bytes]:
    classify, regress = prediction_log_pb2.PredictionLog(), prediction_log_pb2.PredictionLog()
    classify.classify_log.request.model_spec.signature_name = "classify_x_to_y"
    classify.classify_log.request.input.example_list.examples.append(example(x=2.0))
    regress.regress_log.request.model_spec.signature_name = "regress_x_to_y"
    regress.regress_log.request.input.example_list.examples.append(example(x=2.0))
    multi = prediction_log_pb2.PredictionLog()
    task = multi.multi_inference_log.request.tasks.add(method_name="tensorflow/serving/regress")
    task.model_spec.name, task.model_spec.signature_name = "m", "regress_x_to_y"
    multi.multi_inference_log.request.input.example_list.examples.append(example(x=2.0))
    return [predict_log(), *(log.SerializeToString() for log in (classify, regress, multi))]


def test_every_kind_of_request_warms_up(model: Path) -> None:
    write_warmup(model, [*all_kinds(), b""])
    said: list[tuple[str, str, int, float]] = []
    assert warm_up(load(model), 2, lambda *what: said.append(what)) == 5
    assert [what[:3] for what in said] == [(str(model), "OK", 5)]


def test_model_without_requests_is_fine(model: Path) -> None:
    assert warm_up(load(model)) == 0


def test_a_thousand_requests_are_the_limit(model: Path) -> None:
    write_warmup(model, [predict_log()] * 1000)
    assert warm_up(load(model)) == 1000
    write_warmup(model, [predict_log()] * 1001)
    error = refused(lambda: warm_up(load(model)))
    assert error.code is Code.INVALID_ARGUMENT
    assert "exceeds the maximum (1000)" in error.message


def session_run_log() -> bytes:
    log = prediction_log_pb2.PredictionLog()
    log.session_run_log.SetInParent()
    return log.SerializeToString()


@pytest.mark.parametrize(
    "record, code, text",
    [
        (b"\xff\xff", Code.INVALID_ARGUMENT, "Failed to parse warmup record"),
        (session_run_log(), Code.UNIMPLEMENTED, "Unsupported log_type for warmup"),
        (predict_log("foo"), Code.FAILED_PRECONDITION, 'Serving signature key "foo" not found.'),
    ],
)
def test_bad_request_fails_the_load(model: Path, record: bytes, code: Code, text: str) -> None:
    write_warmup(model, [predict_log(), record])
    said: list[tuple[str, str, int, float]] = []
    error = refused(lambda: warm_up(load(model), 1, lambda *what: said.append(what)))
    assert (error.code, text in error.message) == (code, True)
    assert said[0][1:3] == (code.name, 1)


def test_file_of_another_format_fails_the_load(model: Path) -> None:
    path = model / WARMUP_FILE
    path.parent.mkdir()
    path.write_text("this is text, and long enough to hold a header of a record\n" * 3)
    error = refused(lambda: warm_up(load(model)))
    assert error.code is Code.DATA_LOSS
    assert "Please verify your warmup data is in TFRecord format" in error.message


def test_short_runs_leave_the_pool_and_long_ones_return_to_it() -> None:
    pace = saved_model._Pace()
    assert not pace.is_short  # nothing is known yet
    pace.took(0.3)  # the first run also prepares the graph
    for _ in range(40):
        pace.took(0.0004)
    assert pace.is_short
    for _ in range(3):
        pace.took(1.0)
    assert not pace.is_short


def test_answers_are_the_same_in_either_thread(tiny: Path) -> None:
    folder = tiny / "half_plus_two" / "1"
    (name,) = load(folder).signatures["serving_default"].inputs
    for options in (saved_model.SessionOptions(), saved_model.SessionOptions(inter_op_threads=2)):
        model = load(folder, options=options)
        for _ in range(60):  # by the last ones the pace is known
            answer = model.run("serving_default", {name: np.array([3.0], np.float32)})
        assert [value.tolist() for value in answer.values()] == [[3.5]]
        with pytest.raises(ServingError):  # an operation's own error comes through
            model.run("serving_default", {name: np.array(["x"], object)})
