"""What a fault is. Nothing here imports TensorFlow or TFX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from pipeline.audit.scene import Scene

#: Whatever can stop a fault, in the order of the flow. `training` is Transform or Trainer refusing.
Gate = Literal[
    "ingestion",
    "rows",
    "quarantine",
    "schema",
    "drift",
    "label",
    "prediction",
    "training",
    "evaluation",
    "proof",
    "pusher",
]
GATES: tuple[Gate, ...] = get_args(Gate)

#: The run without a fault. It must be pushed, else no refusal means anything.
CONTROL = "control"


Spoil = Callable[["Scene"], None]


class NotApplicableError(Exception):
    """The data has nothing that this fault could spoil; the message says what it would need."""


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong in reality.

    Attributes:
        name: a slug, by which it is asked for.
        story: one sentence: what happened.
        expected: the gates of which at least one should object; empty if it escapes on principle.
        escapes: why no gate can see it, and what would find it; beside `expected`, what it takes
            for them to see it.
        spoil: changes the data or the configuration; None for faults of the model.
        sabotage: what `pipeline.audit.sabotage` does in place of a plain `run_fn`; `""` for faults
            of the data.
        seed: of everything that is drawn at random.
        after_a_run: it comes between two runs in one folder, and a cache may hide it.
    """

    name: str
    story: str
    expected: tuple[Gate, ...]
    escapes: str = ""
    spoil: Spoil | None = None
    sabotage: str = ""
    seed: int = 1
    after_a_run: bool = False
