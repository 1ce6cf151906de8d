"""Bad input, as ingestion and the check before it see it: which file, where in it, what to do."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline.errors import DataError, HeadraceError
from pipeline.findings import Policies, judge, of_ingestion
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard
from pipeline.ingest.summary import Ingested, summarize
from pipeline.spans import Span, SpanFiles, Window

TODAY = dt.date(2020, 3, 1)

pytestmark = pytest.mark.tfx  # examples are written by tfx_bsl and TensorFlow


@pytest.fixture
def refused(bench: Any) -> Callable[..., str]:
    """The one message of ingestion; asserts that it names the file and that nothing was written.

    `seen_early` says whether the check before the run, which reads no rows, says the same.
    """

    def ingest(path: Path, *, seen_early: bool, plan: IngestPlan | None = None) -> str:
        plan = plan or bench.plan()
        made = bench.ingest(path, plan)
        message = str(made.report.error)
        assert str(path) in message
        assert made.report.exit_code in (1, 2)
        assert [file for file in made.folder.rglob("*") if file.is_file()] == []
        shard = Shard(0, 1, str(path), "2019-12", None, None, "train")
        if seen_early:
            with pytest.raises(HeadraceError) as caught:
                shard_work.check(shard, plan)
            assert str(caught.value) == message
            assert caught.value.exit_code == made.report.exit_code
        else:
            shard_work.check(shard, plan)
        return message

    return ingest


# --- files that are not what they should be ----------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_an_empty_file(bench: Any, refused: Any, name: str) -> None:
    message = refused(bench.write(name, b""), seen_early=True)
    assert message.endswith("is empty (0 bytes). Copy it again, or remove it.")


def test_a_compressed_file_of_nothing(bench: Any, refused: Any) -> None:
    import gzip

    message = refused(bench.write("a.csv.gz", gzip.compress(b"")), seen_early=True)
    assert message.endswith("is empty. Copy it again, or remove it.")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_header_and_no_rows(bench: Any, name: str) -> None:
    rows = bench.rows(1)
    if name == "a.csv":
        path = bench.write(name, bench.csv(rows).split("\n")[0])
    else:
        table = pa.Table.from_pylist(rows)
        path = bench.folder / name
        parquet.write_table(table.slice(0, 0), path)
    made = bench.ingest(path)
    assert made.report.error is None
    with pytest.raises(DataError, match=r"span 2019-12 holds no rows\. Copy it again"):
        whole(made).check()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_parquet(bench: Any, refused: Any, share: float) -> None:
    content = bench.write_parquet("whole.parquet", bench.rows(500)).read_bytes()
    path = bench.write("a.parquet", content[: int(len(content) * share)])
    message = refused(path, seen_early=True)
    assert "is not a readable Parquet file; it may be truncated" in message
    assert "Copy it again" in message


@pytest.mark.parametrize("name", ["a.parquet", "a.pq"])
def test_a_parquet_file_that_is_none(bench: Any, refused: Any, name: str) -> None:
    path = bench.write(name, bench.csv(bench.rows()))
    assert "is not a readable Parquet file" in refused(path, seen_early=True)


def test_a_parquet_with_bytes_overwritten_in_the_middle(bench: Any, refused: Any) -> None:
    path = bench.write_parquet("a.parquet", bench.rows(20_000))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    path.write_bytes(content)
    message = refused(path, seen_early=False)
    assert "is not a readable Parquet file" in message
    assert "Copy it again" in message


def test_a_parquet_whose_text_is_damaged_without_compression(bench: Any, refused: Any) -> None:
    """The error comes while rows are streamed, out of another library."""
    table = pa.Table.from_pylist(bench.rows(20_000))
    path = bench.folder / "a.parquet"
    parquet.write_table(table, path, compression="none", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"to gate 15000", b"to gate \xff\xff\xff\xff\xff"))
    assert "is not a readable Parquet file" in refused(path, seen_early=False)


def test_a_damaged_parquet_footer(bench: Any, refused: Any) -> None:
    path = bench.write_parquet("a.parquet", bench.rows())
    content = bytearray(path.read_bytes())
    content[-200:-50] = b"\xff" * 150
    path.write_bytes(content)
    assert "is not a readable Parquet file" in refused(path, seen_early=True)


@pytest.mark.parametrize("rows", [3, 60_000])
def test_a_csv_cut_in_the_middle_of_a_row(bench: Any, refused: Any, rows: int) -> None:
    text = bench.csv(bench.rows(rows))
    path = bench.write("a.csv", text.rstrip().rsplit(",", 2)[0])
    message = refused(path, seen_early=False)
    assert f"{path}, line {rows + 1}: the row is broken" in message
    assert "expected columns: 10 Found: 8" in message
    assert "may be cut off" in message
    assert "copy it again" in message


def test_a_csv_cut_inside_quotes(bench: Any, refused: Any) -> None:
    text = bench.csv(bench.rows(), quoting=1)
    path = bench.write("a.csv", text[: text.rindex('"acme"') + 3])
    message = refused(path, seen_early=False)
    assert "line 7: the row is broken (Value with unterminated quote found; " in message


def test_a_csv_row_with_too_many_fields(bench: Any, refused: Any) -> None:
    lines = bench.csv(bench.rows()).splitlines()
    lines[3] += ",1,2"
    message = refused(bench.write("a.csv", "\n".join(lines)), seen_early=False)
    assert "line 4: the row is broken (expected columns: 10 Found: 11; '3.5,12.0" in message


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst"])
@pytest.mark.parametrize("share", [0.1, 0.99])
def test_a_compressed_file_cut_off(bench: Any, refused: Any, ending: str, share: float) -> None:
    codec = {".csv.gz": "gzip", ".csv.zst": "zstd"}[ending]
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(bench.csv(bench.rows(40_000)).encode())
    content = sink.getvalue().to_pybytes()
    path = bench.write(f"a{ending}", content[: int(len(content) * share)])
    message = refused(path, seen_early=share < 0.5)
    assert "cannot be decompressed; it may be cut off. Copy it again." in message


@pytest.mark.parametrize("ending", [".csv.gz", ".csv.zst"])
def test_a_file_that_is_not_compressed_as_its_name_says(
    bench: Any, refused: Any, ending: str
) -> None:
    path = bench.write(f"a{ending}", bench.csv(bench.rows()))
    assert "cannot be decompressed" in refused(path, seen_early=True)


@pytest.mark.parametrize("name", ["a.xlsx", "a.json", "a", "a.csv.bz2"])
def test_an_unknown_ending(bench: Any, refused: Any, name: str) -> None:
    message = refused(bench.write(name, "x"), seen_early=True)
    assert "is neither Parquet nor CSV by its name. Known endings: .parquet .pq .csv" in message


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_folder_in_place_of_a_file(bench: Any, refused: Any, name: str) -> None:
    (bench.folder / name).mkdir()
    message = refused(bench.folder / name, seen_early=True)
    assert message.endswith("is a folder where a file should be. Move it away.")


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_file_that_has_gone_since(bench: Any, refused: Any, name: str) -> None:
    message = refused(bench.folder / name, seen_early=True)
    assert message.endswith("is not there any more. Copy it again.")


#: Prints what checking each file says, as a user who is not above file permissions.
UNPRIVILEGED = """
import sys
from pipeline import spans
from pipeline.errors import DataError
from pipeline.ingest import shard
from pipeline.ingest.plan import IngestPlan, Shard
plan = IngestPlan.model_validate_json(sys.stdin.read())
for path in sys.argv[1:]:
    try:
        shard.check(Shard(0, 1, path, "s", None, None, "train"), plan)
    except DataError as error:
        print(error)
    files = spans.SpanFiles(spans.Span(0, "all"), (path,))
    try:
        spans.fingerprint(spans.Window((files,), (files,)), "/")
    except DataError as error:
        print(error)
