"""A champion that wants other columns than there are now is left out, and the run says why."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from pipeline import champion_inputs, evaluation

pytestmark = pytest.mark.tfx


@pytest.fixture
def champion(tmp_path: Path) -> str:
    """The file that says what a model takes: a number, a code, a text."""
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    saved = saved_model_pb2.SavedModel()
    signature = saved.meta_graphs.add().signature_def["serving_default"]
    kinds = {"x": types_pb2.DT_FLOAT, "code": types_pb2.DT_INT64, "cat": types_pb2.DT_STRING}
    for name, kind in kinds.items():
        signature.inputs[name].dtype = kind
    folder = tmp_path / "Format-Serving"
    folder.mkdir()
    (folder / "saved_model.pb").write_bytes(saved.SerializeToString())
    return str(folder)


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({}, ""),
        ({"fresh": "float"}, ""),
        ({"x": "string"}, "x is a number to it, and text now"),
        ({"code": "float"}, "code is a whole number to it, and a number now"),
        ({"cat": "int"}, "cat is text to it, and a whole number now"),
        ({"x": None}, "x, which it wants, is no feature any more"),
        (
            {"x": None, "cat": "int"},
            "cat is text to it, and a whole number now; x, which it wants, is no feature any more",
        ),
    ],
)
def test_what_the_champion_wants_must_be_there_as_it_was(
    changes: dict[str, Any], reason: str, champion: str
) -> None:
    columns: dict[str, Any] = {"x": "float", "code": "int", "cat": "string", **changes}
    columns = {name: kind for name, kind in columns.items() if kind}
    assert set(champion_inputs.misfit(champion, columns).split("; ")) == set(reason.split("; "))


def test_a_model_with_another_signature_is_not_judged_by_its_columns(tmp_path: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    (tmp_path / "saved_model.pb").write_bytes(saved_model_pb2.SavedModel().SerializeToString())
    assert champion_inputs.misfit(str(tmp_path), {"x": "float"}) == ""


def test_the_evaluator_leaves_it_out(
    champion: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tfx.types import standard_artifacts

    from pipeline.components import evaluator

    given: list[dict[str, Any]] = []
    monkeypatch.setattr(
        evaluator.stock.Executor, "Do", lambda self, inputs, outputs, exec_: given.append(inputs)
    )
    good = {"auc": 0.9, "log_loss": 0.3, "mean_prediction": 0.5, "mean_label": 0.5, "rows": 9.0}
    monkeypatch.setattr(evaluator, "_results", lambda uri, *, has_baseline: {"candidate": None})
    monkeypatch.setattr(evaluator, "_metrics", lambda result: {evaluation.OVERALL: good})
    monkeypatch.setattr(evaluator, "_uncertainty", lambda result: None)
    monkeypatch.setattr(evaluation, "_changes", lambda *arguments: {})
    written: list[Any] = []
    monkeypatch.setattr(
        evaluation,
        "metrics_json",
        lambda models, checks, uncertainty, notes: written.append((models, notes)) or "{}",
    )
    monkeypatch.setattr(evaluation, "judge", lambda candidate, champion, bars: [])

    def artifact(kind: Any, uri: str) -> Any:
        made = kind()
        made.uri = uri
        return made

    for name in ("candidate", "evaluated", "blessing"):
        (tmp_path / name).mkdir()
    inputs = {
        "model": [artifact(standard_artifacts.Model, str(tmp_path / "candidate"))],
        "baseline_model": [artifact(standard_artifacts.Model, str(Path(champion).parent))],
        "examples": [artifact(standard_artifacts.Examples, str(tmp_path / "examples"))],
    }
    outputs = {
        "evaluation": [artifact(standard_artifacts.ModelEvaluation, str(tmp_path / "evaluated"))],
        "blessing": [artifact(standard_artifacts.ModelBlessing, str(tmp_path / "blessing"))],
    }
    for kind in ("string", "float"):
        columns = {"x": kind, "code": "int", "cat": "string"}
        evaluator.EvaluatorExecutor().Do(
            dict(inputs), outputs, {"bars": "{}", "columns": json.dumps(columns)}
        )
    assert ["baseline_model" in one for one in given] == [False, True]
    assert [notes for _, notes in written] == [
        [
            "not compared with the champion: x is a number to it, and text now. The absolute bars "
            "alone decided"
        ],
        [],
    ]


def test_a_note_of_the_evaluation_is_a_note_of_the_run(tmp_path: Path) -> None:
    from pipeline.local import outcome
    from pipeline.local.result import RunResult

    slices = {evaluation.CANDIDATE: {evaluation.OVERALL: {"auc": 0.9}}}
    text = evaluation.metrics_json(slices, [], notes=["not compared"])
    (tmp_path / evaluation.METRICS_FILE).write_text(text)
    evaluated = SimpleNamespace(uri=str(tmp_path))
    result = RunResult("failed", "run")
    for _ in range(2):
        nodes: Any = {"Evaluator": SimpleNamespace(state=0, outputs={"evaluation": evaluated})}
        outcome._fill_evaluation(result, nodes)
    assert result.notes == ["not compared"] and result.champion_metrics == {}


def test_drift_does_not_ask_it(champion: str, bench: Any) -> None:
    from tensorflow_metadata.proto.v0 import schema_pb2

    from pipeline.drift.comparisons import PREDICTION, Comparing, Comparisons
    from pipeline.ingest.summary import Ingested, SpanRows

    config = bench.config()
    rows = pa.table({"distance": [1.0, 2.0] * 50, "label": [0, 1] * 50})
    spans = {name: SpanRows(100, 0, {}, {}) for name in ("a", "b")}
    counted = Ingested("", {"train": 100, "eval": 100}, {}, spans, {})
    comparing = Comparing(drift=config.drift, label="label", calibration_max=0.1)
    features = {"distance": config.features["distance"]}
    work = Comparisons(
        comparing,
        features,
        None,
        schema_pb2.Schema(),
        counted,
        {("train", "a"): rows, ("eval", "b"): rows},
    )
    report = work.report(champion)
    assert all(one.feature != PREDICTION for c in report.comparisons for one in c.features)
    (note,) = (note for note in report.notes if "champion" in note)
    assert note.startswith("the champion was not asked: ") and "no feature any more" in note
