"""Dates in file names: which there may be, and how each is written as a span's format."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterator, Sequence

_YEAR = "(?:19|20)\\d{2}"
_SHORT = "|".join(calendar.month_abbr[1:])
_LONG = "|".join(calendar.month_name[1:])
#: The key of a folder such as `month=01`, or none.
_KEY = r"(?:[A-Za-z_]\w*=)?"
#: Group → directives, with and without a leading zero; a group may end in a figure.
_DIRECTIVES = {
    "Y": ("%Y", "%Y"),
    "m": ("%m", "%-m"),
    "d": ("%d", "%-d"),
    "H": ("%H", "%-H"),
    "b": ("%b", "%b"),
    "B": ("%B", "%B"),
    "q": ("%q", "%q"),
    "G": ("%G", "%G"),
    "V": ("%V", "%-V"),
}


def _grown(text: str) -> re.Pattern[str]:
    """A shape's regular expression: `<Y>` is the year, `<s>` a mark that comes again as `<=>`."""
    groups = {
        "<Y>": f"(?P<Y>{_YEAR})",
        "<G>": f"(?P<G>{_YEAR})",
        "<m>": r"(?P<m>0?[1-9]|1[0-2])",
        "<mm>": r"(?P<m>0[1-9]|1[0-2])",
        "<d>": r"(?P<d>0?[1-9]|[12]\d|3[01])",
        "<dd>": r"(?P<d>0[1-9]|[12]\d|3[01])",
        "<H>": r"(?P<H>[01]\d|2[0-3])",
        "<h>": r"(?P<H>1?\d|2[0-3])",
        "<q>": "(?P<q>[1-4])",
        "<V>": r"(?P<V>0?[1-9]|[1-4]\d|5[0-3])",
        "<b>": f"(?<![A-Za-z])(?P<b>(?i:{_SHORT}))(?![A-Za-z])",
        "<B>": f"(?<![A-Za-z])(?P<B>(?i:{_LONG}))(?![A-Za-z])",
        "<w>": r"(?:W|w|KW|kw|[wW]eek)[-_]?",
        "<K>": _KEY,
        "<s>": "(?P<s>[-_. ])",
        "<=>": "(?P=s)",
        "<->": "[-_. ]?",
    }
    text = re.sub("|".join(map(re.escape, groups)), lambda match: groups[match[0]], text)
    return re.compile(rf"(?<!\d){text}(?!\d)")


_FOLDER = r"(?:^|(?<=/))"
#: Shapes, the finest first; where two fit, the first counts.
SHAPES = tuple(
    _grown(shape)
    for shape in (
        *(
            f"{_FOLDER}<K><Y>/<K><m>/<K><d>/<K><H>",
            f"{_FOLDER}<K><Y>/<K><m>/<K><d>/<K><h>",
        ),
        *("<Y><s><mm><=><dd>(?:[T_ /-]|/[A-Za-z]+=)<H>", "<Y><mm><dd>(?:[T_ /-]|/[A-Za-z]+=)?<H>"),
        f"{_FOLDER}<K><Y>/<K><m>/<K><d>",
        *("<Y><s><m><=><d>", "<Y><mm><dd>"),
        *("<d><s><m><=><Y>", "<m><s><d><=><Y>"),
        *("<d><-><B><-><Y>", "<d><-><b><-><Y>", "<Y><-><B><-><d>", "<Y><-><b><-><d>"),
        *("<G>[-_/ ]?<w><V>", "<w><V>[-_ ]<G>", f"{_FOLDER}<K><G>/week=<V>"),
        *("<Y>[-_/ ]?[qQ]<q>", "[qQ]<q>[-_/ ]?<Y>", f"{_FOLDER}<K><Y>/(?:quarter|qtr)=<q>"),
        *("<Y>/<q>", "<Y><s><q>"),  # only if they run on as quarters do
        f"{_FOLDER}<K><Y>/<K><m>",
        *("<Y><s><m>", "<Y><mm>", "<m><s><Y>"),
        *("<B><-><Y>", "<b><-><Y>", "<Y>[-_./ ]?<B>", "<Y>[-_./ ]?<b>"),
    )
)
_BARE_QUARTERS = ("<Y>/<q>", "<Y><s><q>")
BARE_QUARTERS = tuple(_grown(shape) for shape in _BARE_QUARTERS)
#: A year, but none with a number beside it: that would be a month, a week or a count.
_ALONE = rf"(?<!\d)(?<!\d[-_. ])(?P<Y>{_YEAR})(?![-_./ ]?(?:\w+=)?\d{{1,3}}(?!\d))(?!\d)"
YEAR = re.compile(_ALONE)
#: A year, whatever is beside it.
ANY_YEAR = re.compile(rf"(?<!\d){_YEAR}(?!\d)")


def form_of(matches: Sequence[re.Match[str]]) -> str | None:
    """The format in which all texts are written; None if there is no such format.

    Args:
        matches: of one shape, one a name.
    """
    padded = {
        name: all(len(match[name]) > 1 for match in matches)
        for name in _DIRECTIVES
        if name in matches[0].re.groupindex
    }
    forms = {_form(match, padded) for match in matches}
    form = forms.pop()
    return None if forms or re.search("%(?!-?[YmdHbBqGV])", form) else form


def _form(match: re.Match[str], padded: dict[str, bool]) -> str:
    places = sorted((match.span(name), name) for name in padded)
    text, at = "", match.start()
    for (start, end), name in places:
        text += match.string[at:start].replace("%", "%%") + _DIRECTIVES[name][not padded[name]]
        at = end
    return text + match.string[at : match.end()].replace("%", "%%")


def chosen(names: Sequence[str], shape: re.Pattern[str]) -> Iterator[list[re.Match[str]]]:
    """A match of each name: the first of all, then the second of all, and so on."""
    found = [list(shape.finditer(name)) for name in names]
    for at in range(min(map(len, found), default=0)):
        yield [matches[at] for matches in found]


def plausible(years: Sequence[int]) -> bool:
    """Whether data may be of these years: else they are codes or counts that look like some."""
    return min(years) >= 1950 and max(years) <= dt.date.today().year + 1
