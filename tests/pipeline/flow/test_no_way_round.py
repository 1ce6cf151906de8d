"""No way leads from examples to a push that goes round validation, gate, evaluation or proof.

Read from what the runners run: TFX IR and the Vertex specs. Each mutated pipeline is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.tfx

FORMS = ("ir", "spec 2.1", "spec 2.0")
GATED = ("Transform", "Trainer", "Evaluator", "InfraValidator", "Pusher", "VertexRegistrar")


def _edit(form: str, compiled: Callable[[str], Any]) -> Any:
    import flow_edit

    return (flow_edit.Ir if form == "ir" else flow_edit.Spec)(compiled(form))


def _refusals(form: str, edited: Any) -> list[str]:
    import flow_from_ir
    import flow_from_spec
    import flow_proof

    read = flow_from_ir.read if form == "ir" else flow_from_spec.read
    return flow_proof.refusals(read(edited.form))


@pytest.mark.parametrize("form", FORMS)
def test_no_way_leads_round(form: str, compiled: Callable[[str], Any]) -> None:
    assert _refusals(form, _edit(form, compiled)) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_stricter_condition_is_no_hole(form: str, compiled: Callable[[str], Any]) -> None:
    stricter = _edit(form, compiled)
    for name in ("Trainer", "Pusher"):
        stricter.join(name, "and", "fresh")
    assert _refusals(form, stricter) == []


def _second(edit: Any, name: str, *takers: tuple[str, str, str]) -> None:
    """A twin of a node, and who takes what from it instead."""
    edit.copy(name, f"{name}2")
    for taker, key, output in takers:
        edit.rewire(taker, key, f"{name}2", output)


def _second_pusher(edit: Any) -> None:
    edit.copy("Pusher", "Pusher2")
    edit.unwire("Pusher2", "model_blessing")
    edit.unwire("Pusher2", "infra_blessing")


def _each(edit: Any, method: str, *arguments: Any) -> None:
    for name in GATED:
        getattr(edit, method)(name, *arguments)


#: What is done to the pipeline → what the refusal must say.
MUTANTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no condition anywhere": (
        lambda e: e.unconditioned(*GATED),
        "round the gate: SpanExampleGen → ",
    ),
    "Transform before the gate": (
        lambda e: e.unconditioned("Transform"),
        "Transform is not under the condition that DataGate passed == 1",
    ),
    "Trainer before the gate": (
        lambda e: e.unconditioned("Trainer"),
        "Trainer is not under the condition",
    ),
    "Pusher without the gate": (
        lambda e: e.unconditioned("Pusher"),
        "round the gate: SpanExampleGen → Pusher",
    ),
    "a verdict of 0 is enough": (
        lambda e: _each(e, "compare", ">=", 0),
        "round the gate: SpanExampleGen → Pusher",
    ),
    "runs if the gate closes": (
        lambda e: e.compare("Trainer", "==", 0),
        "Trainer is not under the condition",
    ),
    "condition negated": (
        lambda e: e.negate("Evaluator"),
        "Evaluator is not under the condition",
    ),
    "or another property": (
        lambda e: e.join("Pusher", "or", "retrain"),
        "round the gate: SpanExampleGen → Pusher",
    ),
    "another property": (
        lambda e: e.test_property("Trainer", "retrain"),
        "Trainer is not under the condition",
    ),
    "another node's artifact is asked": (
        lambda e: e.rewire("Pusher", "_DataGate.verdict", "ExampleValidator", "anomalies"),
        "round the gate: SpanExampleGen → Pusher",
    ),
    "another gate's verdict is asked": (
        lambda e: _second(e, "DataGate", ("Trainer", "_DataGate.verdict", "verdict")),
        "DataGate2 is a second gate",
    ),
    "the verdict comes from outside the run": (
        lambda e: e.from_outside("Pusher", "_DataGate.verdict"),
        "not an output of this run",
    ),
    "a blessing from outside the run": (
        lambda e: e.from_outside("Pusher", "model_blessing"),
        "not an output of this run",
    ),
    "no blessing of the Evaluator": (
        lambda e: e.unwire("Pusher", "model_blessing"),
        "round the evaluator: SpanExampleGen → Pusher",
    ),
    "no blessing of the InfraValidator": (
        lambda e: e.unwire("Pusher", "infra_blessing"),
        "round the infra: SpanExampleGen → Pusher",
    ),
    "one judge's blessing for both": (
        lambda e: e.rewire("Pusher", "infra_blessing", "Evaluator", "blessing"),
        "Pusher needs no blessing of the infra",
    ),
    "the pushed model is another than was judged": (
        lambda e: _second(e, "Trainer", ("Pusher", "model", "model")),
        "judges Trainer.model, but Pusher pushes Trainer2.model",
    ),
    "only the InfraValidator sees another model": (
        lambda e: _second(e, "Trainer", ("InfraValidator", "model", "model")),
        "InfraValidator judges Trainer2.model, but Pusher pushes Trainer.model",
    ),
    "the Evaluator judges on other rows": (
        lambda e: _second(e, "SpanExampleGen", ("Evaluator", "examples", "examples")),
        "Evaluator is given other examples than DataGate saw",
    ),
    "the Evaluator judges on the training rows": (
        lambda e: e.parameter("Evaluator", "example_splits", '["train"]'),
        "Evaluator judges on other splits than eval",
    ),
    "the Trainer learns from the rows it is judged on": (
        lambda e: e.parameter("Trainer", "train_args", '{"splits": ["train", "eval"]}'),
        "Trainer trains on other splits than train",
    ),
    "the Trainer learns from rows that nobody validated": (
        lambda e: _second(e, "SpanExampleGen", ("Trainer", "examples", "examples")),
        "Trainer is given other examples than DataGate saw",
    ),
    "the vocabulary is learnt from the rows it is judged on": (
        lambda e: e.parameter("Transform", "splits_config", '{"analyze": ["train", "eval"]}'),
        "Transform learns vocabularies from other splits",
    ),
    "statistics of other rows": (
        lambda e: _second(e, "SpanExampleGen", ("StatisticsGen", "examples", "examples")),
        "StatisticsGen looks at other examples than DataGate",
    ),
    "drift of other rows": (
        lambda e: _second(e, "SpanExampleGen", ("DistributionValidator", "examples", "examples")),
        "DistributionValidator looks at other examples than DataGate",
    ),
    "anomalies against another schema": (
        lambda e: _second(e, "ImportSchemaGen", ("ExampleValidator", "schema", "schema")),
        "Trainer is given another schema than the examples were held to",
    ),
    "drift by another schema's thresholds": (
        lambda e: _second(e, "ImportSchemaGen", ("DistributionValidator", "schema", "schema")),
        "DistributionValidator looks at another schema than ExampleValidator",
    ),
    "the gate is told of another schema": (
        lambda e: _second(e, "ImportSchemaGen", ("DataGate", "schema", "schema")),
        "DataGate is told of another schema than ExampleValidator",
    ),
    "the gate sees no drift": (
        lambda e: (e.unwire("DataGate", "drift"), e.hurry("DataGate", "DistributionValidator")),
        "round the drift: SpanExampleGen → ",
    ),
    "the model learns with another schema": (
        lambda e: _second(e, "ImportSchemaGen", ("Transform", "schema", "schema")),
        "Transform is given another schema than the examples were held to",
    ),
    "the newest span is not validated": (
        lambda e: e.parameter("ExampleValidator", "exclude_splits", '["eval", "quarantine"]'),
        "ExampleValidator leaves out the eval split",
    ),
    "no statistics of the training rows": (
        lambda e: e.parameter("StatisticsGen", "exclude_splits", '["train"]'),
        "StatisticsGen leaves out the train split",
    ),
    "the gate sees no anomalies": (
        lambda e: (e.unwire("DataGate", "anomalies"), e.hurry("DataGate", "ExampleValidator")),
        "round the validator: SpanExampleGen → ",
    ),
    "no ExampleValidator": (
        lambda e: (e.unwire("DataGate", "anomalies"), e.remove("ExampleValidator")),
        "there is no validator",
    ),
    "a gate that only looks like one": (
        lambda e: e.executor("DataGate", "pipeline.components.data_gate.OpenGateExecutor"),
        "DataGate runs pipeline.components.data_gate.OpenGateExecutor",
    ),
    "TFX's Evaluator, which blesses without our bars": (
        lambda e: e.executor("Evaluator", "tfx.components.evaluator.executor.Executor"),
        "Evaluator runs tfx.components.evaluator.executor.Executor",
    ),
    "TFX's Pusher": (
        lambda e: e.executor("Pusher", "tfx.components.pusher.executor.Executor"),
        "Pusher runs tfx.components.pusher.executor.Executor",
    ),
    "a second Pusher without blessings": (
        _second_pusher,
        "round the infra: SpanExampleGen → Pusher2",
    ),
    "the Pusher runs whatever became of the judges": (
        lambda e: e.whatever_comes("Pusher"),
        "Pusher does not wait for the success of its upstream nodes",
    ),
    "the Pusher does not wait for the proof": (
        lambda e: e.hurry("Pusher", "InfraValidator"),
        "Pusher does not wait for InfraValidator",
    ),
    "registered without the gate": (
        lambda e: e.unconditioned("VertexRegistrar"),
        "VertexRegistrar is not under the condition that DataGate passed == 1",
    ),
    "registered without a push": (
        lambda e: e.rewire("VertexRegistrar", "pushed_model", "Trainer", "model"),
        "VertexRegistrar registers Trainer.model, which is no Pusher's",
    ),
    "registered before it is pushed": (
        lambda e: e.hurry("VertexRegistrar", "Pusher"),
        "VertexRegistrar does not wait for Pusher",
    ),
    "what an earlier run pushed is registered": (
        lambda e: e.from_outside("VertexRegistrar", "pushed_model"),
        "not an output of this run",
    ),
    "TFX's Pusher for Vertex": (
        lambda e: e.executor(
            "VertexRegistrar", "tfx.extensions.google_cloud_ai_platform.pusher.executor.Executor"
        ),
        "of which flow_proof.ROLES knows nothing",
    ),
    "the manifest tells another judge's metrics": (
        lambda e: _second(e, "Evaluator", ("Pusher", "evaluation", "evaluation")),
        "records the metrics of another judge",
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_mutated_pipeline_is_refused(
    mutant: str, form: str, compiled: Callable[[str], Any]
) -> None:
    change, reason = MUTANTS[mutant]
    edited = _edit(form, compiled)
    change(edited)
    reasons = _refusals(form, edited)
    assert any(reason in text for text in reasons), reasons


def test_an_old_verdict_is_no_verdict(compiled: Callable[[str], Any]) -> None:
    """A partial run of TFX's skips nodes and takes what they once made."""
    edited = _edit("ir", compiled)
    edited.node("DataGate").execution_options.skip.reuse_artifacts_mode = 1
    assert any("skip" in text for text in _refusals("ir", edited))


