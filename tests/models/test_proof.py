"""An exported model on a real server: the sound one is proven, each broken one is caught."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.proof.verdict import Demands, Finding, Verdict

pytestmark = [pytest.mark.tfx, pytest.mark.slow]

# The budget is wide because test machines are busy; one test narrows it.
DEMANDS = Demands(latency_requests=20, latency_p99_ms=2000, load_seconds_max=90)


def prove(model: Path, demands: Demands = DEMANDS) -> Verdict:
    from serving.proof.prove import prove

    return prove(model, demands)


def failures(verdict: Verdict) -> dict[str, str]:
    return {finding.check: finding.message for finding in verdict.findings if not finding.passed}


@pytest.fixture
def model(trained: Any, tmp_path: Path) -> Path:
    """A copy of the export, to be broken."""
    return Path(shutil.copytree(trained.model, tmp_path / "model"))


def undigested(model: Path) -> Path:
    """Without the Trainer's digests, so that the answers alone must tell."""
    (model / "assets.extra" / "headrace_training.json").unlink()
    return model


def test_a_sound_export_is_proven_on_every_surface(trained: Any) -> None:
    verdict = prove(trained.model)
    assert failures(verdict) == {}
    checks = {finding.check: finding for finding in verdict.findings}
    signatures = ("serving_default", "serve_tf_examples", "classify")
    for surface in [f"{way} {name}" for way in ("grpc", "rest") for name in signatures]:
        figures = checks[surface].figures
        assert figures["rows"] == 200
        assert figures["largest_difference"] < 1e-5
    assert checks["warm-up"].figures["requests"] == 6
    for way in ("grpc", "rest"):
        assert checks[f"latency {way}"].figures["p50_ms"] > 0
    assert checks["load"].figures["load_seconds"] > 0
    told = json.loads(verdict.to_json())
    assert told["passed"] is True
    assert {finding["check"] for finding in told["findings"]} == set(checks)


