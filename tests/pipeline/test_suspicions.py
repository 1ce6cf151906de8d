"""What `headrace init` sees: too few answers, spans in other clothes, what came afterwards."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import DataError
from pipeline.findings import Policies, of_ingestion
from pipeline.ingest import evidence
from pipeline.ingest.summary import Ingested, SpanRows
from pipeline.starter.propose import Proposal, propose

pytestmark = pytest.mark.tfx  # ingestion's own judgement decides

Row = dict[str, Any]


def proposed(path: Path, label: str = "y") -> Proposal:
    return propose(str(path), label, str(path.parent / "headrace.toml"), lambda _: None)


def months(
    bench: Any, count: int, columns: Callable[[int, int, random.Random], Row], rows: int = 80
) -> Proposal:
    """A folder of months; `columns` gives a row by month, place and luck, beside `x` and `y`."""
    draw = random.Random(1)
    for month in range(count):
        label = f"{2022 + month // 12}-{month % 12 + 1:02d}"
        made = []
        for place in range(rows):
            x = draw.gauss(0, 1)
            answer = int(x + draw.gauss(0, 1) > 0)
            made.append({"x": round(x, 3), **columns(month, place, draw), "y": answer})
        bench.write_csv(f"months/{label}.csv", made)
    return proposed(bench.folder / "months")


# --- enough of both answers -----------------------------------------------------------------


def test_too_few_answers_are_told_with_the_spans_that_would_do(bench: Any) -> None:
    """0.3 % in hours of a thousand rows: three in an hour."""
    for hour in range(24):
        rows = [{"x": n % 7, "z": n % 11, "y": int(n % 333 == 1)} for n in range(1000)]
        for row in rows:
            row["x"] += hour / 100
        bench.write_csv(f"hours/2024-01-05-{hour:02d}.csv", rows)
    made = proposed(bench.folder / "hours")
    assert made.config.window.eval_spans == 6  # a quarter of what there is
    told = next(remark for remark in made.remarks if "eval_spans" in remark)
    assert "only 18 of 6,000 rows evaluated on have the answer 1" in told
    assert "window.eval_spans = 34 (now 6) would hold about 100" in told
    assert "of the 24 spans here 10 would hold 30" in told


def test_as_many_spans_are_evaluated_on_as_hold_enough(bench: Any) -> None:
    for day in range(1, 29):
        rows = [{"x": n % 7 + day, "z": n % 11, "y": int(n % 40 == 1)} for n in range(1000)]
        bench.write_csv(f"days/2024-01-{day:02d}.csv", rows)
    made = proposed(bench.folder / "days")
    assert made.config.window.eval_spans == 4
    assert int(made.judged.label[made.judged.held_out].sum()) == 100
    assert not any("evaluated on have" in remark for remark in made.remarks)


def test_a_table_with_a_rare_answer_is_evaluated_on_more_of_it(bench: Any) -> None:
    rows = [{"x": n, "z": n * 7 % 101, "y": int(n % 20 == 0)} for n in range(2000)]
    made = proposed(bench.write_csv("rare.csv", rows))
    assert made.config.window.holdout == 0.4
    rows = [{"x": n, "z": n * 7 % 101, "y": int(n % 100 == 0)} for n in range(2000)]
    made = proposed(bench.write_csv("rarer/t.csv", rows))
    told = next(remark for remark in made.remarks if "evaluated on have" in remark)
    assert "The whole table has 20 of them; 75 at least are needed" in told


@pytest.mark.parametrize(
    "rows, positives, said",
    [
        (8000, 24, "only 24 of 8,000 rows evaluated on have the answer 1"),
        (8000, 7976, "only 24 of 8,000 rows evaluated on have the answer 0"),
        (8000, 30, ""),
        (100, 50, ""),
        (100, 0, "no model can be judged"),
    ],
)
def test_how_few_are_too_few(rows: int, positives: int, said: str) -> None:
    found = evidence.too_few(rows, positives)
    assert said in found and bool(found) == bool(said)


def test_a_run_tells_of_too_few_answers(bench: Any) -> None:
    spans = {str(n): SpanRows(1000, 0, {}, {}) for n in range(9)}
    dealt = {"by": "spans", "train": list("01234567"), "eval": ["8"]}
    counts = {"train": 8000, "eval": 1000, "quarantine": 0}
    ingested = Ingested("", counts, {"train": 24, "eval": 3}, spans, {}, dealt)
    (finding,) = of_ingestion(ingested, Policies.of(bench.config()))
    assert finding.kind == "label" and finding.value == 3
    assert "only 3 of 1,000 rows evaluated on have the answer 1" in finding.message
    assert "window.eval_spans = 34 (now 1)" in finding.message
    none = Ingested("", counts, {"train": 24, "eval": 0}, spans, {}, dealt)
    with pytest.raises(DataError, match=r"all 1,000 rows have label 0.*window\.eval_spans = 34"):
        none.check()


# --- the span in other clothes --------------------------------------------------------------


def test_columns_that_are_the_span_are_left_out(bench: Any) -> None:
    """A year, a month's name, a batch, a day count, a running number; and what is none."""

    def columns(month: int, place: int, draw: random.Random) -> Row:
        return {
            "year": 2022 + month // 12,
            "batch_no": 100 + month,
            "period": f"P{month:03d}",
            "day_count": 19_000 + 30 * month + draw.randrange(30),
            "ticket": 500_000 + month * 200 + place * 2,
            "price_index": 100 + 3 * month + round(draw.gauss(0, 40), 1),
            "month_number": month % 12 + 1,
            "day_of_month": draw.randrange(1, 29),
            "tariff": int(month > 4),
            "visits": draw.randrange(12),
        }

    made = months(bench, 18, columns)
    kinds = {name: feature.kind for name, feature in made.config.features.items()}
    left_out = {name for name, kind in kinds.items() if kind == "ignore"}
    assert left_out == {"year", "batch_no", "period", "day_count", "ticket"}
    for name in left_out:
        assert any(r.startswith(f"{name} left out, it is the span") for r in made.remarks)
    assert "year = { kind = " in made.text and "never comes again" in made.text
    assert "grows from span to span" in made.text


