"""Which files `headrace init` looks at, which it takes for one table, and what it says of that."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.starter import sample
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
