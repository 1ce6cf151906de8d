"""The local runner, for one fault: its Trainer may do what the fault says, and it ends in time.

`create_pipeline` is what it always is, and every gate is the real one. Two things differ from a
run as users make it. A fault of the model alters one parameter of the Trainer in the compiled
pipeline, as somebody would who edits what is deployed. And the run ends as soon as its outcome is
known: a gate that was to catch the fault has named it, or Evaluator or InfraValidator, the one that
was to catch it first, has refused the model. Until that happens all of it runs, to the push.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tfx.proto.orchestration import pipeline_pb2

from pipeline.audit import observed
from pipeline.audit.fault import GATES, Fault
from pipeline.local import outcome
from pipeline.local.result import RunResult
from pipeline.local.runner import Progress, ProgressRunner

_RUN_FN = "pipeline.audit.sabotage.run_fn"
#: Nodes after which an outcome may be known.
_EVALUATOR, _PROOF = "Evaluator", "InfraValidator"
_JUDGES = ("DataGate", _EVALUATOR, _PROOF)
#: The gates that look at the model; the others have spoken when the first of these begins.
_OF_MODELS = GATES[GATES.index("training") :]


class Decided(BaseException):
    """The outcome of a run is known: no error, and nobody but the audit may catch it.

    Attributes:
        result: what the run came to so far.
    """

    def __init__(self, result: RunResult) -> None:
        self.result = result
        super().__init__(result.run_id)


class AuditRunner(ProgressRunner):
    """Runs a pipeline with a fault.

    Args:
        fault: that was or is to be made.
        metadata: path of ML Metadata's database.
        run_id: of the run.
        progress: is told of nodes.
        settings: of a fault of the model: what `pipeline.audit.sabotage.run_fn` finds in its
            `custom_config` besides.
    """

    def __init__(
        self,
        fault: Fault,
        metadata: str,
        run_id: str,
        progress: Progress,
        settings: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(run_id, progress)
        self._fault, self._metadata, self._settings = fault, metadata, settings

    def run_with_ir(self, pipeline: pipeline_pb2.Pipeline, run_options: Any = None) -> None:
        """See base class.

        Raises:
            Decided: the outcome is known, and the nodes that are left were not started.
        """
        del run_options
        nodes = [item.pipeline_node for item in pipeline.nodes]
        if self._settings is not None:
            _sabotage(nodes, self._settings)
        launch = self.launcher(pipeline)
        for node in self._ordered(nodes):
            launch(node)
            if node.node_info.id in _JUDGES:
                self._judge()

    def _ordered(self, nodes: Sequence[Any]) -> list[Any]:
        """The judge that is to catch the fault comes before the other."""
        expected = self._fault.expected
        last = _EVALUATOR if "proof" in expected and "evaluation" not in expected else _PROOF
        judges = [node for node in nodes if node.node_info.id in (_EVALUATOR, _PROOF)]
        judges.sort(key=lambda node: node.node_info.id == last)
        rest = [node for node in nodes if node not in judges]
        after = next(i for i, node in enumerate(rest) if node.node_info.id == "Trainer") + 1
        return [*rest[:after], *judges, *rest[after:]]

    def _judge(self) -> None:
        result = RunResult("not_blessed", self._run_id)
        outcome.fill(result, outcome.connect(self._metadata), ())
        if result.status == "blocked":  # what is left is skipped at no cost, and tells so
            return
        result.status, result.message = "not_blessed", ""
        seen = observed.of_result(self._fault.name, result, 0.0)
        expected = set(self._fault.expected)
        named = expected.intersection(seen.named) and not expected.intersection(_OF_MODELS)
        if seen.gates or named:
            raise Decided(result)


def _sabotage(nodes: Sequence[Any], settings: dict[str, Any]) -> None:
    (trainer,) = (node for node in nodes if node.node_info.id == "Trainer")
    parameters = trainer.parameters.parameters
    parameters["run_fn"].field_value.string_value = _RUN_FN
    custom = parameters["custom_config"].field_value
    custom.string_value = json.dumps({**json.loads(custom.string_value), **settings})
