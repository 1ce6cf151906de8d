"""What of a path is its span: `data.pattern` read, and texts such as `2024-W05` as periods."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass

_PLACEHOLDER = re.compile(r"\{span(?:\[(?P<width>[^\]{}]*)\])?(?::(?P<format>[^{}]*))?\}")
_DIRECTIVE = re.compile(r"%-?.")
_MONTHS = tuple(name.lower() for name in calendar.month_name[1:])
_SHORT = tuple(name[:3] for name in _MONTHS)
_TWO, _ONE_OR_TWO = r"\d{2}", r"\d{1,2}"
#: Directives as strptime names them, with their text; `%q` is the quarter, `%-m` has no zero.
_TEXTS = {
    "%Y": r"\d{4}",
    "%m": _TWO,
    "%d": _TWO,
    "%H": _TWO,
    "%-m": _ONE_OR_TWO,
    "%-d": _ONE_OR_TWO,
    "%-H": _ONE_OR_TWO,
    "%b": f"(?i:{'|'.join(_SHORT)})",
    "%B": f"(?i:{'|'.join(_MONTHS)})",
    "%q": "[1-4]",
    "%G": r"\d{4}",
    "%V": _TWO,
    "%-V": _ONE_OR_TWO,
}
#: What a directive says.
_PARTS = {
    "%Y": "year",
    "%m": "month",
    "%-m": "month",
    "%b": "month",
    "%B": "month",
    "%d": "day",
    "%-d": "day",
    "%H": "hour",
    "%-H": "hour",
    "%q": "quarter",
    "%G": "ISO year",
    "%V": "week",
    "%-V": "week",
}
#: What a format may say, by its finest part.
_WHOLE = {
    "year": {"year"},
    "quarter": {"year", "quarter"},
    "month": {"year", "month"},
    "week": {"ISO year", "week"},
    "day": {"year", "month", "day"},
    "hour": {"year", "month", "day", "hour"},
}
#: Periods, the finest first.
UNITS = ("hour", "day", "week", "month", "quarter", "year")
_EPOCH = dt.datetime(1970, 1, 1)


class PatternError(ValueError):
    """A span pattern that makes no sense; the message is the rule it breaks."""


@dataclass(frozen=True, order=True)
class Span:
    """One period of data.

    Attributes:
        ordinal: position in time; consecutive spans differ by 1.
        label: as written in the path, such as `2019-12`; `all` for data without spans.
        start: first second of the period since 1970 (inclusive), None where spans are numbers.
        end: first second after the period (exclusive), None where spans are numbers.
    """

    ordinal: int
    label: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class SpanPattern:
    """A parsed `data.pattern`: text with at most one kind of `{span}` in it, and `*`.

    Attributes:
        text: the pattern as written.
        format: how the span is written, `""` for a whole number, None without a span.
        unit: the period of one span, one of `UNITS`; `""` where spans are numbers, or none.
    """

    text: str
    format: str | None
    unit: str = ""

    @classmethod
    def parse(cls, text: str) -> SpanPattern:
        """Reads a pattern.

        Raises:
            PatternError: an unknown date directive, a repeated directive, or an absolute path.
        """
        if text.startswith("/") or "://" in text:
            raise PatternError("must be relative to data.path")
        rest = _PLACEHOLDER.sub("", text)
        if "{" in rest or "}" in rest:
            raise PatternError("has a brace that is not {span} or {span:%Y-%m}")
        found = list(_PLACEHOLDER.finditer(text))
        if not found:
            return cls(text, None)
        if len(found) > 1:
            raise PatternError("must hold one {span…}")
        form, width = found[0]["format"] or "", found[0]["width"]
        if not form:
            if width is not None:
                raise PatternError("has a width without a date; write {span[week]:%Y-%m-%d}")
            return cls(text, "")
        return cls(text, form, _width(_unit(form), width))

    def keys(self) -> set[str]:
        """Keys whose values are (part of) the span: of `year={span:%Y}` year."""
        marked = _PLACEHOLDER.sub(
            lambda match: "/".join(f"\0{part}" for part in (match["format"] or "").split("/")),
            self.text,
        )
        folders = [folder for folder in marked.split("/")[:-1] if "\0" in folder]
        return {f.replace("\0", "").partition("=")[0] for f in folders if "=" in f}

    def _pieces(self) -> list[str]:
        """The text around the placeholder."""
        return _PLACEHOLDER.sub("\0", self.text).split("\0")

    def glob(self) -> str:
        """The glob pattern that finds every file of every span."""
        wildcard = re.sub(r"[^/]+", "*", self.format or "*")  # one a folder
        return wildcard.join(re.sub(r"([?\[])", r"[\1]", piece) for piece in self._pieces())

    def regex(self) -> re.Pattern[str]:
        """Matches a relative path; group `span` is the span's text."""
        parts = [re.escape(piece).replace(r"\*", "[^/]*") for piece in self._pieces()]
        if self.format is None:
            return re.compile(parts[0])
        inside = _regex(self.format) if self.format else r"\d+"
        if "%-" in self.format:  # the 1 of 11-2-2024 is no day
            inside = rf"(?<!\d){inside}(?!\d)"
        inside = f"(?P<span>{inside})"
        return re.compile(inside.join(parts))

    def span(self, text: str) -> Span | None:
        """The span that a matched text names, or None if it is no date (such as month 13)."""
        if not self.format:
            return Span(int(text), text)
        match = re.fullmatch(_regex(self.format, named=True), text)
        try:
            start = _floor(_start(match.groupdict() if match else {}), self.unit)
            end = _step(start, self.unit)
        except (ValueError, OverflowError):
            return None
        return Span(_ordinal(start, self.unit), text, _seconds(start), _seconds(end))


