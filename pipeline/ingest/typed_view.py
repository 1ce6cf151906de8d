"""The view `typed`: a file's columns in their types, each value read once.

The engine computes an expression anew in each branch of a CASE that names it. So typed values are a
selection of their own, and what is wrong with those that nothing reads is asked of the next.
"""

from __future__ import annotations

import duckdb

from pipeline import sql, typed_columns
from pipeline.ingest.plan import IngestPlan

#: What the view has beside columns: faults of type (`''` if none), the row of the file, its number.
TYPE, RAW, NUMBER = map(sql.computed, ("type", "raw", "number"))
#: A table of the view's columns without rows: what names it is bound in no time.
SHAPE = sql.computed("shape")
_FILE = sql.computed("file")


def create(
    connection: duckdb.DuckDBPyConnection, plan: IngestPlan, types: dict[str, str]
) -> dict[str, str]:
    """Creates the view `typed` over the view `source`, and the table `SHAPE`.

    Columns that only the label or a rule uses stay as the file has them.

    Args:
        connection: has `source`.
        plan: says what columns are.
        types: of the columns of `source`, as DuckDB calls them.

    Returns:
        Faults of type that a row may have, each with its SQL.
    """
    columns = plan.columns()
    steps = typed_columns.typed(
        [plan.column(name, kind, types.get(name, '"NULL"')) for name, kind in columns.items()]
    )
    values: list[str] = []
    shown: list[str] = []
    broken: dict[str, str] = {}
    for at, ((name, kind), made) in enumerate(zip(columns.items(), steps.values, strict=True)):
        value = sql.computed(f"typed{at}")
        values.append(f"{made} AS {value}")
        shown.append(f"{value} AS {sql.quote(name)}")
        if name in types:
            present = plan.present(name, kind, types[name])
            broken[f"type: {name} is not {kind}"] = f"{value} IS NULL AND {present}"
    shown += [
        f"{sql.as_said(name, kind)} AS {sql.quote(name)}"
        for name, kind in types.items()
        if name not in columns
    ]
    row = f"{_FILE} AS {RAW}, row_number() OVER () AS {NUMBER}"
    read = steps.over(f"(SELECT *, {row} FROM source AS {_FILE})")
    typed = f"SELECT {', '.join(['*', *values])} FROM {read}"
    shown += [f"{sql.reasons(broken)} AS {TYPE}", RAW, NUMBER]
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW typed AS SELECT {', '.join(shown)} FROM ({typed})"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {SHAPE} AS SELECT * FROM typed LIMIT 0")
    return broken
