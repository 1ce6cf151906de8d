"""Written moments as whole seconds since 1970, without a library.

Read are the texts that training reads without being told how they are written, with zones that
are offsets or UTC; `headrace predict` reads the others too, by the configuration.
"""

from __future__ import annotations

import datetime as dt
import re

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_SECOND = dt.timedelta(seconds=1)
_OFFSET = r"(?P<sign>[+-])(?P<oh>\d{2})(?::?(?P<om>\d{2})(?::?(?P<os>\d{2}))?)?"
_FRACTION = r"(?:[.,](?P<f>\d+))?"
_ZONE = rf"(?: ?(?:Z|z|{_OFFSET})| (?:UTC|GMT))?"
_WRITTEN = re.compile(
    r"(?P<y>\d{4})(?P<mark>[-/])(?P<mo>\d{1,2})(?P=mark)(?P<d>\d{1,2})"
    r"(?:[ Tt](?P<h>\d{1,2}):(?P<mi>\d{1,2})(?::(?P<s>\d{1,2})" + _FRACTION + ")?" + _ZONE + ")?",
    re.ASCII,
)
#: The basic form of ISO 8601.
_BASIC = re.compile(
    r"(?P<y>\d{4})(?P<mo>\d{2})(?P<d>\d{2})[Tt](?P<h>\d{2})(?P<mi>\d{2})(?:(?P<s>\d{2})"
    + _FRACTION
    + ")?"
    + _ZONE,
    re.ASCII,
)
#: Dates of zeros, as MySQL writes a missing one.
_ZEROS = re.compile(r"0{1,4}[-/. ]0{1,2}[-/. ]0{1,4}([ T][0:.]*)?Z?", re.ASCII)


def is_missing(text: str) -> bool:
    """Whether a text says that there is no moment: zeros in place of a date."""
    return bool(_ZEROS.fullmatch(text.strip()))


def of_text(text: str) -> int | None:
    """Whole seconds since 1970; None if the text is not surely a moment.

    One without an offset is taken as UTC, as in training; `24:00` is the end of a day.
    """
    text = text.strip()
    found = _WRITTEN.fullmatch(text) or _BASIC.fullmatch(text)
    if found is None:
        return None
    part = {name: int(value) for name, value in found.groupdict("0").items() if value.isdigit()}
    end_of_day = part["h"] == 24 and part["mi"] == part["s"] == part["f"] == 0
    try:
        moment = dt.datetime(
            part["y"],
            part["mo"],
            part["d"],
            0 if end_of_day else part["h"],
            part["mi"],
            part["s"],
            tzinfo=dt.UTC,
        )
    except ValueError:
        return None
    offset = part["oh"] * 3600 + part["om"] * 60 + part["os"]
    seconds = (moment - _EPOCH) // _SECOND + (86_400 if end_of_day else 0)
    return seconds - (-offset if found["sign"] == "-" else offset)


def of_date(moment: dt.date) -> int:
    """Whole seconds since 1970; one without an offset is taken as UTC, as in training."""
    if not isinstance(moment, dt.datetime):
        moment = dt.datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return (moment - _EPOCH) // _SECOND
