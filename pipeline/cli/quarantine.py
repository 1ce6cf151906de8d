"""`headrace quarantine show`."""

from __future__ import annotations

import csv
import dataclasses
import json
from typing import TYPE_CHECKING

import click

from pipeline.cli import serving, terminal
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, print_table
from pipeline.errors import RunError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.local.quarantine import Quarantine, Refused

#: Rows shown unless --limit says otherwise; a file gets all.
_SHOWN = 10


@click.group()
def quarantine() -> None:
    """Rows that were refused, and why."""


@quarantine.command()
@click.argument("run_id", required=False, metavar="[RUN]")
@config_option
@click.option("--reason", metavar="NAME", help="Only rows refused for this rule.")
@click.option(
    "--limit",
    type=click.IntRange(0),
    help=f"At most so many rows; by default {_SHOWN}, and with --csv all.",
)
@click.option("--csv", "csv_file", metavar="FILE", help="Write the rows to a file instead.")
@json_option
def show(
    run_id: str | None,
    config_file: str,
    reason: str | None,
    limit: int | None,
    csv_file: str | None,
    as_json: bool,
) -> None:
    """Show the refused rows of the newest run, or of RUN: how many, by which rule, and which."""
    from pipeline.local import quarantine as refused
    from pipeline.local import quiet
    from pipeline.local.places import Places

    config = serving.load(config_file)
    found = refused.of_run(Places.of(config), run_id)
    counts = found.counts()
    if reason is not None and reason not in counts:
        told = ", ".join(counts) or "none"
        raise RunError(f"--reason {reason}: no row was refused for it. There are: {told}.")
    if limit is None and not csv_file:
        limit = _SHOWN
    rows: list[Refused] = []
    if counts and limit != 0:
        with quiet.silenced():
            rows = found.rows(reason, limit)
    if csv_file:
        _write(csv_file, rows)
        terminal.echo(f"{len(rows):,} rows of run {found.run_id} written to {csv_file}")
    elif as_json:
        click.echo(json.dumps(_as_json(found, config, rows)))
    else:
        _print(found, config, rows, reason)


def _as_json(found: Quarantine, config: Config, rows: list[Refused]) -> dict[str, object]:
    return {
        "run_id": found.run_id,
        "max_share": config.quarantine.max_share,
        "reasons": found.counts(),
        "spans": {
            label: dataclasses.asdict(span) | {"share": _share(span.quarantined, span.kept)}
            for label, span in found.ingested.spans.items()
        },
        "rows": [dataclasses.asdict(row) for row in rows],
    }


def _share(refused: int, kept: int) -> float:
    return refused / (refused + kept) if refused else 0.0


def _write(path: str, rows: list[Refused]) -> None:
    try:
        with open(path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["reason", "source", "row"])
            writer.writerows([";".join(row.reasons), row.source, row.row] for row in rows)
    except OSError as error:
        raise RunError(f"--csv {path}: cannot be written ({error.strerror}).") from error


def _print(found: Quarantine, config: Config, rows: list[Refused], reason: str | None) -> None:
    limit = config.quarantine.max_share
    total = sum(span.quarantined for span in found.ingested.spans.values())
    terminal.echo(f"run {found.run_id}: {total:,} rows refused; the limit is {limit:.1%} of a span")
    if not total:
        return
    sheet = Sheet("span", "rows", "refused", "share", "by rule")
    for label, span in found.ingested.spans.items():
        if span.quarantined:
            share = _share(span.quarantined, span.kept)
            sheet.add_row(
                label,
                f"{span.kept + span.quarantined:,}",
                f"{span.quarantined:,}",
                f"{share:.2%}{' over the limit' if share > limit else ''}",
                ", ".join(f"{name} {count:,}" for name, count in span.reasons.items()),
            )
    print_table(sheet)
    counts = found.counts()
    wanted = counts[reason] if reason else total
    for row in rows:
        reasons, source, text = map(
            terminal.one_line, (", ".join(row.reasons), row.source, str(row.row))
        )
        terminal.echo(f"\n{reasons}\n  {source}\n  {text}")
    if len(rows) < wanted:
        terminal.echo(f"\n{len(rows):,} of {wanted:,} shown: --limit N, or --csv FILE for all")
