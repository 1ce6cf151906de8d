"""Ingestion of one file: what becomes of every row, read back as TensorFlow reads it."""

import collections
import datetime as dt
import decimal
import gzip
import json
import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from pipeline import config_file
from pipeline.errors import DataError
from pipeline.ingest import shard as shard_work
from pipeline.ingest.encode import ExampleWriter, empty_file, partial_folder, to_lists
from pipeline.ingest.plan import SPLITS, IngestPlan, Shard, ShardReport, shards
from pipeline.ingest.summary import Ingested, SpanRows, summarize
from pipeline.spans import Span, SpanFiles, Window

pytestmark = pytest.mark.tfx  # examples are written by tfx_bsl and TensorFlow

DECEMBER = {"start": 1575158400, "end": 1577836800}


def as_seconds(moment: dt.datetime) -> int:
    return int(moment.replace(tzinfo=dt.UTC).timestamp())


# --- formats -----------------------------------------------------------------------------


def compress_zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


FORMATS: dict[str, Any] = {
    "plain.csv": lambda text: text.encode(),
    "plain.tsv": lambda text: text.encode(),
    "no_newline_at_the_end.csv": lambda text: text.encode().rstrip(),
    "blank_lines_at_the_end.csv": lambda text: text.encode() + b"\n\n",
    "gzip.csv.gz": lambda text: gzip.compress(text.encode()),
    "GZIP.CSV.GZ": lambda text: gzip.compress(text.encode()),
    "zstd.csv.zst": lambda text: compress_zstd(text.encode()),
    "byte_order_mark.csv": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "crlf.csv": lambda text: text.replace("\n", "\r\n").encode(),
    "cr.csv": lambda text: text.replace("\n", "\r").encode(),
    "brackets [1] and *.csv": lambda text: text.encode(),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_way_to_write_csv_gives_the_same_examples(
    bench: Any, expected: Any, name: str
) -> None:
    rows = bench.rows(note="a word")
    path = bench.write(name, FORMATS[name](bench.csv(rows)))
    made = bench.ingest(path)
    assert made.report.error is None
    assert made.examples["train"] == [expected(row) for row in rows]
    assert made.report.rows == {"train": 6, "eval": 0, "quarantine": 0}
    assert made.report.positives == {"train": 3, "eval": 0, "quarantine": 0}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("quoting", [0, 1])
def test_delimiters_are_told_from_the_header(
    bench: Any, expected: Any, delimiter: str, quoting: int
) -> None:
    rows = bench.rows(note="one, two; three | four")
    path = bench.write_csv("a.csv", rows, delimiter=delimiter, quoting=quoting)
    assert bench.ingest(path).examples["train"] == [expected(row) for row in rows]


def test_an_unusual_delimiter_can_be_set(bench: Any, expected: Any) -> None:
    rows = bench.rows(note="a, b", started="2019-12-01 08:00:00", ended="2019-12-01 08:20:00")
    path = bench.write_csv("a.csv", rows, delimiter="^")
    made = bench.ingest(path, bench.plan(data={"csv": {"delimiter": "^"}}))
    assert len(made.examples["train"]) == len(rows)
    assert made.examples["train"][0]["note"] == [b"a, b"]


def test_quoted_fields_may_hold_delimiters_quotes_and_newlines(bench: Any, expected: Any) -> None:
    rows = bench.rows(note='to "gate", 4\nthen\r\nhome;')
    made = bench.ingest(bench.write_csv("a.csv", rows))
    assert made.examples["train"] == [expected(row) for row in rows]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_another_encoding_can_be_set(bench: Any, expected: Any, encoding: str) -> None:
    rows = bench.rows(note="Zürich, café")
    path = bench.write("a.csv", bench.csv(rows).encode(encoding))
    made = bench.ingest(path, bench.plan(data={"csv": {"encoding": encoding}}))
    assert made.examples["train"] == [expected(row) for row in rows]


def test_spaces_around_column_names_do_not_matter(bench: Any, expected: Any) -> None:
    rows = bench.rows()
    header, rest = bench.csv(rows).split("\n", 1)
    path = bench.write("a.csv", f" {header.replace(',', ' , ')}\n{rest}")
    assert bench.ingest(path).examples["train"] == [expected(row) for row in rows]


def test_texts_that_mean_missing_can_be_named(bench: Any) -> None:
    rows = bench.rows(fare=10.0)
    rows[0] |= {"distance": "NA", "riders": "-", "flag": "NA"}
    path = bench.write_csv("a.csv", rows)
    made = bench.ingest(path, bench.plan(data={"csv": {"null_values": ["NA", "-"]}}))
    first = made.examples["train"][0]
    assert {"distance", "riders", "flag"}.isdisjoint(first)
    assert made.report.rows["quarantine"] == 0


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
def test_parquet_gives_the_same_examples_as_csv(
    bench: Any, expected: Any, compression: str
) -> None:
    rows = bench.rows()
    table = pa.Table.from_pylist(rows)
    parquet.write_table(table, bench.folder / "a.parquet", compression=compression)
    made = bench.ingest(bench.folder / "a.parquet")
    assert made.examples["train"] == [expected(row) for row in rows]
    assert made.examples == bench.ingest(bench.write_csv("a.csv", rows)).examples


def test_parquet_types_that_mean_the_same_give_the_same_examples(bench: Any, expected: Any) -> None:
    rows = bench.rows()
    usual = bench.ingest(bench.write_parquet("a.parquet", rows)).examples
    for row in rows:
        row["fare"] = decimal.Decimal(row["fare"])
    unusual = bench.write_parquet(
        "b.parquet",
        rows,
        distance=pa.float32(),
        riders=pa.float64(),
        place=pa.uint16(),
        flag=pa.dictionary(pa.int8(), pa.string()),
        note=pa.large_binary(),
        started=pa.timestamp("ns"),
        ended=pa.timestamp("us", "UTC"),
    )
    assert bench.ingest(unusual).examples == usual


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_csv_and_parquet_agree_and_no_row_is_lost(bench: Any, data: st.DataObject) -> None:
    """Any values at all: equal content gives equal examples and equal verdicts."""
    count = data.draw(st.integers(1, 8))

    def column(values: st.SearchStrategy[Any]) -> list[Any]:
        return data.draw(st.lists(st.none() | values, min_size=count, max_size=count))

    moments = st.datetimes(dt.datetime(2019, 11, 30), dt.datetime(2020, 1, 2)).map(
        lambda moment: moment.replace(microsecond=0)
    )
    rows = bench.rows(
        count,
        distance=column(st.floats(width=64) | st.just(1e300)),
        fare=column(st.floats(-10, 100)),
        riders=column(st.integers(-(2**63), 2**63 - 1)),
        flag=column(TEXT),
        note=column(TEXT),
        started=column(moments),
        tip=column(st.floats(0, 100)),
    )
    plan = bench.plan(
        data={"time_column": "started"}, quarantine={"rules": {"negative": "fare < 0"}}
    )
    types = dict.fromkeys(["distance", "fare", "tip"], pa.float64()) | {
        "riders": pa.int64(),
        "flag": pa.string(),
        "note": pa.string(),
        "started": pa.timestamp("us"),
    }
    from_parquet = bench.ingest(
        bench.write_parquet("a.parquet", rows, **types), plan, split="eval", **DECEMBER
    )
    from_csv = bench.ingest(
        bench.write_csv("a.csv", rows, quoting=1), plan, split="eval", **DECEMBER
    )
    for made in (from_parquet, from_csv):
        assert made.report.error is None
        assert sum(made.report.rows.values()) == count
        assert {split: len(made.examples[split]) for split in SPLITS} == made.report.rows
        assert made.report.rows["train"] == 0
    assert from_csv.examples["eval"] == from_parquet.examples["eval"]
    assert from_csv.report.reasons == from_parquet.report.reasons
    for row in rows:  # every row that breaks no rule is kept, every other refused
        row["good"] = (
            row["fare"] is not None
            and row["tip"] is not None
            and row["fare"] >= 0
            and (row["distance"] is None or not math.isinf(clipped(row["distance"])))
            and (row["started"] is None or row["started"].strftime("%Y-%m") == "2019-12")
        )
    assert from_csv.report.rows["eval"] == sum(row["good"] for row in rows)


def clipped(value: float) -> float:
    """The value as 32 bits hold it."""
    return math.inf if abs(value) > 3.4028234663852886e38 else value


# --- columns -----------------------------------------------------------------------------


def test_a_column_null_in_one_span_and_float_in_the_next_is_one_float(bench: Any) -> None:
    empty = bench.write_parquet("1.parquet", bench.rows(distance=None), distance=pa.null())
    full = bench.write_parquet("2.parquet", bench.rows(distance=2.5))
    text = bench.write_csv("3.csv", bench.rows(distance=None))
    for path, value in ((empty, None), (full, [2.5]), (text, None)):
        made = bench.ingest(path)
        assert made.report.rows == {"train": 6, "eval": 0, "quarantine": 0}
        assert all(example.get("distance") == value for example in made.kept)


def test_columns_may_have_their_official_names(root: Path, bench: Any) -> None:
    config = config_file.load(root / "headrace.toml")
    plan = IngestPlan.of(config)
    moment = dt.datetime(2019, 12, 5, 8)
    official = {
        "VendorID": 1,
        "tpep_pickup_datetime": moment,
        "tpep_dropoff_datetime": moment,
        "RatecodeID": 1,
        "PULocationID": 130,
        "DOLocationID": 7,
        "payment_type": 1,
        "passenger_count": 1.0,
        "trip_distance": 2.5,
        "store_and_fwd_flag": "N",
        "fare_amount": 10.0,
        "extra": 0.5,
        "mta_tax": 0.5,
        "tip_amount": 3.0,
        "tolls_amount": 0.0,
        "improvement_surcharge": 0.3,
        "total_amount": 14.3,
        "congestion_surcharge": None,
    }
    path = bench.write_parquet("yellow_tripdata_2019-12.parquet", [official] * 2)
    made = bench.ingest(path, plan, **DECEMBER)
    assert made.report.error is None
    assert made.report.new_columns == []
    (example, _) = made.kept
    assert example["pickup_location_id"] == [130]
    assert example["pickup_datetime"] == [as_seconds(moment)]
    assert example["label"] == [1]
    # The files that lie here have the other names; both give the same columns.
    (sample, *_) = sorted((root / "data" / "nyc_yellow").glob("*.parquet"))
    ours = shard_work.reader.open_source(shard_work.sql.connect(), str(sample), str(sample), plan)
    assert ours[1] == []


def test_a_header_of_other_names_alone_is_understood(bench: Any, expected: Any) -> None:
    rows = bench.rows()
    renamed = [{name.upper() + "!": value for name, value in row.items()} for row in rows]
    path = bench.write_csv("a.csv", renamed, delimiter=";")
    plan = bench.plan(data={"rename": {name.upper() + "!": name for name in rows[0]}})
    assert bench.ingest(path, plan).kept == [expected(row) for row in rows]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_name_that_looks_like_a_pattern_is_one_file(
    bench: Any, expected: Any, ending: str
) -> None:
    write = bench.write_csv if ending == "csv" else bench.write_parquet
    write(f"trips 1.{ending}", bench.rows(3))
    made = bench.ingest(write(f"trips *.{ending}", bench.rows(2)))
    assert made.kept == [expected(row) for row in bench.rows(2)]


def test_an_optional_column_may_be_absent(bench: Any) -> None:
    rows = [{key: row[key] for key in row if key != "distance"} for row in bench.rows()]
    plan = bench.plan(data={"optional_columns": ["distance"]})
    made = bench.ingest(bench.write_csv("a.csv", rows), plan)
    assert made.report.rows["train"] == 6
    assert all("distance" not in example for example in made.kept)


def test_leaks_are_kept_and_ignored_columns_are_not(bench: Any) -> None:
    made = bench.ingest(bench.write_csv("a.csv", bench.rows()))
    assert made.kept[0]["tip"] == [0.5]
    assert "operator" not in made.kept[0]
    assert "minutes" not in made.kept[0]
    assert made.report.new_columns == []


def test_columns_that_nobody_named_are_reported_and_not_written(bench: Any) -> None:
    rows = [row | {"colour": "red", "größe": 1} for row in bench.rows()]
    made = bench.ingest(bench.write_csv("a.csv", rows))
    assert made.report.new_columns == ["colour", "größe"]
    assert "colour" not in made.kept[0]


@pytest.mark.parametrize("name", ["source", "typed", "judged", "select", 'a "b"; c', "x.y"])
def test_any_name_may_stand_in_a_file(bench: Any, name: str) -> None:
    """Words that the SQL made here uses itself are names as good as others."""
    plain = name if name.isidentifier() else "plain"
    plan = bench.plan(
        features={plain: {"kind": "numeric"}},
        data={"rename": {name: plain}} if name != plain else {},
    )
    rows = bench.rows(**{name: [1.5, 2.5, 3.5, 4.5, None, 5.5]})
    made = bench.ingest(bench.write_parquet("a.parquet", rows), plan)
    assert [e.get(plain) for e in made.kept] == [[1.5], [2.5], [3.5], [4.5], None, [5.5]]
    broken = bench.rows(**{name: ["x", "1", "2", "3", "4", "5"]})
    made = bench.ingest(bench.write_csv("b.csv", broken), plan)
    (refused,) = made.refused
    assert refused["quarantine_reason"] == [f"type: {plain} is not float".encode()]
    assert json.loads(refused["quarantine_row"][0])[plain] == "x"


def test_the_label_may_use_columns_that_are_not_features(bench: Any) -> None:
    rows = [row | {"survived": int(row["tip"] > 1)} for row in bench.rows()]
    for path in (bench.write_csv("a.csv", rows), bench.write_parquet("a.parquet", rows)):
        for expression in ("survived = 1", "survived", "survived = 1 -- as the file says"):
            plan = bench.plan(
                label={"expression": expression}, features={"survived": {"kind": "ignore"}}
            )
            made = bench.ingest(path, plan)
            assert made.report.positives["train"] == 3
            assert made.report.new_columns == []
            assert "survived" not in made.kept[0]


# --- quarantine --------------------------------------------------------------------------


def refusals(made: Any) -> dict[int, str]:
    """Reason by row number."""
    refused = {}
    for example in made.refused:
        source = example["quarantine_source"][0].decode()
        refused[int(source.rsplit("row ", 1)[1])] = example["quarantine_reason"][0].decode()
        assert source.startswith(made.report.path)
    return refused


def test_each_refused_row_has_its_reason_its_content_and_its_place(bench: Any) -> None:
    rows = bench.rows(10)
    rows[1]["fare"] = -1.0
    rows[2]["distance"] = "far"
    rows[3]["distance"] = "inf"
    rows[4]["tip"] = None
    rows[5]["started"] = "2019-11-30 23:59:59"
    rows[6]["started"] = "2020-01-01 00:00:00"
    rows[7] |= {"fare": -2.0, "distance": "-1e300"}
    rows[8] |= {"riders": "1.5", "started": "soon"}
    plan = bench.plan(
        data={"time_column": "started"}, quarantine={"rules": {"negative fare": "fare < 0"}}
    )
    made = bench.ingest(bench.write_csv("a.csv", rows), plan, **DECEMBER)
    assert refusals(made) == {
        2: "negative fare",
        3: "type: distance is not float",
        4: "not finite: distance",
        5: "label is missing",
        6: "outside its span",
        7: "outside its span",
        8: "not finite: distance;negative fare",
        9: "type: riders is not int;type: started is not timestamp",
    }
    assert made.report.rows == {"train": 2, "eval": 0, "quarantine": 8}
    assert made.report.reasons == {
        "negative fare": 2,
        "type: distance is not float": 1,
        "not finite: distance": 2,
        "label is missing": 1,
        "outside its span": 2,
        "type: riders is not int": 1,
        "type: started is not timestamp": 1,
    }
    by_reason = {example["quarantine_reason"][0]: example for example in made.refused}
    row = json.loads(by_reason[b"type: distance is not float"]["quarantine_row"][0])
    assert row["distance"] == "far"
    assert row["operator"] == "acme"
    sample = made.report.samples["type: distance is not float"]
    assert sample.startswith("row 3: {")
    assert '"far"' in sample


def test_the_first_and_the_last_second_of_a_span_belong_to_it(bench: Any) -> None:
    times = ["2019-12-01 00:00:00", "2019-12-31 23:59:59", "2020-01-01 00:00:00"]
    rows = bench.rows(3, started=times)
    plan = bench.plan(data={"time_column": "started"})
    made = bench.ingest(bench.write_csv("a.csv", rows), plan, **DECEMBER)
    assert list(refusals(made)) == [3]


def test_numbers_too_large_for_an_example_are_refused(bench: Any) -> None:
    rows = bench.rows(4, distance=[3.4e38, 3.5e38, -1e39, float("inf")])
    made = bench.ingest(bench.write_parquet("a.parquet", rows))
    assert set(refusals(made)) == {2, 3, 4}
    assert all(math.isfinite(example["distance"][0]) for example in made.kept)


def test_nan_is_missing_and_no_reason(bench: Any) -> None:
    rows = bench.rows(distance=float("nan"), riders=float("nan"))
    for path in (bench.write_parquet("a.parquet", rows), bench.write_csv("a.csv", rows)):
        made = bench.ingest(path)
        assert made.report.rows["train"] == 6
        assert all({"distance", "riders"}.isdisjoint(example) for example in made.kept)


@pytest.mark.parametrize(
    "expression, reason",
    [
        ("2 * CAST(tip > 1 AS INTEGER)", "label is not 0 or 1"),
        ("tip", "label is not 0 or 1"),
        ("flag", "label is not 0 or 1"),
        ("CAST('nan' AS DOUBLE)", "label is not 0 or 1"),
        ("NULL", "label is missing"),
        ("nullif(riders, riders) > 1", "label is missing"),
    ],
)
def test_a_label_that_is_no_label_refuses_the_row(bench: Any, expression: str, reason: str) -> None:
    some = f"CASE WHEN distance > 4 THEN CAST(({expression}) AS VARCHAR) ELSE '1' END"
    plan = bench.plan(label={"expression": some})
    made = bench.ingest(bench.write_csv("a.csv", bench.rows(tip=8.0)), plan)
    assert made.report.error is None
    assert made.report.rows == {"train": 3, "eval": 0, "quarantine": 3}
    assert made.report.reasons == {reason: 3}
    assert all("label" not in example for example in made.refused)


@pytest.mark.parametrize(
    "expression, what",
    [
        ("fare", "'fare' is an amount (10.0, 11.0, …), not 0 or 1"),
        ("riders", "'riders' is one of 3 classes (1, 2, 3), not 0 or 1"),
        ("flag", "'flag' is one of 2 classes (N, Y), not 0 or 1"),
    ],
)
def test_a_label_that_is_no_question_is_refused_at_once(
    bench: Any, expression: str, what: str
) -> None:
    plan = bench.plan(label={"expression": expression})
    path = bench.write_csv("a.csv", bench.rows(12))
    made = bench.ingest(path, plan)
    message = made.report.error
    assert what in message and "Headrace learns a yes-or-no label" in message
    assert sum(made.report.rows.values()) == 0
    with pytest.raises(DataError, match="yes-or-no label") as early:
        shard_work.check(Shard(0, 1, str(path), "2019-12", None, None, "train"), plan)
    assert str(early.value) == message


def test_a_rule_may_speak_of_what_is_missing(bench: Any) -> None:
    rows = bench.rows(flag=["Y", None, "", "N", None, "Y"])
    plan = bench.plan(quarantine={"rules": {"no flag": "flag IS NULL"}})
    assert set(refusals(bench.ingest(bench.write_csv("a.csv", rows), plan))) == {2, 3, 5}


def test_rows_are_numbered_through_all_batches(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_work, "BATCH_ROWS", 2048)
    count = 3 * 2048 + 5
    rows = bench.rows(count, fare=[-1.0 if n % 1000 == 7 else 10.0 for n in range(count)])
    plan = bench.plan(quarantine={"rules": {"negative": "fare < 0"}})
    for path in (bench.write_parquet("a.parquet", rows), bench.write_csv("a.csv", rows)):
        made = bench.ingest(path, plan)
        assert sorted(refusals(made)) == [n + 1 for n in range(count) if n % 1000 == 7]
        assert made.report.rows == {"train": count - 7, "eval": 0, "quarantine": 7}
        kept = [n for n in range(count) if n % 1000 != 7]
        assert [example["distance"] for example in made.kept] == [[1.5 + n] for n in kept]


# --- the split ---------------------------------------------------------------------------


def test_rows_go_where_their_span_belongs(bench: Any) -> None:
    path = bench.write_csv("a.csv", bench.rows())
    for split in ("train", "eval"):
        made = bench.ingest(path, split=split)
        assert len(made.examples[split]) == len(made.kept) == 6


def test_without_spans_and_times_equal_rows_are_on_one_side(bench: Any) -> None:
    rows = bench.rows(400)
    for row in rows[200:]:
        row["distance"] = 1000.0
    twice = rows + rows[:200]
    plan = bench.plan(window={"holdout": 0.3})
    made = bench.ingest(bench.write_csv("a.csv", twice), plan, split=None)
    sides = collections.defaultdict(set)
    for split in ("train", "eval"):
        for example in made.examples[split]:
            sides[example["place"][0]].add(split)
    assert all(len(side) == 1 for side in sides.values())
    assert len(made.kept) == 600
    share = len(made.examples["eval"]) / 600
    assert 0.2 < share < 0.4  # the hash is fixed: this is no matter of luck
    other = bench.ingest(bench.write_csv("b.csv", twice[::-1]), plan, split=None)
    assert sorted(e["place"] for e in other.examples["eval"]) == sorted(
        e["place"] for e in made.examples["eval"]
    )


def test_without_spans_the_newest_rows_are_held_out(bench: Any) -> None:
    rows = bench.rows(20)
    plan = bench.plan(data={"time_column": "started"}, window={"holdout": 0.25})
    paths = (bench.write_csv("a.csv", rows[:13]), bench.write_csv("b.csv", rows[13:]))
    files = (SpanFiles(Span(0, "all"), tuple(map(str, paths))),)
    window = Window(files, files)
    cutoff = shard_work.time_cutoff(window, plan)
    assert cutoff is not None
    assert [shard.cutoff for shard in shards(window, cutoff)] == [cutoff, cutoff]
    made = [bench.ingest(path, plan, split=None, cutoff=cutoff) for path in paths]
    train = [e["started"][0] for one in made for e in one.examples["train"]]
    held_out = [e["started"][0] for one in made for e in one.examples["eval"]]
    assert max(train) < min(held_out)
    assert len(train) + len(held_out) == 20
    assert 4 <= len(held_out) <= 6


def test_a_row_without_a_time_is_not_lost(bench: Any) -> None:
    rows = bench.rows(6, started=[None, *[row["started"] for row in bench.rows(5)]])
    plan = bench.plan(data={"time_column": "started"})
    made = bench.ingest(bench.write_csv("a.csv", rows), plan, split=None, cutoff=0)
    assert made.report.rows == {"train": 1, "eval": 5, "quarantine": 0}


def test_without_a_time_column_there_is_no_cutoff(bench: Any) -> None:
    files = (SpanFiles(Span(0, "all"), ()),)
    assert shard_work.time_cutoff(Window(files, files), bench.plan()) is None


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fares=st.lists(st.sampled_from([-1.0, 5.0, 7.0, None, float("nan")]), min_size=1, max_size=30),
    holdout=st.floats(0.05, 0.95),
)
def test_rows_in_are_rows_out(bench: Any, fares: list[float | None], holdout: float) -> None:
    rows = bench.rows(len(fares), fare=fares)
    plan = bench.plan(window={"holdout": holdout}, quarantine={"rules": {"negative": "fare < 0"}})
    path = bench.write_parquet("a.parquet", rows, fare=pa.float64())
    made = bench.ingest(path, plan, split=None)
    assert sum(made.report.rows.values()) == len(fares)
    assert {split: len(made.examples[split]) for split in SPLITS} == made.report.rows
    positive = sum(example.get("label") == [1] for example in made.kept)
    assert made.report.positives["train"] + made.report.positives["eval"] == positive
    bad = [fare for fare in fares if fare is None or not fare >= 0]
    assert made.report.rows["quarantine"] == len(bad)