"""


def test_a_file_without_read_permission(bench: Any, as_user: Any) -> None:
    paths = [
        bench.write_csv("a.csv", bench.rows()),
        bench.write_parquet("a.parquet", bench.rows()),
        bench.write("a.csv.gz", b"x"),
    ]
    for path in paths:
        path.chmod(0)
    answer = as_user(UNPRIVILEGED, *paths, stdin=bench.plan().model_dump_json())
    said = "no permission to read it. Give it to this user (chmod u+r)."
    assert answer.splitlines() == [f"{path}: {said}" for path in paths for _ in range(2)]


# --- text that cannot be read ------------------------------------------------------------


def test_a_wrong_delimiter(bench: Any, refused: Any) -> None:
    path = bench.write_csv("a.csv", bench.rows(), delimiter=";")
    plan = bench.plan(data={"csv": {"delimiter": ","}})
    message = refused(path, seen_early=True, plan=plan)
    assert "has none of the columns of [features] when split by ','" in message
    assert "It looks delimited by ';': set data.csv.delimiter." in message


def test_a_delimiter_that_is_not_tried(bench: Any, refused: Any) -> None:
    message = refused(bench.write_csv("a.csv", bench.rows(), delimiter="^"), seen_early=True)
    assert "its header 'distance^fare^" in message
    assert "has none of the columns" in message


@pytest.mark.parametrize(
    "content", [b"\n\n\n", b"\xef\xbb\xbf", b"1,2,3\n4,5,6\n", b"x" * 200_000, b"\x00" * 5000]
)
def test_a_csv_without_a_header(bench: Any, refused: Any, content: bytes) -> None:
    message = refused(bench.write("a.csv", content), seen_early=True)
    assert "header" in message
    assert len(message) < 600


def test_latin_1_in_the_header(bench: Any, refused: Any) -> None:
    text = bench.csv([row | {"größe": 1} for row in bench.rows()])
    message = refused(bench.write("a.csv", text.encode("latin-1")), seen_early=True)
    assert "a.csv, line 1: is not utf-8 text" in message
    assert "set data.csv.encoding" in message


@pytest.mark.parametrize("line", [2, 60_000])
def test_latin_1_in_a_row(bench: Any, refused: Any, line: int) -> None:
    notes = ["to gate"] * 60_000
    notes[line - 2] = "Zürich"
    text = bench.csv(bench.rows(60_000, note=notes))
    message = refused(bench.write("a.csv", text.encode("latin-1")), seen_early=False)
    assert f"a.csv, line {line}: is not UTF-8 text" in message
    assert 'set data.csv.encoding (for example "latin-1")' in message


def test_another_encoding_than_the_one_that_is_set(bench: Any, refused: Any) -> None:
    plan = bench.plan(data={"csv": {"encoding": "utf-16"}})
    path = bench.write_csv("a.csv", bench.rows())
    assert "line 1: is not utf-16 text" in refused(path, seen_early=True, plan=plan)


# --- columns -----------------------------------------------------------------------------


def without(rows: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in names} for row in rows]


def test_missing_columns_are_told_together_with_the_three_ways_out(
    bench: Any, refused: Any
) -> None:
    rows = without(bench.rows(), "fare", "tip")
    for path in (bench.write_csv("a.csv", rows), bench.write_parquet("a.parquet", rows)):
        message = refused(path, seen_early=True)
        assert "lacks column(s) fare, tip." in message
        assert "[data.rename]" in message
        assert "data.optional_columns" in message
        assert "out of [features]" in message


def test_a_renamed_column_is_told_with_the_nearest_name(bench: Any, refused: Any) -> None:
    rows = [{("Fare_" if key == "fare" else key): row[key] for key in row} for row in bench.rows()]
    message = refused(bench.write_csv("a.csv", rows), seen_early=True)
    assert "lacks column(s) fare (the file has 'Fare_')." in message


@pytest.mark.parametrize("again", ["fare", "FARE", "Fahrpreis"])
def test_a_column_twice(bench: Any, refused: Any, again: str) -> None:
    plan = bench.plan(data={"rename": {"Fahrpreis": "fare"}})
    table = pa.Table.from_pylist(bench.rows())
    names = [again if name == "operator" else name for name in table.column_names]
    doubled = table.rename_columns(names)
    parquet.write_table(doubled, bench.folder / "a.parquet")
    lines = bench.csv(bench.rows()).split("\n")
    lines[0] = ",".join(names)
    paths = (bench.folder / "a.parquet", bench.write("a.csv", "\n".join(lines)))
    for path in paths:
        message = refused(path, seen_early=True, plan=plan)
        assert f"has a column twice: fare, {'fare' if again == 'Fahrpreis' else again}" in message
        assert "Rename one." in message


def whole(made: Any) -> Ingested:
    """The window of one file."""
    span = SpanFiles(Span(0, "2019-12"), (made.report.path,))
    return summarize([made.report], Window((), (span,)), "print")


def findings(bench: Any, made: Any) -> dict[str, Any]:
    """The verdict of the data gate on one ingested file, by kind of finding."""
    policies = Policies.of(bench.config())
    verdict = judge(list(of_ingestion(whole(made), policies)), policies, TODAY)
    assert verdict["passed"] == (not verdict["findings"])
    return {finding["kind"]: finding for finding in verdict["findings"]}


def test_an_extra_column_stops_the_run_until_somebody_decides(bench: Any) -> None:
    path = bench.write_csv("a.csv", [row | {"colour": 1} for row in bench.rows()])
    (finding,) = findings(bench, bench.ingest(path)).values()
    assert (finding["kind"], finding["feature"]) == ("new_column", "colour")
    assert finding["policy"] == "block"
    assert str(path) in finding["message"]
    assert 'kind = "ignore"' in finding["message"]
    known = bench.plan(features={"colour": {"kind": "ignore"}})
    assert findings(bench, bench.ingest(path, known)) == {}


CHANGED = {
    "text in a number": ({"fare": "ten"}, "type: fare is not float"),
    "a fraction in an id": ({"riders": 1.5}, "type: riders is not int"),
    "garbage in a time": ({"started": "last night"}, "type: started is not timestamp"),
}


@pytest.mark.parametrize("case", CHANGED)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_column_whose_type_changed(bench: Any, case: str, name: str) -> None:
    """Every row is refused, with the reason; nothing is learnt from it, and the gate closes."""
    columns, reason = CHANGED[case]
    write = bench.write_csv if name == "a.csv" else bench.write_parquet
    path = write(name, bench.rows(**columns))
    made = bench.ingest(path)
    assert made.report.rows == {"train": 0, "eval": 0, "quarantine": 6}
    assert made.report.reasons == {reason: 6}
    whole(made).check()  # to judge this is the gate's part
    finding = findings(bench, made)["quarantine"]
    assert finding["policy"] == "block"
    assert finding["value"] == 1.0
    assert f"6 of 6 rows (100.0%) are quarantined, most often for {reason!r}" in finding["message"]
    assert f"{path}, row 1: " in finding["message"]


def test_a_number_that_became_a_moment(bench: Any) -> None:
    import datetime as dt

    path = bench.write_parquet("a.parquet", bench.rows(fare=dt.datetime(2019, 1, 1)))
    assert bench.ingest(path).report.reasons == {"type: fare is not float": 6}


def test_all_nulls_in_a_required_column_are_missing_values(bench: Any) -> None:
    """Whether a feature may be missing is the schema's to say; a label may not."""
    path = bench.write_csv("a.csv", bench.rows(distance=None))
    made = bench.ingest(path)
    assert made.report.rows["train"] == 6
    assert all("distance" not in example for example in made.kept)
    unlabelled = bench.ingest(bench.write_csv("b.csv", bench.rows(tip=None)))
    assert unlabelled.report.reasons == {"label is missing": 6}
    assert findings(bench, unlabelled)["quarantine"]["value"] == 1.0


