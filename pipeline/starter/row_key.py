"""Columns that say which row of a table it is, so that a new column deals no row anew."""

from __future__ import annotations

from pipeline.ingest import deal
from pipeline.references import columns_of
from pipeline.starter.profile import Profile
from pipeline.starter.sample import nested
from pipeline.starter.state import State

#: A key takes so many columns at most.
_COLUMNS = 16
#: Share of the different rows that a key tells apart, and share of rows that may be alike in it.
_APART, _ALIKE = 0.99, 0.01
#: Tables with more copies than this are dealt by all they hold.
_DIFFERENT = 0.9


def of(state: State) -> tuple[list[str], str]:
    """Columns for `data.row_key` and why; none where rows cannot be told apart."""
    answer = {name.lower() for name in columns_of(state.label.expression)}
    answer |= {leak.name.lower() for leak in state.leaks}
    usable = [
        profile
        for profile in state.profiles
        if not nested(profile.type)
        and profile.distinct > 1
        and state.names[profile.name].lower() not in answer
    ]
    for profile in usable:
        if _identifies(profile):
            return [state.names[profile.name]], "another value in every row"
    return _first_that_do(state, usable), "together they tell the rows apart"


def _identifies(p: Profile) -> bool:
    """Texts or whole numbers, each in one row; a measure may be so by chance."""
    whole = p.type == "VARCHAR" or p.is_whole
    return whole and p.time_format is None and p.distinct == p.present == p.rows > 50


def _first_that_do(state: State, usable: list[Profile]) -> list[str]:
    """The first columns of the file that do it: columns that come later change nothing."""
    names = [profile.name for profile in usable]
    if not names:
        return []
    different = _distinct(state, names)
    if different < _DIFFERENT * state.sample.rows:
        return []
    for count in range(1, min(len(names), _COLUMNS) + 1):
        if _distinct(state, names[:count]) >= _APART * different:
            alike = _commonest(state, names[:count]) <= max(2, _ALIKE * state.sample.rows)
            return [state.names[name] for name in names[:count]] if alike else []
    return []


def _distinct(state: State, names: list[str]) -> int:
    key = deal.key_sql(names)
    (count,) = state.connection.execute(f"SELECT count(DISTINCT {key}) FROM sample").fetchone() or (
        0,
    )
    return int(count)


def _commonest(state: State, names: list[str]) -> int:
    (count,) = state.connection.execute(
        f"SELECT max(c) FROM (SELECT count(*) AS c FROM sample GROUP BY {deal.key_sql(names)})"
    ).fetchone() or (0,)
    return int(count or 0)
