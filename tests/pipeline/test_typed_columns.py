"""Many columns typed at once are what each is by itself."""

from __future__ import annotations

import time

import pytest

from pipeline import sql, typed_columns
from pipeline.number_text import Format
from pipeline.typed_columns import Column

TEXTS = [
    *("1", "-7", "+7", " 5 ", "1.5", "1.0", "1e3", "15e-1", "1_000", "nan", "-NaN", "inf", "1e999"),
    *("12%", "50-", "(3)", "$1,234.50", "1.234,50 €", "1,5", "1.234", "1 234", "USD 5", "R$ 2"),
    *("9007199254740993", "9007199254740992.5", "90071992547409925e-1", "99999999999999999999"),
    *("", "  ", "NA", "abc", "00a1b2", "1-2", "12 apples 3", "\u22125", "1\u00a0234", "0x1f"),
]
FORMATS = [Format(), Format(".", ","), Format(",", "."), Format(",")]


@pytest.mark.parametrize("numbers", FORMATS, ids=lambda form: form.example)
def test_the_same_as_each_by_itself(numbers: Format) -> None:
    kinds: list[sql.ColumnType] = ["float", "int", "string"]
    columns = [
        Column(f"{kind} {at}", kind, "VARCHAR", numbers=numbers)
        for kind in kinds
        for at in range(150 if kind == "float" else 3)  # in more than one list
    ]
    with sql.connect() as connection:
        names = ", ".join(f"v AS {sql.quote(column.name)}" for column in columns)
        connection.execute(
            f"CREATE TABLE t AS SELECT {names} FROM (SELECT unnest(?) AS v)", [TEXTS]
        )
        steps = typed_columns.typed(columns)
        together = connection.execute(
            f"SELECT {', '.join(steps.values)} FROM {steps.over('t')}"
        ).fetchall()
        alone = connection.execute(
            f"SELECT {', '.join(column.typed for column in columns)} FROM t"
        ).fetchall()
    assert together == alone
    assert together[TEXTS.index("12%")][0] == pytest.approx(0.12)


def test_two_thousand_columns_are_bound_in_seconds() -> None:
    columns = [Column(f"c{at}", "int" if at % 2 else "float", "VARCHAR") for at in range(2_000)]
    with sql.connect() as connection:
        names = ", ".join(f"'{at}' AS c{at}" for at in range(2_000))
        connection.execute(f"CREATE TABLE t AS SELECT {names}")
        steps = typed_columns.typed(columns)
        started = time.process_time()
        connection.execute(f"DESCRIBE SELECT {', '.join(steps.values)} FROM {steps.over('t')}")
    assert time.process_time() - started < 10  # by itself each takes some 10 ms