def test_the_months_of_less_than_a_year_are_the_span(bench: Any) -> None:
    made = months(bench, 6, lambda month, place, draw: {"month_number": month + 1, "w": place % 9})
    assert made.config.features["month_number"].kind == "ignore"
    assert made.config.features["w"].kind != "ignore"


def test_what_grows_with_time_in_one_table_is_left_out(bench: Any) -> None:
    draw = random.Random(4)
    rows = []
    for n in range(1000):
        x = draw.gauss(0, 1)
        moment = dt.datetime(2024, 1, 1) + dt.timedelta(hours=3 * n)
        rows.append(
            {
                "at": moment.isoformat(),
                "reading": 7000 + 3 * n + draw.randrange(3),
                "x": round(x, 2),
                "y": int(x + draw.gauss(0, 1) > 0),
            }
        )
    made = proposed(bench.write_csv("table.csv", rows))
    assert made.config.data.time_column == "at"
    assert made.config.features["reading"].kind == "ignore"
    assert made.config.features["x"].kind == "numeric"


# --- what may be known only afterwards ------------------------------------------------------


def test_what_may_be_known_only_afterwards_is_asked_about(bench: Any) -> None:
    draw = random.Random(6)
    rows = []
    for n in range(3000):
        risk = draw.gauss(0, 1)
        bad = int(risk + draw.gauss(0, 1) > 0.5)
        opened = dt.datetime(2024, 1, 1) + dt.timedelta(minutes=90 * draw.randrange(4000))
        closed = opened + dt.timedelta(hours=draw.randrange(30, 300))
        row = {
            "risk": round(risk, 2),
            "opened": opened.isoformat(sep=" "),
            "closed": closed.isoformat(sep=" "),
            "total_pymnt": round((3.2 - 2.6 * bad) * 1000 + draw.gauss(0, 900)),
            "recoveries": draw.randrange(500) if bad and draw.random() < 0.8 else "",
            "score_afterwards": "" if n % 10 == 0 else draw.randrange(40),
            "amount": draw.randrange(1000, 9000),
            "y": "" if n % 10 == 0 else bad,
        }
        rows.append(row)
    made = proposed(bench.write_csv("loans.csv", rows))
    asked = [
        question.partition(":")[0] for question in made.questions if "together" not in question
    ]
    assert set(asked) == {"total_pymnt", "recoveries", "closed", "score_afterwards"}
    assert asked.index("total_pymnt") < asked.index("closed")
    told = dict(question.split(": ", 1) for question in made.questions)
    assert "alone it has AUC 0.9" in told["total_pymnt"]
    assert "missing in" in told["recoveries"] and "answer 1" in told["recoveries"]
    assert "after opened in the median" in told["closed"]
    assert "300 rows whose answer is not known" in told["score_afterwards"]
    assert "# Known by then? total_pymnt" in made.text


def test_columns_that_are_the_answer_only_together_are_asked_about(bench: Any) -> None:
    draw = random.Random(7)
    rows = []
    for _ in range(4000):
        due, paid, fee = draw.uniform(0, 100), draw.uniform(0, 100), draw.uniform(0, 40)
        rows.append(
            {
                "due": round(due, 2),
                "paid_in": round(paid, 2),
                "fee": round(fee, 2),
                "age": draw.randrange(18, 80),
                "town": draw.choice("abcdef"),
                "y": int(due + fee > paid + 20),
            }
        )
    made = proposed(bench.write_csv("dues.csv", rows))
    first = made.questions[0]
    assert first.startswith(("due, paid_in", "paid_in, due")) and "fee" in first.split(":")[0]
    assert "age" not in first.split(":")[0] and "together they have AUC 0.9" in first
    honest = [row | {"y": int(row["y"] ^ (draw.random() < 0.15))} for row in rows]
    other = proposed(bench.write_csv("honest/t.csv", honest))
    assert not any("together" in question for question in other.questions)


def test_few_questions_are_asked(bench: Any) -> None:
    draw = random.Random(8)
    rows = []
    for n in range(800):
        rows.append({f"outcome_{at}": draw.randrange(50) for at in range(20)} | {"y": n % 2})
    assert len(proposed(bench.write_csv("many.csv", rows)).questions) == 8


def test_an_honest_table_is_not_asked_about(bench: Any) -> None:
    draw = random.Random(9)
    rows = []
    for _ in range(800):
        x = draw.gauss(0, 1)
        rows.append({"x": round(x, 2), "k": draw.randrange(5), "y": int(x + draw.gauss(0, 1) > 0)})
    assert proposed(bench.write_csv("plain.csv", rows)).questions == []
