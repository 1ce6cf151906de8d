"""What each column is taken for, and why. Plain rules: a person corrects them in the file."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.errors import shorten
from pipeline.starter import codes
from pipeline.starter.moments import BIRTH
from pipeline.starter.profile import EXACT, Profile
from pipeline.starter.sample import nested

#: Categories kept as such; more values make `high_cardinality`.
FEW = 100


@dataclass
class Decision:
    """One line of `[features]`.

    Attributes:
        name: as the configuration says it.
        spec: keys and values of the feature.
        why: for the comment behind it.
        profile: of its column; None for a derived feature.
        notes: what a person should look at.
    """

    name: str
    spec: dict[str, Any]
    why: str
    profile: Profile | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """Of the feature."""
        return str(self.spec["kind"])

    @property
    def used(self) -> bool:
        """Whether the model sees the column."""
        return self.kind != "ignore"


def words(name: str) -> set[str]:
    """The words of a column's name, in small letters."""
    return set(codes.parts(name))


def features(profiles: Sequence[Profile], names: Mapping[str, str]) -> list[Decision]:
    """A decision for every column, in their order; `names` are the configuration's."""
    taken = set(names.values())
    return [_decide(profile, names[profile.name], taken) for profile in profiles]


def _decide(p: Profile, name: str, taken: set[str]) -> Decision:
    if nested(p.type):
        return _ignore(p, name, f"{p.type.lower()[:40]}: no single value that a model could take")
    if p.type.startswith("TIME") and not p.type.startswith("TIMESTAMP"):
        return _ignore(p, name, "a time of day without a date")
    if not p.present:
        return _ignore(p, name, "no value in any row")
    if p.distinct == 1 and p.present == p.rows:
        return _ignore(p, name, f"always {_short(p.top[0][0])}: tells nothing")
    if p.time_format is not None:
        return _timestamp(p, name, taken)
    if _is_padded(p, name):
        made = _text(p, name)
        made.why += "; kept as text, for 00501 is not 501"
        return made
    if _is_long_id(p, name):
        return _long_id(p, name)
    if p.is_whole and not p.type.startswith(("FLOAT", "DOUBLE", "DECIMAL")):
        return _whole(p, name)
    if p.is_number:
        # Programs write whole numbers with gaps as 8.0; codes are codes all the same.
        return _whole(p, name) if p.is_whole and codes.is_code(name, p) else _numeric(p, name)
    return _text(p, name)


def _ignore(p: Profile, name: str, why: str) -> Decision:
    return Decision(name, {"kind": "ignore"}, why, p)


def _short(value: str) -> str:
    return repr(value if len(value) <= 30 else value[:29] + "…")


def _missing(p: Profile) -> str:
    share = p.missing_share
    if not share:
        return ""
    return f"; {_percent(share)} missing"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def _whole(p: Profile, name: str) -> Decision:
    dense = p.high - p.low + 1 <= 1.05 * p.distinct
    if p.distinct >= 0.99 * p.present and p.present > 50 and (dense or codes.is_key(name)):
        return _ignore(p, name, "another number for every row: an identifier, not a property")
    code = codes.is_code(name, p)
    if code and p.distinct <= FEW:
        return _category(p, name, "int", f"{p.distinct} whole numbers that are codes by their name")
    if code and codes.has_many(name) and p.distinct <= 0.2 * p.present:
        return _many(p, name, "int", f"{p.distinct:,} different codes")
    if p.distinct <= 2:
        values = " and ".join(value for value, _ in sorted(p.top[:2]))
        return _category(p, name, "int", f"only {values}")
    return _numeric(p, name)


def _is_padded(p: Profile, name: str) -> bool:
    """Whole numbers with zeros in front: codes, such as those of the post."""
    padded = any(re.fullmatch(r"0\d+", value) for value, _ in p.top)
    return p.type == "VARCHAR" and p.is_whole and padded and not codes.is_amount(name)


def _is_long_id(p: Profile, name: str) -> bool:
    """Whole numbers that neither a model nor 64 bits with a sign hold: names, not amounts."""
    return (
        p.is_whole
        and max(abs(p.low), abs(p.high)) > EXACT
        and (codes.is_code(name, p) or not p.type.startswith(("FLOAT", "DOUBLE")))
    )


def _long_id(p: Profile, name: str) -> Decision:
    why = f"{p.distinct:,} whole numbers beyond 2^53: identifiers, kept as text to the last digit"
    if p.distinct >= 0.9 * p.present or p.present < 4 * p.distinct:
        return _ignore(p, name, f"{why}; too few rows for each to learn from")
    if p.distinct <= FEW:
        return _category(p, name, "string", why)
    return _many(p, name, "string", why)