def test_the_usual_export_with_keras_3_is_caught(trained: Any, tmp_path: Path) -> None:
    """As TFX's templates write it: the server finds variables that nobody saved."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from models.preprocessing import model_inputs

    keras_model = trained.keras_model
    transformed = tft.TFTransformOutput(str(trained.graph))
    layer = keras_model.tft_layer = transformed.transform_features_layer()
    spec = {
        name: value
        for name, value in transformed.raw_feature_spec().items()
        if name not in ("label", "tip")
    }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
    def serve(examples: Any) -> Any:
        tensors = layer(tf.io.parse_example(examples, spec))
        return {"probability": tf.sigmoid(keras_model(model_inputs(tensors)))}

    export = tmp_path / "export"
    try:
        tf.saved_model.save(keras_model, str(export), signatures={"serving_default": serve})
    finally:
        del keras_model.tft_layer
    shutil.copytree(trained.model / "assets.extra", export / "assets.extra")
    undigested(export)
    verdict = prove(export)
    assert not verdict.passed
    assert "load" in failures(verdict) or "no answer" in failures(verdict)["grpc serving_default"]


def test_one_changed_weight_is_caught(trained: Any, tmp_path: Path) -> None:
    import tensorflow_transform as tft

    from models import probe, signatures
    from models.table import Transformer

    keras_model = trained.keras_model
    before = keras_model.get_weights()
    changed = [value.copy() for value in before]
    changed[-1][0] += 0.5  # the bias of the last layer
    transformer = Transformer(tft.TFTransformOutput(str(trained.graph)), trained.features)
    export = tmp_path / "export"
    keras_model.set_weights(changed)
    try:
        files = [str(trained.evaluation)]
        signatures.export(
            keras_model, transformer, trained.features, str(export), sample_files=files
        )
    finally:
        keras_model.set_weights(before)
    shutil.copy(trained.model / probe.PROBE_FILE, export / probe.PROBE_FILE)
    found = failures(prove(export))
    assert set(found) == {
        f"{way} {name}"
        for way in ("grpc", "rest")
        for name in ("serving_default", "serve_tf_examples", "classify")
    }
    assert "of 200 rows differ" in found["grpc classify"]


def test_one_flipped_bit_in_the_weights_is_caught(model: Path) -> None:
    data = next((model / "variables").glob("variables.data*"))
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    found = failures(prove(model))
    assert "variables/variables.data-00000-of-00001 was changed" in found["files"]
    assert "load" in found


def test_missing_variables_are_caught(model: Path) -> None:
    next((model / "variables").glob("variables.data*")).unlink()
    found = failures(prove(model))
    assert "variables.data-00000-of-00001 is missing" in found["files"]
    assert "cannot load" in found["load"]


def test_a_changed_line_of_a_vocabulary_is_caught(model: Path) -> None:
    vocabulary = model / "assets" / "place"
    lines = vocabulary.read_text().splitlines()
    lines[0], lines[-1] = lines[-1], lines[0]
    vocabulary.write_text("\n".join(lines) + "\n")
    assert "assets/place was changed" in failures(prove(model))["files"]
    found = failures(prove(undigested(model)))
    assert "differ" in found["grpc serving_default"]
    assert "differ" in found["rest serve_tf_examples"]


def test_a_signature_with_a_wrong_type_is_caught(model: Path) -> None:
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    path = model / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    signature = saved.meta_graphs[0].signature_def["serving_default"]
    signature.inputs["fare"].dtype = types_pb2.DT_DOUBLE
    path.write_bytes(saved.SerializeToString())
    found = failures(prove(undigested(model)))
    assert "'fare' of serving_default is DT_DOUBLE, and should be DT_FLOAT" in found["signatures"]


def test_a_model_slower_than_the_budget_is_caught(trained: Any) -> None:
    found = failures(prove(trained.model, Demands(latency_p99_ms=0.01, latency_requests=20)))
    assert set(found) == {"latency grpc", "latency rest"}
    assert "the budget is 0.01 ms" in found["latency grpc"]


def test_a_model_larger_than_allowed_is_caught(trained: Any) -> None:
    assert "at most 0.001 MB" in _of(trained.model, Demands(size_mb_max=0.001))["size"].message


def test_operations_that_run_python_are_caught(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.f = tf.function(
        lambda x: tf.py_function(lambda v: v, [x], tf.float32),
        input_signature=[tf.TensorSpec([None], tf.float32)],
    )
    tf.saved_model.save(module, str(tmp_path / "m"), signatures=module.f)
    assert "EagerPyFunc" in _of(tmp_path / "m", DEMANDS)["operations"].message


def _of(model: Path, demands: Demands) -> dict[str, Finding]:
    """What can be said without a server."""
    from serving.proof import files

    return {finding.check: finding for finding in files.check(model, demands)}


def test_missing_warm_up_requests_and_a_missing_probe_are_caught(model: Path) -> None:
    (model / "assets.extra" / "tf_serving_warmup_requests").unlink()
    assert "is missing" in failures(prove(undigested(model)))["warm-up"]
    (model / "assets.extra" / "headrace_probe").unlink()
    assert "no answers of its own" in failures(prove(model))["probe"]


def _script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)
    return str(path)


def test_a_server_that_never_comes_up_is_caught(trained: Any, tmp_path: Path) -> None:
    server = _script(tmp_path / "sleeps", "echo still thinking; exec sleep 60")
    found = failures(prove(trained.model, Demands(server=server, load_seconds_max=2)))
    assert found["load"].startswith("not available after 2 s (state: no answer)")
    assert "still thinking" in found["load"]


def test_a_server_that_dies_is_caught_with_its_last_words(trained: Any, tmp_path: Path) -> None:
    server = _script(tmp_path / "dies", "echo no such flag; exit 7")
    found = failures(prove(trained.model, Demands(server=server)))
    assert "exit code 7" in found["load"]
    assert "no such flag" in found["load"]


def test_a_server_that_is_not_there_is_named(trained: Any) -> None:
    found = failures(prove(trained.model, Demands(server="/nowhere/tensorflow_model_server")))
    assert "/nowhere/tensorflow_model_server cannot be started" in found["load"]
