"""The index of all runs, how pages are written, and the command that shows them."""

from __future__ import annotations

import json
import os
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import Any

import html_reader
import pytest
from click.testing import CliRunner, Result

from pipeline.cli.main import headrace
from pipeline.local import history, run
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.report import page, write


def test_runs_are_listed_newest_first_with_verdict_span_metrics_and_link(runs: Any) -> None:
    runs.add(run_id="20260101-080000-aaaa", metrics={"auc": 0.84244, "log_loss": 0.3912})
    runs.add("blocked", run_id="20260301-080000-cccc", message="fare has drifted\nand more")
    runs.add("not_blessed", run_id="20260201-080000-bbbb", metrics={"auc": 0.61})
    os.makedirs(runs.places.run("20260401-080000-dddd"))  # killed, or still going on
    for result in history.runs(runs.places)[1:3]:
        write.run_page(result, runs.places)
    read = html_reader.read(Path(write.index_page(runs.places)).read_text())
    for first, second in zip(
        ("20260401", "! Failed", "✘ Blocked", "✘ Not blessed"),
        ("20260301", "✘ Blocked", "✘ Not blessed", "✔ Pushed"),
        strict=True,
    ):
        assert read.text.index(first) < read.text.index(second)
    assert {0.84244, 0.3912, 0.61} <= read.values
    assert "fare has drifted" in read.text and "and more" not in read.text
    links = [a["href"] for a in read.all("a") if "report" in a["href"]]
    assert links == [
        "history/20260301-080000-cccc/report.html",
        "history/20260201-080000-bbbb/report.html",
    ]
    for link in links:
        assert (Path(runs.places.output) / link).is_file()
    assert not read.unclosed


def test_without_a_run_the_index_says_what_to_type(tmp_path: Path) -> None:
    read = html_reader.read(page.render_index([], Places(str(tmp_path))))
    assert "No run yet: type headrace run ." in read.text


def test_the_index_stays_a_page(tmp_path: Path) -> None:
    many = [RunResult("failed", f"run-{index}", message="x" * 10_000) for index in range(2000)]
    html = page.render_index(many, Places(str(tmp_path)))
    assert len(html) < 1_000_000
    assert "1,500 older runs left out" in html_reader.read(html).text


@pytest.mark.parametrize("text", ["</td><script>alert(1)</script>", "\u202e\x00", "{{ 7*7 }}"])
def test_the_index_escapes_too(tmp_path: Path, text: str) -> None:
    result = RunResult("failed", text, span=text, message=text, metrics={"auc": float("nan")})
    html = page.render_index([result], Places(text))
    read = html_reader.read(html)
    assert "script" not in {tag for tag, _ in read.tags}
    assert "\u202e" not in html and "\x00" not in html and "49" not in read.text


def test_a_page_is_replaced_whole_or_not_at_all(runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    result = runs.add()
    path = Path(write.run_page(result, runs.places))
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write.run_page(result, runs.places)
    assert path.read_bytes() == before


class _Watcher:
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def node(self, name: str, seconds: float | None) -> None:
        pass


def test_a_page_that_cannot_be_written_is_one_line_and_no_other_outcome(
    runs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = _Watcher()
    result = runs.add(log=str(runs.folder / "run.log"))
    result.report = runs.places.report(result.run_id)
    run._pages(result, runs.places, watcher)
    assert not watcher.said and Path(result.report).is_file()

    def fail(*_: object) -> None:
        raise ZeroDivisionError("by\nzero" * 100)

    monkeypatch.setattr(run, "run_page", fail)
    run._pages(result, runs.places, watcher)
    (line,) = watcher.said
    assert line.startswith("warning: ") and "report.html was not written" in line
    assert "ZeroDivisionError: by zero" in line
    assert len(line) < 400 and "\n" not in line
    assert result.status == "pushed" and result.exit_code == 0 and result.report == ""
    assert history.runs(runs.places) == [result]


def test_a_page_costs_a_run_little(runs: Any) -> None:
    result = runs.add()
    begun = time.process_time()
    write.run_page(result, runs.places)
    write.index_page(runs.places)
    assert time.process_time() - begun < 1.0  # a tenth of that, where nothing else slows it


# --- the command -------------------------------------------------------------------------


@pytest.fixture
def call(runs: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls `headrace report` in a project that has these runs."""
    (runs.folder / "headrace.toml").write_text(
        """
        name = "trips"
        data = { path = "data", pattern = "{span:%Y-%m}.csv" }
        label = { expression = "tip > 0.2 * fare" }
        features = { fare = { kind = "numeric" } }
        """
    )
    monkeypatch.chdir(runs.folder)
    monkeypatch.setattr(webbrowser, "open", lambda url: pytest.fail(f"opened {url}"))

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(headrace, ["report", *arguments], prog_name="headrace")

    return invoke


def test_the_newest_run_is_shown_unless_another_is_named(
    runs: Any, call: Callable[..., Result]
) -> None:
    for number in (1, 2):
        runs.add(run_id=f"2026040{number}-120000-abcd")
    newest = call()
    assert newest.exit_code == 0
    assert newest.stdout == f"{runs.folder}/runs/history/20260402-120000-abcd/report.html\n"
    assert "Pushed as version 4" in Path(newest.stdout.strip()).read_text()
    older = json.loads(call("20260401-120000-abcd", "--json").stdout)
    assert older == {
        "run_id": "20260401-120000-abcd",
        "report": f"{runs.folder}/runs/history/20260401-120000-abcd/report.html",
        "index": f"{runs.folder}/runs/index.html",
        "written": True,
    }
    index = html_reader.read(Path(older["index"]).read_text())
    assert len([a for a in index.all("a") if "report.html" in a["href"]]) == 2


def test_a_page_that_is_there_is_left_as_it_is(runs: Any, call: Callable[..., Result]) -> None:
    result = runs.add()
    Path(runs.places.report(result.run_id)).write_text("mine")
    assert json.loads(call("--json").stdout)["written"] is False
    assert Path(runs.places.report(result.run_id)).read_text() == "mine"


def test_a_run_that_is_not_there_is_told_with_those_that_are(
    runs: Any, call: Callable[..., Result]
) -> None:
    none = call()
    assert none.exit_code == 1 and "there is no run yet. Type headrace run." in none.stderr
    runs.add()
    answer = call("../../etc/passwd")
    assert answer.exit_code == 1
    assert "there is none of that name. The newest are 20260401-120000-abcd." in answer.stderr


def test_it_opens_a_browser_when_asked_and_says_where_there_is_none(
    runs: Any, call: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs.add()
    asked: list[str] = []

    def show(url: str) -> bool:
        asked.append(url)
        return False

    monkeypatch.setattr(webbrowser, "open", show)
    answer = call("--open")
    assert answer.exit_code == 0
    assert asked == [Path(answer.stdout.strip()).as_uri()]
    assert "no browser was found here" in answer.stderr


def test_a_page_that_cannot_be_written_is_an_error_in_words(
    runs: Any, call: Callable[..., Result]
) -> None:
    result = runs.add()
    Path(runs.places.report(result.run_id) + ".partial").mkdir()
    answer = call()
    assert answer.exit_code == 1
    assert "the page cannot be written" in answer.stderr and "Traceback" not in answer.stderr
