"""One span against the window before it, without a run: what `headrace drift show` tells."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import files, findings, schema_file, spans
from pipeline.config import Config
from pipeline.drift import (
    calibration,
    compare,
    notes,
    profile,
    profile_text,
    reference,
    seasons,
    words,
)
from pipeline.drift.columns import columns
from pipeline.drift.report import Calibration, Comparison, Feature, Report, Side
from pipeline.errors import DataError


@dataclass(frozen=True)
class Looked:
    """A comparison and what should be known of its thresholds."""

    comparison: Comparison
    notes: tuple[str, ...]

    @property
    def alarming(self) -> list[Feature]:
        """Features that are too far, the furthest first."""
        return [one for one in self.comparison.features if any(m.alarms for m in one.measures)]


def look(config: Config, span: str | None, progress: Callable[[str], None]) -> Looked:
    """Compares a span.

    Args:
        config: the configuration.
        span: its label; None for the newest.
        progress: is told of each span that is read.

    Raises:
        HeadraceError: there is no such span, or a file cannot be read.
    """
    if profile.wanted(config):
        return _reviewed(config, progress)
    window = spans.choose_window(
        reference.discovered(config),
        newest=span,
        train_spans=config.window.train_spans,
        eval_spans=config.window.eval_spans,
        gap=config.window.gap,
    )
    rows = reference.samples(config, window.spans, progress)
    train, held_out = window.labels().values()
    newest = pa.concat_tables([rows[name] for name in held_out])
    before, after = (
        [columns(table, config.features, config.label.name) for table in tables]
        for tables in ([rows[name] for name in train], [newest])
    )
    text, schema = calibration.text(config), config.data.schema_file
    measured = Calibration.model_validate_json(text) if text else None
    features = compare.together(
        before,
        after,
        measured.trending() if measured else {},
    )
    sizes = sum(rows[name].num_rows for name in train), newest.num_rows
    bounds = compare.thresholds(
        features,
        measured.thresholds if measured else {},
        schema_file.thresholds(schema_file.read(schema)) if files.exists(schema) else {},
        current_rows=sizes[1],
        false_alarms=config.drift.false_alarms,
    )
    sides = (
        Side(label=f"{train[0]} … {train[-1]}", rows=sizes[0], sampled=sizes[0]),
        Side(label=", ".join(held_out), rows=sizes[1], sampled=sizes[1]),
    )
    season = seasons.alike(config.data.pattern, train, held_out[-1])
    known = config.drift.known_after
    told = list(notes.of_thresholds(features, bounds, measured, sizes[1]))
    if not measured and (first := notes.uncalibrated(len(train))):
        told.insert(0, first)
    return Looked(
        compare.compare("drift", sides, features, bounds, known, season),
        tuple(told),
    )


def _reviewed(config: Config, progress: Callable[[str], None]) -> Looked:
    """One table against the profile in its schema.

    Raises:
        DataError: the schema carries none.
    """
    found = spans.discover(config.data.path, spans.SpanPattern.parse(config.data.pattern))
    schema = config.data.schema_file
    profiles = profile_text.read(schema_file.read(schema)) if files.exists(schema) else {}
    if not profiles:
        raise DataError(
            "data.pattern names no {span}: one table has nothing before it to be compared with, "
            f"and {schema} carries no reviewed profile of it: headrace schema accept"
        )
    (rows,) = reference.samples(config, found, progress).values()
    label, alarms = config.label.name, config.drift.false_alarms
    made = profile.against(profiles, rows, config.features, label, alarms)
    if made is None:
        raise DataError(f"{schema}: its profile is of none of [features]. headrace schema accept")
    return Looked(made, ())


def as_json(looked: Looked, config: Config, today: dt.date) -> dict[str, Any]:
    """The comparison, what of it alarms, and what the policies make of that.

    Args:
        looked: what was compared.
        config: whose `[gates]` say what follows.
        today: by which the allow list's entries have ended or not.
    """
    found = list(words.findings(Report(comparisons=(looked.comparison,))))
    verdict = findings.judge(found, findings.Policies.of(config), today)
    judged = {one["feature"]: one for one in verdict["findings"]}
    made = looked.comparison.model_dump(mode="json")
    for told, feature in zip(made["features"], looked.comparison.features, strict=True):
        told["alarms"] = feature.feature in judged
        told["policy"] = judged.get(feature.feature, {}).get("policy")
        for one, measured in zip(told["measures"], feature.measures, strict=True):
            one["alarms"] = measured.alarms
    return {
        "alarming": bool(found),
        "passed": verdict["passed"],
        "alarms": verdict["findings"],
        "notes": list(looked.notes),
        **made,
    }
