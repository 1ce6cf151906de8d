"""Vertex pipeline spec (JSON) → `Flow`. What it does not understand comes from anywhere."""

from __future__ import annotations

import ast
import re
from typing import Any

from flow_graph import Flow, Implied, Node, Source, Test

_OPS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}


def read(spec: dict[str, Any]) -> Flow:
    """The flow of the root DAG."""
    tasks = spec["root"]["dag"]["tasks"]
    return {name: _node(name, task, spec) for name, task in tasks.items()}


def _node(name: str, task: dict[str, Any], spec: dict[str, Any]) -> Node:
    given = task.get("inputs", {})
    inputs = {key: (_source(value),) for key, value in given.get("artifacts", {}).items()}
    trigger = task.get("triggerPolicy", {})
    condition = trigger.get("condition", "")
    strategy = trigger.get("strategy", "ALL_UPSTREAM_TASKS_SUCCEEDED")
    return Node(
        name=name,
        executor=_executor(task, spec),
        inputs=inputs,
        # Vertex waits for the tasks named, and for the producers of inputs.
        after=frozenset(task.get("dependentTasks", ())),
        implied=_implied(_parse(condition), inputs) if condition else frozenset(),
        parameters={key: _text(value) for key, value in given.get("parameters", {}).items()},
        odd="" if strategy == "ALL_UPSTREAM_TASKS_SUCCEEDED" else strategy,
    )


def _executor(task: dict[str, Any], spec: dict[str, Any]) -> str:
    component = spec["components"][task["componentRef"]["name"]]
    if "executorLabel" not in component:
        return "a DAG of its own"
    executor = spec["deploymentSpec"]["executors"][component["executorLabel"]]
    if "container" not in executor:
        return str(next(iter(executor)))
    arguments = executor["container"]["args"]
    if "--executor_class_path" not in arguments:
        return "another program"
    return str(arguments[arguments.index("--executor_class_path") + 1])


def _source(value: dict[str, Any]) -> Source:
    output = value.get("taskOutputArtifact")
    if output is None:
        return Source("", next(iter(value), "nothing"))
    return Source(output["producerTask"], output["outputArtifactKey"])


def _text(value: dict[str, Any]) -> str:
    """A constant of spec 2.1 or 2.0."""
    runtime = value.get("runtimeValue", {})
    if "constant" in runtime:
        return str(runtime["constant"])
    return str(next(iter(runtime.get("constantValue", {"": ""}).values())))


def _parse(condition: str) -> ast.expr:
    """The CEL that TFX writes is Python but for three operators; anything else is refused later.

    The grammars agree on comparisons, calls, members, indices and on the precedence of && and ||.
    Negation binds otherwise, but implies nothing in `_implied`, whatever it is applied to.
    """
    text = condition.replace("&&", " and ").replace("||", " or ")
    try:
        return ast.parse(re.sub(r"!(?!=)", " not ", text).strip(), mode="eval").body
    except SyntaxError:
        return ast.Constant(condition)


def _implied(node: ast.expr, inputs: dict[str, tuple[Source, ...]]) -> Implied:
    if isinstance(node, ast.BoolOp):
        sides = [_implied(side, inputs) for side in node.values]
        if isinstance(node.op, ast.And):
            return frozenset().union(*sides)
        return frozenset.intersection(*sides)
    if not (isinstance(node, ast.Compare) and len(node.ops) == 1):
        return frozenset()
    # inputs.artifacts['KEY'].artifacts[0].metadata['PROPERTY'] OP NUMBER
    found = re.fullmatch(
        r"inputs\.artifacts\['([^']+)'\]\.artifacts\[0\]\.metadata\['([^']+)'\]",
        ast.unparse(node.left),
    )
    right = node.comparators[0]
    if found is None or not (isinstance(right, ast.Constant) and isinstance(right.value, float)):
        return frozenset()
    sources = inputs.get(found[1], ())
    if len(sources) != 1:
        return frozenset()
    return frozenset({Test(sources[0], found[2], _OPS[type(node.ops[0])], right.value)})
