"""What TFX IR and a Vertex spec have in common: who is run, on what, after whom, and if what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Source:
    """An output of a node in the same run; without a node: from anywhere else."""

    node: str
    output: str

    def __str__(self) -> str:
        return f"{self.node}.{self.output}" if self.node else self.output


@dataclass(frozen=True)
class Test:
    """`property of source op value`, one atom of a condition."""

    __test__ = False  # pytest: not a test

    source: Source
    key: str
    op: str
    value: float


#: Tests that all hold whenever a condition holds. A condition that says less implies none.
Implied = frozenset[Test]


@dataclass(frozen=True)
class Node:
    """A node of a compiled pipeline.

    Attributes:
        executor: dotted path of the class that is run; `resolver` for what asks ML Metadata.
        inputs: sources by key, as many as the key has channels.
        after: nodes that must have ended before.
        implied: what its conditions imply together.
        parameters: execution properties, as text.
        odd: whatever makes the runner start it otherwise than after its upstream nodes succeeded.
    """

    name: str
    executor: str
    inputs: Mapping[str, tuple[Source, ...]]
    after: frozenset[str]
    implied: Implied = frozenset()
    parameters: Mapping[str, str] = field(default_factory=dict)
    odd: str = ""

    def only(self, key: str) -> Source | None:
        """The source of an input that has exactly one."""
        sources = self.inputs.get(key, ())
        return sources[0] if len(sources) == 1 else None


Flow = Mapping[str, Node]