def _unit(form: str) -> str:
    """The finest that a format says."""
    directives = _DIRECTIVE.findall(form)
    unknown = sorted(set(directives) - set(_TEXTS))
    if unknown:
        raise PatternError(
            f"knows %Y %m %d %H, not {' '.join(unknown)} (and %-m %-d %-H without a zero before "
            "them, %b Jan, %B January, %q a quarter, %G-W%V an ISO week)"
        )
    parts = [_PARTS[one] for one in directives]
    if len(set(parts)) != len(parts):
        raise PatternError("repeats a date directive")
    if "week" in parts and "year" in parts:
        raise PatternError("needs %G, not %Y, with %V: ISO weeks have a year of their own")
    if not {"year", "ISO year"} & set(parts):
        raise PatternError("needs %Y so that spans have an order (or {span} for numbers)")
    unit = next((unit for unit in UNITS if unit in parts), "")
    # A folder for the quarter above one for the month says nothing more.
    if not unit or not set(parts) - {"quarter"} == _WHOLE[unit] - {"quarter"}:
        raise PatternError("skips a date directive between its coarsest and its finest")
    return unit


def _width(unit: str, width: str | None) -> str:
    if width is None:
        return unit
    if width not in UNITS:
        raise PatternError(f"knows the widths {', '.join(UNITS)}, not {width!r}")
    if UNITS.index(width) < UNITS.index(unit):
        raise PatternError(f"cannot be a {width} wide: it names a {unit}")
    return width


def _regex(form: str, *, named: bool = False) -> str:
    pieces = re.split(r"(%-?.)", form)
    return "".join(
        f"(?P<{_PARTS[piece].split()[0]}>{_TEXTS[piece]})"
        if named and piece in _TEXTS
        else _TEXTS.get(piece) or re.escape(piece)
        for piece in pieces
    )


def _start(said: Mapping[str, str]) -> dt.datetime:
    """The first moment of what a text says.

    Raises:
        ValueError: there is no such date.
    """
    if "week" in said:
        year, week = int(said["ISO"]), int(said["week"])
        return dt.datetime.combine(dt.date.fromisocalendar(year, week, 1), dt.time())
    quarter = int(said.get("quarter", "1"))
    month = _month(said["month"]) if "month" in said else 3 * quarter - 2
    if "quarter" in said and (month - 1) // 3 + 1 != quarter:
        raise ValueError("a month of another quarter")
    day, hour = int(said.get("day", "1")), int(said.get("hour", "0"))
    return dt.datetime(int(said.get("year", "0")), month, day, hour)


def _floor(start: dt.datetime, unit: str) -> dt.datetime:
    """The beginning of the calendar's month, quarter or year; a week begins where it is named."""
    if unit not in _MONTHS_OF:
        return start
    return dt.datetime(start.year, start.month - (start.month - 1) % _MONTHS_OF[unit], 1)


def _month(text: str) -> int:
    return int(text) if text.isdigit() else _SHORT.index(text[:3].lower()) + 1


def _ordinal(start: dt.datetime, unit: str) -> int:
    match unit:
        case "hour":
            return start.toordinal() * 24 + start.hour
        case "day":
            return start.toordinal()
        case "week":
            return (start.toordinal() - 1) // 7  # the first day of all was a Monday
        case "month":
            return start.year * 12 + start.month - 1
        case "quarter":
            return start.year * 4 + (start.month - 1) // 3
        case _:
            return start.year


_MONTHS_OF = {"month": 1, "quarter": 3, "year": 12}


def _step(start: dt.datetime, unit: str) -> dt.datetime:
    """The same moment one period later."""
    match unit:
        case "hour":
            return start + dt.timedelta(hours=1)
        case "day":
            return start + dt.timedelta(days=1)
        case "week":
            return start + dt.timedelta(weeks=1)
    months = start.year * 12 + start.month - 1 + _MONTHS_OF[unit]
    return start.replace(year=months // 12, month=months % 12 + 1)


def _seconds(moment: dt.datetime) -> int:
    return int((moment - _EPOCH).total_seconds())