def test_an_imported_artifact_is_no_verdict(compiled: Callable[[str], Any]) -> None:
    edited = _edit("spec 2.1", compiled)
    edited.imported("Evaluator")
    reasons = _refusals("spec 2.1", edited)
    assert any("Evaluator runs importer" in text for text in reasons), reasons


@pytest.mark.parametrize(
    "condition",
    [
        "true",
        "passed == 1.0",
        "inputs.artifacts['examples'].artifacts[0].metadata['passed'] == 1.0",
        "inputs.artifacts['_DataGate.verdict'].artifacts[1].metadata['passed'] == 1.0",
        "inputs.artifacts['_DataGate.verdict'].artifacts[0].metadata['passed'] == '1'",
        "inputs.artifacts['_DataGate.verdict'].artifacts[0].metadata['passed'] != 0.0",
        "inputs.artifacts['_DataGate.verdict'].artifacts[0].metadata['passed'] > 0.0",
        "has(inputs.artifacts['_DataGate.verdict']) ? true : false",
    ],
)
def test_a_condition_that_says_something_else_is_refused(
    condition: str, compiled: Callable[[str], Any]
) -> None:
    edited = _edit("spec 2.1", compiled)
    edited.tasks["Pusher"]["triggerPolicy"]["condition"] = condition
    reasons = _refusals("spec 2.1", edited)
    assert any("round the gate: SpanExampleGen → Pusher" in text for text in reasons), reasons
