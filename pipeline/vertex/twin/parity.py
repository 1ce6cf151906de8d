"""Parity: what LocalDagRunner and the twin made of the same data, side by side. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Tree = dict[str, Any]

#: Two trainings of the same rows may differ a little, on another number of threads for example.
METRIC_TOLERANCE = 0.01

#: Sums in another order.
_STATISTIC_TOLERANCE = 1e-6

#: More differences of one kind are counted, not listed.
_SHOWN = 3


@dataclass(frozen=True)
class Row:
    """One thing compared.

    Attributes:
        what: the thing.
        local, twin: what it was on each side, shortened.
        same: whether they agree, within the tolerance where there is one.
    """

    what: str
    local: str
    twin: str
    same: bool


def compare(local: Tree, twin: Tree, metric_tolerance: float = METRIC_TOLERANCE) -> list[Row]:
    """All rows; both sides are what `evidence.collect` gives.

    A local run of what it has made before runs no node: then there is only the outcome to compare.
    """
    if not local["triggered"]:
        return [_plain(key, local, twin, key) for key in ("status", "window", "version")]
    return [
        _plain("outcome", local, twin, "status"),
        _plain("spans", local, twin, "window"),
        _plain("rows by split", local, twin, "rows"),
        _plain("quarantined by rule", local, twin, "quarantined"),
        _numbers("statistics", local["statistics"], twin["statistics"], _STATISTIC_TOLERANCE),
        _plain("anomalies", local, twin, "anomalies"),
        _numbers("drift", local["drift"], twin["drift"], _STATISTIC_TOLERANCE),
        Row(
            "data gate",
            _gate(local["verdict"]),
            _gate(twin["verdict"]),
            local["verdict"] == twin["verdict"],
        ),
        _plain("nodes that ran", local, twin, "triggered"),
        _numbers("metrics", local["metrics"], twin["metrics"], metric_tolerance),
        _plain("champion found", local, twin, "champion"),
        _numbers(
            "champion's metrics",
            local["champion_metrics"],
            twin["champion_metrics"],
            metric_tolerance,
        ),
        _plain("blessed by Evaluator", local, twin, "blessed"),
        _plain("blessed by InfraValidator", local, twin, "servable"),
        _plain("version pushed", local, twin, "version"),
    ]


def _plain(what: str, local: Tree, twin: Tree, key: str) -> Row:
    return Row(what, _text(local[key]), _text(twin[key]), local[key] == twin[key])


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = ", ".join(f"{key} {_text(item)}" for key, item in value.items())
    elif isinstance(value, list):
        value = " ".join(map(str, value))
    elif value is None:
        value = "–"
    text = str(value) or "none"
    return text if len(text) <= 60 else text[:59] + "…"


def _gate(verdict: Tree) -> str:
    if verdict["passed"] is None:
        return "–"
    state = "open" if verdict["passed"] else "closed"
    return _text(f"{state}; {len(verdict['findings'])} findings")


def _numbers(what: str, local: Tree, twin: Tree, tolerance: float) -> Row:
    """Trees of numbers (and names), compared leaf by leaf."""
    left, right = dict(_leaves(local)), dict(_leaves(twin))
    wrong = [
        key
        for key in sorted(left.keys() | right.keys())
        if not _close(left.get(key), right.get(key), tolerance)
    ]
    if wrong:
        shown = wrong[:_SHOWN]
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return Row(
            what,
            ", ".join(f"{key} {left.get(key)}" for key in shown) + more,
            ", ".join(f"{key} {right.get(key)}" for key in shown) + more,
            False,
        )
    if len(left) <= _SHOWN + 2:
        told = [", ".join(f"{k} {_number(v)}" for k, v in side.items()) for side in (left, right)]
        return Row(what, told[0] or "–", told[1] or "–", True)
    return Row(what, f"{len(left):,} numbers", f"{len(right):,} numbers", True)


def _number(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree


def _close(left: Any, right: Any, tolerance: float) -> bool:
    if isinstance(left, int | float) and isinstance(right, int | float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return math.isclose(left, right, rel_tol=tolerance, abs_tol=tolerance)
    return bool(left == right)
