"""`headrace drift`: thresholds from quiet spans, and how far any span lies from its window."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING

import click

from pipeline.cli import terminal
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, Terminal
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.drift.report import Calibration
    from pipeline.drift.span import Looked


_TOLD = ("kolmogorov_smirnov", "l_infinity", "label_rate")
#: As `headrace schema diff` ends where there are differences.
_ALARMS = 5


@click.group()
def drift() -> None:
    """How far data has moved, and how far is too far."""


@drift.command()
@config_option
@click.option(
    "--spans",
    "wanted",
    metavar="FIRST:LAST",
    help="Quiet spans to measure on; default: the window of the newest span.",
)
@click.option(
    "--false-alarms",
    type=click.IntRange(min=2),
    metavar="N",
    help="One quiet span in N may alarm; default: drift.false_alarms.",
)
@json_option
def calibrate(
    config_file: str, wanted: str | None, false_alarms: int | None, as_json: bool
) -> None:
    """Measure thresholds on quiet spans and write them beside and into the schema."""
    from pipeline import config_file as reader
    from pipeline import files, schema_file
    from pipeline.drift import calibrate as work
    from pipeline.drift import calibration, reference
    from pipeline.drift.columns import columns

    config = reader.load(config_file)
    if false_alarms is not None:
        changed = config.drift.model_copy(update={"false_alarms": false_alarms})
        config = config.model_copy(update={"drift": changed})
    found = reference.discovered(config)
    default = found[-1 - config.window.train_spans : -1]
    items = reference.between(found, wanted) if wanted else default
    if len(items) < work.MIN_SPANS:
        raise DataError(
            f"{len(items)} span(s) are too few to tell noise from drift: at least "
            f"{work.MIN_SPANS} quiet ones are needed. Name more with --spans FIRST:LAST."
        )
    say = Terminal(stderr=True)
    rows = reference.samples(config, items, lambda span: say.print(f"reading {span}", style="dim"))
    say.print("measuring noise", style="dim")
    compared = [columns(table, config.features, config.label.name) for table in rows.values()]
    today = dt.datetime.now(dt.UTC).date()
    measured = work.calibrate(list(rows), compared, config, today)
    written = [calibration.write(config, measured)]
    if files.exists(config.data.schema_file):
        schema_file.write_thresholds(config.data.schema_file, measured.thresholds)
        written.append(config.data.schema_file)
    if as_json:
        click.echo(json.dumps(json.loads(measured.model_dump_json())))
        return
    _show_calibration(measured, Terminal(soft_wrap=True))
    terminal.echo(f"written to {' and '.join(written)}: review and commit")


def _show_calibration(measured: Calibration, console: Terminal) -> None:
    from pipeline.drift.notes import restless

    console.print(
        f"measured on {measured.spans[0]} … {measured.spans[-1]} ({len(measured.spans)} spans of "
        f"{measured.span_rows:,} rows): at most one false alarm in {measured.false_alarms} quiet "
        "spans, all features together",
        highlight=False,
    )
    headings = ("feature", "measure", "threshold", "is found nine times in ten")
    table = Sheet(*headings, no_wrap=False)
    for feature, bounds in measured.thresholds.items():
        # One of several; all are in the file.
        name = next((name for name in _TOLD if name in bounds), "")
        found = measured.detectable.get(feature, "")
        table.add_row(feature, name, f"{bounds[name]:.3g}" if name else "none", found)
    console.print(table, highlight=False)
    for feature, trend in measured.trends.items():
        told = f"{feature} trends, by {trend}: compared at the newest span's level"
        console.print(told, highlight=False)
    if measured.restless:
        told = restless(measured.restless)
        console.print(told, style="yellow", highlight=False)
    for span, features in measured.outliers.items():
        console.print(
            f"not quiet, and not counted: {span}: {', '.join(features)}",
            style="yellow",
            highlight=False,
        )


@drift.command()
@config_option
@click.option("--span", metavar="SPAN", help="To look at; default: the newest.")
@click.option("--top", type=click.IntRange(min=1), default=10, show_default=True, metavar="N")
@click.option("--exit-code", is_flag=True, help="End with 5 if anything alarms.")
@json_option
def show(config_file: str, span: str | None, top: int, exit_code: bool, as_json: bool) -> None:
    """Compare a span with the window before it, without a run.

    With --json: `alarms`, what alarms, each with its measure, value, threshold and what [gates]
    does about it; and every distance that was measured.
    """
    from pipeline import config_file as reader
    from pipeline.drift import span as work

    config = reader.load(config_file)
    say = Terminal(stderr=True)
    looked = work.look(config, span, lambda name: say.print(f"reading {name}", style="dim"))
    if as_json:
        click.echo(json.dumps(work.as_json(looked, config, dt.datetime.now(dt.UTC).date())))
    else:
        _show(looked, top, Terminal(soft_wrap=True))
    if exit_code and looked.alarming:
        raise click.exceptions.Exit(_ALARMS)


def _show(looked: Looked, top: int, console: Terminal) -> None:
    from pipeline.drift.words import message

    comparison, alarming = looked.comparison, looked.alarming
    old, new = comparison.reference, comparison.current
    console.print(f"{new.label} ({new.rows:,} rows) against {old.label} ({old.rows:,} rows)")
    for feature in alarming[:top]:
        console.print(
            f"{feature.feature}: {message(comparison, feature)}",
            style="yellow",
            highlight=False,
        )
    if len(alarming) > top:
        console.print(f"… and {len(alarming) - top} more: --top {len(alarming)}")
    quiet = [one for one in comparison.features if one not in alarming]
    known = [one.feature for one in quiet if (one.excess or 0) > 1]
    if known:
        names = f"known, for the window holds it already: {', '.join(known)}"
        console.print(names, highlight=False)
    closest = max((one.excess or 0.0 for one in quiet if one.feature not in known), default=0.0)
    console.print(
        f"{len(quiet) - len(known)} of {len(comparison.features)} features within their "
        f"thresholds (the closest at {closest:.0%} of its own)",
        highlight=False,
    )
    for note in looked.notes:
        console.print(f"note: {note}", style="dim", highlight=False)
