"""The matrix of faults and gates: kept as JSON, shown as a page, and never to get worse."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.audit import catalog
from pipeline.audit.fault import CONTROL, GATES, Fault
from pipeline.audit.observed import Observation, Outcome

#: Lower is better. What does not apply is no worse than anything.
_RANK: dict[Outcome, int] = {"caught": 0, "warned": 1, "escaped": 2}

_HEAD = """\
# Which gate catches what

Written by `headrace audit --write pipeline/audit/MATRIX`; `make audit` runs all of it again and
fails if anything has become worse. Each fault was sent through the real pipeline on {rows:,} rows
a span, spans {first} … {newest}, with the default configuration and its policies.

■ the gate ended the run or refused the model; □ the gate named it, and its policy let it pass.
A run ends once its outcome is known, so gates further on may not have been asked.
"""


@dataclass(frozen=True)
class Matrix:
    """What an audit saw.

    Attributes:
        spans: labels of the spans it took place on, oldest first.
        rows: sampled of each.
        observations: the control's first.
    """

    spans: tuple[str, ...]
    rows: int
    observations: tuple[Observation, ...]

    def by_name(self) -> dict[str, Observation]:
        """Observations by fault."""
        return {observation.fault: observation for observation in self.observations}

    def to_json(self) -> str:
        """JSON, a line an observation, so that a review shows what changed."""
        lines = [json.dumps(_kept(one), ensure_ascii=False) for one in self.observations]
        head = json.dumps({"spans": self.spans, "rows": self.rows})[:-1]
        return head + ', "observations": [\n' + ",\n".join(lines) + "\n]}\n"

    @classmethod
    def from_json(cls, text: str) -> Matrix:
        """The inverse of `to_json`.

        Raises:
            ValueError, KeyError, TypeError: it is something else.
        """
        values = json.loads(text)
        observed = [Observation.from_dict({"seconds": 0.0, **v}) for v in values["observations"]]
        return cls(tuple(values["spans"]), values["rows"], tuple(observed))

    def to_page(self) -> str:
        """The page: the matrix, then what was said of each, then what escapes and why."""
        seen = self.by_name()
        shown = [f for f in catalog.FAULTS.values() if f.name in seen]
        applicable = [f for f in shown if seen[f.name].outcome != "not_applicable"]
        counts = [sum(seen[f.name].outcome == o for f in applicable) for o in _RANK]
        parts = [
            _HEAD.format(rows=self.rows, first=self.spans[0], newest=self.spans[-1]),
            f"Of {len(applicable)} faults {counts[0]} were caught, {counts[1]} were named and let "
            f"pass, {counts[2]} escaped. {_control(seen[CONTROL])}\n",
            _table(applicable, seen),
            "\n## What was said\n",
            *(_told(fault, seen[fault.name]) for fault in applicable),
        ]
        if escaping := [f for f in applicable if f.escapes and seen[f.name].outcome == "escaped"]:
            parts += ["\n## What escapes on principle\n"]
            parts += [f"- **{fault.name}**: {fault.story} {fault.escapes}" for fault in escaping]
        return "\n".join(parts) + "\n"


def undeclared(observations: Sequence[Observation]) -> list[str]:
    """Faults that escaped, though some gate should have caught them."""
    return [
        one.fault
        for one in observations
        if one.fault != CONTROL
        and one.outcome == "escaped"
        and not catalog.FAULTS[one.fault].escapes
    ]


def worse(before: Matrix, now: Sequence[Observation]) -> Iterator[str]:
    """In words, every observation that is worse than it was; of faults that both have."""
    known = before.by_name()
    for one in now:
        was = known.get(one.fault)
        if was is None:
            continue
        if one.fault == CONTROL:
            if one.status != was.status:
                yield f"{CONTROL}: was {was.status}, is {one.status}: {one.said}"
        elif _rank(one) > _rank(was):
            yield f"{one.fault}: was {_who(was)}, is {_who(one)}: {one.said}"


def _rank(one: Observation) -> tuple[int, int]:
    """Lower is better: caught before named before escaped, and early before late in the flow."""
    first = min((GATES.index(gate) for gate in one.gates or one.named), default=len(GATES))
    return _RANK.get(one.outcome, -1), first


def _who(one: Observation) -> str:
    gates = one.gates or one.named
    return f"{one.outcome} by {', '.join(gates)}" if gates else one.outcome


def _kept(observation: Observation) -> dict[str, Any]:
    """What does not differ from run to run."""
    values = observation.to_dict()
    del values["seconds"]
    return values


def _control(control: Observation) -> str:
    return (
        "The control, without a fault, was pushed."
        if control.status == "pushed"
        else f"THE CONTROL WAS NOT PUSHED ({control.said}): none of this means anything."
    )


def _table(faults: Sequence[Fault], seen: Mapping[str, Observation]) -> str:
    rows = [["fault", *GATES, "escaped"], ["---", *([":-:"] * (len(GATES) + 1))]]
    for fault in faults:
        one = seen[fault.name]
        marks = ["■" if gate in one.gates else "□" if gate in one.named else "" for gate in GATES]
        rows.append([fault.name, *marks, "✘" if one.outcome == "escaped" else ""])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _told(fault: Fault, seen: Observation) -> str:
    said = re.sub(r"([|<>*_`\[\]])", r"\\\1", seen.said)
    where = ", ".join(seen.gates or seen.named)
    told = f"*{where}:* {said}" if where else "*Pushed.*"
    return f"- **{fault.name}**: {fault.story} {told}"
