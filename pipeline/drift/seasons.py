"""Which spans of a window are of the newest one's season: Decembers, Sundays, hours of a day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from pipeline.spans import PatternError, Span, SpanPattern

_DAY = 86_400


def alike(pattern: str, window: Sequence[str], newest: str) -> list[int]:
    """Positions in the window of spans of the newest one's season.

    Args:
        pattern: `data.pattern`.
        window: labels of its spans.
        newest: label of the newest span.
    """
    try:
        parsed = SpanPattern.parse(pattern)
    except PatternError:
        return []
    if parsed.format is None:
        return []
    season = _season(parsed.span(newest))
    if season is None:
        return []
    return [
        position for position, label in enumerate(window) if _season(parsed.span(label)) == season
    ]


def _season(span: Span | None) -> tuple[str, int] | None:
    """Hour of a day, day of a week, week or month of a year; None for whole years and numbers."""
    if span is None or span.start is None or span.end is None:
        return None
    start = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=span.start)
    days = (span.end - span.start) / _DAY
    if days < 1:
        return "hour", start.hour
    if days == 1:
        return "weekday", start.weekday()
    if days == 7:
        return "week", start.isocalendar().week
    return ("month", start.month) if days < 200 else None
