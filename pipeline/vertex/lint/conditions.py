"""Conditions: that they parse, refer to what is there, and mean what they mean in a local run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipeline.vertex import cel
from pipeline.vertex.lint.finding import Finding
from pipeline.vertex.lint.graph import dags, executor_of

Tree = dict[str, Any]

#: Producer, output and property.
Property = tuple[str, str, str]

#: The values that properties have in a case.
Case = Mapping[Property, float]

#: A task's own condition as the local runner evaluates it, and the properties it asks for.
Local = tuple[frozenset[Property], Callable[[Case], bool]]

_REMEDY = "The condition is compiled from `Cond` in pipeline/graph.py; compile it anew."

#: Values tried for each property: those of a gate, and one that is neither.
_TRIED = (0.0, 1.0, 2.0)


def check(job: Tree, local: Mapping[str, Local] | None) -> Iterator[Finding]:
    """All conditions of a job.

    Args:
        job: the job.
        local: condition of each node in a local run; without it meanings are not compared.
    """
    spec = job["pipelineSpec"]
    for dag in dags(spec):
        for name, task in dag.tasks.items():
            condition = task.get("triggerPolicy", {}).get("condition", "")
            found = list(_sound(name, task, condition)) if condition else []
            yield from found
            # Resolvers only look things up: TFX compiles no condition for them.
            if local is not None and not found and "resolver" not in executor_of(spec, task):
                yield from _same(name, task, condition, local.get(name))


def _sound(name: str, task: Tree, condition: str) -> Iterator[Finding]:
    try:
        cel.program(condition)
    except cel.CelError as error:
        yield Finding("condition", name, f"its condition {condition!r:.120} {error}", _REMEDY)
        return
    artifacts = task.get("inputs", {}).get("artifacts", {})
    asked = cel.properties(condition)
    for key, _ in sorted(asked):
        if key not in artifacts:
            yield Finding(
                "condition", name, f"its condition asks for input {key!r}, not given", _REMEDY
            )
            return
    given: dict[str, list[Tree]] = {key: [{"uri": "", "metadata": {}}] for key in artifacts}
    for key, name_ in asked:
        given[key][0]["metadata"][name_] = 1.0
    try:
        cel.evaluate(condition, given)
    except cel.CelError as error:
        yield Finding("condition", name, f"its condition {condition!r:.120} {error}", _REMEDY)


def _same(name: str, task: Tree, condition: str, local: Local | None) -> Iterator[Finding]:
    asked, holds = local or (frozenset(), lambda case: True)
    origin = {}
    for key, value in task.get("inputs", {}).get("artifacts", {}).items():
        produced = value.get("taskOutputArtifact", {})
        origin[key] = (produced.get("producerTask", ""), produced.get("outputArtifactKey", ""))
    there = {(*origin[key], name_) for key, name_ in cel.properties(condition)}
    every = sorted(asked | there)
    for values in itertools.product(_TRIED, repeat=len(every)):
        case = dict(zip(every, values, strict=True))
        given: dict[str, list[Tree]] = {key: [{"uri": "", "metadata": {}}] for key in origin}
        for key, produced in origin.items():
            for producer, output, property_ in every:
                if produced == (producer, output):
                    given[key][0]["metadata"][property_] = case[producer, output, property_]
        try:
            runs_there = not condition or cel.evaluate(condition, given)
        except cel.CelError as error:
            yield Finding("condition", name, f"its condition {condition!r:.120} {error}", _REMEDY)
            return
        if runs_there != holds(case):
            when = " and ".join(f"{p}.{o}'s {n} is {case[p, o, n]:g}" for p, o, n in every)
            yield Finding(
                "condition-meaning",
                name,
                f"when {when}, it {'runs' if runs_there else 'does not run'} on Vertex and "
                f"{'does not run' if runs_there else 'runs'} here",
                _REMEDY,
            )
            return


def local_conditions(pipeline: Any) -> dict[str, Local]:
    """The conditions of a TFX pipeline as the local runner evaluates them. Imports TFX."""
    from tfx.dsl.compiler import placeholder_utils
    from tfx.dsl.experimental.conditionals import conditional
    from tfx.orchestration.portable import data_types
    from tfx.types import channel_utils
    from tfx.types.channel import ChannelWrappedPlaceholder

    found: dict[str, Local] = {}
    for node in pipeline.components:
        predicates = []
        for predicate in conditional.get_predicates(node, pipeline.dsl_context_registry):
            channels = {
                f"{channel.producer_component_id} {channel.output_key}": channel
                for channel in channel_utils.get_dependent_channels(predicate)
            }
            keys = {id(channel): key for key, channel in channels.items()}
            for part in predicate.traverse():
                if isinstance(part, ChannelWrappedPlaceholder):
                    part.set_key(None)  # a compile may have left its own
            expression = channel_utils.encode_placeholder_with_channels(
                predicate, lambda channel, keys=keys: keys[id(channel)]
            )
            predicates.append((channels, expression))

        def holds(case: Case, predicates: Any = predicates) -> bool:
            for channels, expression in predicates:
                artifacts = {}
                for key, channel in channels.items():
                    artifact = channel.type()
                    for (producer, output, name), value in case.items():
                        if key == f"{producer} {output}":
                            artifact.set_int_custom_property(name, int(value))
                    artifacts[key] = [artifact]
                context = placeholder_utils.ResolutionContext(
                    exec_info=data_types.ExecutionInfo(input_dict=artifacts)
                )
                if not placeholder_utils.resolve_placeholder_expression(expression, context):
                    return False
            return True

        asked = {
            (*key.split(" "), name)
            for channels, expression in predicates
            for key in channels
            for name in _names(expression)
        }
        found[node.id] = (frozenset(asked), holds)  # type: ignore[arg-type]
    return found


def _names(expression: Any) -> set[str]:
    """Properties that a placeholder expression asks for."""
    names = set()
    waiting = [expression]
    while waiting:
        message = waiting.pop()
        for field, value in message.ListFields():
            if field.message_type is None:
                continue
            repeated = hasattr(value, "__len__") and not hasattr(value, "ListFields")
            waiting.extend(value if repeated else [value])
            if field.name == "artifact_property_op":
                names.add(str(value.key))
    return names
