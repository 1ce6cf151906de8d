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


@dataclass(frozen=True)
class Steps:
    """How columns get their types: selections, each over the columns of the one before.

    The engine computes an expression anew in each branch that names it: what is used twice is a
    column of its own.

    Attributes:
        added: what each selection adds to the columns; names begin with `sql.COMPUTED`.
        values: an expression a column over the last of them.
    """

    added: tuple[list[str], ...]
    values: list[str]

    def over(self, source: str) -> str:
        """SQL of the last selection, in parentheses, of a table or selection."""
        for columns in self.added:
            source = f"(SELECT {', '.join(['*', *columns])} FROM {source})"
        return source


def typed(columns: Sequence[Column]) -> Steps:
    """What `sql.typed` gives of each column.

    Args:
        columns: of one table, each once.
    """
    alike: dict[tuple[ColumnType, Format], list[int]] = {}
    for at, column in enumerate(columns):
        if column._is_written:
            alike.setdefault((column.kind, column.numbers), []).append(at)
    casts: list[str] = []
    plains: list[str] = []
    lists: list[str] = []
    made: dict[int, str] = {}
    for places in alike.values():
        for start in range(0, len(places), _TOGETHER):
            part = places[start : start + _TOGETHER]
            name = sql.computed(f"written{len(lists)}")
            lists.append(f"{_read(columns, part)} AS {name}")
            for at, place in enumerate(part, start=1):
                casts += _casts(columns[place], place)
                plains.append(f"{_plain(columns[place], place)} AS {_named('plain', place)}")
                made[place] = f"coalesce({_named('plain', place)}, {name}[{at}])"
    values = [made.get(at) or column.typed for at, column in enumerate(columns)]
    return Steps((casts, plains, lists), values)


def _named(what: str, at: int) -> str:
    return sql.computed(f"{what}{at}")


def _read(columns: Sequence[Column], places: Sequence[int]) -> str:
    """A list: of each column NULL if a cast does, else the number that its text is."""
    names = {at: sql.quote(columns[at].name) for at in places}
    left = {
        at: f"{_named('plain', at)} IS NULL AND {name} IS NOT NULL" for at, name in names.items()
    }
    rest = ", ".join(f"CASE WHEN {left[at]} THEN {name} END" for at, name in names.items())
    first = columns[places[0]]
    one = Column(_VALUE, first.kind, first.source, numbers=first.numbers)
    read = f"list_transform([{rest}], lambda {sql.quote(_VALUE)}: {one.typed})"
    # Most rows have nothing to read: they have no list.
    return f"CASE WHEN {' OR '.join(f'({some})' for some in left.values())} THEN {read} END"


def _casts(column: Column, at: int) -> list[str]:
    name = sql.quote(column.name)
    made = [f"TRY_CAST({name} AS DOUBLE) AS {_named('double', at)}"]
    if column.kind == "int":
        made.append(f"TRY_CAST({name} AS BIGINT) AS {_named('whole', at)}")
    return made


def _plain(column: Column, at: int) -> str:
    """The number if the text is a plain one, else NULL; never another than `sql.typed` reads."""
    name, double, whole = sql.quote(column.name), _named("double", at), _named("whole", at)
    if column.kind == "int":
        # A cast to BIGINT rounds: with a point it takes a closer look, see `number_text.whole`.
        return f"CASE WHEN NOT contains({name}, '.') AND {whole} = {double} THEN {whole} END"
    if column.numbers.decimal == ".":
        return f"CASE WHEN NOT isnan({double}) THEN {double} END"
    plain = f"NOT contains({name}, '.') AND NOT contains({name}, ',')"
    return f"CASE WHEN {plain} AND NOT isnan({double}) THEN {double} END"
