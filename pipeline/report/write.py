"""Writes the pages of an output folder. Each appears whole or not at all."""

from __future__ import annotations

from pipeline import files
from pipeline.local import history
from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.report import page
from pipeline.report.evidence import collect


def run_page(result: RunResult, places: Places) -> str:
    """Writes the page of a run; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    path = places.report(result.run_id)
    files.write_atomically(path, _encoded(page.render(collect(result, places))))
    return path


def index_page(places: Places) -> str:
    """Writes the index of all runs; returns its path.

    Raises:
        OSError: it cannot be written.
    """
    html = page.render_index(history.runs(places), places)
    files.write_atomically(places.index, _encoded(html))
    return places.index


def _encoded(html: str) -> bytes:
    # A file's name may hold bytes that are no text; Python carries them as lone surrogates.
    return html.encode("utf-8", "backslashreplace")
