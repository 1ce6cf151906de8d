"""How the rows of one table are parted: fairly, for good, and told where it is not."""

from __future__ import annotations

import dataclasses
import json
import random
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline import sql
from pipeline.comparable import comparison
from pipeline.errors import ConfigError, DataError
from pipeline.findings import Finding, of_table
from pipeline.ingest import deal, reader
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import Dealing, IngestPlan, Shard, shards
from pipeline.ingest.summary import Ingested
from pipeline.spans import Span, SpanFiles, Window
from pipeline.starter.propose import Proposal, propose

pytestmark = pytest.mark.tfx  # ingestion's own judgement decides

DAY = 86400
YEAR_1900, YEAR_9999 = -2208988800, 253402214400


def window(*paths: Path) -> Window:
    files = (SpanFiles(Span(0, "all"), tuple(map(str, paths))),)
    return Window(files, files)


def table(*rows: Sequence[object], header: str) -> str:
    return header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)


def proposed(path: Path, label: str) -> Proposal:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return propose(str(path), label, str(path.parent / "headrace.toml"), lambda _: None)


def few_rows(count: int = 8000) -> list[tuple[object, ...]]:
    """Few different rows, as in a survey, and an answer that follows from them in part."""
    draw = random.Random(3)
    rows = []
    for _ in range(count):
        cap, odor, rings = draw.choice("abcd"), draw.choice("uvw"), draw.randrange(3)
        chance = 0.2 + 0.4 * (cap == "a") + 0.2 * (odor == "u")
        rows.append((cap, odor, rings, int(draw.random() < chance)))
    return rows


def test_few_different_rows_make_a_fair_holdout(bench: Any) -> None:
    path = bench.write("few/t.csv", table(*few_rows(), header="cap,odor,rings,edible"))
    judged = proposed(path, "edible").judged
    held, label = judged.held_out, judged.label
    assert held.mean() == pytest.approx(0.2, abs=0.02)
    assert label[held].mean() == pytest.approx(label[~held].mean(), abs=0.035)
    # What was learnt from the others holds here as well as among them: no row's side gives its
    # answer away.
    rows = judged.rows.to_pydict()
    keys = list(zip(*rows.values(), strict=True))
    means: dict[object, list[int]] = {}
    for key, answer, out in zip(keys, label, held, strict=True):
        if not out:
            means.setdefault(key, []).append(int(answer))
    score = np.array([np.mean(means[key]) for key in keys])
    auc = roc_auc_score(label[held], score[held])
    assert auc == pytest.approx(roc_auc_score(label[~held], score[~held]), abs=0.04)
    for key in set(keys):
        sides = held[[other == key for other in keys]]
        assert 0.05 < sides.mean() < 0.4


def test_the_answer_decides_no_side(bench: Any) -> None:
    """Equal rows with the one and the other answer lie together."""
    rows = bench.rows(300)
    other = [row | {"tip": 8.0 if row["tip"] == 0.5 else 0.5} for row in rows]
    made = bench.ingest(bench.write_csv("a.csv", rows + other), split=None)
    answers: dict[int, set[str]] = {}
    for split in ("train", "eval"):
        for example in made.examples[split]:
            answers.setdefault(example["place"][0], set()).add(split)
    assert all(len(sides) == 1 for sides in answers.values())


def test_copies_in_two_files_lie_on_one_side(bench: Any) -> None:
    rows = bench.rows(200)
    paths = [bench.write_csv("a.csv", rows), bench.write_csv("b.csv", rows[50:90] + rows[:10])]
    plan = bench.plan()
    dealing = deal.look(window(*paths), plan)
    made = [bench.ingest(path, plan, split=None, dealing=dealing) for path in paths]
    held = [{e["place"][0] for e in one.examples["eval"]} for one in made]
    copied = {e["place"][0] for e in made[1].kept}
    assert held[1] == held[0] & copied and held[1]


