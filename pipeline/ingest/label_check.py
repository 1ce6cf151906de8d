"""A label that is no yes-or-no question, told in one sentence before a row is written."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from pipeline import sql
from pipeline.errors import DataError, shorten

#: Rows at the beginning of a file that are asked; broken ones among many are quarantined instead.
_ROWS = 2048


def refuse_other_labels(connection: duckdb.DuckDBPyConnection, path: str, expression: str) -> None:
    """Sees that most of a file's first rows have label 0, 1 or none.

    Args:
        connection: has the view `judged`.
        path: the file, as messages name it.
        expression: of the label.

    Raises:
        DataError: the label is an amount, or one of several classes.
    """
    asked = sql.computed("said")
    said = f"SELECT CAST({asked} AS VARCHAR) AS s FROM (SELECT {asked} FROM judged LIMIT {_ROWS})"
    try:
        found = connection.execute(
            f"SELECT s, count(*) FROM ({said}) WHERE s IS NOT NULL GROUP BY s ORDER BY 2 DESC, s"
        ).fetchall()
    except duckdb.Error:  # a broken row: reading on tells which
        return
    other = [(value, count) for value, count in found if not is_binary(value)]
    if 2 * sum(count for _, count in other) > sum(count for _, count in found):
        raise DataError(f"{path}: {not_binary(expression, found)}")


def is_binary(value: str) -> bool:
    """Whether a label's text is 0, 1, true or false."""
    try:
        return float({"true": "1", "false": "0"}.get(value.lower(), value)) in (0.0, 1.0)
    except ValueError:
        return False


def not_binary(expression: str, said: Sequence[tuple[str, int]]) -> str:
    """The sentence, with an expression that would do.

    Args:
        expression: of the label.
        said: values it takes with their counts, the most frequent first.
    """
    values = [value for value, _ in said]
    asked = expression if expression.isidentifier() else f"({expression})"
    try:
        numbers = sorted(float(value) for value in values)
    except ValueError:
        numbers = []
    if len(numbers) > 10:
        what = f"an amount ({values[0]}, {values[1]}, …)"
        remedy = f"{asked} > {numbers[len(numbers) // 2]:g}"
    else:
        shown = ", ".join(values[:5]) + (", …" if len(values) > 5 else "")
        what = f"one of {len(values)} classes ({shown})"
        remedy = f"{asked} = {values[0] if numbers else sql.text(values[0])}"
    return (
        f"label.expression: {shorten(expression)} is {what}, not 0 or 1, and Headrace learns a "
        f"yes-or-no label. Make it a question, such as expression = {remedy!r}."
    )
