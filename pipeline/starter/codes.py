"""Which whole numbers are codes, of which 4 is not twice 2, and which are amounts.

What a column is, its head word says: the price of a product is a price, the code of an area a code.
Where the head word may be either, the values decide.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.starter.profile import Profile

#: Codes, however many there are.
_CODE = frozenset(
    "id ids code cd zip zipcode postcode postal plz tract fips sku ean isbn iata icao hash key "
    "uuid guid".split()
)
#: Kinds of things: few values, each another kind.
_KIND = frozenset(
    "type typ class cat category kind status flag flg ind indicator gender sex race group grp "
    "segment cluster weekday dow bucket quintile decile label encoded enc".split()
)
#: Things that have a number: what stands in the column is which one it is.
_THING = frozenset(
    "zone region store shop product plan vendor supplier seller carrier airline airport origin "
    "dest destination hub warehouse station line branch channel district precinct county state "
    "province country city town location agent company merchant terminal gate brand department "
    "dept division team customer client user account device browser ward borough community "
    "neighborhood neighbourhood occupation mcc sector industry route platform campaign".split()
)
#: A thing or an amount: only the values can tell.
_EITHER = frozenset(["area", "block"])
#: `store_number` is a code, `number_of_stores` and `num_stores` are counts.
_NUMBER = frozenset("number num no nr nbr".split())
_QUANTITY = frozenset(
    "n num no nr number count cnt total tot sum avg average mean median max min std pct percent "
    "perc share ratio rate qty quantity amount amt time days hours minutes seconds distance age "
    "duration value price cost spend revenue size".split()
)
_BETWEEN = frozenset("of per by in at to from since with for on until before after".split())
#: Plain words that end as plurals do.
_SINGULAR = frozenset("class status address business series gas bus canvas census".split())


def parts(name: str) -> list[str]:
    """The words of a column's name in their order, in small letters."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.split(r"[^A-Za-z]+", spaced) if word]


def is_code(name: str, p: Profile) -> bool:
    """Whether a column of whole numbers holds codes."""
    head = _head(name)
    if head in _CODE:
        return True
    if not head or p.low < -1:
        return False
    if head in _EITHER:
        return _numbered_through(p)
    return head in _KIND or head in _THING


def has_many(name: str) -> bool:
    """Whether codes of that name stay codes where there are many of them."""
    head = _head(name)
    return head in _CODE or head in _THING or head in _EITHER


def is_key(name: str) -> bool:
    """Whether a column of that name numbers the rows, if each row has another value."""
    found = parts(name)
    if not found:
        return False
    if len(found) == 1 and found[0] in ("index", "idx", "row", "n", *_NUMBER):
        return True
    last = found[-1]
    counted = found[0] in _QUANTITY or (len(found) > 1 and _plural(found[-2]))
    named = last in _CODE | {"rowid", "rownames", "rownum", "serial", "unnamed"}
    return named or found[0] == "unnamed" or (last in _NUMBER and not counted)


def is_amount(name: str) -> bool:
    """Whether a name says how much or how many."""
    found = parts(name)
    return bool(found) and (found[0] in _QUANTITY or found[-1] in _QUANTITY or _plural(found[-1]))


def _head(name: str) -> str:
    """The word that says what the column is; `""` for an amount."""
    found = parts(name)
    if not found:
        return ""
    last = found[-1]
    if last in _CODE:
        return last
    amount = last in _QUANTITY or _plural(last)
    if found[0] in ("id", "code") and not amount:  # id_cliente: other languages say it first
        return found[0]
    if len(found) > 1 and found[0] in _QUANTITY:
        return ""
    for at, word in enumerate(found[1:], start=1):
        if word in _BETWEEN and (found[at - 1] in _QUANTITY or _plural(found[at - 1])):
            return ""
    if last in _NUMBER and len(found) > 1:
        return "code" if found[-2] in _THING | _KIND | _EITHER else ""
    return "" if _plural(last) else last


def _plural(word: str) -> bool:
    return word.endswith("s") and not word.endswith("ss") and word not in _SINGULAR


def _numbered_through(p: Profile) -> bool:
    """Whether the values are 1, 2, 3, … nearly without a gap, as a list is numbered."""
    return p.low in (0, 1) and 2 < p.distinct <= 1000 and p.high - p.low + 1 <= 1.3 * p.distinct
