"""`headrace init` on small files: what it takes columns for, and what it refuses."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pipeline import sql
from pipeline.errors import DataError, HeadraceError
from pipeline.ingest.plan import IngestPlan
from pipeline.starter import leaks, sources
from pipeline.starter.labels import LabelError
from pipeline.starter.names import plain_names
from pipeline.starter.propose import Proposal, propose

pytestmark = pytest.mark.tfx  # ingestion's own judgement decides

Row = dict[str, Any]


def customers(count: int = 600) -> list[Row]:
    """Rows whose label depends on `calls`; `refund` is the answer in other words."""
    draw = random.Random(1)
    rows = []
    for index in range(count):
        churned = draw.random() < 0.4
        joined = dt.datetime(2020, 1, 1) + dt.timedelta(hours=9 * index)
        rows.append(
            {
                "Customer ID": f"c-{index:05d}",
                "calls": round(draw.gauss(4 if churned else 2, 1.5), 2),
                "plan_code": draw.choice([10, 20, 30]),
                "city": draw.choice(["Köln", "Bonn", ""]),
                "joined": f"{joined:%d/%m/%Y %H:%M}",
                "country": "DE",
                "fee": draw.choice(["12.5", "9", "NA"]),
                "refund": 5 if churned else 0,
                "churned": "yes" if churned else "no",
            }
        )
    return rows


def proposed(path: Path, label: str | None, folder: Path) -> Proposal:
    return propose(str(path), label, str(folder / "headrace.toml"), lambda _: None)


def test_each_column_is_taken_for_what_it_is(bench: Any, tmp_path: Path) -> None:
    path = bench.write_csv("data/customers.csv", customers(), delimiter=";")
    made = proposed(path, "churned", tmp_path)
    config = made.config
    kinds = {name: feature.kind for name, feature in config.features.items()}
    assert kinds == {
        "customer_id": "ignore",
        "calls": "numeric",
        "plan_code": "categorical",
        "city": "categorical",
        "joined": "timestamp",
        "country": "ignore",
        "fee": "numeric",
    }
    assert config.data.rename == {"Customer ID": "customer_id"}
    assert config.data.csv.delimiter == ";" and config.data.csv.null_values == ("NA",)
    assert config.data.time_formats == {"joined": "%d/%m/%Y %H:%M"}
    assert config.data.time_column == "joined"
    assert config.label.expression == "churned = 'yes'"
    assert config.label.leaks == {"churned": "string", "refund": "int"}
    assert any(
        "suspected leak: refund predicts the label alone: AUC 1.0" in r for r in made.remarks
    )
    assert 'country = { kind = "ignore" }' in made.text and "always 'DE'" in made.text


def test_the_same_data_give_the_same_text(bench: Any, tmp_path: Path) -> None:
    path = bench.write_csv("customers.csv", customers())
    assert proposed(path, "churned", tmp_path).text == proposed(path, "churned", tmp_path).text


def test_files_with_dates_become_spans(bench: Any, tmp_path: Path) -> None:
    rows = customers()
    for month in (1, 2, 3):
        day = dt.datetime(2020, month, 1)
        part = [row | {"joined": day + dt.timedelta(minutes=i)} for i, row in enumerate(rows[:200])]
        bench.write_csv(f"data/2020-{month:02d}.csv", part)
    made = proposed(tmp_path / "data", "churned", tmp_path)
    assert made.config.data.pattern == "{span:%Y-%m}.csv"
    assert made.config.data.time_column == "joined"
    assert made.judged.held_out.sum() == 200


def test_few_rows_are_no_evidence_of_a_leak(bench: Any, tmp_path: Path) -> None:
    """Of 150 irises two petal measures each tell a species almost alone, and give nothing away."""
    from sklearn.datasets import load_iris

    flowers = load_iris()
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    rows = [
        dict(zip(names, map(float, values), strict=True)) | {"setosa": int(kind == 0)}
        for values, kind in zip(flowers.data, flowers.target, strict=True)
    ]
    made = proposed(bench.write_csv("iris.csv", rows), "setosa", tmp_path)
    assert {name: feature.kind for name, feature in made.config.features.items()} == dict.fromkeys(
        names, "numeric"
    )
    assert set(made.config.label.leaks) == {"setosa"}
    assert any("petal_length: strong alone" in remark for remark in made.remarks)


def test_a_total_that_holds_the_answer_is_a_leak(bench: Any, tmp_path: Path) -> None:
    draw = random.Random(2)
    rows = []
    for _ in range(800):
        fare, tip, toll = draw.uniform(5, 60), draw.choice([0, draw.uniform(1, 9)]), draw.random()
        rows.append({"fare": fare, "toll": toll, "tip": tip, "total": fare + toll + tip})
    made = proposed(bench.write_csv("a.csv", rows), "tip > 0.1 * fare", tmp_path)
    assert set(made.config.label.leaks) == {"fare", "tip", "total"}
    assert "toll" in made.config.features


@pytest.mark.parametrize(
    "values, expression",
    [
        (["Yes", "No", " Yes", "No ", " "], "trim(answer) = 'Yes'"),
        (["yes", "NO", "Yes ", "no", ""], "lower(trim(answer)) = 'yes'"),
        (["Yes", "No", "No", "Yes", ""], "answer = 'Yes'"),
    ],
)
def test_answers_that_are_written_unlike_are_one(
    bench: Any, tmp_path: Path, values: list[str], expression: str
) -> None:
    rows = [{"x": at % 17, "k": at % 7, "answer": values[at % 5]} for at in range(600)]
    made = proposed(bench.write_csv("a.csv", rows), "answer", tmp_path)
    assert made.config.label.expression == expression
    positives = 240  # two of five are yes, two are no, one is not known
    assert any("label is missing (120)" in remark for remark in made.remarks)
    report = bench.ingest(tmp_path / "a.csv", IngestPlan.of(made.config)).report
    assert sum(report.rows[split] for split in ("train", "eval")) == 480
    assert sum(report.positives[split] for split in ("train", "eval")) == positives
    assert report.reasons == {"label is missing": 120}


def test_codes_with_zeros_in_front_stay_text(bench: Any, tmp_path: Path) -> None:
    zips = ["00501", "10001", "02134", "94105"]
    rows = [
        {"zip": zips[at % 4], "units": f"{at % 9:03}", "y": int(at % 9 > 4) ^ (at % 11 == 0)}
        for at in range(600)
    ]
    features = proposed(bench.write_csv("a.csv", rows), "y", tmp_path).config.features
    assert features["zip"].kind == "categorical" and features["zip"].type == "string"
    assert features["units"].kind == "numeric"


@pytest.mark.parametrize(
    "label, told",
    [
        (None, "looks like it: type --label churned."),
        ("calls", "Headrace learns a yes-or-no label, not an amount"),
        ("plan_code", "has 3 classes ("),
        ("chruned", "there is no column 'chruned'. Did you mean churned?"),
        ("1 = 1", "names no column"),
        ("country", "holds only 'DE'"),
        ("refund", "which of its values is the positive class, '5'"),
        ("calls >", "is not SQL"),
        ("calls > 1e9", "is 0 for all 600 rows"),
    ],
)
def test_a_label_that_cannot_be_learnt(
    bench: Any, tmp_path: Path, label: str | None, told: str
) -> None:
    path = bench.write_csv("a.csv", customers())
    with pytest.raises(LabelError) as caught:
        proposed(path, label, tmp_path)
    assert told in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "content, told",
    [
        (b"", "is empty"),
        (b"a,b,y\n", "holds no rows, only column names"),
        (b"y\n" + b"0\n1\n" * 30, "no column is left that a model could learn from"),
        (b"a,A,y\n1,2,0\n2,3,1\n", "has a column twice: a, A"),
        (b"1,2.5\n2,3.5\n3,4.5\n", "its first line looks like a row"),
        (b"Report\n\na,b,y\n1,2,0\n2,3,1\n3,4,0\n", "before the column names"),
        (b"a,b,y\n1,2,0\n2,3\n4,5,1\n" * 9, "line 3: the row is broken"),
    ],
)
def test_a_file_that_is_no_table(bench: Any, tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(HeadraceError, match=told):
        proposed(bench.write("a.csv", content), "y", tmp_path)


def test_latin_text_and_decimal_commas(bench: Any, tmp_path: Path) -> None:
    rows = [
        {"ort": "Köln" if i % 3 else "Bonn", "wert": f"{i},5", "ja": "J" if i % 2 else "N"}
        for i in range(99)
    ]
    path = bench.write("a.csv", bench.csv(rows, delimiter=";").encode("latin-1"))
    made = proposed(path, "ja = 'J'", tmp_path)
    assert made.config.data.csv.encoding == "latin-1" and made.config.data.csv.decimal == ","
    assert made.judged.rows.column("wert").to_pylist()[:2] == [0.5, 1.5]


@pytest.mark.parametrize(
    "names, pattern",
    [
        (["x/2019-01-01/a.csv", "x/2019-01-02/b.csv"], "x/{span:%Y-%m-%d}/*.csv"),
        (["year=2019/month=01/p-0.csv", "year=2019/month=02/p-1.csv"], None),
        (["part-00000-of-00002.csv", "part-00001-of-00002.csv"], "part-*-of-00002.csv"),
        (["batch_7.csv", "batch_12.csv"], "batch_{span}.csv"),
        (["north.csv", "south.csv"], "*.csv"),
        (["20190101.csv.gz", "20190102.csv.gz"], "{span:%Y%m%d}.csv.gz"),
        (["2019-01.csv", "2019-02.csv", "README.txt", "_SUCCESS"], "{span:%Y-%m}.csv"),
    ],
)
def test_what_of_a_name_is_the_span(bench: Any, names: list[str], pattern: str | None) -> None:
    for name in names:
        bench.write(f"data/{name}", "a\n")
    found = sources.find(str(bench.folder / "data"))
    assert found.pattern == (pattern or "{span:year=%Y/month=%m}/p-*.csv")


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        sources.find(str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="the folder holds nothing that could be read"):
        sources.find(str(tmp_path))


def test_names_that_a_model_takes() -> None:
    made = plain_names(["größe", "1st", "order by", "__label", "Order_By", "日本", "fine"])
    assert made == {
        "größe": "groesse",
        "1st": "c_1st",
        "order by": "order_by_2",
        "__label": "label",
        "Order_By": "Order_By",
        "日本": "column",
        "fine": "fine",
    }


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 2, 500)
    score = np.round(label + draw.normal(0, 1, 500), 1)  # with ties
    assert leaks.auc(score, label) == pytest.approx(roc_auc_score(label, score))


@pytest.mark.parametrize(
    "form, text, seconds",
    [
        ("milliseconds", "1577836800999", 1577836800),
        ("microseconds", "1577836800999999", 1577836800),
        ("%d/%m/%Y", "31/12/2019", 1577750400),
        ("%Y%m%d", "20200101", 1577836800),
        ("%d/%m/%Y", "12/31/2019", None),
        ("milliseconds", "soon", None),
    ],
)
def test_how_moments_are_written(form: str, text: str, seconds: int | None) -> None:
    typed = sql.typed("x", "timestamp", "VARCHAR", time_format=form)
    assert sql.connect().execute(f"SELECT {typed} FROM (SELECT ? AS x)", [text]).fetchone() == (
        seconds,
    )
