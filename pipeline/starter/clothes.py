"""Columns that are the span in other clothes: a year, a day count, a running number.

Such a column tells a span from the others and nothing of its rows. The newest span holds values
that were never learnt from, and lies further from the window than any other in each run.
"""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.starter.decide import Decision
from pipeline.starter.judged import Judged
from pipeline.starter.state import State, numbers

#: Spans, and rows of each, that a judgement takes.
_SPANS, _ROWS = 4, 5
#: Share of a span's rows that have its one value, or lie beyond all earlier ones.
_NEARLY_ALL = 0.97
#: Share of the spans of which that must hold.
_MOST = 0.8
#: Pieces into which a table without spans is cut by time.
_PIECES = 10


def take_off(state: State, judged: Judged) -> None:
    """Proposes `ignore` for such columns, and says why."""
    span = _spans(state, judged)
    if span is None:
        return
    for name, decision in list(state.decisions.items()):
        if name not in judged.rows.column_names or not decision.used:
            continue
        column = judged.rows.column(name)
        if decision.kind == "timestamp":
            if name != state.time_column and decision.spec.get("parts") and _constant(column, span):
                decision.spec["parts"] = []
                decision.notes.append(
                    "one moment in each span: no part of it tells rows apart, the time since it may"
                )
        elif why := _why(column, span, decision.kind):
            told = f"the span in other clothes: {why}"
            state.decisions[name] = Decision(name, {"kind": "ignore"}, told, decision.profile)
            state.remarks.append(
                f"{name} left out, it is {told}. The newest span would hold what was never learnt "
                "from, and be told as drift in each run. If it says how long something lasted, "
                "give both moments and let an elapsed stand for it"
            )


def _spans(state: State, judged: Judged) -> np.ndarray | None:
    """Position of each row's span in time, [rows]; None where there are too few."""
    if state.source.has_spans:
        at = judged.span
    elif state.time_column:
        times = numbers(judged.rows.column(state.time_column))
        real = np.isfinite(times)
        if not real.any():
            return None
        edges = np.unique(np.quantile(times[real], np.linspace(0, 1, _PIECES + 1)[1:-1]))
        at = np.where(real, np.searchsorted(edges, times, side="right"), 0)
    else:
        return None
    values, counts = np.unique(at, return_counts=True)
    return at if len(values) >= _SPANS and counts.min() >= _ROWS else None


def _why(column: pa.ChunkedArray, span: np.ndarray, kind: str) -> str:
    if kind in ("numeric", "elapsed"):
        values = numbers(column)
        if (values[np.isfinite(values)] == 0).all():
            return ""
        return _numbers_why(values, span)
    if kind in ("categorical", "high_cardinality"):
        texts = column.combine_chunks().cast(pa.string())
        return _one_each(_modes(texts, span))
    return ""


def _numbers_why(values: np.ndarray, span: np.ndarray) -> str:
    if why := _one_each(_modes(pa.array(values, from_pandas=True), span)):
        return why
    way = _beyond(values, span)
    if not way:
        return ""
    return f"it {way} from span to span, and hardly a value of one is in those before"


def _modes(values: pa.Array, span: np.ndarray) -> list[object] | None:
    """The one value of each span in time's order; None if a span has several."""
    found = []
    for at in np.unique(span):
        inside = values.filter(pa.array(span == at)).drop_null()
        if not len(inside):
            continue
        counted = pc.value_counts(inside)
        best = int(np.argmax(np.asarray(counted.field("counts"))))
        if counted.field("counts")[best].as_py() < _NEARLY_ALL * len(inside):
            return None
        found.append(counted.field("values")[best].as_py())
    return found if len(found) >= _SPANS else None


def _one_each(modes: list[object] | None) -> str:
    """Why one value a span says no more than the span; `""` if values come again."""
    if modes is None or len(set(modes)) < 2:
        return ""
    runs = 1 + sum(a != b for a, b in itertools.pairwise(modes))
    if runs > len(set(modes)):  # what has been comes again: a season, a holiday
        return ""
    if len(set(modes)) == 2 and not _counts(modes):
        return ""  # it was switched on, or renamed: both sides of that may be learnt from
    told = f"{_short(modes[0])} to {_short(modes[-1])}"
    if len(set(modes)) == len(modes):
        return f"one value in each span, another in the next ({told})"
    return f"one value in each span, which never comes again once it has changed ({told})"


def _counts(modes: list[object]) -> bool:
    """Whether two values are numbers as of years, not the two sides of a switch."""
    try:
        return not {float(str(mode)) for mode in modes} <= {0.0, 1.0}
    except ValueError:
        return False


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) and abs(value) < 1e15 else str(value)
    return text if len(text) <= 20 else text[:19] + "…"


def _constant(column: pa.ChunkedArray, span: np.ndarray) -> bool:
    modes = _modes(column.combine_chunks(), span)
    return modes is not None and len(set(modes)) > 1


def _beyond(values: np.ndarray, span: np.ndarray) -> str:
    """`grows` or `falls` if each span's values lie beyond those of all before; else `""`."""
    parts = [values[(span == at) & np.isfinite(values)] for at in np.unique(span)]
    parts = [part for part in parts if len(part)]
    if len(parts) < _SPANS:
        return ""
    for way, sign in (("grows", 1), ("falls", -1)):
        beyond, high = [], float(np.quantile(sign * parts[0], _NEARLY_ALL))
        for part in parts[1:]:
            beyond.append(float(np.mean(sign * part > high)) >= _NEARLY_ALL - 0.03)
            high = max(high, float(np.quantile(sign * part, _NEARLY_ALL)))
        if np.mean(beyond) >= _MOST:
            return way
    return ""
