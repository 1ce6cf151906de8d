"""The same edits on TFX IR and on a Vertex spec, to make pipelines that must be refused."""

from __future__ import annotations

import copy
from typing import Any

from tfx.orchestration.local import runner_utils
from tfx.proto.orchestration import pipeline_pb2, placeholder_pb2


class Ir:
    """Edits of TFX IR."""

    def __init__(self, form: pipeline_pb2.Pipeline) -> None:
        self.form = form

    def node(self, name: str) -> Any:
        (found,) = (
            n.pipeline_node for n in self.form.nodes if n.pipeline_node.node_info.id == name
        )
        return found

    def names(self) -> list[str]:
        return [n.pipeline_node.node_info.id for n in self.form.nodes]

    def unconditioned(self, *names: str) -> None:
        for name in names:
            self.node(name).inputs.conditionals.clear()

    def _expression(self, name: str) -> Any:
        (conditional,) = self.node(name).inputs.conditionals.values()
        return conditional.placeholder_expression

    def compare(self, name: str, op: str, value: int) -> None:
        comparison = self._expression(name).operator.compare_op
        # The placeholder language has no "at least".
        comparison.op = {
            "==": placeholder_pb2.ComparisonOperator.EQUAL,
            ">=": placeholder_pb2.ComparisonOperator.GREATER_THAN,
        }[op]
        comparison.rhs.value.int_value = value - (op == ">=")

    def test_property(self, name: str, key: str) -> None:
        self._expression(name).operator.compare_op.lhs.operator.artifact_property_op.key = key

    def negate(self, name: str) -> None:
        expression = self._expression(name)
        inner = copy.deepcopy(expression)
        expression.Clear()
        negation = expression.operator.unary_logical_op
        negation.op = placeholder_pb2.UnaryLogicalOperator.NOT
        negation.expression.CopyFrom(inner)

    def join(self, name: str, op: str, key: str) -> None:
        """Condition → condition `op` (key == 1)."""
        expression = self._expression(name)
        left, right = copy.deepcopy(expression), copy.deepcopy(expression)
        right.operator.compare_op.lhs.operator.artifact_property_op.key = key
        expression.Clear()
        logic = expression.operator.binary_logical_op
        logic.op = {
            "and": placeholder_pb2.BinaryLogicalOperator.AND,
            "or": placeholder_pb2.BinaryLogicalOperator.OR,
        }[op]
        logic.lhs.CopyFrom(left)
        logic.rhs.CopyFrom(right)

    def rewire(self, name: str, key: str, producer: str, output: str) -> None:
        node = self.node(name)
        (channel,) = node.inputs.inputs[key].channels
        channel.producer_node_query.id = producer
        channel.output_key = output
        for query in channel.context_queries:
            if query.type.name == "node":
                pipeline = self.form.pipeline_info.id
                query.name.field_value.string_value = f"{pipeline}.{producer}"
        if producer not in node.upstream_nodes:
            node.upstream_nodes.append(producer)

    def unwire(self, name: str, key: str) -> None:
        del self.node(name).inputs.inputs[key]

    def parameter(self, name: str, key: str, value: str) -> None:
        self.node(name).parameters.parameters[key].field_value.string_value = value

    def executor(self, name: str, path: str) -> None:
        deployment = runner_utils.extract_local_deployment_config(self.form)
        spec = deployment.executor_specs[name]
        part = getattr(spec, spec.WhichOneof("spec"))
        getattr(part, "python_executor_spec", part).class_path = path
        self.form.deployment_config.Pack(deployment)

    def copy(self, name: str, new: str) -> None:
        """A second node like this one, right after it."""
        at = self.names().index(name)
        nodes = [copy.deepcopy(node) for node in self.form.nodes]
        twin = copy.deepcopy(nodes[at])
        twin.pipeline_node.node_info.id = new
        for context in twin.pipeline_node.contexts.contexts:
            if context.type.name == "node":
                context.name.field_value.string_value = f"{self.form.pipeline_info.id}.{new}"
        del self.form.nodes[:]
        self.form.nodes.extend([*nodes[: at + 1], twin, *nodes[at + 1 :]])
        deployment = runner_utils.extract_local_deployment_config(self.form)
        if name in deployment.executor_specs:
            deployment.executor_specs[new].CopyFrom(deployment.executor_specs[name])
            self.form.deployment_config.Pack(deployment)

    def remove(self, name: str) -> None:
        nodes = [copy.deepcopy(n) for n in self.form.nodes if n.pipeline_node.node_info.id != name]
        del self.form.nodes[:]
        self.form.nodes.extend(nodes)
        for node in self.form.nodes:
            if name in node.pipeline_node.upstream_nodes:
                node.pipeline_node.upstream_nodes.remove(name)

    def hurry(self, name: str, upstream: str) -> None:
        """Lets a node start before another has ended."""
        self.node(name).upstream_nodes.remove(upstream)

    def whatever_comes(self, name: str) -> None:
        """Starts a node when its upstream nodes have ended, well or not."""
        self.node(
            name
        ).execution_options.strategy = (
            pipeline_pb2.NodeExecutionOptions.ALL_UPSTREAM_NODES_COMPLETED
        )

    def from_outside(self, name: str, key: str) -> None:
        """Takes an input from whichever run made it."""
        (channel,) = self.node(name).inputs.inputs[key].channels
        kept = [q for q in channel.context_queries if q.type.name != "pipeline_run"]
        del channel.context_queries[:]
        channel.context_queries.extend(kept)


