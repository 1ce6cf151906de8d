"""TFX IR → `Flow`. What it does not understand counts as coming from anywhere."""

from __future__ import annotations

from typing import Any

from flow_graph import Flow, Implied, Node, Source, Test
from tfx.orchestration.local import runner_utils
from tfx.proto.orchestration import pipeline_pb2, placeholder_pb2

_OPS = {
    placeholder_pb2.ComparisonOperator.EQUAL: "==",
    placeholder_pb2.ComparisonOperator.LESS_THAN: "<",
    placeholder_pb2.ComparisonOperator.GREATER_THAN: ">",
}


def read(pipeline: pipeline_pb2.Pipeline) -> Flow:
    """The flow of a compiled pipeline."""
    deployment = runner_utils.extract_local_deployment_config(pipeline)
    nodes = [item.pipeline_node for item in pipeline.nodes]
    return {node.node_info.id: _node(node, pipeline.pipeline_info.id, deployment) for node in nodes}


def _node(node: pipeline_pb2.PipelineNode, pipeline: str, deployment: Any) -> Node:
    name = node.node_info.id
    inputs = {key: _sources(spec, pipeline) for key, spec in node.inputs.inputs.items()}
    implied: Implied = frozenset()
    for conditional in node.inputs.conditionals.values():
        implied |= _implied(conditional.placeholder_expression, inputs)
    return Node(
        name=name,
        executor=_executor(node, deployment),
        inputs=inputs,
        after=frozenset(node.upstream_nodes),
        implied=implied,
        parameters={
            key: str(getattr(value.field_value, value.field_value.WhichOneof("value") or "", ""))
            for key, value in node.parameters.parameters.items()
        },
        odd=_odd(node.execution_options),
    )


def _executor(node: pipeline_pb2.PipelineNode, deployment: Any) -> str:
    name = node.node_info.id
    if name not in deployment.executor_specs:
        kind = node.node_info.type.name
        return "resolver" if kind == "tfx.dsl.components.common.resolver.Resolver" else kind
    spec = deployment.executor_specs[name]
    part = getattr(spec, spec.WhichOneof("spec"))
    return str(getattr(part, "python_executor_spec", part).class_path)


def _odd(options: pipeline_pb2.NodeExecutionOptions) -> str:
    strategies = pipeline_pb2.NodeExecutionOptions
    if options.strategy not in (
        strategies.TRIGGER_STRATEGY_UNSPECIFIED,
        strategies.ALL_UPSTREAM_NODES_SUCCEEDED,
    ):
        return strategies.TriggerStrategy.Name(options.strategy)
    if options.HasField("skip"):
        return "skip"
    return "node_success_optional" if options.node_success_optional else ""


def _sources(spec: pipeline_pb2.InputSpec, pipeline: str) -> tuple[Source, ...]:
    if not spec.channels:
        return (Source("", "a graph, a mixture or a constant"),)
    return tuple(_source(channel, pipeline) for channel in spec.channels)


def _source(channel: pipeline_pb2.InputSpec.Channel, pipeline: str) -> Source:
    """A node's output if the query allows no other: by this run, this node and this key."""
    node = channel.producer_node_query.id
    asked = {query.type.name: query.name for query in channel.context_queries}
    this_run = (
        "pipeline_run" in asked
        and asked["pipeline_run"].runtime_parameter.name == "pipeline-run-id"
    )
    this_node = "node" in asked and asked["node"].field_value.string_value == f"{pipeline}.{node}"
    if not (node and this_run and this_node):
        return Source("", f"an earlier run's {channel.artifact_query.type.name}")
    return Source(node, channel.output_key)


def _implied(
    expression: placeholder_pb2.PlaceholderExpression, inputs: dict[str, tuple[Source, ...]]
) -> Implied:
    operator = expression.operator
    kind = operator.WhichOneof("operator_type")
    if kind == "binary_logical_op":
        logic = operator.binary_logical_op
        sides = [_implied(side, inputs) for side in (logic.lhs, logic.rhs)]
        if logic.op == placeholder_pb2.BinaryLogicalOperator.AND:
            return sides[0] | sides[1]
        return sides[0] & sides[1]
    if kind != "compare_op" or operator.compare_op.op not in _OPS:
        return frozenset()
    left, right = operator.compare_op.lhs, operator.compare_op.rhs
    number = getattr(right.value, right.value.WhichOneof("value") or "", None)
    read_property = left.operator.artifact_property_op
    if number is None or not read_property.is_custom_property:
        return frozenset()
    indexed = read_property.expression.operator.index_op
    sources = inputs.get(indexed.expression.placeholder.key, ())
    if indexed.index != 0 or len(sources) != 1:
        return frozenset()
    op = _OPS[operator.compare_op.op]
    return frozenset({Test(sources[0], read_property.key, op, float(number))})
