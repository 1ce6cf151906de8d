"""The pages in headless Chromium with the network off, and what axe-core says of them.

Needs Chromium (`apt-get install chromium`, or its path in HEADRACE_CHROMIUM) and, for axe, its
axe.min.js in HEADRACE_AXE; `make report-check` sees to the latter. HEADRACE_SHOTS names a folder
for screenshots of everything that is opened.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import devtools
import html_reader
import pytest
from devtools import Browser

from pipeline.report import write

WIDTHS, SCHEMES = (1280, 390), ("light", "dark")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("HEADRACE_CHROMIUM") or next(
        filter(None, map(shutil.which, names)), None
    )
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium, or set HEADRACE_CHROMIUM")
    with devtools.chromium(found, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def axe() -> str:
    path = os.environ.get("HEADRACE_AXE")
    if not path:
        pytest.skip("no axe-core here: make report-check fetches it, or set HEADRACE_AXE")
    return Path(path).read_text()


def opened(browser: Browser, path: Path, width: int, scheme: str) -> None:
    """Opens a page, and sees that it asked for nothing and complained of nothing."""
    browser.open(path, width, scheme)
    shots = os.environ.get("HEADRACE_SHOTS")
    if shots:
        name = f"{path.parent.name}-{path.stem}-{width}-{scheme}.png"
        Path(shots, name).write_bytes(browser.screenshot())
    for event in browser.events:
        method, said = event["method"], event["params"]
        assert method != "Runtime.exceptionThrown", said
        assert method != "Runtime.consoleAPICalled", said
        assert method != "Log.entryAdded", said
        if method == "Network.requestWillBeSent":
            assert said["request"]["url"].startswith(("file:///", "data:,")), said["request"]["url"]


def pages(runs: Any, artifacts: Any, make_finding: Any) -> list[Path]:
    """One page of each kind, and the index."""
    numbers = (2, 4)
    for number in numbers:
        folder = runs.folder / "serving" / "trips" / str(number)
        folder.mkdir(parents=True)
        (folder / "saved_model.pb").write_bytes(b"")
    made = [runs.add(run_id="20260401-120000-aaaa", metrics={"auc": 0.9, "log_loss": 0.3})]
    evaluated = artifacts["Evaluator", "evaluation"]["metrics.json"]
    evaluated["blessed"] = False
    for check in evaluated["checks"][::3]:
        check["passed"] = False
    made.append(runs.add("not_blessed", run_id="20260402-120000-bbbb", files=artifacts))
    blocked = {k: v for k, v in artifacts.items() if k[0] not in ("Evaluator", "InfraValidator")}
    hostile = "</script><img src=x onerror=alert(1)>" + "x" * 200
    blocked["DataGate", "verdict"] = {
        "verdict.json": {
            "passed": False,
            "findings": [
                make_finding("anomaly", hostile, "block", message=hostile),
                make_finding("new_column", "tip", "retrain"),
                make_finding("anomaly", "fare", "allowed", allowed_until="2026-12-31"),
            ],
        }
    }
    drift = blocked["DistributionValidator", "drift"]["drift.json"]
    for feature in drift["comparisons"][0]["features"]:
        feature["bins"][0]["label"] = hostile
    drift["comparisons"][0]["features"][0]["feature"] = hostile
    made.append(runs.add("blocked", run_id="20260403-120000-cccc", files=blocked))
    made.append(
        runs.add("failed", run_id="20260404-120000-dddd", files={}, message=hostile, rows={})
    )
    found = [Path(write.run_page(result, runs.places)) for result in made]
    return [*found, Path(write.index_page(runs.places))]


def test_no_error_no_request_no_sideways_scroll(
    browser: Browser, runs: Any, artifacts: Any, make_finding: Any
) -> None:
    for path in pages(runs, artifacts, make_finding):
        for width in WIDTHS:
            for scheme in SCHEMES:
                opened(browser, path, width, scheme)
                found = browser.evaluate("document.documentElement.scrollWidth")
                assert found <= width, (path.parent.name, width)
                # With everything unfolded too.
                browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
                assert browser.evaluate("document.documentElement.scrollWidth") <= width
                assert browser.evaluate("document.images.length + document.scripts.length") == 0


def test_a_browser_shows_the_numbers_of_the_page_and_light_is_not_dark(
    browser: Browser, runs: Any
) -> None:
    path = Path(write.run_page(runs.add(), runs.places))
    backgrounds = set()
    for scheme in SCHEMES:
        opened(browser, path, 1280, scheme)
        backgrounds.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2
    read = html_reader.read(path.read_text())
    shown = browser.evaluate(
        "[...document.querySelectorAll('data')].map(d => [Number(d.value), d.textContent])"
    )
    assert [(value, text) for value, text in shown] == read.numbers


def test_bars_are_as_long_as_their_numbers_say(browser: Browser, runs: Any) -> None:
    path = Path(write.run_page(runs.add(), runs.places))
    opened(browser, path, 390, "light")
    found = browser.evaluate(
        """[...document.querySelectorAll('svg.rows')].slice(0, 2).map(svg =>
          [...svg.querySelectorAll('g')].map(g => [g.querySelector('title').textContent,
            ...[...g.querySelectorAll('rect')].map(r => r.getBoundingClientRect().width)]))"""
    )
    for chart in found:
        shares = [text.rpartition(": ")[2].rstrip(" %").split(" → ") for text, *_ in chart]
        longest = max(float(share) for pair in shares for share in pair)
        widest = max(width for _, *widths in chart for width in widths)
        assert widest > 80
        for pair, (_, *widths) in zip(shares, chart, strict=True):
            for share, width in zip(pair, widths, strict=True):
                # The outline adds a pixel or two.
                assert width == pytest.approx(widest * float(share) / longest, abs=2.5)


def test_on_paper_nothing_is_folded(browser: Browser, runs: Any) -> None:
    path = Path(write.run_page(runs.add(), runs.places))
    browser.open(path, 718, "dark", "print")  # A4 between Chromium's margins
    assert browser.evaluate("document.documentElement.scrollWidth") <= 718
    unseen = browser.evaluate(
        """[...document.querySelectorAll('details table')].filter(
             t => !t.checkVisibility() || t.getBoundingClientRect().height < 20).length"""
    )
    assert browser.evaluate("document.querySelectorAll('details table').length") > 5
    assert unseen == 0
    assert (
        browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert not browser.evaluate("document.querySelector('nav').checkVisibility()")


def test_the_keyboard_reaches_the_content_and_every_table_that_scrolls(
    browser: Browser, runs: Any
) -> None:
    path = Path(write.run_page(runs.add(), runs.places))
    opened(browser, path, 390, "light")
    key = {"key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9}
    reached = []
    for _ in range(150):
        browser.call("Input.dispatchKeyEvent", type="keyDown", **key)
        browser.call("Input.dispatchKeyEvent", type="keyUp", **key)
        reached.append(
            browser.evaluate(
                "document.activeElement.className + '|' + (document.activeElement.getAttribute("
                "'aria-label') || document.activeElement.textContent.trim())"
            )
        )
    assert reached[0] == "skip|Skip to the content"
    wide = browser.evaluate(
        """[...document.querySelectorAll('.scroll')].filter(d => d.scrollWidth > d.clientWidth
             && d.checkVisibility()).map(d => d.className + '|' + d.getAttribute('aria-label'))"""
    )
    assert len(wide) >= 3 and set(wide) <= set(reached)


@pytest.mark.slow
def test_axe_finds_nothing_serious(
    browser: Browser, axe: str, runs: Any, artifacts: Any, make_finding: Any
) -> None:
    for path in pages(runs, artifacts, make_finding):
        for width, scheme in ((1280, "light"), (390, "dark")):
            opened(browser, path, width, scheme)
            browser.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
            browser.evaluate(f"{axe}\n;0")
            found = json.loads(browser.evaluate("axe.run().then(r => JSON.stringify(r))"))
            assert len(found["passes"]) > 15  # it has looked
            told = [
                (item["id"], item["impact"], [node["html"][:200] for node in item["nodes"][:3]])
                for item in found["violations"]
            ]
            assert not told, (path, told)  # serious, or anything lesser
