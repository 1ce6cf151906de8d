"""The index of all runs, and how pages are written."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import html_reader
import pytest

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


def test_a_page_that_cannot_be_written_is_one_line_and_no_other_outcome(tmp_path: Path) -> None:
    watcher = _Watcher()

    def fail() -> None:
        raise ZeroDivisionError("by\nzero" * 100)

    assert run._page(str(tmp_path / "report.html"), watcher, fail) == ""
    (line,) = watcher.said
    assert line.startswith("warning: ") and "report.html was not written" in line
    assert "ZeroDivisionError: by zero" in line
    assert len(line) < 400 and "\n" not in line
    assert run._page("there.html", watcher, lambda: None) == "there.html"
    assert len(watcher.said) == 1
