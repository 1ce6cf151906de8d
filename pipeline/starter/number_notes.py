"""What a person should know of numbers in a column, before a run refuses rows for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import duckdb

from pipeline import number_text, sql
from pipeline.errors import shorten
from pipeline.starter.profile import EXACT, Profile


def remarks(connection: duckdb.DuckDBPyConnection, profiles: Sequence[Profile]) -> list[str]:
    """One sentence for each thing that is odd, by column; `sample` is looked at."""
    return [note for one in profiles for note in _of(connection, one)]


def _of(connection: duckdb.DuckDBPyConnection, p: Profile) -> Iterator[str]:
    if p.infinite:
        yield (
            f"{p.name}: {p.infinite:,} of {p.present:,} values are infinite or too large for "
            "32 bits; a run refuses their rows ('not finite'). Mend them, or name their text in "
            "[data.null_values] if it means missing"
        )
    if p.numbers >= 0.5 * p.present and not p.is_number and p.type == "VARCHAR":
        yield (
            f"{p.name}: {p.numbers:,} of {p.present:,} values are numbers, the rest are not "
            f"({_told(p.no_numbers)}), so it is taken for text; if they mean missing, name them in "
            "[data.null_values], if they are numbers, write them as such"
        )
    if p.is_whole and p.type in ("DOUBLE", "FLOAT") and max(abs(p.low), abs(p.high)) > EXACT:
        yield (
            f"{p.name}: holds whole numbers beyond 2^53 as {p.type}, which rounds them: different "
            "numbers may have become one. Write ids as text or 64-bit integers"
        )
    if p.is_number and p.written:
        yield from _units(connection, p)


def _told(values: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{shorten(value, 30)} {count:,} times" for value, count in values)


def _units(connection: duckdb.DuckDBPyConnection, p: Profile) -> Iterator[str]:
    """Amounts of several currencies, percentages."""
    column = sql.quote(p.name)
    found = connection.execute(
        f"SELECT {number_text.currency(column)} AS c, count(*) FROM sample "
        f"WHERE {column} IS NOT NULL GROUP BY 1 HAVING c <> '' ORDER BY 2 DESC, 1"
    ).fetchall()
    if len(found) > 1:
        told = ", ".join(f"{name} {count:,} times" for name, count in found[:4])
        yield f"{p.name}: amounts in several currencies ({told}) are read as if of one"
    (percent,) = connection.execute(
        f"SELECT count(*) FROM sample WHERE {number_text.is_percent(column)}"
    ).fetchone() or (0,)
    if percent:
        rest = p.present - percent
        others = f"; {rest:,} values without % are read as they are" if rest else ""
        yield f"{p.name}: percentages are read as hundredths, 12% as 0.12{others}"
