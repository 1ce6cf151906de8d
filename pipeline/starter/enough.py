"""How much to evaluate on, so that there is enough of the rarer answer to judge a model by."""

from __future__ import annotations

import numpy as np

from pipeline import spans
from pipeline.ingest import evidence
from pipeline.starter import layout
from pipeline.starter.judged import Judged
from pipeline.starter.state import State

#: A table of fewer rows is evaluated on a larger part.
_SMALL, _SMALL_SHARE, _SHARE = 1000, 0.3, 0.2


def begin(state: State) -> None:
    """What can be said before labels are known."""
    if not state.source.has_spans and state.sample.rows < _SMALL:
        state.holdout = _SMALL_SHARE
        state.holdout_why = "a small table: enough rows to judge a model by"


def choose(state: State, judged: Judged) -> None:
    """Sets `window.eval_spans` or `window.holdout`; says what would do where none does."""
    rate = min(float(judged.label.mean()), 1 - float(judged.label.mean()))
    rows = _rows(state) * len(judged.label) / max(1, state.sample.rows)
    if state.source.has_spans:
        _choose_spans(state, rate, rows / len(state.source.found))
    else:
        _choose_share(state, rate * rows)


def _rows(state: State) -> float:
    """In all files, as far as is known."""
    sample = state.sample
    if sample.total is not None:
        return sample.total * sample.every / len(sample.files)
    return sample.rows * len(state.source.found) / max(1, len(set(sample.spans)))


def _choose_spans(state: State, rate: float, per_span: float) -> None:
    there = len(state.source.found)
    sizes = layout.window_sizes(state.source, state.sample)
    rarer = rate * per_span
    now = sizes["eval_spans"]
    wanted = min(evidence.spans_for(rarer), there // 4) if rarer else now
    if wanted > now:
        state.eval_spans = wanted
        state.holdout_why = f"about {rarer * wanted:,.0f} rows of the rarer answer ({rate:.1%})"
        sizes |= {"eval_spans": wanted}
        state.window = spans.choose_window(state.source.found, newest=None, gap="skip", **sizes)
        state.judged = None  # it was of another window
    chosen = max(now, wanted)
    if rarer * chosen < evidence.FEW:
        rows = per_span * chosen
        state.remarks.append(
            f"{evidence.too_few(round(rows), round(rarer * chosen))}. "
            f"{evidence.spans_advice(rarer, chosen, there)}"
        )


def _choose_share(state: State, rarer: float) -> None:
    now = state.holdout or _SHARE
    share = evidence.holdout_for(rarer)
    if rarer * now < evidence.FEW and share is not None and share > now:
        state.holdout = now = share
        state.holdout_why = f"about {rarer * share:,.0f} rows of the rarer answer"
    if rarer * now < evidence.FEW:
        total = _rows(state) * now
        state.remarks.append(
            f"{evidence.too_few(round(total), round(rarer * now))}. "
            f"{evidence.table_advice(rarer, now)}"
        )


def told(judged: Judged) -> str:
    """What the rows that are evaluated on, as they turned out, lack; `""` if nothing."""
    held = judged.label[judged.held_out]
    return evidence.too_few(len(held), int(np.sum(held)))
