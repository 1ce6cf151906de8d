"""Columns that may be known only afterwards: asked about, the most suspicious first.

No machine can see for sure when a value was written down. What it can see: a column that is strong
alone, or with few others; one that is missing where the answer is not known, or by the answer; a
moment that follows the others; a name that speaks of an end.
"""

from __future__ import annotations

import re
from collections import defaultdict

import numpy as np
import pyarrow.compute as pc

from pipeline.starter import codes, joint, leaks
from pipeline.starter.judged import Judged
from pipeline.starter.state import State, numbers

#: Questions asked at most.
MOST = 8
#: Names that speak of what came of it.
_AFTERWARDS = frozenset(
    "outcome result resolved resolution closed closing settled settlement final finished completed "
    "completion ended arr arrival arrived arrive delivered delivery received returned refund "
    "refunded recovery recoveries collection chargeoff chargedoff writeoff payoff prepaid pymnt "
    "cancelled canceled cancellation cancel terminated termination churned left exit exited "
    "discharged discharge death deceased survived review reviewed approved rejected decision "
    "verdict after post actual elapsed response responded converted paid".split()
)
_MONEY_SO_FAR = re.compile(r"(?i)(^|_)(total|last|sum|cum)_?(rec|pay|paid|pymnt|payment|amt_paid)")
#: From this AUC alone, whether a value is there says too much.
_MISSING_AUC = 0.75
#: Share of rows in which a moment follows another.
_FOLLOWS = 0.98


def of(state: State, judged: Judged) -> list[str]:
    """A line for each column, with what makes it suspicious."""
    why: dict[str, list[tuple[float, str]]] = defaultdict(list)
    for finder in (_strong, _missing, _unlabelled, _later, _named):
        for name, weight, text in finder(state, judged):
            why[name].append((weight, text))
    ordered = sorted(why, key=lambda name: -_weight(why[name]))
    lines = [
        f"{name}: {'; '.join(text for _, text in sorted(why[name], reverse=True))}"
        for name in ordered
    ]
    return [*_jointly(state, judged), *lines][:MOST]


def _weight(reasons: list[tuple[float, str]]) -> float:
    """The strongest reason, and a little for each more."""
    return max(weight for weight, _ in reasons) + 0.1 * (len(reasons) - 1)


Found = list[tuple[str, float, str]]


def _strong(state: State, _: Judged) -> Found:
    return [
        (name, score, f"alone it has AUC {score:.3f}")
        for name, decision in state.decisions.items()
        if decision.used and (score := state.scores.get(name, 0)) >= leaks.STRONG
    ]


def _missing(state: State, judged: Judged) -> Found:
    """Columns that are there by the answer."""
    found = []
    for name, decision in state.decisions.items():
        if not decision.used or name not in judged.rows.column_names:
            continue
        absent = np.asarray(pc.is_null(judged.rows.column(name))).astype(float)
        if not 0 < absent.mean() < 1 or len(set(judged.label)) < 2:
            continue
        told = max(leaks.auc(absent, judged.label), leaks.auc(-absent, judged.label))
        if told >= _MISSING_AUC:
            shares = [absent[judged.label == answer].mean() for answer in (0, 1)]
            text = f"missing in {shares[1]:.0%} of rows with answer 1 and {shares[0]:.0%} with 0"
            found.append((name, told + 0.05, text))
    return found


def _unlabelled(state: State, judged: Judged) -> Found:
    """Columns that are missing where the answer is not known either."""
    found = []
    rows = judged.unlabelled
    for name, decision in state.decisions.items():
        if not decision.used or rows < 20 or name not in judged.unlabelled_present:
            continue
        there = judged.unlabelled_present[name] / rows
        usual = float(np.mean(np.asarray(pc.is_valid(judged.rows.column(name)))))
        if there <= 0.02 and usual >= 0.5:
            text = (
                f"missing in the {rows:,} rows whose answer is not known, there in {usual:.0%} of "
                "the others"
            )
            found.append((name, 0.95, text))
    return found


def _later(state: State, judged: Judged) -> Found:
    """Moments that follow another one."""
    moments = [n for n, d in state.decisions.items() if d.kind == "timestamp" and d.profile]
    found = []
    for end in moments:
        for start in moments:
            if start == end:
                continue
            gap = numbers(judged.rows.column(end)) - numbers(judged.rows.column(start))
            gap = gap[np.isfinite(gap)]
            if len(gap) < 20 or np.mean(gap >= 0) < _FOLLOWS or np.median(gap) <= 0:
                continue
            text = f"a moment {_duration(float(np.median(gap)))} after {start} in the median"
            found.append((end, 0.7, text))
            break
    return found


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _named(state: State, _: Judged) -> Found:
    found = []
    for name, decision in state.decisions.items():
        if not decision.used or decision.kind == "elapsed":
            continue
        if set(codes.parts(name)) & _AFTERWARDS or _MONEY_SO_FAR.search(name):
            score = state.scores.get(name, 0.5)
            found.append(
                (
                    name,
                    0.4 + score / 2,
                    f"its name speaks of what came of it (AUC {score:.3f} alone)"
                    if score > 0.55
                    else "its name speaks of what came of it",
                )
            )
    return found


def _jointly(state: State, judged: Judged) -> list[str]:
    """Columns that give the answer away together."""
    rarer = min(np.sum(judged.label == value) for value in (0, 1))
    names = [
        name
        for name, score in sorted(state.scores.items(), key=lambda item: -item[1])
        if name in judged.rows.column_names
        and name in state.decisions
        and state.decisions[name].used
    ]
    if rarer < leaks.EVIDENCE or not names:
        return []
    found = joint.together(judged.rows, judged.label, judged.held_out, names)
    best = max(state.scores[name] for name in names)
    if found is None or found.auc < leaks.SUSPECT or best >= leaks.SUSPECT:
        return []
    return [
        f"{', '.join(found.columns)}: together they have AUC {found.auc:.3f}, none alone more than "
        f"{best:.3f}: they may be the answer in parts"
    ]
