"""Whether the rows evaluated on hold enough of both answers to judge a model by."""

from __future__ import annotations

import math

#: Rows of the rarer answer: with fewer than the first, figures are mostly luck (a standard error of
#: 0.05 and more of the AUC, 18 % and more of the calibration); the second are aimed at (0.03 and
#: 10 %).
FEW, ENOUGH = 30, 100
#: Share of a table that is evaluated on at most, so that there is something to learn from.
LARGEST_HOLDOUT = 0.4


def too_few(rows: int, positives: int) -> str:
    """Why so many rows cannot judge a model; `""` if they can.

    Args:
        rows: evaluated on.
        positives: of these, with answer 1.
    """
    rarer = min(positives, rows - positives)
    if rarer >= FEW:
        return ""
    answer = 1 if positives <= rows - positives else 0
    said = f"only {rarer:,} of {rows:,} rows evaluated on have the answer {answer}"
    if not rarer:
        return f"{said}, so no model can be judged"
    auc = 2 * math.sqrt((rows + 1) / (12 * rarer * (rows - rarer)))
    calibration = 2 / math.sqrt(rarer)
    return (
        f"{said}: by chance alone the AUC moves by ±{auc:.2f} and the calibration by "
        f"±{calibration:.0%}, so that bars judge luck"
    )


def spans_for(per_span: float) -> int:
    """Spans to evaluate on that hold enough.

    Args:
        per_span: rows of the rarer answer in a span, in the mean; more than 0.
    """
    return math.ceil(ENOUGH / per_span)


def spans_advice(per_span: float, evaluated: int, there: int) -> str:
    """What to set where spans are evaluated on.

    Args:
        per_span: rows of the rarer answer in a span, in the mean.
        evaluated: spans that are.
        there: spans that there are, as far as is known.
    """
    if per_span <= 0:
        return "Gather data that has both answers"
    wanted = spans_for(per_span)
    few = math.ceil(FEW / per_span)
    told = f"window.eval_spans = {wanted} (now {evaluated}) would hold about {ENOUGH} of them"
    if wanted < there:
        return told
    if few < there:
        return f"{told}; of the {there} spans here {few} would hold {FEW}, the least"
    return f"{told}, and here are {there} spans: gather more, or make spans wider"


def holdout_for(rarer: float) -> float | None:
    """Share of a table that holds enough to judge by; None if no share that may be does.

    Args:
        rarer: rows of the rarer answer in the whole table.
    """
    if rarer * LARGEST_HOLDOUT < FEW:
        return None
    return min(LARGEST_HOLDOUT, math.ceil(100 * ENOUGH / rarer) / 100)


def table_advice(rarer: float, holdout: float) -> str:
    """What to set where one table is parted; `holdout` is the share now."""
    share = holdout_for(rarer)
    if share is None or share <= holdout:
        needed = math.ceil(FEW / LARGEST_HOLDOUT)
        return (
            f"The whole table has {rarer:,.0f} of them; {needed} at least are needed: gather more "
            "rows, or take the figures as a hint"
        )
    return f"window.holdout = {share:g} (now {holdout:g}) would hold about {rarer * share:,.0f}"