class Spec:
    """Edits of a Vertex pipeline spec."""

    def __init__(self, form: dict[str, Any]) -> None:
        self.form = form
        self.tasks: dict[str, Any] = form["root"]["dag"]["tasks"]

    def names(self) -> list[str]:
        return list(self.tasks)

    def unconditioned(self, *names: str) -> None:
        for name in names:
            del self.tasks[name]["triggerPolicy"]

    def _condition(self, name: str, old: str, new: str) -> None:
        policy = self.tasks[name]["triggerPolicy"]
        assert old in policy["condition"]
        policy["condition"] = policy["condition"].replace(old, new)

    def compare(self, name: str, op: str, value: int) -> None:
        self._condition(name, "== 1.0", f"{op} {float(value)}")

    def test_property(self, name: str, key: str) -> None:
        self._condition(name, "'passed'", f"'{key}'")

    def negate(self, name: str) -> None:
        policy = self.tasks[name]["triggerPolicy"]
        policy["condition"] = f"!({policy['condition']})"

    def join(self, name: str, op: str, key: str) -> None:
        policy = self.tasks[name]["triggerPolicy"]
        left = policy["condition"]
        sign = {"and": "&&", "or": "||"}[op]
        policy["condition"] = f"({left} {sign} {left.replace('passed', key)})"

    def rewire(self, name: str, key: str, producer: str, output: str) -> None:
        task = self.tasks[name]
        task["inputs"]["artifacts"][key] = {
            "taskOutputArtifact": {"producerTask": producer, "outputArtifactKey": output}
        }
        if producer not in task["dependentTasks"]:
            task["dependentTasks"].append(producer)

    def unwire(self, name: str, key: str) -> None:
        del self.tasks[name]["inputs"]["artifacts"][key]

    def parameter(self, name: str, key: str, value: str) -> None:
        runtime = self.tasks[name]["inputs"]["parameters"][key]["runtimeValue"]
        if "constant" in runtime:
            runtime["constant"] = value
        else:
            runtime["constantValue"] = {"stringValue": value}

    def executor(self, name: str, path: str) -> None:
        arguments = self._executor(name)["container"]["args"]
        arguments[arguments.index("--executor_class_path") + 1] = path

    def _executor(self, name: str) -> dict[str, Any]:
        component = self.form["components"][self.tasks[name]["componentRef"]["name"]]
        executor: dict[str, Any] = self.form["deploymentSpec"]["executors"][
            component["executorLabel"]
        ]
        return executor

    def copy(self, name: str, new: str) -> None:
        self.tasks[new] = copy.deepcopy(self.tasks[name])
        self.tasks[new]["taskInfo"]["name"] = new

    def remove(self, name: str) -> None:
        del self.tasks[name]
        for task in self.tasks.values():
            if name in task.get("dependentTasks", ()):
                task["dependentTasks"].remove(name)

    def hurry(self, name: str, upstream: str) -> None:
        """Lets a task start before another has ended."""
        self.tasks[name]["dependentTasks"].remove(upstream)

    def whatever_comes(self, name: str) -> None:
        """Starts a task when those before it have ended, well or not."""
        self.tasks[name]["triggerPolicy"]["strategy"] = "ALL_UPSTREAM_TASKS_COMPLETED"

    def from_outside(self, name: str, key: str) -> None:
        """Takes an input from whoever starts the pipeline."""
        self.tasks[name]["inputs"]["artifacts"][key] = {"componentInputArtifact": key}

    def imported(self, name: str) -> None:
        """Lets a task fetch its output from a URL instead of making it."""
        executor = self._executor(name)
        executor.clear()
        executor["importer"] = {"artifactUri": {"constant": "gs://elsewhere"}}
