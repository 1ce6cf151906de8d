"""`headrace report`: the page of a run."""

from __future__ import annotations

import json
import os
import sys
import webbrowser
from pathlib import Path

import click

from pipeline.cli import terminal
from pipeline.cli.options import config_option, json_option


@click.command()
@click.argument("run", required=False)
@config_option
@click.option(
    "--open/--no-open",
    "opened",
    default=None,
    help="Show it in a browser. [default: on a terminal]",
)
@json_option
def report(run: str | None, config_file: str, opened: bool | None, as_json: bool) -> None:
    """Show the page of a run: data, drift, model, push.

    RUN is an id as `headrace runs` lists them; by default it is the newest. A page that is missing
    is written anew from the run's artifacts, and so is the index.
    """
    from pipeline import config_file as reader
    from pipeline.errors import RunError
    from pipeline.local import history
    from pipeline.local.places import Places
    from pipeline.report import write

    places = Places.of(reader.load(config_file))
    found = history.runs(places)
    if not found:
        raise RunError(f"{places.history}: there is no run yet. Type headrace run.")
    chosen = next((result for result in found if run in (None, result.run_id)), None)
    if chosen is None:
        newest = ", ".join(result.run_id for result in found[:3])
        raise RunError(f"run {run}: there is none of that name. The newest are {newest}.")
    page = places.report(chosen.run_id)
    missing = not os.path.exists(page)
    try:
        if missing:
            write.run_page(chosen, places)
        if missing or not os.path.exists(places.index):
            write.index_page(places)
    except OSError as error:
        raise RunError(
            f"{error.filename or page}: the page cannot be written ({error.strerror or error}). "
            "Free space or mend the permissions."
        ) from error
    if as_json:
        told = {"run_id": chosen.run_id, "report": page, "index": places.index, "written": missing}
        click.echo(json.dumps(told))
    else:
        terminal.echo(page)
    if opened or (opened is None and not as_json and sys.stdout.isatty()):
        _show(page, asked=bool(opened))


def _show(page: str, *, asked: bool) -> None:
    """Opens the page; on a machine without a browser that is told only if it was asked for."""
    try:
        shown = webbrowser.open(Path(page).absolute().as_uri())
    except webbrowser.Error:
        shown = False
    if asked and not shown:
        terminal.echo("no browser was found here; copy the file to where there is one", err=True)