def test_infinities_are_refused_row_by_row(bench: Any) -> None:
    path = bench.write_csv("a.csv", bench.rows(fare=["inf", "-inf", "nan", "1e999", 1, 2]))
    made = bench.ingest(path)
    assert made.report.rows["train"] == 2
    assert made.report.rows["quarantine"] == 4
    assert made.report.reasons["not finite: fare"] >= 2


# --- labels and rules --------------------------------------------------------------------


def test_a_label_that_names_an_unknown_column(bench: Any, refused: Any) -> None:
    path = bench.write_csv("a.csv", bench.rows())
    plan = bench.plan(label={"expression": "tipp > 0.2 * fare"})
    message = refused(path, seen_early=True, plan=plan)
    assert "label.expression: names a column that is not there: tipp" in message
    assert "Did you mean 'tip'?" in message


def test_a_rule_that_names_an_unknown_column(bench: Any, refused: Any) -> None:
    path = bench.write_csv("a.csv", bench.rows())
    plan = bench.plan(quarantine={"rules": {"odd": "fair < 0"}})
    message = refused(path, seen_early=True, plan=plan)
    assert "quarantine.rules.odd: names a column that is not there: fair" in message
    assert "Did you mean 'fare'?" in message


def test_a_label_of_a_type_that_is_no_truth(bench: Any, refused: Any) -> None:
    path = bench.write_csv("a.csv", bench.rows())
    plan = bench.plan(label={"expression": "[tip, fare]"})
    message = refused(path, seen_early=True, plan=plan)
    assert "label.expression: must be true or false (1 or 0), but is of type DOUBLE[]" in message


