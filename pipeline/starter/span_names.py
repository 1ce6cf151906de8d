"""Which text in the names of files is their span: a date of some width, a number, or none."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from pipeline import spans
from pipeline.errors import DataError, shorten
from pipeline.span_pattern import UNITS
from pipeline.starter import codes, dates

#: Numbers that count the pieces of one table, not periods.
_SHARDS = re.compile(r"(?i)(part|shard|chunk|split|block|piece)s?[-_.]?\d+|-of-\d+")
#: The beginning of a date that goes on differently.
_BEGUN = r"(?:19|20)\d{2}(?:[-_.]\d{0,2})*"
#: Spans are consecutive if this share of the steps between them is one; weekends may lack.
_MOSTLY = 0.5
#: What may stand between the two dates of a range.
_TO = re.compile(r"[-_. ]*(?:to|bis|until|-)?[-_. ]*", re.IGNORECASE)
_WIDTH_DAYS = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "quarter": (90, 92)}


@dataclass(frozen=True)
class Named:
    """A pattern that takes a part of each name for its span.

    Attributes:
        pattern: `data.pattern`.
        found: spans, oldest first.
        why: how it came about, for a person.
        notes: what a person should know of it.
    """

    pattern: str
    found: list[spans.SpanFiles]
    why: str
    notes: tuple[str, ...] = ()


#: Words of a Hive key whose numbers follow one another: `batch=3` is a span, `store=3` is a store.
_COUNTED = frozenset(
    "span batch run snapshot version seq sequence period load export epoch dump delivery day week "
    "month quarter year date time hour ds dt".split()
)


def find(base: str, names: Sequence[str]) -> Named | None:
    """The pattern by which names tell spans that follow each other; None if they do not.

    Args:
        base: the folder.
        names: of the data's files, relative to it.
    """
    loose: Named | None = None
    for shape in (*dates.SHAPES, dates.YEAR):
        if shape is dates.YEAR and loose is not None:
            break  # the year of a date is not its span
        for matches in dates.chosen(names, shape):
            made = _dated(base, names, matches)
            if made is None:
                continue
            steady = _steady(made.found)
            if shape in dates.BARE_QUARTERS and (steady < 1 or len(made.found) < 5):
                continue
            if steady >= _MOSTLY:
                return made
            loose = loose or made
    if loose is not None:
        steps = len(loose.found) - 1
        gaps = round((1 - _steady(loose.found)) * steps)
        unit = spans.SpanPattern.parse(loose.pattern).unit
        note = (
            f"spans are a {unit} wide and {gaps} of {steps} steps between them skip some: no width "
            'fits the names. They count one by one (window.gap = "skip")'
        )
        return replace(loose, notes=(*loose.notes, note))
    if any(_SHARDS.search(name) for name in names):
        return None
    return _numbered(base, names)


def not_spans(names: Sequence[str]) -> tuple[str, ...]:
    """A note, where names hold years that were not taken for spans."""
    years = [dates.ANY_YEAR.search(name) for name in names]
    if len(names) < 2 or not all(years) or len({year[0] for year in years if year}) < 2:
        return ()
    return (
        f"names hold years, such as {shorten(names[0])}, but nothing that is one period a file: "
        "taken for one table. If they are periods, write data.pattern by hand, with {span:…}",
    )


def _dated(base: str, names: Sequence[str], matches: Sequence[re.Match[str]]) -> Named | None:
    form = dates.form_of(matches)
    years = [int(match.groupdict().get("Y") or match["G"]) for match in matches]
    if form is None or not dates.plausible(years):
        return None
    ends = _ends(names, matches)
    tails = [match.end() for match in ends or matches]
    made = _made(base, names, [match.start() for match in matches], tails, form, bool(ends))
    if made is None:
        return None
    pattern, found, others = made
    widths = list(UNITS[UNITS.index(spans.SpanPattern.parse(pattern).unit) :])
    notes: list[str] = []
    width = _width_of_ranges(matches, ends) if ends else _fitting(pattern, found, widths)
    if ends and width is None:
        notes.append("the names say from when to when, but no width fits: they count one by one")
    if width and width != widths[0]:
        wide = pattern.replace("{span:", f"{{span[{width}]:")
        again = _discovered(base, wide)
        if again is not None and len(again) == len(found):
            pattern, found = wide, again
    told = f"the date in the names is the span: {len(found)}, {_ends_told(found)}"
    if "[" in pattern.partition("}")[0]:
        told += f", a {width} each"
    if others:
        told += f"; the pattern finds {others} more file(s) than were named"
    notes += _ambiguous(matches)
    return Named(pattern, found, told, tuple(notes))


def _ends_told(found: Sequence[spans.SpanFiles]) -> str:
    return f"{found[0].span.label} to {found[-1].span.label}"


def _ambiguous(matches: Sequence[re.Match[str]]) -> list[str]:
    """A note where day and month might as well be the other way round."""
    first = matches[0]
    if not {"m", "d", "Y"} <= set(first.re.groupindex) or first.start("Y") < first.start("m"):
        return []
    if any(int(match["d"]) > 12 for match in matches) or first.start("d") > first.start("m"):
        return []
    return [f"{first[0]!r} in the names is taken for day, month, year; no name tells for sure"]


def _made(
    base: str,
    names: Sequence[str],
    starts: Sequence[int],
    ends: Sequence[int],
    form: str,
    is_range: bool,
) -> tuple[str, list[spans.SpanFiles], int] | None:
    """Pattern, spans, and by how many files it finds more than were named; None if it does not."""
    try:
        before = wildcard([name[:start] for name, start in zip(names, starts, strict=True)])
        after = wildcard([name[end:] for name, end in zip(names, ends, strict=True)])
    except DataError:
        return None
    placeholder = f"{{span:{form}}}" if form else "{span}"
    pattern = f"{before}{placeholder}{'_*' if is_range else ''}{after}"
    if is_range:
        pattern = pattern.replace("}_*", "}*")
    found = _discovered(base, pattern)
    if found is None or len(found) < 2:
        return None
    others = sum(len(item.paths) for item in found) - len(names)
    return None if others < 0 or (others and not form) else (pattern, found, others)


def _discovered(base: str, pattern: str) -> list[spans.SpanFiles] | None:
    try:
        return spans.discover(base or "/", spans.SpanPattern.parse(pattern))
    except (spans.PatternError, DataError):
        return None


def _steady(found: Sequence[spans.SpanFiles]) -> float:
    """Share of steps from span to span that skip none."""
    steps = [b.span.ordinal - a.span.ordinal for a, b in itertools.pairwise(found)]
    return sum(step == 1 for step in steps) / max(1, len(steps))


def _fitting(pattern: str, found: list[spans.SpanFiles], widths: Sequence[str]) -> str | None:
    """The narrowest width by which spans follow each other, one a period; None: the pattern's."""
    if _steady(found) >= _MOSTLY or len(found) < 3:
        return None
    for width in widths[1:]:
        parsed = spans.SpanPattern.parse(pattern.replace("{span:", f"{{span[{width}]:"))
        again = [parsed.span(item.span.label) for item in found]
        ordinals = [span.ordinal for span in again if span is not None]
        steps = [b - a for a, b in itertools.pairwise(ordinals)]
        if len(ordinals) == len(found) and min(steps) > 0:
            if sum(step == 1 for step in steps) >= 0.8 * len(steps):
                return width
        else:
            return None
    return None


