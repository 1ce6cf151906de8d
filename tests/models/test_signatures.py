"""The exported model, loaded as TensorFlow Serving does: a v1 Session in another process."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.tfx, pytest.mark.slow]

# Only TensorFlow: what the graph needs of Keras, Transform or us would be missing here.
SESSION = """
import pickle, sys
import tensorflow as tf
model, requests, answers = sys.argv[1:]
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    meta = tf.compat.v1.saved_model.load(session, ["serve"], model)
    def run(name, feed):
        signature = meta.signature_def[name]
        defaults = {n: tf.make_ndarray(v) for n, v in signature.defaults.items()}
        values = {**defaults, **feed}
        outputs = {n: t.name for n, t in signature.outputs.items()}
        return session.run(outputs, {signature.inputs[n].name: v for n, v in values.items()})
    with open(requests, "rb") as file:
        results = [run(name, feed) for name, feed in pickle.load(file)]
    methods = {name: d.method_name for name, d in meta.signature_def.items()}
with open(answers, "wb") as file:
    pickle.dump((results, methods), file)
assert not {"keras", "tensorflow_transform", "models"} & set(sys.modules)
"""

Answers = tuple[list[dict[str, Any]], dict[str, str]]


def columns(trained: Any) -> dict[str, list[Any]]:
    from models.config import raw_columns
    from models.preprocessing import MISSING

    return {
        name: [MISSING[kind] if row.get(name) is None else row[name] for row in trained.rows]
        for name, kind in raw_columns(trained.features).items()
    }


@pytest.fixture(scope="module")
def examples(trained: Any, to_example: Callable[..., bytes]) -> list[bytes]:
    return [to_example(row) for row in trained.rows]


@pytest.fixture(scope="module")
def probabilities(trained: Any) -> Any:
    """The Keras model's own answers to the evaluation rows."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from models.config import raw_columns
    from models.preprocessing import DTYPES, model_inputs
    from models.table import Transformer

    transformer = Transformer(tft.TFTransformOutput(str(trained.graph)), trained.features)
    kinds = raw_columns(trained.features)
    raw = {name: tf.constant(v, DTYPES[kinds[name]]) for name, v in columns(trained).items()}
    logits = trained.keras_model(model_inputs(transformer(raw)), training=False)
    return tf.sigmoid(logits).numpy()[:, 0]


@pytest.fixture(scope="module")
def session(
    trained: Any, examples: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> Answers:
    raw = columns(trained)
    requests = [
        ("serving_default", raw),
        ("serve_tf_examples", {"examples": examples}),
        ("classify", {"inputs": examples}),
        ("transform_features", {"examples": examples}),
        ("serving_default", {"fare": raw["fare"]}),  # the other columns are left out
        ("serve_tf_examples", {"examples": examples[:1]}),
        ("serving_default", {name: values[:1] for name, values in raw.items()}),
    ]
    folder = tmp_path_factory.mktemp("session")
    (folder / "requests").write_bytes(pickle.dumps(requests))
    command = [sys.executable, "-c", SESSION, trained.model, folder / "requests", folder / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers: Answers = pickle.loads((folder / "out").read_bytes())
    return answers


def test_every_signature_answers_as_keras_does(session: Answers, probabilities: Any) -> None:
    raw, serialized, classified, transformed = session[0][:4]
    for answer in (raw, serialized):
        assert answer["probability"] == pytest.approx(probabilities, abs=1e-6)
        assert answer["label"].tolist() == (answer["probability"] >= 0.5).tolist()
        assert answer["probability"].dtype == np.float32 and answer["label"].dtype == np.int64
    assert classified["scores"][:, 1] == pytest.approx(probabilities, abs=1e-6)
    assert classified["scores"].sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert (classified["classes"] == [b"0", b"1"]).all()
    assert {name: len(tensor) for name, tensor in transformed.items()} == {
        "numeric": 200, "categorical": 200, "note_tokens": 200
    }  # fmt: skip


def test_methods_are_those_the_server_dispatches_on(session: Answers) -> None:
    methods = session[1]
    assert methods["classify"] == "tensorflow/serving/classify"
    for name in ("serving_default", "serve_tf_examples", "transform_features"):
        assert methods[name] == "tensorflow/serving/predict"


def test_left_out_columns_count_as_missing(
    trained: Any, session: Answers, to_example: Callable[..., bytes]
) -> None:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(trained.model))
    only_fare = tf.constant([to_example({"fare": row["fare"]}) for row in trained.rows])
    expected = loaded.signatures["serve_tf_examples"](examples=only_fare)
    answer = session[0][4]["probability"]
    assert answer == pytest.approx(expected["probability"].numpy(), abs=1e-6)
    assert len(set(answer.tolist())) > 10


def test_one_row_alone_gets_the_answer_it_gets_in_a_batch(
    session: Answers, probabilities: Any
) -> None:
    for answer in session[0][5:]:
        assert answer["probability"] == pytest.approx(probabilities[:1], abs=1e-6)


def test_absurd_values_still_get_a_probability(trained: Any) -> None:
    import tensorflow as tf

    from models.config import raw_columns
    from models.preprocessing import DTYPES

    loaded = tf.saved_model.load(str(trained.model))
    kinds = raw_columns(trained.features)
    raw = {
        name: tf.constant(values[:1], DTYPES[kinds[name]])
        for name, values in columns(trained).items()
    }
    big = tf.constant([2**63 - 1], tf.int64)
    raw |= {"fare": tf.constant([np.inf, -np.inf, np.nan, 3e38]), "start": big, "end": -big}
    answer = loaded.signatures["serving_default"](**raw)["probability"].numpy()
    assert np.isfinite(answer).all() and answer.shape == (4,)


def test_warm_up_requests_of_each_kind(trained: Any) -> None:
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    path = trained.model / "assets.extra/tf_serving_warmup_requests"
    logs = [
        prediction_log_pb2.PredictionLog.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]
    loaded = tf.saved_model.load(str(trained.model))
    seen = []
    for log in logs:
        if log.HasField("predict_log"):
            request = log.predict_log.request
            inputs = {name: tf.constant(tf.make_ndarray(v)) for name, v in request.inputs.items()}
        else:
            request = log.classify_log.request
            batch = request.input.example_list.examples
            assert not any("tip" in example.features.feature for example in batch)
            inputs = {"inputs": tf.constant([e.SerializeToString() for e in batch])}
        name = request.model_spec.signature_name
        answer = loaded.signatures[name](**inputs)
        seen.append((name, len(next(iter(answer.values())))))
    names = ("serving_default", "serve_tf_examples", "classify")
    assert seen == [(name, rows) for rows in (1, 32) for name in names]