# --- files -------------------------------------------------------------------------------


def test_files_are_whole_or_not_there(bench: Any) -> None:
    rows = bench.rows(fare=[-1.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    plan = bench.plan(quarantine={"rules": {"negative": "fare < 0"}})
    made = bench.ingest(bench.write_csv("a.csv", rows), plan, index=3, total=12)
    assert sorted(str(f.relative_to(made.folder)) for f in made.folder.rglob("*.*")) == [
        "Split-quarantine/data_tfrecord-00003-of-00012.gz",
        "Split-train/data_tfrecord-00003-of-00012.gz",
        "samples/train-00003.parquet",
    ]


def test_a_file_that_breaks_off_leaves_nothing_behind(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_work, "BATCH_ROWS", 2048)
    text = bench.csv(bench.rows(60_000, note="x" * 100))
    made = bench.ingest(bench.write("a.csv", text + "1.5,2"))
    assert "line 60002" in str(made.report.error)
    assert [path for path in made.folder.rglob("*") if path.is_file()] == []
    assert made.report.rows == {"train": 0, "eval": 0, "quarantine": 0}


def test_an_empty_split_is_a_file_without_records(bench: Any, examples_of: Any) -> None:
    folder = bench.folder / "Split-eval"
    folder.mkdir()
    empty_file(str(folder / "data_tfrecord-00000-of-00001.gz"))
    assert [path.name for path in folder.iterdir()] == ["data_tfrecord-00000-of-00001.gz"]
    assert examples_of(bench.folder, "eval") == []


# --- what is reported --------------------------------------------------------------------


def test_a_plan_and_a_report_survive_the_way_to_another_machine(bench: Any) -> None:
    plan = bench.plan(data={"rename": {"Fare": "fare"}}, quarantine={"rules": {"a": "fare < 0"}})
    assert IngestPlan.model_validate_json(plan.model_dump_json()) == plan
    report = ShardReport("a.csv", "1", reasons={"a": 2}, new_columns=["é"], error="no", exit_code=2)
    assert ShardReport.from_json(report.to_json()) == report


def test_reports_add_up_by_span(bench: Any) -> None:
    spans = [Span(1, "1"), Span(2, "2"), Span(3, "3")]
    window = Window(
        tuple(SpanFiles(span, ("a", "b")) for span in spans[:2]), (SpanFiles(spans[2], ("c",)),)
    )
    work = shards(window)
    assert [shard.split for shard in work] == ["train"] * 4 + ["eval"]
    assert [shard.index for shard in work] == list(range(5))
    assert {shard.total for shard in work} == {5}
    reports = [
        ShardReport(
            f"{n}.csv",
            span,
            rows={"train": 10 * (span != "3"), "eval": 10 * (span == "3"), "quarantine": n},
            positives={"train": 4 * (span != "3"), "eval": 5 * (span == "3"), "quarantine": 0},
            reasons={"low": n, "odd": 1},
            samples={"low": f"row {n}: {{}}", "odd": "row 1: {}"},
            new_columns=["colour"] if n == 1 else [],
        )
        for n, span in enumerate(["1", "1", "2", "2", "3"])
    ]
    total = summarize(reports, window, "print")
    assert total.rows == {"train": 40, "eval": 10, "quarantine": 10}
    assert total.positives == {"train": 16, "eval": 5, "quarantine": 0}
    assert list(total.spans) == ["1", "2", "3"]
    assert total.spans["2"] == SpanRows(
        20,
        5,
        {"low": 5, "odd": 2},
        {"low": "2.csv, row 2: {}", "odd": "2.csv, row 1: {}"},
    )
    assert total.new_columns == {"colour": ["1.csv"]}
    assert Ingested.from_json(total.to_json()) == total
    total.check()


def test_two_attempts_at_a_file_do_not_mix(tmp_path: Path, examples_of: Any) -> None:
    """A cluster does lost work again, and the first attempt may not know yet that it is lost."""
    split = tmp_path / "Split-train"
    split.mkdir()
    path = str(split / "data_tfrecord-00000-of-00001.gz")
    column = {"x": to_lists(pa.array([1, 2, 3]), pa.int64())}
    first, second, third = ExampleWriter(path), ExampleWriter(path), ExampleWriter(path)
    first.write(column)
    second.write(column)
    second.close()
    first.write(column)
    assert len(examples_of(tmp_path, "train")) == 3
    assert [file.name for file in split.iterdir()] == ["data_tfrecord-00000-of-00001.gz"]
    third.discard()
    first.close()
    assert len(examples_of(tmp_path, "train")) == 6
    assert not list(Path(partial_folder(str(tmp_path))).iterdir())


@pytest.mark.parametrize(
    "value, form, told",
    [
        (1575158400000, None, 'would be milliseconds. Set data.time_formats.started = "milli'),
        ("1575158400000", None, "would be milliseconds"),
        (1575158400.5e6, None, "would be microseconds"),
        (1575158400 * 10**9, None, "would be nanoseconds"),
        (20191205, None, 'dates written as numbers, .*Set data.time_formats.started = "%Y%m%d"'),
        (20191205103000, None, '"%Y%m%d%H%M%S"'),
        (1575158400, "milliseconds", "January or February 1970. They are seconds: remove"),
        (1575158400000, "microseconds", 'February 1970. Set it to "milliseconds"'),
    ],
)
def test_counts_of_another_unit_are_told(bench: Any, value: Any, form: Any, told: str) -> None:
    formats = {"started": form} if form else {}
    plan = bench.plan(data={"time_formats": formats})
    rows = bench.rows(30, started=[value] * 30)
    path = bench.write_csv("a.csv", rows)
    shard = Shard(0, 1, str(path), "2019-12", None, None, "train")
    for message in (bench.ingest(path, plan).report.error, _refused(shard, plan)):
        assert message is not None and message.startswith(f"{path}: started holds")
        assert re.search(told, message)


def _refused(shard: Shard, plan: IngestPlan) -> str:
    with pytest.raises(DataError) as caught:
        shard_work.check(shard, plan)
    return str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        [1575158400, 253402300799],  # 9999-12-31: it never ends
        [0, -2208988800],
        ["2019-12-01 08:00:00", "1575158400"],
    ],
)
def test_counts_of_seconds_are_left_in_peace(bench: Any, values: list[Any]) -> None:
    rows = bench.rows(30, started=values * 15)
    assert bench.ingest(bench.write_csv("a.csv", rows)).report.error is None


def test_one_count_that_is_too_large_is_refused(bench: Any) -> None:
    rows = bench.rows(30, started=[1575158400] * 29 + [1575158400000])
    made = bench.ingest(bench.write_csv("a.csv", rows))
    assert made.report.reasons == {"type: started is not timestamp": 1}


def test_dates_of_zeros_are_missing_in_ingestion(bench: Any) -> None:
    rows = bench.rows(2, started=["0000-00-00 00:00:00", "2019-12-01 24:00:00"])
    made = bench.ingest(bench.write_csv("a.csv", rows))
    assert made.report.reasons == {}
    assert [example.get("started") for example in made.kept] == [None, [1575244800]]