def _ends(names: Sequence[str], matches: Sequence[re.Match[str]]) -> list[re.Match[str]] | None:
    """The second dates, where names say from when to when."""
    ends = []
    for name, match in zip(names, matches, strict=True):
        gap = _TO.match(name, match.end())
        end = match.re.match(name, gap.end()) if gap and gap.end() > match.end() else None
        if end is None:
            return None
        first, last = _day(match), _day(end)
        if first is None or last is None or last < first:
            return None
        ends.append(end)
    return ends


def _day(match: re.Match[str]) -> int | None:
    """Days since the year 1 of what a match says; None if it says no day."""
    form = dates.form_of([match])
    if form is None or "d" not in match.re.groupindex:
        return None
    span = spans.SpanPattern.parse(f"{{span:{form}}}").span(match[0])
    return None if span is None or span.start is None else span.start // 86_400


def _width_of_ranges(matches: Sequence[re.Match[str]], ends: Sequence[re.Match[str]]) -> str | None:
    """The width of (almost) all ranges, whether they name their last day or the one after it."""
    firsts = [_day(match) or 0 for match in matches]
    lasts = [_day(match) or 0 for match in ends]
    for width, (least, most) in _WIDTH_DAYS.items():
        for extra in (1, 0):
            days = [last - first + extra for first, last in zip(firsts, lasts, strict=True)]
            # The newest may be half over.
            if sum(least <= count <= most for count in days) >= max(1, 0.8 * len(days)):
                return width
    return None


