"""Rows that are there more than once are counted: exactly where few, fairly where many."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config import GatesConfig
from pipeline.findings import Finding, Policies, of_ingestion
from pipeline.ingest.repeats import Counter, Repeats, joined
from pipeline.ingest.summary import Ingested, SpanRows

HASHES = st.lists(st.integers(0, 2**64 - 1), max_size=40)


def counted(hashes: Any, limit: int = 4096, batch: int = 1000) -> Repeats:
    counter = Counter(limit)
    values = np.asarray(hashes, np.uint64)
    for start in range(0, len(values), batch):
        counter.add(values[start : start + batch])
    return counter.counted()


def test_few_rows_are_counted_exactly() -> None:
    assert counted([5, 7, 5, 9, 9, 9, 11]).share == pytest.approx(5 / 7)
    assert counted([1, 2, 3]).share == 0.0
    assert counted([]).share == 0.0


@given(HASHES, HASHES, st.integers(1, 8), st.integers(1, 7))
def test_files_joined_are_as_one_file(
    first: list[int], second: list[int], limit: int, batch: int
) -> None:
    """Whatever the order, the batches and the limit: the same rows, each with all its copies."""
    both = counted(first + second + first, limit)
    parts = [counted(part, limit, batch) for part in (first, second, first)]
    together = joined(parts, limit)
    assert together.hashes.tolist() == both.hashes.tolist()
    assert together.counts.tolist() == both.counts.tolist()
    assert together.share == both.share
    again = Repeats.from_text(together.to_text())
    assert again.counts.tolist() == both.counts.tolist() and again.below == together.below


def test_of_many_rows_the_share_is_known_within_half_a_percentage_point() -> None:
    random = np.random.default_rng(3)
    rows = random.integers(0, 2**64, 500_000, np.uint64)
    copies = np.concatenate([rows, rows[:13_000]])  # 26,000 of 513,000 rows are twice there
    random.shuffle(copies)
    made = counted(copies, batch=50_000)
    assert len(made.hashes) == 4096
    assert made.share == pytest.approx(26_000 / 513_000, abs=0.01)


def _policies() -> Policies:
    return Policies(
        gates=GatesConfig(), max_share=0.01, min_rows_share=0.1, max_repeated_share=0.02
    )


def _found(**spans: tuple[int, float]) -> list[Finding]:
    told = {name: SpanRows(kept, 0, {}, {}, share) for name, (kept, share) in spans.items()}
    return list(of_ingestion(Ingested("print", {}, {}, told, {}), _policies()))


def test_a_span_delivered_twice_is_told() -> None:
    (only,) = _found(a=(100, 0.0), b=(100, 0.001), c=(200, 1.0))
    assert (only.kind, only.split, only.value) == ("repeats", "c", 1.0)
    assert "100.0% of 200 rows are there more than once" in only.message
    assert "window.max_repeated_share" in only.message


def test_what_all_spans_have_is_no_news() -> None:
    """Few columns of few values meet by chance, and twice as often in twice the rows."""
    assert _found(a=(100, 0.3), b=(100, 0.31), c=(100, 0.4)) == []
    assert _found(a=(100, 0.1), b=(100, 0.1), c=(200, 0.2)) == []
    assert len(_found(a=(100, 0.1), b=(100, 0.1), c=(100, 0.2))) == 1
    assert _found(all=(100, 1.0)) == []


def test_ingestion_counts_copies_of_good_rows_across_files(bench: Any, tmp_path: Path) -> None:
    """A file that was sent again, with other rows between, is not hidden by its name."""
    rows = bench.rows(40)
    plan = bench.plan()
    reports = [
        bench.ingest(bench.write_csv(name, part), plan, index=index, total=2).report
        for index, (name, part) in enumerate([("a.csv", rows), ("b.csv", rows[:10])])
    ]
    assert [Repeats.from_text(report.repeats).share for report in reports] == [0.0, 0.0]
    assert joined(Repeats.from_text(r.repeats) for r in reports).share == pytest.approx(20 / 50)
