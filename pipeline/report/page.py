"""Renders the page of a run and the index of all runs.

A page is one file that needs nothing else: no script, no font, no picture from elsewhere, and a
Content-Security-Policy of its own that would refuse them. Jinja escapes everything that is not
markup of the templates.
"""

from __future__ import annotations

import datetime as dt
import functools
import math
import os
from typing import Any

import jinja2

from pipeline.local.places import Places
from pipeline.local.result import RunResult
from pipeline.report import data_view, drift_view, headline, model_view, origin_view, text
from pipeline.report.evidence import Evidence

#: Runs that the index lists.
MAX_RUNS = 500
#: Findings, warnings, nodes and problems that a page lists.
MAX_LISTED = 200


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("pipeline.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=text.visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        name: getattr(text, name)
        for name in ("clip", "integer", "fixed", "signed", "short", "percent", "times")
    }
    environment.filters["measure"] = drift_view.measure_name
    environment.tests["finite"] = lambda value: value is not None and math.isfinite(value)
    environment.globals |= {"many": text.many, "STATUS": headline.STATUS}
    return environment


def render(evidence: Evidence) -> str:
    """The page of a run, HTML."""
    drift = evidence.drift
    findings = evidence.verdict.findings if evidence.verdict else ()
    compared = {"drift", "skew", "splits", "label", "prediction"}
    schema_findings = [f for f in findings if f.kind not in compared]
    view: dict[str, Any] = {
        "e": evidence,
        "result": evidence.result,
        "sentence": headline.sentence(evidence),
        "gates": headline.gates(evidence),
        "started": started(evidence.result.run_id),
        "data": data_view.data_in(evidence),
        "schema_findings": schema_findings[:MAX_LISTED],
        "schema_left_out": max(0, len(schema_findings) - MAX_LISTED),
        "moved": {
            kind: [f for f in findings if f.kind in kinds][:MAX_LISTED]
            for kind, kinds in (
                ("drift", ("drift", "label", "prediction")),
                ("skew", ("skew",)),
                ("splits", ("splits",)),
            )
        },
        "comparisons": {
            kind: drift_view.comparison(drift, kind) for kind in ("drift", "skew", "splits")
        },
        "history": drift_view.history(drift),
        "model": model_view.model(evidence),
        "METRICS": model_view.METRICS,
        "latency": model_view.latency(evidence),
        "push": origin_view.push(evidence),
        "origins": origin_view.origins(evidence),
        "spans_shown": data_view.SPANS_SHOWN,
    }
    return _environment().get_template("run.html").render(view)


def render_index(runs: list[RunResult], places: Places) -> str:
    """The index of all runs, newest first."""
    rows = [
        {
            "result": result,
            "started": started(result.run_id),
            "link": _link(result, places),
        }
        for result in runs[:MAX_RUNS]
    ]
    view = {"rows": rows, "left_out": max(0, len(runs) - MAX_RUNS), "output": places.output}
    return _environment().get_template("index.html").render(view)


def _link(result: RunResult, places: Places) -> str:
    page = places.report(result.run_id)
    return os.path.relpath(page, places.output) if os.path.exists(page) else ""


def started(run_id: str) -> dt.datetime | None:
    """When a run began, which its id tells; local time of the machine that ran it."""
    try:
        return dt.datetime.strptime(run_id[:15], "%Y%m%d-%H%M%S")
    except ValueError:
        return None