def _numbered(base: str, names: Sequence[str]) -> Named | None:
    """A number's last occurrence counts (`v2_batch_17.csv`)."""
    found = [list(re.finditer(r"\d+", name)) for name in names]
    if not all(found):
        return None
    last = [matches[-1] for matches in found]
    if any(_is_of_a_thing(match) for match in last):
        return None
    made = _made(base, names, [m.start() for m in last], [m.end() for m in last], "", False)
    if made is None:
        return None
    if _steady(made[1]) < _MOSTLY and all(dates.ANY_YEAR.search(name) for name in names):
        return None  # codes that look like years, or numbers beside a year
    told = f"the number in the names is the span: {len(made[1])}, {_ends_told(made[1])}"
    return Named(made[0], made[1], told)


def _is_of_a_thing(number: re.Match[str]) -> bool:
    """Whether a number stands in the value of a Hive key that counts nothing."""
    before, after = number.string[: number.start()], number.string[number.end() :]
    key, equals, _ = before.rpartition("/")[2].partition("=")
    return bool(equals) and "/" in after and not set(codes.parts(key)) & _COUNTED


def wildcard(texts: Iterable[str]) -> str:
    """The narrowest pattern with one `*` a folder that matches all texts."""
    split = [text.split("/") for text in texts]
    if len({len(parts) for parts in split}) > 1:
        raise DataError(
            f"files lie at different depths ({shorten('/'.join(split[0]))}, …). Name those of one "
            "depth: --data 'FOLDER/*/*.csv'."
        )
    return "/".join(
        _one(list(parts), inside=at > 0) for at, parts in enumerate(zip(*split, strict=True))
    )


def _one(parts: list[str], *, inside: bool) -> str:
    if len(set(parts)) == 1:
        # One piece a folder by now; a later folder may have several.
        return re.sub(r"^(?i:part|shard|chunk)[-_.]?\d[^.]*", "*", parts[0]) if inside else parts[0]
    keys = {part.partition("=")[0] for part in parts if "=" in part}
    if len(keys) == 1 and all("=" in part for part in parts):
        return f"{keys.pop()}=*"  # a value that comes later will be another word
    # Cut where a word ends: `part-00000` and `part-00001` differ in the whole number.
    start = re.sub(rf"({_BEGUN}|[A-Za-z0-9]+)$", "", _common(parts))
    rest = [part[len(start) :] for part in parts]
    end = _common([part[::-1] for part in rest])[::-1]
    return f"{start}*{re.sub(r'^[A-Za-z0-9]+', '', end)}"


def _common(texts: list[str]) -> str:
    """The beginning that all share, letter by letter."""
    alike = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        alike += 1
    return texts[0][:alike]
