"""Many columns in their canonical types at once: SQL that is bound in little time.

Reading a number as people write it takes some ten regular expressions (`pipeline.number_text`). Of
each column anew they take longer to be prepared than the rows to be read, where columns are many.
So the plain numbers of a column are cast, and the others of many columns are read together: a list
a row, to whose values one lambda is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import sql
from pipeline.number_text import PLAIN, Format
from pipeline.sql import ColumnType

#: Columns in a list; whoever reads one of them has all of them looked at.
_TOGETHER = 128
_VALUE = sql.COMPUTED + "value"


@dataclass(frozen=True)
class Column:
    """A column and what it shall be, as `sql.typed` takes them."""

    name: str
    kind: ColumnType
    source: str
    time_format: str | None = None
    numbers: Format = PLAIN

    @property
    def typed(self) -> str:
        """SQL of it in its canonical type, by itself."""
        return sql.typed(
            self.name,
            self.kind,
            self.source,
            time_format=self.time_format,
            numbers=self.numbers,
        )

    @property
    def _is_written(self) -> bool:
        return self.source == "VARCHAR" and self.kind in ("float", "int")


def typed(columns: Sequence[Column]) -> tuple[list[str], list[str]]:
    """What `sql.typed` gives of each column.

    Args:
        columns: of one table, each once.

    Returns:
        What must be selected beside the table's columns (names begin with `sql.COMPUTED`), and an
        expression a column over the one and the other.
    """
    alike: dict[tuple[ColumnType, Format], list[Column]] = {}
    for column in columns:
        if column._is_written:
            alike.setdefault((column.kind, column.numbers), []).append(column)
    lists: list[str] = []
    made: dict[str, str] = {}
    for some in alike.values():
        for start in range(0, len(some), _TOGETHER):
            part = some[start : start + _TOGETHER]
            name = sql.computed(f"written{len(lists)}")
            lists.append(f"{_read(part)} AS {name}")
            for at, column in enumerate(part, start=1):
                made[column.name] = f"coalesce({_cast(column)}, {name}[{at}])"
    return lists, [made.get(column.name) or column.typed for column in columns]


def _read(some: Sequence[Column]) -> str:
    """A list: of each column NULL if a cast does, else the number that its text is."""
    rest = ", ".join(
        f"CASE WHEN {_cast(column)} IS NULL THEN {sql.quote(column.name)} END" for column in some
    )
    one = Column(_VALUE, some[0].kind, some[0].source, numbers=some[0].numbers)
    return f"list_transform([{rest}], lambda {sql.quote(_VALUE)}: {one.typed})"


def _cast(column: Column) -> str:
    """The number if the text is a plain one, else NULL; never another than `sql.typed` reads."""
    name = sql.quote(column.name)
    double = f"TRY_CAST({name} AS DOUBLE)"
    if column.kind == "int":
        # A cast to BIGINT rounds: with a point it takes a closer look, see `number_text.whole`.
        whole = f"TRY_CAST({name} AS BIGINT)"
        return f"CASE WHEN NOT contains({name}, '.') AND {whole} = {double} THEN {whole} END"
    if column.numbers.decimal == ".":
        return f"CASE WHEN NOT isnan({double}) THEN {double} END"
    plain = f"NOT contains({name}, '.') AND NOT contains({name}, ',')"
    return f"CASE WHEN {plain} AND NOT isnan({double}) THEN {double} END"
