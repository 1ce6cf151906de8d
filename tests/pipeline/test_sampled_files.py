"""Which files `headrace init` looks at, which it takes for one table, and what it says of that."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from pipeline import sql
from pipeline.errors import DataError
from pipeline.starter import sample, sources
from pipeline.starter.propose import Proposal, propose

pytestmark = pytest.mark.tfx


def proposed(path: Path, label: str | None, folder: Path) -> Proposal:
    return propose(str(path), label, str(folder / "headrace.toml"), lambda _: None)


def rows(count: int, seed: int, **columns: Any) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = []
    for _ in range(count):
        x = draw.gauss(0, 1)
        made.append({"x": round(x, 4), "churn": int(x + draw.gauss(0, 1) > 0)} | columns)
    return made


def test_all_files_of_a_sorted_table_are_looked_at(bench: Any, tmp_path: Path) -> None:
    for part in range(60):
        made = rows(20, part, country="ABCDEF"[part // 10])
        bench.write_csv(f"d/part-{part:05d}.csv", made)
    made = proposed(tmp_path / "d", "churn", tmp_path)
    assert made.seen == "all 1,200 rows of 60 file(s)" and not made.slack
    assert dict(made.profiles["country"].top) == dict.fromkeys("ABCDEF", 200)
    assert set(made.judged.file) == set(range(60))
    assert "after a look at all 1,200 rows of 60 file(s)." in made.text


def test_of_too_many_files_some_are_taken_evenly(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "FILES", 11)
    for part in range(60):
        made = rows(30, part, country="ABCDEF"[part // 10])
        bench.write_csv(f"d/part-{part:05d}.csv", made)
    made = proposed(tmp_path / "d", "churn", tmp_path)
    assert made.seen == "330 rows of 11 of 60 files" and made.slack
    assert set(dict(made.profiles["country"].top)) == set("ABCDEF")
    assert "330 rows of 11 of 60 files" in made.text and "all 330" not in made.text


def test_of_many_spans_those_that_a_run_sees_are_looked_at(
    bench: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample, "SPAN_FILES", 10)
    monkeypatch.setattr(sample, "NEWEST", {"month": 20})
    for year in range(2018, 2024):
        for month in range(1, 13):
            made = rows(30, 100 * year + month)
            bench.write_csv(f"d/{year}-{month:02d}.csv", made)
    made = proposed(tmp_path / "d", "churn", tmp_path)
    assert made.seen == "300 rows of 10 of 72 files"
    assert min(made.judged.spans) == "2022-05" and max(made.judged.spans) == "2023-12"
    assert made.config.window.eval_spans == 17  # 500 rows, at 30 a span


def test_rows_outside_their_span_are_told_by_span(bench: Any, tmp_path: Path) -> None:
    for month in range(1, 7):
        made = [
            row | {"at": f"2024-{month:02d}-{1 + i % 28:02d} 08:00:00"}
            for i, row in enumerate(rows(100, month))
        ]
        made[0]["at"] = "2023-01-01 08:00:00"
        bench.write_csv(f"d/2024-{month:02d}.csv", made)
    made = proposed(tmp_path / "d", "churn", tmp_path)
    assert made.config.data.time_column == "at"
    assert made.judged.refused == {f"2024-{month:02d}": 1 for month in range(1, 7)}
    assert made.judged.reasons == {"outside its span": 6}
    assert (made.judged.label.size, int(made.judged.held_out.sum())) == (594, 99)


def passengers(count: int, seed: int) -> list[dict[str, Any]]:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        x = draw.gauss(0, 1)
        row = {"Id": 1000 * seed + number, "Survived": int(x + draw.gauss(0, 1) > 0)}
        made.append(row | {"Fare": round(x, 3), "Sex": draw.choice(["male", "female"])})
    return made


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in names} for row in rows]


@pytest.mark.parametrize("label", ["Survived", "Survived = 1", "survived"])
def test_the_table_is_the_one_that_has_the_label(bench: Any, tmp_path: Path, label: str) -> None:
    bench.write_csv("d/train.csv", passengers(300, 1))
    bench.write_csv("d/test.csv", without(passengers(200, 2), "Survived"))
    bench.write_csv("d/gender_submission.csv", without(passengers(200, 3), "Fare", "Sex"))
    made = proposed(tmp_path / "d", label, tmp_path)
    assert made.config.data.pattern == "train.csv"
    assert made.rows == 300 and not made.config.data.optional_columns
    assert made.remarks[0] == (
        "left out, as other tables: gender_submission.csv (Id, Survived): lacks most columns; "
        "test.csv (Id, Fare, Sex): lacks the label"
    )


def test_several_files_of_the_table_are_kept(bench: Any, tmp_path: Path) -> None:
    for part in (1, 2, 3):
        bench.write_csv(f"d/train-part-{part}.csv", passengers(200, part))
    bench.write_csv("d/train-part-4.csv", without(passengers(200, 4), "Sex"))  # may be absent
    bench.write_csv("d/test.csv", without(passengers(200, 5), "Survived"))
    made = proposed(tmp_path / "d", "Survived", tmp_path)
    assert made.config.data.pattern == "train-part-*.csv"
    assert made.rows == 800 and made.config.data.optional_columns == ("Sex",)


def test_files_of_different_columns_are_asked_about(bench: Any, tmp_path: Path) -> None:
    bench.write_csv("d/train.csv", passengers(300, 1))
    bench.write_csv("d/orders.csv", [{"order": 1, "amount": 2.5, "Survived": 1}])
    for label in (None, "Survived"):
        with pytest.raises(DataError, match="holds files of different columns") as caught:
            proposed(tmp_path / "d", label, tmp_path)
        assert "orders.csv (order, amount, Survived); train.csv (Id, Survived, Fare, Sex)" in str(
            caught.value
        )


def test_a_span_without_the_label_is_told(bench: Any, tmp_path: Path) -> None:
    for month in (1, 2, 3):
        bench.write_csv(f"d/2024-0{month}.csv", passengers(100, month))
    bench.write_csv("d/2024-04.csv", without(passengers(100, 4), "Survived"))
    with pytest.raises(DataError, match="is not of the table that has the label") as caught:
        proposed(tmp_path / "d", "Survived", tmp_path)
    assert "2024-04.csv (Id, Fare, Sex)" in str(caught.value)


def test_more_than_two_thousand_columns(bench: Any) -> None:
    """Looked at, and allowed by the configuration that a run reads."""
    wide = [row | dict.fromkeys((f"c{n}" for n in range(2100)), "a") for row in rows(10, 1)]
    path = bench.write_csv("wide.csv", wide)
    with sql.connect() as connection:
        seen = sample.load(connection, sources.find(str(path)))
    assert (len(seen.names), seen.rows, seen.whole) == (2102, 10, True)
    config = bench.config(
        data={"pattern": "wide.csv", "path": "."},
        features={name: {"kind": "categorical"} for name in seen.names if name != "churn"},
        label={"expression": "churn = 1", "leaks": {"churn": "int"}},
    )
    assert len(config.features) == 2100 + 11  # those of the bench, too
