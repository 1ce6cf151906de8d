"""CSV files as other programs write them: every record is read, with its values."""

from __future__ import annotations

import csv
import io
import random
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipeline import sql
from pipeline.config import CsvOptions
from pipeline.errors import DataError
from pipeline.ingest import csv_form, reader
from pipeline.starter import dialect, sample, sources


def read(path: Path, options: CsvOptions) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The names and the records of a file, by the code that ingestion reads with."""
    name = str(path)
    with sql.connect() as connection:
        start = reader.header_line(name, name, options)
        names = reader.header_names(start, options.delimiter, options.escape)
        shape = (options.delimiter, len(names))
        settled = csv_form.settled(name, name, options, shape, reader.copy_for(connection))
        plain = [f"c{at}" for at in range(len(names))]
        scan = reader.csv_scan(settled, plain, options.delimiter, options)
        return names, connection.execute(f"SELECT * FROM {scan}").fetchall()


def written(
    rows: list[list[str]], options: CsvOptions, ends: list[str], rng: random.Random
) -> bytes:
    """Rows as a program of that dialect may write them; each line has one of `ends`."""
    out = io.StringIO()
    for row in rows:
        fields = []
        for value in row:
            text = value
            if rng.random() < 0.2 or any(c in value for c in f'\r\n"{options.delimiter}'):
                if options.escape == "\\":
                    text = text.replace("\\", "\\\\")
                text = '"' + text.replace('"', options.escape + '"') + '"'
            fields.append(text)
        out.write(options.delimiter.join(fields) + rng.choice(ends))
    return out.getvalue().encode(options.encoding)


def table(rng: random.Random, letters: str, delimiter: str) -> list[list[str]]:
    """Names and rows, with all that needs quotes in some of them."""
    odd = ["\n", "\r\n", "\r", '"', delimiter, "x\\y", "'", ""]

    def value() -> str:
        text = "".join(rng.choices(letters, k=rng.randint(0, 5)))
        return text + (rng.choice(odd) + "z" if rng.random() < 0.2 else "")

    width = rng.randint(2, 5)
    names = [f"c{at}{rng.choice(['', '', chr(10) + 'z', ' é'])}" for at in range(width)]
    return [names] + [[value() for _ in range(width)] for _ in range(rng.randint(1, 30))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "windows-1252", "latin-1", "utf-16"])
@pytest.mark.parametrize("escape", ['"', "\\"])
def test_random_tables_of_random_dialects_come_back(
    tmp_path: Path, encoding: str, escape: Any
) -> None:
    rng = random.Random(f"{encoding}{escape}")
    letters = {"windows-1252": "ab 1é€–", "latin-1": "ab 1éü"}.get(encoding, "ab 1é€漢")
    for _ in range(15):
        options = CsvOptions(delimiter=rng.choice(",;\t|"), encoding=encoding, escape=escape)
        names, *rows = table(rng, letters, options.delimiter)
        ends = [rng.choice(["\n", "\r\n", "\r"])] * 5 + rng.choice([[], ["\n", "\r\n"]])
        path = tmp_path / "t.csv"
        path.write_bytes(written([names, *rows], options, ends, rng))
        wanted = [tuple(field or None for field in row) for row in rows]
        assert read(path, options) == (names, wanted), path.read_bytes()


@pytest.mark.parametrize("record, within", [("\r\n", "\n"), ("\n", "\r\n"), ("\r\n", "\r")])
def test_a_line_break_in_the_header_loses_no_row(tmp_path: Path, record: str, within: str) -> None:
    path = tmp_path / "t.csv"
    rows = "".join(f"{at},{at % 3}{record}" for at in range(1000))
    path.write_bytes(f'"amount{within}in euro",k{record}{rows}'.encode())
    names, found = read(path, CsvOptions(delimiter=","))
    assert names == [f"amount{within}in euro", "k"]
    assert found == [(str(at), str(at % 3)) for at in range(1000)]


def test_records_in_lines_of_both_kinds(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"x,k\r\n1,a\n2,b\r\n3,c\n" + b"4,d\r\n" * 3)
    assert [row[0] for row in read(path, CsvOptions(delimiter=","))[1]] == list("123444")


def test_delimiters_at_the_lines_end(tmp_path: Path) -> None:
    for encoding in ("utf-8", "utf-16"):  # by the engine, and by way of a copy
        path = tmp_path / "t.csv"
        path.write_bytes("x,k\n1,é,\n2,b,,\n".encode(encoding))
        options = CsvOptions(delimiter=",", encoding=encoding)
        assert read(path, options)[1] == [("1", "é"), ("2", "b")]


def test_utf_8_is_read_as_such_whatever_is_said(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("x,note\n1,5 € – é\n", encoding="utf-8")
    options = CsvOptions(delimiter=",", encoding="windows-1252")
    assert read(path, options)[1] == [("1", "5 € – é")]


def test_a_backslash_that_escapes_nothing_stays(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b'x,note\n\\N,"C:\\temp \\"x\\" \\\\ y"\n2,"a\\\nb"\n')
    options = CsvOptions(delimiter=",", escape="\\")
    assert read(path, options)[1] == [("\\N", 'C:\\temp "x" \\ y'), ("2", "a\nb")]


@pytest.mark.parametrize(
    "content, wanted",
    [
        ("x,note\n1,5 €\n".encode("cp1252"), ("windows-1252", '"')),
        ("x,note\n1,é\n".encode("latin-1"), ("latin-1", '"')),
        ("x,note\n1,é\n".encode("utf-16"), ("utf-16", '"')),
        ("x,note\n1,é\n".encode("utf-16-le"), ("utf-16-le", '"')),
        ("x,note\n1,é\n".encode("utf-16-be"), ("utf-16-be", '"')),
        (b'x,note\n1,"says \\"hi\\", 2"\n2,b\n', ("utf-8", "\\")),
        (b'x,note\n1,"C:\\dir\\"\n2,"D:\\"\n', ("utf-8", '"')),
        (b'x,note\n1,"a ""b"" c"\n', ("utf-8", '"')),
    ],
)
def test_what_init_finds(tmp_path: Path, content: bytes, wanted: tuple[str, str]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with sql.connect() as connection:
        found = sample.load(connection, sources.find(str(path)))
    assert found.csv is not None
    assert (found.csv.encoding, found.csv.escape) == wanted
    assert found.names == ("x", "note") and found.rows == found.total


def test_the_encoding_of_one_file_among_many_is_found(tmp_path: Path) -> None:
    paths = [tmp_path / f"{at}.csv" for at in range(3)]
    for at, path in enumerate(paths):
        path.write_bytes(f"x,note\n1,{'5 €' if at == 0 else 'plain'}\n".encode("cp1252"))
    names = [str(path) for path in paths]
    assert dialect.encoding_of(names, names) == "windows-1252"


@pytest.mark.parametrize(
    "name, content, told",
    [
        ("a.csv", b"PK\x03\x04...[Content_Types].xml", r"Excel workbook \(\.xlsx\)\. Save the"),
        ("a.csv", b"<!DOCTYPE html><html>", "web page, such as the login"),
        ("a.csv", b'{"x": 1}\n', r"it is JSON\. Write"),
        ("a.csv", b"PAR1....", r"is a Parquet file\. Name it \.parquet"),
        ("a.csv", b"\x1f\x8b....", r"is compressed by gzip\. Let its name end in \.gz"),
        ("a.csv", bytes(8000), r"zero bytes.*Copy it again"),
        ("a.csv.gz", b"x,note\n1,2\n", r"is not gzip in spite.*Name it without that ending"),
        ("a.parquet", b"x,note\n1,2\n", r"it is text \(x,note\)\. Name it \.csv"),
        ("a.csv", b"x,y\n1,2,3\n4,5,6\n", "first line has 2 fields, and the rows below have more"),
        ("a.csv", b"Sales of May\nx,y\n1,2\n4,5\n", r"has 1 line\(s\) before the column names"),
        ("a.parquet", b"PAR1" + bytes(90), r"footer is missing.*Copy it again"),
    ],
)
def test_what_a_file_is_instead_is_said(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with sql.connect() as connection, pytest.raises(DataError, match=told):
        sample.load(connection, sources.find(str(path)))


@pytest.mark.parametrize("encoding", ["utf-8", "windows-1252"])
@pytest.mark.parametrize(
    "line, told",
    [
        ('2,"a "b" c"', r"line 3: the row is broken.*quote within a value must be doubled"),
        (r'2,"a \"b\" c"', r'line 3: .*set data\.csv\.escape = "\\\\"'),
        ("2,a,b", r"line 3: .*more fields than the header: .*must stand in quotes"),
        ("2", r"line 3: .*fewer fields than the header; the file may be cut off"),
        ('2,"a', r"line 3: .*each that is opened must be closed"),
    ],
)
def test_what_is_wrong_with_a_record_is_said(
    tmp_path: Path, encoding: str, line: str, told: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(f"x,note\n1,€\n{line}\n".encode(encoding))
    options = CsvOptions(delimiter=",", encoding=encoding)
    with pytest.raises((DataError, duckdb.Error)) as caught:
        read(path, options)
    error = caught.value
    if not isinstance(error, DataError):
        error = reader.read_error(str(path), error)
    assert re.search(told, str(error))


def test_a_long_value_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with path.open("w", encoding="utf-16", newline="") as file:
        csv.writer(file).writerows([["x", "note"], ["1", "é" * 200_000]])
    ((_, note),) = read(path, CsvOptions(delimiter=",", encoding="utf-16"))[1]
    assert note == "é" * 200_000
