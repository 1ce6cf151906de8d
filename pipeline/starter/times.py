"""Moments: the time between two of them, and the one that tells when a row happened."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline import sql
from pipeline.ingest import deal
from pipeline.starter import decide
from pipeline.starter.decide import Decision
from pipeline.starter.judged import Judged
from pipeline.starter.moments import BIRTH
from pipeline.starter.names import free
from pipeline.starter.state import State, numbers

#: Rows of the rarer class on either side of the cut, at least.
_FEWEST = 10
_UNIT_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


def add_elapsed(state: State, judged: Judged) -> None:
    """Adds the time between two moments, where one follows the other and it varies."""
    moments = [n for n, d in state.decisions.items() if d.kind == "timestamp"][:6]
    added: list[Decision] = []
    for start in moments:
        for end in moments:
            if start == end or len(added) == 3:
                continue
            made = _between(state, judged, start, end)
            if made:
                added.append(made)
    for decision in added:
        state.decisions[decision.name] = decision
        state.decisions = _after(state.decisions, decision.name, str(decision.spec["end"]))


def _between(state: State, judged: Judged, start: str, end: str) -> Decision | None:
    if "-birth-" in f"-{start}-{end}-":
        return None
    a, b = (numbers(judged.rows.column(name)) for name in (start, end))
    seconds = b - a
    seconds = seconds[np.isfinite(seconds)]
    if len(seconds) < 20 or np.mean(seconds >= 0) < 0.98 or np.ptp(seconds) == 0:
        return None
    middle = float(np.median(seconds))
    if middle <= 0:
        return None
    unit = next((u for u, size in list(_UNIT_SECONDS.items())[::-1] if middle >= 2 * size), "")
    unit = unit or "seconds"
    values = seconds / _UNIT_SECONDS[unit]
    points = [float(q) for q in np.quantile(values, [0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999])]
    spec: dict[str, Any] = {"kind": "elapsed", "start": start, "end": end, "unit": unit}
    clip = decide.clip_of(points, float(values.min()), float(values.max()))
    if clip:
        spec["clip"] = clip
    name = free(f"{start}_to_{end}", {*state.names.values(), *state.decisions})
    return Decision(name, spec, f"median {points[3]:.3g} {unit}; only if {end} is known when asked")


def choose_time_column(state: State, judged: Judged) -> None:
    """The moment by which rows belong to their span, or by which a table is ordered."""
    moments = [name for name, d in state.decisions.items() if d.kind == "timestamp"]
    if not moments:
        return
    if state.source.has_spans and state.source.found[0].span.start is not None:
        inside = {name: _inside_spans(state, judged, name) for name in moments}
        best = max(inside, key=lambda name: inside[name])
        if inside[best] >= 0.98:
            state.time_column = best
            state.time_why = f"{inside[best]:.1%} of its moments lie in their file's span"
        return
    if state.source.has_spans:
        return
    fair = [name for name in moments if _parts_rows(state, judged, name)]
    ordered = [name for name in fair if _orders_rows(state, name)]
    everywhere = [
        name
        for name in fair
        if (p := state.decisions[name].profile) is not None
        and p.missing_share == 0
        and p.days > 1
        and not BIRTH.search(name)
    ]
    if ordered:
        state.time_column, why = ordered[0], "the rows are in its order"
    elif len(everywhere) == 1:
        state.time_column, why = everywhere[0], "the only moment that every row has"
    else:
        return
    state.time_why = f"{why}: the newest rows are evaluated on"


def name_sentinels(state: State, judged: Judged) -> None:
    """Tells of moments that stand for "never" or "still"."""
    for name, decision in state.decisions.items():
        found = _cut(judged, name) if decision.kind == "timestamp" else None
        if found and found.sentinels:
            told = ", ".join(
                f"{share:.1%} of the rows hold {deal.moment(time)}"
                for time, share in found.sentinels[:3]
            )
            decision.notes.append(
                f'{told}: far from all others, it stands for "never" or "still", and is taken '
                "for a moment like any other. Name it in data.csv.null_values, or leave it empty "
                "in the files, if it is to count as missing"
            )


def _cut(judged: Judged, name: str, holdout: float = 0.2) -> deal.Cut | None:
    times = numbers(judged.rows.column(name))
    values, counts = np.unique(times[np.isfinite(times)], return_counts=True)
    return deal.cut(values, counts, holdout)


def _parts_rows(state: State, judged: Judged, name: str) -> bool:
    """Whether the newest by it are about as many rows as are asked for, of both classes."""
    times = numbers(judged.rows.column(name))
    found = _cut(judged, name, state.holdout or 0.2)
    if found is None or BIRTH.search(name):
        return False
    never = sum(share for _, share in found.sentinels)
    why = found.why
    if never > deal.NEVER_SHARE:
        time, share = found.sentinels[0]
        why = (
            f'{share:.0%} of the rows hold {deal.moment(time)}, which stands for "never" or "still"'
        )
    elif found.cutoff is not None:
        new = times >= found.cutoff
        rarer = [
            int(min(np.sum(judged.label[m] == 1), np.sum(judged.label[m] == 0)))
            for m in (new, ~new)
        ]
        if min(rarer) >= _FEWEST or min(rarer) >= 0.1 * len(times):
            return True
        why = "the newest rows by it, or the others, have hardly more than one answer"
    state.remarks.append(f"{name} does not order the rows: {why}. They are not parted by it")
    return False


def _inside_spans(state: State, judged: Judged, name: str) -> float:
    times = numbers(judged.rows.column(name))
    ends = [state.source.found[at].span for at in state.sample.spans]
    low = np.array([span.start for span in ends], float)[judged.file]
    high = np.array([span.end for span in ends], float)[judged.file]
    return float(np.mean((times >= low) & (times < high))) if len(times) else 0.0


def _orders_rows(state: State, name: str) -> bool:
    profile = state.decisions[name].profile
    if profile is None or profile.missing_share > 0.01 or profile.days < 2:
        return False
    column = _typed(state, name)
    falling, all_ = state.connection.execute(
        f"SELECT count(*) FILTER (t < before), count(before) FROM (SELECT t, lag(t) OVER () AS "
        f"before FROM (SELECT {column} AS t FROM (SELECT {sql.quote(profile.name)} AS "
        f"{sql.quote(name)} FROM sample)))"
    ).fetchone() or (1, 1)
    return bool(all_) and (falling <= 0.01 * all_ or falling >= 0.99 * all_)


def _typed(state: State, name: str) -> str:
    profile = state.decisions[name].profile
    form = profile.time_format if profile else None
    return sql.typed(
        name,
        "timestamp",
        profile.type if profile else "VARCHAR",
        time_format=None if form == "auto" else form,
        numbers=state.sample.numbers(profile.name if profile else name),
    )


def _after(decisions: dict[str, Decision], name: str, other: str) -> dict[str, Decision]:
    """The same in an order in which `name` follows `other`."""
    moved = decisions.pop(name)
    ordered = {}
    for key, decision in decisions.items():
        ordered[key] = decision
        if key == other:
            ordered[name] = moved
    return ordered