def test_common_rows_of_many_small_files_are_dealt_one_by_one(bench: Any) -> None:
    """In no file alone is a row common."""
    row = bench.rows(1)
    paths = [bench.write_csv(f"{n}.csv", row * 9) for n in range(10)]
    plan = bench.plan()
    dealing = deal.look(window(*paths), plan)
    assert len(dealing.common) == 1
    made = [bench.ingest(path, plan, split=None, dealing=dealing) for path in paths]
    held = sum(one.report.rows["eval"] for one in made)
    assert 8 <= held <= 30


@pytest.mark.parametrize("sorted_anew", [False, True])
def test_a_key_keeps_each_row_on_its_side(bench: Any, sorted_anew: bool) -> None:
    """Whatever columns, values, rows or files come: the old rows stay where they were."""
    rows = bench.rows(400)
    plan = bench.plan(data={"row_key": ["place"]})
    before = bench.ingest(bench.write_csv("a.csv", rows), plan, split=None)
    wider = bench.plan(data={"row_key": ["place"]}, features={"weather": {"kind": "numeric"}})
    changed = [row | {"weather": 1.5, "fare": 99.0} for row in [*rows, *bench.rows(500)[400:]]]
    if sorted_anew:
        changed.reverse()
    after = bench.ingest(bench.write_csv("b.csv", changed), wider, split=None)
    held = {e["place"][0] for e in before.examples["eval"]}
    assert {e["place"][0] for e in after.examples["eval"]} & set(range(100, 500)) == held
    assert 50 < len(held) < 110


def test_init_names_what_says_which_row_it_is(bench: Any) -> None:
    draw = random.Random(5)
    rows = [
        (f"c{n}", round(draw.gauss(0, 1), 3), draw.randrange(9), draw.randrange(2))
        for n in range(1200)
    ]
    path = bench.write("id/t.csv", table(*rows, header="customer,x,k,churn"))
    assert proposed(path, "churn").config.data.row_key == ("customer",)
    path = bench.write("none/t.csv", table(*(row[1:] for row in rows), header="x,k,churn"))
    narrow = proposed(path, "churn")
    assert narrow.config.data.row_key == ("x", "k")
    more = [(*row[1:], draw.choice("ab")) for row in rows]
    path = bench.write("more/t.csv", table(*more, header="x,k,churn,new"))
    wide = proposed(path, "churn")
    assert wide.config.data.row_key == ("x", "k")
    assert (wide.judged.held_out == narrow.judged.held_out).all()


def test_a_number_is_the_same_row_however_it_is_written(bench: Any) -> None:
    rows = bench.rows(200)
    made = bench.ingest(bench.write_parquet("a.parquet", rows), split=None)
    text = bench.csv(rows).replace(".5,", ".50,")
    other = bench.ingest(bench.write("b.csv", text), split=None)
    assert [e["place"] for e in made.examples["eval"]] == [
        e["place"] for e in other.examples["eval"]
    ]


def test_a_key_must_be_there_and_must_not_be_the_answer(bench: Any) -> None:
    plan = bench.plan(data={"row_key": ["customer"]})
    path = bench.write_csv("a.csv", bench.rows())
    with pytest.raises(DataError, match=r"a\.csv: has no column 'customer'.*row_key"):
        deal.look(window(path), plan)
    with pytest.raises(ConfigError, match=r"data\.row_key.*holds the answer"):
        bench.config(data={"row_key": ["tip"]})


# --- by time -----------------------------------------------------------------------------


