"""Columns that give the label away: found, taken out of the features, and told."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from pipeline.starter import leaks
from pipeline.starter.decide import Decision
from pipeline.starter.judged import Judged
from pipeline.starter.state import Leak, State, leak_type


def by_construction(state: State) -> None:
    """The columns that the label is made of."""
    for name in (state.names[column] for column in state.label.columns):
        decision = state.decisions.pop(name)
        kind = leak_type(decision.profile)
        if kind is None:
            why = "the label is made of it"
            state.decisions[name] = Decision(name, {"kind": "ignore"}, why, decision.profile)
        else:
            state.leaks.append(Leak(name, kind, "the label is made of it", suspected=False))


def by_figures(state: State, judged: Judged) -> None:
    """Scores every feature by itself; those that need no others are taken out."""
    rows = judged.rows
    for name, decision in state.decisions.items():
        if decision.kind == "elapsed":
            start, end = (rows.column(str(decision.spec[key])) for key in ("start", "end"))
            rows = rows.append_column(name, pc.subtract(end, start))
    there = set(rows.column_names)
    looked_at = [
        name
        for name, decision in state.decisions.items()
        if decision.used and decision.kind != "text" and name in there
    ]
    held_out = judged.held_out
    state.scores = leaks.scores(rows.select(looked_at), judged.label, held_out)
    if not state.scores:  # too few held out, or of one class: any third of the rows will do
        drawn = np.random.default_rng(0).random(len(judged.label)) < 0.33
        state.scores = leaks.scores(rows.select(looked_at), judged.label, drawn)
    suspects = [name for name, score in state.scores.items() if score >= leaks.SUSPECT]
    rarer = min(np.sum(judged.label == value) for value in (0, 1))
    # Every column alike, or a few rows: then it may as well be an easy question.
    if len(suspects) == len(looked_at) or rarer < leaks.EVIDENCE:
        suspects = []
    for name in suspects:
        _take_out(
            state, name, f"predicts the label alone: AUC {state.scores[name]:.3f} on held-out rows"
        )
    numbers = [n for n, d in state.decisions.items() if d.kind == "numeric"]
    answers = [leak.name for leak in state.leaks if not leak.suspected and leak.type == "float"]
    for answer in answers:
        parts = [other for other in answers if other != answer]
        for name, total in leaks.sums(judged.rows, answer, numbers, parts).items():
            if name in state.decisions:
                _take_out(state, name, f"is the sum {total}, which holds {answer}")
    for name, decision in state.decisions.items():
        if state.scores.get(name, 0) >= leaks.STRONG:
            few = " on few rows" if rarer < leaks.EVIDENCE else ""
            decision.notes.append(
                f"strong alone (AUC {state.scores[name]:.3f}{few}): see that it is known when asked"
            )


def _take_out(state: State, name: str, why: str) -> None:
    decision = state.decisions.pop(name)
    kind = leak_type(decision.profile)
    if decision.kind == "elapsed":
        state.remarks.append(f"{name} left out: it {why}")
        return
    # What is derived from it would give the label away as well.
    for other, d in list(state.decisions.items()):
        if name in (d.spec.get("start"), d.spec.get("end")):
            del state.decisions[other]
    if state.time_column == name:
        state.time_column = ""
    if decision.kind == "timestamp" or kind is None:
        state.decisions[name] = Decision(name, {"kind": "ignore"}, why, decision.profile)
    else:
        state.leaks.append(Leak(name, kind, why, suspected=True))
