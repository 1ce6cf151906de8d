"""Row samples: uniform, bounded, and joined without favour."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.ingest import sample


def table(values: Any) -> pa.Table:
    return pa.table({"x": pa.array(values)})


def sampled(values: Any, limit: int, seed: int = 0, batch: int = 1000) -> pa.Table:
    sampler = sample.Sampler(limit, seed)
    for start in range(0, len(values), batch):
        sampler.add(table(values[start : start + batch]))
    made = sampler.table("a")
    assert made is not None
    return made


def test_few_rows_are_all_kept_in_their_order() -> None:
    assert sampled(np.arange(50), 100)["x"].to_pylist() == list(range(50))


def test_of_many_rows_so_many_are_kept_and_each_as_likely() -> None:
    counts = np.zeros(5_000)
    for seed in range(200):
        kept = sampled(np.arange(5_000), 500, seed)["x"].to_numpy()
        assert len(kept) == 500 and len(set(kept)) == 500
        counts[kept] += 1
    # 20 expected of each row: no tenth of the file is favoured.
    assert counts.reshape(10, -1).mean(axis=1) == pytest.approx(20, rel=0.05)


def test_the_same_rows_give_the_same_sample() -> None:
    first, again = sampled(np.arange(5_000), 300), sampled(np.arange(5_000), 300)
    assert first.equals(again)
    assert not first.equals(sampled(np.arange(5_000), 300, seed=1))


def test_files_of_unlike_size_are_joined_in_proportion() -> None:
    large, small = sampled(np.zeros(9_000), 400), sampled(np.ones(1_000), 400, seed=1)
    joined = sample.joined([large, small], 400)
    assert joined.num_rows <= 400
    assert joined["x"].to_numpy().mean() == pytest.approx(0.1, abs=0.05)


def test_ingestion_leaves_the_good_rows(bench: Any) -> None:
    rows = bench.rows(fare=[-1.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    plan = bench.plan(quarantine={"rules": {"negative": "fare < 0"}})
    made = bench.ingest(bench.write_csv("a.csv", rows), plan)
    (read,) = sample.read(str(made.folder), 100).items()
    key, kept = read
    assert key == ("train", "2019-12")
    assert kept["fare"].to_pylist() == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert {"tip", "label", "started", "note"} <= set(kept.column_names)
    assert "operator" not in kept.column_names


def test_a_span_of_several_files_is_one_sample(bench: Any) -> None:
    plan = bench.plan(drift={"sample_rows": 100})
    rows = bench.rows(150)
    made = bench.ingest(bench.write_csv("a.csv", rows), plan, index=0, total=2)
    path = bench.write_csv("b.csv", rows[:30])
    other = bench.ingest(path, plan, index=1, total=2)
    source = other.folder / "samples" / "train-00001.parquet"
    (made.folder / "samples" / "train-00001.parquet").write_bytes(source.read_bytes())
    read = sample.read(str(made.folder), 100)["train", "2019-12"]
    assert 60 <= read.num_rows <= 100