def spread(count: int, days: int = 300) -> np.ndarray:
    return np.sort(1_700_000_000 + np.arange(count) * DAY * days // count)


@pytest.mark.parametrize(
    "times, share, sentinels, why",
    [
        (spread(1000), 0.2, [], ""),
        ([YEAR_1900] * 850 + list(spread(150)), 0.2, [YEAR_1900], ""),
        (list(spread(400)) + [YEAR_9999] * 600, 0.2, [YEAR_9999], ""),
        ([0] * 300 + list(spread(400)) + [YEAR_9999] * 300, 0.2, [0, YEAR_9999], ""),
        (list(spread(150)) + [1_800_000_000] * 850, None, [], "85% of the rows share 2027-01-15"),
        ([1_700_000_000] * 900 + list(spread(100) + 9), 0.1, [], ""),
        ([1_700_000_000] * 5, None, [], "100% of the rows share"),
        # A few dates: about the share that is asked for will do.
        ([1_700_000_000] * 400 + [1_701_000_000] * 300 + [1_702_000_000] * 300, 0.3, [], ""),
        # Births of long ago are no sentinels: others lie beside them.
        (np.sort(np.linspace(YEAR_1900, 1_000_000_000, 1000).astype(int)), 0.2, [], ""),
    ],
)
def test_the_newest_are_about_as_many_as_asked_for(
    times: Any, share: float | None, sentinels: list[int], why: str
) -> None:
    values, counts = np.unique(np.asarray(times), return_counts=True)
    made = deal.cut(values, counts, 0.2)
    assert made is not None
    assert sorted(time for time, _ in made.sentinels) == sentinels
    assert made.why.startswith(why) and bool(made.why) == (share is None)
    if share is None:
        assert made.cutoff is None
    else:
        assert made.cutoff is not None
        real = np.asarray([t for t in times if made.first <= t <= made.last])
        assert np.mean(real >= made.cutoff) == pytest.approx(share, abs=0.01)


@pytest.mark.parametrize("never", ["1900-01-01", "9999-12-31", "1970-01-01", "2099-12-31"])
@pytest.mark.parametrize("many", [0.6, 0.85])
def test_init_names_moments_that_stand_for_never(bench: Any, never: str, many: float) -> None:
    draw = random.Random(2)
    rows = []
    for n in range(1200):
        x = draw.gauss(0, 1)
        seen = never if draw.random() < many else f"2024-0{1 + n % 9}-{1 + n % 28:02d}"
        rows.append((seen, round(x, 3), n % 5, int(x + draw.gauss(0, 1) > 0)))
    path = bench.write("t.csv", table(*rows, header="last_login,x,k,churn"))
    made = proposed(path, "churn")
    held, label = made.judged.held_out, made.judged.label
    assert held.mean() == pytest.approx(0.2, abs=0.04)
    assert 0.3 < label[held].mean() < 0.7 and 0.3 < label[~held].mean() < 0.7
    assert any(never in remark and '"never"' in remark for remark in made.remarks)
    assert made.config.data.time_column is None
    # Whoever names it all the same is evaluated on as many rows, and is told.
    plan = IngestPlan.of(made.config).model_copy(update={"time_column": "last_login"})
    looked = window(path)
    dealing = deal.look(looked, plan)
    (shard,) = shards(looked, dealing=dealing)
    report = bench.ingest(path, plan, split=None, dealing=dealing).report
    assert shard.dealing == dealing
    assert report.rows["eval"] / 1200 == pytest.approx(0.2, abs=0.04)
    told = deal.record(plan, looked, dealing)
    assert never in told["why"] and told["by"] == "time"
    ingested = Ingested("", report.rows, report.positives, {}, {}, told)
    assert never in of_dealing(ingested)[0].message


def of_dealing(ingested: Ingested) -> list[Finding]:
    return list(of_table(ingested))


def test_where_no_moment_parts_the_rows_they_are_dealt(bench: Any) -> None:
    rows = bench.rows(400)
    for row in rows[:340]:
        row["started"] = rows[-1]["started"]
    plan = bench.plan(data={"time_column": "started"})
    path = bench.write_csv("a.csv", rows)
    dealing = deal.look(window(path), plan)
    assert dealing.cutoff is None
    made = bench.ingest(path, plan, split=None, dealing=dealing)
    assert 50 < made.report.rows["eval"] < 110
    told = deal.record(plan, window(path), dealing)
    assert told["by"] == "rows" and "85% of the rows share 2019-12-17 23:00:00" in told["why"]


def test_a_key_of_few_values_is_told() -> None:
    told = {"by": "rows", "columns": ["flag"], "share": 0.2, "why": ""}
    ingested = Ingested("", {"train": 100, "eval": 900, "quarantine": 0}, {}, {}, {}, told)
    (finding,) = of_dealing(ingested)
    assert finding.kind == "splits"
    assert "90% of the rows are evaluated on, and window.holdout asks for 20%" in finding.message
    assert "(flag)" in finding.message


def test_dealing_survives_the_way_to_another_machine() -> None:
    dealing = Dealing(7, 1, 9, (2**64 - 1,), ((0, 0.5),), "why")
    shard = Shard(0, 1, "a.csv", "all", None, None, None, dealing=dealing)
    back = Shard.from_dict(json.loads(json.dumps(dataclasses.asdict(shard))))
    assert back.dealing is not None
    assert list(back.dealing.common) == [2**64 - 1] and back.dealing.cutoff == 7
    assert Shard.from_dict(dataclasses.asdict(Shard(0, 1, "a", "1", 0, 1, "eval"))).dealing is None


# --- the champion ------------------------------------------------------------------------

ROWS = {"by": "rows", "columns": ["a", "b"], "share": 0.2, "why": ""}
TIME = {"by": "time", "column": "t", "cutoff": 100, "share": 0.2, "why": ""}
SPANS = {"by": "spans", "train": ["2024-01", "2024-02"], "eval": ["2024-03"]}


@pytest.mark.parametrize(
    "then, now, made, note",
    [
        (ROWS, ROWS, True, ""),
        (ROWS, ROWS | {"share": 0.1}, True, ""),
        (ROWS, ROWS | {"share": 0.3}, False, "window.holdout was 0.2, and is 0.3"),
        (ROWS, ROWS | {"columns": ["a", "b", "c"]}, False, "have changed (c came)"),
        (ROWS, ROWS | {"columns": ["b"]}, False, "have changed (a went)"),
        (ROWS, TIME, False, "by what they hold then, and are by t now"),
        (None, ROWS, False, "not known"),
        (TIME, TIME | {"cutoff": 200}, True, ""),
        (TIME, TIME | {"cutoff": 50}, False, "from an earlier moment"),
        (TIME, TIME | {"column": "u"}, False, "by t then, and are by u now"),
        (SPANS, SPANS, True, ""),
        (None, SPANS, True, ""),
        (SPANS, SPANS | {"eval": ["2024-02"]}, True, "was trained on 2024-02"),
        (ROWS, SPANS, False, "is not known"),
        (SPANS, ROWS, False, "by spans then"),
        (None, {}, True, ""),
    ],
)
def test_a_champion_is_not_judged_on_what_it_was_trained_on(
    then: Any, now: Any, made: bool, note: str
) -> None:
    found = comparison(then, now)
    assert found.made is made
    assert note in found.note and bool(found.note) == bool(note)


def test_common_rows_stay_in_the_order_of_the_file(bench: Any) -> None:
    """The order of the rows decides the weights: the same file, the same model."""
    lines = bench.csv([bench.rows(1)[0]]).splitlines()
    text = "\n".join([lines[0], *(f"{lines[1].rpartition(',')[0]},{n}.0" for n in range(200_000))])
    path, plan = str(bench.write("a.csv", text)), bench.plan()
    shard = Shard(0, 1, path, "all", None, None, None)
    with sql.connect() as connection:
        types, _ = reader.open_source(connection, path, path, plan)
        shard_work.judge(connection, types, shard, plan)
        rows = connection.sql("SELECT * FROM judged").to_arrow_table()
    assert np.array_equal(np.asarray(rows["tip"]), np.arange(200_000))
    held = next(np.asarray(rows[name]) for name in rows.column_names if name.endswith("eval"))
    assert 0.19 < held.mean() < 0.21
