"""Whether a champion may be judged on the rows of a run: it must not have been trained on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ADVICE = (
    "It is judged by its bars alone, and compared again from the next run on. To deal rows the "
    "same way for good, name the columns that say which row it is in data.row_key."
)


@dataclass(frozen=True)
class Comparison:
    """What becomes of the comparison with the champion.

    Attributes:
        made: whether the two are compared.
        note: what a person should know; `""` where all is well.
    """

    made: bool
    note: str = ""


def comparison(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Comparison:
    """Whether the champion can have been trained on rows that are evaluated on now.

    Args:
        then: how rows were parted when it was trained, as `pipeline.ingest.deal.record` says it;
            None if nobody wrote it down.
        now: the same of this run.
    """
    if now.get("by") in (None, "spans"):
        return _of_spans(then, now)
    why = _dealt_anew(then, now)
    if not why:
        return Comparison(made=True)
    return Comparison(
        made=False,
        note="the candidate was not compared with the champion, which may have been trained on "
        f"rows that it would be judged on: {why}. {_ADVICE}",
    )


def _of_spans(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Comparison:
    if then and then.get("by") not in (None, "spans"):
        return Comparison(
            made=False,
            note="the candidate was not compared with the champion: it was trained on rows of a "
            "table without spans, and which of them are in these spans is not known",
        )
    seen = [span for span in now.get("eval", ()) if span in (then or {}).get("train", ())]
    if not seen:
        return Comparison(made=True)
    return Comparison(
        made=True,
        note=f"the champion was trained on {_listed(seen)}, on which both are judged here: its "
        "figures are better than they would be on rows that it has not seen",
    )


def _dealt_anew(then: Mapping[str, Any] | None, now: Mapping[str, Any]) -> str:
    """Why rows evaluated on now may have been trained on then; `""` if they were not."""
    if not then or "by" not in then:
        return "how its rows were dealt is not known"
    if then["by"] != now["by"] or then.get("column") != now.get("column"):
        return f"rows were dealt by {_method(then)} then, and are by {_method(now)} now"
    if now["by"] == "time":
        if now["cutoff"] < then["cutoff"]:
            return "rows are evaluated on from an earlier moment on than then"
        return ""
    if then["columns"] != now["columns"]:
        changes = [
            *(f"{name} came" for name in now["columns"] if name not in then["columns"]),
            *(f"{name} went" for name in then["columns"] if name not in now["columns"]),
        ]
        return f"the columns that rows are dealt by have changed ({_listed(changes)})"
    if now["share"] > then["share"]:
        return f"window.holdout was {then['share']:g}, and is {now['share']:g}"
    return ""


def _method(record: Mapping[str, Any]) -> str:
    named = {"time": record.get("column"), "rows": "what they hold"}
    return str(named.get(record["by"], record["by"]))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(names[:5]) + more
