"""The proof: every way from examples to a push leads through validation, gate, both judges.

A node that waits for a check passes on nothing that the check has not let pass. So in a graph in
which all edges into such a node are led through its check, the check must dominate the push
(networkx's immediate dominators: every path from the examples to the push contains it). What a
check is worth depends on what it looked at, so the wiring is held to the very same examples,
statistics, schema and model on all sides.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import networkx as nx
from flow_graph import Flow, Node, Source, Test

#: What each executor is in the flow. One that is not here may do anything: it is refused until
#: somebody has looked at it and says here what part it plays.
ROLES = {
    "pipeline.components.span_example_gen.SpanExampleGenExecutor": "examples",
    "pipeline.components.reviewed_schema.ReviewedSchemaExecutor": "schema",
    "tfx.components.statistics_gen.executor.Executor": "statistics",
    "tfx.components.example_validator.executor.Executor": "validator",
    "pipeline.components.distribution_validator.DistributionValidatorExecutor": "drift",
    "pipeline.components.data_gate.DataGateExecutor": "gate",
    "tfx.components.transform.executor.Executor": "transform",
    "tfx.components.trainer.executor.GenericExecutor": "trainer",
    "resolver": "champion",
    "pipeline.components.evaluator.EvaluatorExecutor": "evaluator",
    "pipeline.components.infra_validator.InfraValidatorExecutor": "infra",
    "pipeline.components.pusher.AtomicPusherExecutor": "pusher",
    "pipeline.components.vertex_registrar.VertexRegistrarExecutor": "registrar",
}

#: Checks that must dominate a push, in their order.
CHECKS = ("validator", "drift", "gate", "evaluator", "infra")

#: The gate's input that each check before it fills.
EVIDENCE = {"validator": "anomalies", "drift": "drift"}

#: A Pusher's input, and the judge that must have filled it.
BLESSINGS = {"model_blessing": "evaluator", "infra_blessing": "infra"}


def refusals(flow: Flow) -> list[str]:
    """Every reason why a flow is not proven; none means that it is."""
    reasons = list(_unknown(flow))
    roles = {
        role: [node for node in flow.values() if ROLES.get(node.executor) == role]
        for role in ROLES.values()
    }
    for role, nodes in roles.items():
        if role in CHECKS and not nodes:
            reasons.append(f"there is no {role}")
    if not roles["pusher"]:
        reasons.append("there is no pusher")
    if reasons:
        return reasons
    gate = roles["gate"][0]
    for extra in roles["gate"][1:]:
        reasons.append(f"{extra.name} is a second gate")
    reasons += _order(flow)
    reasons += _gate_looks_at_what_it_judges(flow, gate)
    reasons += _everything_else_is_under_the_gate(flow, roles, gate)
    validator = _producer(flow, gate, "anomalies", "validator")
    schema = validator.only("schema") if validator else None
    reasons += _judges_and_training_use_the_gates_data(roles, gate, schema)
    for pusher in roles["pusher"]:
        reasons += _blessed(flow, pusher)
    for registrar in roles["registrar"]:
        reasons += _registers_what_was_pushed(flow, registrar)
    reasons += _dominated(flow, roles, gate)
    return reasons


def _unknown(flow: Flow) -> Iterator[str]:
    for node in flow.values():
        if node.executor not in ROLES:
            yield f"{node.name} runs {node.executor}, of which flow_proof.ROLES knows nothing"
        if node.odd:
            yield f"{node.name} does not wait for the success of its upstream nodes: {node.odd}"
        if ROLES.get(node.executor) != "champion":
            for key, sources in node.inputs.items():
                for source in sources:
                    if source.node not in flow:
                        yield f"{node.name}.{key} is {source}, not an output of this run"


def _order(flow: Flow) -> Iterator[str]:
    for node in flow.values():
        if ROLES[node.executor] == "champion":
            continue
        for source in {source for sources in node.inputs.values() for source in sources}:
            if source.node not in node.after:
                yield f"{node.name} does not wait for {source.node}"


def _gate_looks_at_what_it_judges(flow: Flow, gate: Node) -> Iterator[str]:
    validator = _producer(flow, gate, "anomalies", "validator")
    drift = _producer(flow, gate, "drift", "drift")
    statistics = _producer(flow, validator, "statistics", "statistics") if validator else None
    if validator is None:
        yield f"{gate.name}.anomalies does not come from ExampleValidator"
    elif statistics is None:
        yield f"{validator.name}.statistics does not come from StatisticsGen"
    if drift is None:
        yield f"{gate.name}.drift does not come from DistributionValidator"
    for node in (statistics, drift):
        if node and node.only("examples") != gate.only("examples"):
            yield f"{node.name} looks at other examples than {gate.name}"
    if drift and validator and drift.only("schema") != validator.only("schema"):
        yield f"{drift.name} looks at another schema than {validator.name}"
    if validator and gate.only("schema") != validator.only("schema"):
        yield f"{gate.name} is told of another schema than {validator.name}"
    for node in (statistics, validator):
        for split in ("train", "eval"):
            if node and split in _json(node, "exclude_splits", []):
                yield f"{node.name} leaves out the {split} split"


def _everything_else_is_under_the_gate(
    flow: Flow, roles: dict[str, list[Node]], gate: Node
) -> Iterator[str]:
    graph = nx.DiGraph(_edges(flow))
    graph.add_nodes_from(flow)
    before = nx.ancestors(graph, gate.name) | {gate.name}
    fed = set().union(*(nx.descendants(graph, node.name) for node in roles["examples"]))
    for name in sorted(fed - before):
        if not _waits_for(flow[name], gate):
            yield f"{name} is not under the condition that {gate.name} passed == 1"


def _judges_and_training_use_the_gates_data(
    roles: dict[str, list[Node]], gate: Node, schema: Source | None
) -> Iterator[str]:
    for role in ("transform", "trainer", "evaluator", "pusher"):
        for node in roles[role]:
            if node.only("examples") != gate.only("examples"):
                yield f"{node.name} is given other examples than {gate.name} saw"
            if node.only("schema") != schema:
                yield f"{node.name} is given another schema than the examples were held to"
    for node in roles["evaluator"]:
        if _json(node, "example_splits", []) != ["eval"]:
            yield f"{node.name} judges on other splits than eval"
    for node in roles["trainer"]:
        if _json(node, "train_args", {}).get("splits") != ["train"]:
            yield f"{node.name} trains on other splits than train"
    for node in roles["transform"]:
        if _json(node, "splits_config", {}).get("analyze") != ["train"]:
            yield f"{node.name} learns vocabularies from other splits than train"


def _blessed(flow: Flow, pusher: Node) -> Iterator[str]:
    model = pusher.only("model")
    if model is None or ROLES[flow[model.node].executor] != "trainer":
        yield f"{pusher.name} pushes {model}, which is no Trainer's"
    for key, role in BLESSINGS.items():
        judge = _producer(flow, pusher, key, role)
        if judge is None:
            yield f"{pusher.name} needs no blessing of the {role}"
        elif judge.only("model") != model:
            yield f"{judge.name} judges {judge.only('model')}, but {pusher.name} pushes {model}"
    evaluation, blessing = pusher.only("evaluation"), pusher.only("model_blessing")
    if evaluation and blessing and evaluation.node != blessing.node:
        yield f"{pusher.name} records the metrics of another judge than blessed the model"


def _registers_what_was_pushed(flow: Flow, registrar: Node) -> Iterator[str]:
    """A Pusher's word is all it has, so whatever dominates the push dominates it too."""
    if _producer(flow, registrar, "pushed_model", "pusher") is None:
        yield f"{registrar.name} registers {registrar.only('pushed_model')}, which is no Pusher's"