def _numeric(p: Profile, name: str) -> Decision:
    low, high = _figure(p.low), _figure(p.high)
    spec: dict[str, Any] = {"kind": "numeric"}
    made = Decision(name, spec, f"{low} to {high}{_missing(p)}", p)
    if p.numbers < p.present:
        odd = p.present - p.numbers
        told = ", ".join(shorten(value, 30) for value, _ in p.no_numbers)
        made.notes.append(
            f"{odd:,} of {p.present:,} values are no numbers ({told}); their rows are quarantined"
        )
    clip = clip_of(p.quantiles, p.low, p.high)
    if clip:
        spec["clip"] = clip
        made.why += f"; clip: 99.9% are within {_figure(clip[0])} and {_figure(clip[1])}"
    return made


def clip_of(quantiles: Sequence[float], low: float, high: float) -> list[float] | None:
    """Bounds for values far beyond nearly all others; None where there are none.

    Args:
        quantiles: as in `Profile`: 0.001 first, 0.999 last, 0.05 and 0.95 among them.
        low: smallest value.
        high: largest value.
    """
    if not quantiles:
        return None
    least, _, lower, _, upper, _, most = quantiles
    span = upper - lower
    if span <= 0:
        return None
    far_up, far_down = high > most + 2 * span, low < least - 2 * span
    if not (far_up or far_down):
        return None
    bottom = _round(least, math.floor) if far_down else _round(min(low, 0.0), math.floor)
    top = _round(most, math.ceil) if far_up else _round(high, math.ceil)
    return [bottom, top] if bottom < top else None


def _round(value: float, way: Any) -> float:
    """To two significant digits, outwards."""
    if not value or not math.isfinite(value):
        return 0.0
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - 1)
    return float(f"{way(value / unit) * unit:.6g}")


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"


def _category(p: Profile, name: str, kind: str, why: str) -> Decision:
    spec: dict[str, Any] = {"kind": "categorical"}
    if kind == "int":
        spec["type"] = "int"
    made = Decision(name, spec, f"{why}{_missing(p)}", p)
    if kind == "int" and any(value in ("-1", "-1.0") for value, _ in p.top):
        made.notes.append("-1 counts as missing, here and in requests")
    return made


def _many(p: Profile, name: str, kind: str, why: str) -> Decision:
    spec: dict[str, Any] = {"kind": "high_cardinality"}
    if kind == "int":
        spec["type"] = "int"
    if p.rows < 150_000:
        # The default suits a hundred thousand rows; in fewer, few values would be left.
        spec["min_count"] = max(3, round(p.rows / 5000))
    return Decision(name, spec, f"{why}{_missing(p)}", p)


def _text(p: Profile, name: str) -> Decision:
    unique = p.distinct >= 0.9 * p.present and p.present > 20
    if p.words >= 3 and p.distinct > max(50, 0.3 * p.present):
        why = f"{p.words:.0f} words in the mean, {p.distinct:,} different texts"
        return Decision(name, {"kind": "text"}, f"{why}{_missing(p)}", p)
    if unique:
        return _ignore(p, name, f"{p.distinct:,} texts in {p.present:,} rows: nearly each its own")
    if p.distinct <= FEW:
        return _category(p, name, "string", _values(p))
    if p.present / p.distinct >= 4:
        return _many(p, name, "string", f"{p.distinct:,} different texts")
    return _ignore(
        p, name, f"{p.distinct:,} texts in {p.present:,} rows: too few rows for each to learn from"
    )


def _values(p: Profile) -> str:
    if p.distinct > 3:
        return f"{p.distinct} different texts"
    if p.distinct == 1:
        return f"{_short(p.top[0][0])} or nothing"
    return ", ".join(_short(value) for value, _ in p.top)


def _timestamp(p: Profile, name: str, taken: set[str]) -> Decision:
    parts = []
    if p.hours > 1:
        parts.append("hour")
    if p.days >= 14:
        parts.append("weekday")
    if p.times[1] - p.times[0] > 2 * 365 * 86400 and p.months >= 12:
        parts.append("month")
    if BIRTH.search(name):
        parts = ["year"]
    parts = [part for part in parts if f"{name}_{part}" not in taken]
    told = {
        "auto": "moments" if p.type.startswith("TIMESTAMP") or not p.is_number else "seconds",
        "milliseconds": "milliseconds since 1970",
        "microseconds": "microseconds since 1970",
        "nanoseconds": "nanoseconds since 1970",
    }.get(p.time_format or "", f"written {p.time_format}")
    if told == "seconds":
        told = "seconds since 1970"
    if p.type == "DATE":
        told = "dates"
    seen = f"the parts that vary: {', '.join(parts)}" if parts else "no part of it varies usefully"
    made = Decision(
        name,
        {"kind": "timestamp", "parts": parts},
        f"{told}, {_day(p.times[0])} to {_day(p.times[1])}{_missing(p)}; {seen}",
        p,
    )
    if p.unread:
        made.notes.append(
            f"{p.unread:,} of {p.present:,} values are not written as the others "
            f"({p.time_format}); their rows are quarantined"
        )
    if p.ambiguous:
        made.notes.append(f"{p.ambiguous!r} would fit as well: see which is meant")
    return made


def _day(seconds: int) -> str:
    import datetime as dt

    try:
        moment = dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)
    except OverflowError:
        return str(seconds)
    return f"{moment:%Y-%m-%d}"
