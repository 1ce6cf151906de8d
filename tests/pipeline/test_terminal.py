"""Texts from data on the terminal: they cannot steer it, are no markup, and never end a command."""

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from pipeline.cli import main, terminal
from pipeline.cli.run import show
from pipeline.cli.tables import Sheet, Terminal
from pipeline.errors import DataError
from pipeline.local import history
from pipeline.local.result import RunResult

NASTY = [
    "x[/foo]", "[red]", "[bold]b", "a\x1b[2Jb", "a\x1b]52;c;aGk=\x07b", "a\nforged", "a\rb",
    "a\x9b31mb", "a\u202eb", "a\ud800b", ":smile:", "[link=http://a.b]c", "\x00", "é – ✔ 漢", "\\",
    "[/]", "a[b]",
]  # fmt: skip
_STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")


def written(encoding: str) -> Any:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=terminal.ERRORS)


def text_of(stream: Any) -> str:
    stream.flush()
    return str(stream.buffer.getvalue().decode(stream.encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp1252", "cp437"])
@pytest.mark.parametrize("name", NASTY)
def test_a_name_in_lines_and_tables(name: str, encoding: str) -> None:
    stream = written(encoding)
    console = Terminal(file=stream, soft_wrap=True)
    console.print(f"column {name} is missing", style="yellow", highlight=False)
    sheet = Sheet("column", name)
    sheet.add_row(name, "1")
    console.print(sheet)
    text = text_of(stream)
    assert not _STEERS.search(text)
    shown = terminal.one_line(name).encode(encoding, terminal.ERRORS).decode(encoding)
    lines = text.splitlines()
    assert lines[-1].split("  ")[0].strip() == shown.strip() and lines[-1].rstrip().endswith("1")
    assert "column" in lines[-2]


@pytest.mark.parametrize("name", NASTY)
def test_a_run_whose_texts_are_nasty_is_shown(name: str) -> None:
    finding = {"policy": "warn", "kind": "drift", "feature": name, "message": name}
    result = RunResult(
        "blocked",
        run_id="1",
        span=name,
        message=name,
        notes=[name],
        rows={"train": 1},
        window={"train": [name], "eval": [name]},
        quarantined={name: 3},
        gates={"data": {"findings": [finding]}, "schema": {"written": name}},
        metrics={"auc": 0.5},
        log=name,
        report=name.replace("\x00", ""),
    )
    stream = written("latin-1")
    show(result, Terminal(file=stream, soft_wrap=True), "headrace.toml")
    assert not _STEERS.search(text_of(stream))


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "ascii"])
def test_runs_lists_what_failed_by_any_name(
    name: str, charset: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = RunResult("failed", run_id="7", span="1", message=f"column {name} is missing")
    monkeypatch.setattr(history, "runs", lambda places: [found])
    monkeypatch.setattr("pipeline.config_file.load", lambda file: None)
    monkeypatch.setattr("pipeline.cli.history.Places.of", lambda config: None)
    ran = CliRunner(charset=charset).invoke(main.headrace, ["runs"])
    assert ran.exit_code == 0, ran.output
    assert not _STEERS.search(ran.output) and "column" in ran.output
    exact = CliRunner(charset=charset).invoke(main.headrace, ["runs", "--json"])
    assert json.loads(exact.output)[0]["message"] == f"column {name} is missing"


@pytest.mark.parametrize("kind", [DataError, click.UsageError, RuntimeError])
@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "ascii"])
@pytest.mark.parametrize("name", NASTY)
def test_an_error_names_anything(
    kind: type[Exception], charset: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    def broken() -> None:
        raise kind(f"column {name} – is missing ✔")

    monkeypatch.setattr(main._LazyGroup, "get_command", lambda *_: broken)
    ran = CliRunner(charset=charset).invoke(main.headrace, ["runs"])
    assert ran.exit_code in (1, 2)
    assert "is missing" in ran.output and not _STEERS.search(ran.output)
    assert "UnicodeEncodeError" not in ran.output


def test_our_own_signs_have_plain_ones() -> None:
    assert "✔ 3 – 5 … a → b".encode("ascii", terminal.ERRORS) == b"+ 3 - 5 ... a -> b"
    assert "é漢😀".encode("ascii", terminal.ERRORS) == b"\\xe9\\u6f22\\U0001f600"


def test_the_standard_streams_take_any_text(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    terminal.prepare()
    print("✔ \ud800", file=out)
    print("…", file=err)
    assert text_of(out).strip() == "+ \\ud800" and text_of(err).strip() == "..."