def _dominated(flow: Flow, roles: dict[str, list[Node]], gate: Node) -> Iterator[str]:
    for check in CHECKS:
        graph = _led_through(flow, roles, gate, check)
        checks = {node.name for node in roles[check]}
        for start in roles["examples"]:
            dominators = nx.immediate_dominators(graph, start.name)
            for pusher in roles["pusher"]:
                chain, at = set(), pusher.name
                while at in dominators and at not in chain and at != start.name:
                    chain.add(at)
                    at = dominators[at]
                if pusher.name in nx.descendants(graph, start.name) and not checks & chain:
                    around = graph.subgraph(set(graph) - checks)
                    way = " → ".join(nx.shortest_path(around, start.name, pusher.name))
                    yield f"a way from examples to push goes round the {check}: {way}"


def _led_through(flow: Flow, roles: dict[str, list[Node]], gate: Node, check: str) -> nx.DiGraph:
    """The edges of the flow; those into a node that waits for a check come from the check alone."""
    graph = nx.DiGraph()
    graph.add_nodes_from(flow)
    for node in flow.values():
        if check in ("gate", *EVIDENCE) and _waits_for(node, gate):
            graph.add_edge(gate.name, node.name)
            continue
        if check in EVIDENCE and node is gate:
            evidence = _producer(flow, gate, EVIDENCE[check], check)
            if evidence:
                graph.add_edge(evidence.name, gate.name)
                continue
        if node in roles["pusher"] and check in BLESSINGS.values():
            (key,) = (key for key, role in BLESSINGS.items() if role == check)
            judge = _producer(flow, node, key, check)
            if judge and judge.only("model") == node.only("model"):
                graph.add_edge(judge.name, node.name)
                continue
        graph.add_edges_from(edge for edge in _edges(flow) if edge[1] == node.name)
    return graph


def _waits_for(node: Node, gate: Node) -> bool:
    return Test(Source(gate.name, "verdict"), "passed", "==", 1.0) in node.implied


def _producer(flow: Flow, node: Node, key: str, role: str) -> Node | None:
    source = node.only(key)
    producer = flow.get(source.node) if source else None
    return producer if producer and ROLES.get(producer.executor) == role else None


def _edges(flow: Flow) -> list[tuple[str, str]]:
    return [
        (source.node, node.name)
        for node in flow.values()
        for sources in node.inputs.values()
        for source in sources
        if source.node
    ]


def _json(node: Node, parameter: str, default: object) -> object:
    text = node.parameters.get(parameter, "")
    return json.loads(text) if text else default
