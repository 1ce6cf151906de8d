"""Numbers as people write them: what is read, what init finds, and that predict reads the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline import number_text, sql
from pipeline.cli import predict_rows
from pipeline.errors import ConfigError
from pipeline.number_text import PLAIN, Format
from pipeline.starter.propose import Proposal, propose
from serving.client import table

DATABASE = sql.connect()
US, GERMAN = Format(".", ","), Format(",", ".")


def read(text: str, form: Format) -> tuple[float | None, int | None]:
    """A text as DOUBLE and as BIGINT."""
    typed = ", ".join(sql.typed("v", kind, "VARCHAR", numbers=form) for kind in ("float", "int"))
    made = DATABASE.execute(f"SELECT {typed} FROM (SELECT ?::VARCHAR AS v)", [text]).fetchone()
    assert made is not None
    return made


@pytest.mark.parametrize(
    "text, plain, us, german",
    [
        ("12", 12, 12, 12),
        ("1.234", 1.234, 1.234, 1234),
        ("1,234", None, 1234, 1.234),
        ("1,234.50", None, 1234.5, None),
        ("1.234,50", None, None, 1234.5),
        ("1.234.567", None, None, 1234567),
        ("1,23,456", None, 123456, None),
        ("0,123", None, None, 0.123),
        ("1,5", None, None, 1.5),
        ("1 234", 1234, 1234, 1234),
        ("1\u202f234,50\u00a0€", None, None, 1234.5),
        ("1'234.50", 1234.5, 1234.5, None),
        ("CHF 1’234.50", 1234.5, 1234.5, None),
        ("$1,234.50", None, 1234.5, None),
        ("-$5", -5, -5, -5),
        ("$-5", -5, -5, -5),
        ("US$5", 5, 5, 5),
        ("R$ 5", 5, 5, 5),
        ("5 EUR", 5, 5, 5),
        ("(12.50)", -12.5, -12.5, None),
        ("($1,234.50)", None, -1234.5, None),
        ("$(5)", -5, -5, -5),
        ("12.50-", -12.5, -12.5, None),
        ("12,50- €", None, None, -12.5),
        ("−5", -5, -5, -5),
        ("12%", 0.12, 0.12, 0.12),
        ("(5 %)", -0.05, -0.05, -0.05),
        ("1.5e3", 1500, 1500, None),
        ("--5", None, None, None),
        ("12 kg", None, None, None),
        ("1.2.3", None, None, None),
        ("01.02.2024", None, None, None),
        ("12:30", None, None, None),
        ("  ", None, None, None),
        ("nan", None, None, None),
    ],
)
def test_what_is_read(
    text: str, plain: float | None, us: float | None, german: float | None
) -> None:
    for form, wanted in ((PLAIN, plain), (US, us), (GERMAN, german)):
        number, whole = read(text, form)
        assert number == wanted
        assert whole == (int(wanted) if wanted is not None and wanted == int(wanted) else None)


@given(st.integers(-(2**62), 2**62), st.sampled_from([US, GERMAN, Format(".", " ")]))
def test_whole_numbers_keep_their_digits(value: int, form: Format) -> None:
    written = f"{value:,}".replace(",", form.thousands)
    assert read(written, form)[1] == value


@given(st.decimals(-(10**9), 10**9, places=2), st.sampled_from([US, GERMAN, Format(",", "'")]))
def test_amounts_are_read_as_written(value: Any, form: Format) -> None:
    marks = {",": form.thousands, ".": form.decimal}
    written = "".join(marks.get(c, c) for c in f"{abs(value):,.2f}")
    for text in (written, f"({written})", f"{written}-", f"-{written} €", f"-$ {written}"):
        sign = 1 if text == written else -1
        assert read(text, form)[0] == pytest.approx(sign * abs(float(value)), rel=1e-15)


def test_a_number_beyond_all_is_infinite_not_missing() -> None:
    for text in ("inf", "1e400", "Infinity"):
        assert read(text, GERMAN)[0] == read(text, PLAIN)[0] == float("inf")


@pytest.mark.parametrize("text", ["1.234,50", "1,234.50", "1234,50", "1234.50", "1'234.50"])
def test_a_format_is_said_by_an_example(text: str) -> None:
    form = number_text.of_example(text)
    assert form.example == text and read(text, form)[0] == 1234.5


def test_an_example_that_is_none_is_refused(bench: Any) -> None:
    for text in ("1.234.50", "german", "1,234,50"):
        with pytest.raises(ConfigError, match=r"must be 1234\.5 as the column would write it"):
            bench.config(data={"number_formats": {"fare": text}})
    with pytest.raises(ConfigError, match="Did you mean 'fare'"):
        bench.config(data={"number_formats": {"fara": "1.234,50"}})
    with pytest.raises(ConfigError, match=r"is also data\.csv\.decimal"):
        bench.config(data={"csv": {"thousands": "."}})


def test_ingestion_and_predict_read_the_same(bench: Any) -> None:
    data = {"number_formats": {"fare": "1.234,50"}, "csv": {"thousands": ","}}
    data["null_values"] = {"distance": ["n.a."]}
    fares = ["1.234,50", "12,5", "(3,00)", "1.234", "7 €", "-"]
    distances = ["1,234.50", "$2", "12%", "n.a.", " ", "5-"]
    rows = bench.rows(6, fare=fares, distance=distances)
    made = bench.ingest(bench.write_csv("t.csv", rows), bench.plan(data=data))
    assert made.report.reasons == {"type: fare is not float": 1}
    kept = [(e.get("fare", [None])[0], e.get("distance", [None])[0]) for e in made.kept]
    wanted = [(1234.5, 1234.5), (12.5, 2.0), (-3.0, 0.12), (1234.0, None), (7.0, None)]
    assert kept == [tuple(v and pytest.approx(v) for v in pair) for pair in wanted]
    config = bench.config(data=data)
    sent = predict_rows.typed(table.of({"fare": fares[:5], "distance": distances[:5]}), config)
    assert list(zip(sent.column("fare"), sent.column("distance"), strict=True)) == wanted


# --- what init finds -----------------------------------------------------------------------------


def proposed(path: Path, label: str = "y") -> Proposal:
    return propose(str(path), label, str(path.parent / "headrace.toml"), lambda _: None)


def csv_of(bench: Any, delimiter: str = ",", **columns: list[Any]) -> Path:
    rows = [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    path: Path = bench.write_csv("t.csv", rows, delimiter=delimiter)
    return path


COUNT = 120
TRUTH = [index % 2 for index in range(COUNT)]
#: Numbers without a pattern, most of four digits and more.
NUMBERS = [(index * 7919 + 13) % 90_000 for index in range(COUNT)]


def german(value: float, digits: int = 2) -> str:
    return f"{value:,.{digits}f}".translate(str.maketrans(",.", ".,"))


@pytest.mark.tfx
def test_init_reads_a_german_table(bench: Any) -> None:
    path = csv_of(
        bench,
        ";",
        umsatz=[german(n / 4) for n in NUMBERS],
        menge=[german(n, 0) for n in NUMBERS],
        us=[f"{n / 4:,.2f}" for n in NUMBERS],
        y=TRUTH,
    )
    made = proposed(path)
    csv = made.config.data.csv
    assert (csv.decimal, csv.thousands) == (",", ".")
    assert made.config.data.number_formats == {"us": "1,234.50"}
    assert {made.config.features[n].kind for n in ("umsatz", "menge", "us")} == {"numeric"}
    assert made.judged.reasons == {}
    for name, wanted in (
        ("umsatz", [n / 4 for n in NUMBERS]),
        ("menge", NUMBERS),
        ("us", [n / 4 for n in NUMBERS]),
    ):
        assert made.judged.rows.column(name).to_pylist() == pytest.approx(wanted, abs=0.01)


@pytest.mark.tfx
def test_thousands_that_look_like_fractions_are_read_as_such_and_told(bench: Any) -> None:
    written = [german(n, 0) for n in [*range(900, 960), *range(1200, 1200 + COUNT - 60)]]
    made = proposed(csv_of(bench, menge=written, y=TRUTH))
    assert made.judged.rows.column("menge").to_pylist()[59:62] == [959, 1200, 1201]
    assert any("menge: 1.234 is read as 1234" in remark for remark in made.remarks)


@pytest.mark.tfx
def test_money_percent_and_what_is_odd_about_them(bench: Any) -> None:
    made = proposed(
        csv_of(
            bench,
            price=[f"{'€' if n % 9 == 0 else '$'}{n / 4:,.2f}" for n in NUMBERS],
            share=[f"{n % 60}%" for n in NUMBERS],
            weight=[f"{n} kg" if n % 5 == 0 else str(n) for n in NUMBERS],
            y=TRUTH,
        )
    )
    assert made.config.data.csv.thousands == ","
    rows = made.judged.rows
    assert rows.column("price").to_pylist() == pytest.approx([n / 4 for n in NUMBERS], abs=0.01)
    assert rows.column("share").to_pylist() == pytest.approx([n % 60 / 100 for n in NUMBERS])
    told = "\n".join(made.remarks)
    assert "price: amounts in several currencies ($ " in told
    assert "share: percentages are read as hundredths, 12% as 0.12" in told
    assert "weight: 96 of 120 values are numbers, the rest are not (" in told


@pytest.mark.tfx
def test_na_is_missing_among_numbers_and_namibia_among_countries(bench: Any) -> None:
    country = [["NA", "DE", "FR", "ZA"][n % 4] for n in range(COUNT)]
    age = ["NA" if n % 10 == 0 else 20 + n % 50 for n in range(COUNT)]
    path = csv_of(bench, country=country, age=age, k=NUMBERS, y=TRUTH)
    made = proposed(path)
    assert made.config.data.null_values == {"age": ("NA",)}
    assert made.config.data.csv.null_values == ()
    assert made.judged.rows.column("age").null_count == 12
    assert made.judged.rows.column("country").to_pylist() == country
    # The same of Parquet, in which numbers may be text as well.
    columns = {"country": country, "age": [str(a) for a in age], "k": NUMBERS, "y": TRUTH}
    path.unlink()
    parquet.write_table(pa.table(columns), path.with_suffix(".parquet"))
    again = proposed(path.with_suffix(".parquet"))
    assert again.config.data.null_values == {"age": ("NA",)}
    assert again.judged.rows.column("age").null_count == 12
    sent = predict_rows.typed(table.of({"country": ["NA"], "age": ["NA"]}), again.config)
    assert (sent.column("country"), sent.column("age")) == (["NA"], [None])


@pytest.mark.tfx
@pytest.mark.parametrize("text", ["inf", "1e400", "-Infinity", "1e300"])
def test_an_infinite_value_is_told_and_its_row_refused(bench: Any, text: str) -> None:
    values = [text if n == 7 else n % 17 for n in range(COUNT)]
    made = proposed(csv_of(bench, ratio=values, k=NUMBERS, y=TRUTH))
    assert any("ratio: 1 of 120 values are infinite" in remark for remark in made.remarks)
    assert made.judged.reasons == {"not finite: ratio": 1}


@pytest.mark.tfx
@pytest.mark.parametrize("kind", ["csv", pa.uint64(), pa.decimal128(20, 0)])
def test_ids_of_64_bits_are_texts_to_the_last_digit(bench: Any, kind: Any) -> None:
    ids = [2**64 - 1 - index % 12 * 1_234_567 for index in range(COUNT)]
    if kind == "csv":
        path = csv_of(bench, user_id=ids, k=NUMBERS, y=TRUTH)
    else:
        path = bench.folder / "t.parquet"
        columns = {"user_id": pa.array(ids, kind), "k": NUMBERS, "y": TRUTH}
        parquet.write_table(pa.table(columns), path)
    made = proposed(path)
    assert made.config.features["user_id"].kind == "categorical"
    assert made.judged.rows.column("user_id").to_pylist() == [str(one) for one in ids]
    assert made.judged.reasons == {} and made.config.quarantine.max_share == 0.01