@pytest.mark.parametrize(
    "sections, key",
    [
        ({"label": {"expression": "CAST(flag AS INTEGER) = 1"}}, "label.expression"),
        ({"quarantine": {"rules": {"odd": "CAST(flag AS INT) = 1"}}}, "quarantine.rules.odd"),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_an_expression_that_fails_on_a_row_is_blamed_not_the_file(
    bench: Any, refused: Any, sections: dict[str, Any], key: str, name: str
) -> None:
    write = bench.write_csv if name == "a.csv" else bench.write_parquet
    path = write(name, bench.rows())
    message = refused(path, seen_early=False, plan=bench.plan(**sections))
    assert f"{key}: cannot be computed for a row: Conversion Error" in message
    assert "'Y'" in message
    assert "TRY_CAST" in message
    assert "Copy it again" not in message


def test_a_damaged_file_is_blamed_before_an_expression(bench: Any, refused: Any) -> None:
    lines = bench.csv(bench.rows()).splitlines()
    path = bench.write("a.csv", "\n".join([*lines, "1,2"]))
    plan = bench.plan(label={"expression": "CAST(flag AS INTEGER) = 1"})
    assert "line 8: the row is broken" in refused(path, seen_early=False, plan=plan)


@pytest.mark.parametrize("expression, only", [("tip > 0", 1), ("tip > 100", 0)])
def test_a_label_of_one_class_only(bench: Any, expression: str, only: int) -> None:
    made = bench.ingest(
        bench.write_csv("a.csv", bench.rows()), bench.plan(label={"expression": expression})
    )
    with pytest.raises(DataError, match=r"label\.expression: all 6 rows have label") as caught:
        whole(made).check()
    assert f"label {only} in the train split (2019-12)" in str(caught.value)
    assert "Mend the expression, or give it more data" in str(caught.value)


def test_a_span_with_one_row(bench: Any) -> None:
    older = bench.ingest(bench.write_csv("a.csv", bench.rows()), span="2019-11")
    newest = bench.ingest(bench.write_csv("b.csv", bench.rows(1)), split="eval")
    spans = [SpanFiles(Span(n, made.report.span), ()) for n, made in enumerate((older, newest))]
    total = summarize([older.report, newest.report], Window((spans[0],), (spans[1],)), "print")
    with pytest.raises(DataError, match="all 1 row has label 0 in the eval split"):
        total.check()


@pytest.mark.parametrize("split", ["train", "eval"])
def test_data_without_spans_too_small_to_be_split(split: str) -> None:
    from pipeline.ingest.summary import SpanRows

    rows = {"train": 3, "eval": 3, "quarantine": 1} | {split: 0}
    positives = {"train": 1, "eval": 1, "quarantine": 0}
    spans = {"all": SpanRows(3, 1, {"odd": 1}, {"odd": "a.csv, row 1"})}
    with pytest.raises(
        DataError, match=rf"window\.holdout: none of the 3 .* for the {split} split"
    ):
        Ingested("print", rows, positives, spans, {}).check()
