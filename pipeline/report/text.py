"""Text and numbers as a page shows them.

Names and values come from data, so they may hold anything. Jinja escapes what means something in
HTML; what is left is made visible here: control characters, and those that turn the direction of
writing and could make a page say something else than its source.
"""

from __future__ import annotations

import math
from typing import Any

#: Characters that change direction, join or hide: told by their number.
_UNSEEN = (*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
#: C0 and DEL have pictures of their own in Unicode; C1 has none.
_VISIBLE: dict[int, str] = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: "\u2421",
    **{code: f"⟨U+{code:04X}⟩" for code in (*range(0x80, 0xA0), *_UNSEEN)},
}
# Emoji are joined by this one; without it a family falls apart, and it hides nothing.
del _VISIBLE[0x200D]

ABSENT = "–"

#: Between a number and its unit, which belong on one line.
_NO_BREAK = "\u00a0"


def visible(value: Any) -> Any:
    """What a template writes for a value: texts without invisible characters, "–" for None."""
    if value is None:
        return ABSENT
    # Exactly `str`: Markup, which templates make themselves, is whole already.
    return value.translate(_VISIBLE) if type(value) is str else value


def clip(text: object, limit: int = 60) -> str:
    """A text of at most `limit` characters; the middle gives way."""
    whole = str(text)
    if len(whole) <= limit:
        return whole
    tail = limit // 3
    return f"{whole[: limit - tail - 1]}…{whole[-tail:]}"


def integer(value: float | None) -> str:
    """A count: 119,735."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:,.0f}"


def fixed(value: float | None, digits: int = 4) -> str:
    """A metric, to be compared with others of its column."""
    return ABSENT if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 4) -> str:
    """A change, with its sign."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:+.{digits}f}".replace("-", "−")


def short(value: float | None) -> str:
    """A distance, four significant digits; not in powers of ten unless it is tiny."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:.3g}" if value and abs(value) < 1e-4 else f"{value:.4f}".rstrip("0").rstrip(".")


def percent(value: float | None, digits: int = 1) -> str:
    """A share: 12.3 %. A share that would round to nothing, and is not, says so."""
    if value is None or not math.isfinite(value):
        return ABSENT
    smallest = 10 ** -(digits + 2)
    if 0 < value < smallest / 2:
        return f"<{_NO_BREAK}{smallest:.{digits}%}".replace("%", f"{_NO_BREAK}%")
    return f"{value:.{digits}%}".replace("%", f"{_NO_BREAK}%")


def times(value: float | None) -> str:
    """A multiple: 2.4 ×."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.0f}{_NO_BREAK}×" if value >= 100 else f"{value:.2f}{_NO_BREAK}×"


def many(count: int, one: str, more: str | None = None) -> str:
    """A count with its noun: 1 row, 2 rows."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def listed(items: list[str], limit: int = 3) -> str:
    """The first few of a list, in a sentence."""
    if len(items) > limit:
        rest = len(items) - limit
        items = [*items[:limit], f"{rest:,} more"]
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
