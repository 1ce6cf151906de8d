"""The compiled job on a twin of Vertex, next to a local run."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.extra import require
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, Terminal
from pipeline.cli.vertex.common import CLIENT, COMPILER, load, watcher

if TYPE_CHECKING:
    from pipeline.vertex.twin.parity import Row


@click.command()
@config_option
@click.option("--span", metavar="SPAN", help="Newest span to use; default: the newest there is.")
@click.option(
    "--parity", "with_parity", is_flag=True, help="Compare with a local run of the same data."
)
@click.option(
    "--fault",
    "fault_names",
    multiple=True,
    metavar="FAULT",
    help="Let something go wrong: 403, 429, 503, NODE=fail, NODE=preempt or registry=403.",
)
@click.option(
    "--image-root",
    metavar="DIR",
    type=click.Path(file_okay=False),
    help="Run the tasks in the root file system of the image, such as `buildah mount` prints.",
)
@click.option("--job-id", metavar="ID", help="Id of the job; default: name, span and second.")
@click.option("--fresh", is_flag=True, help="Forget earlier rehearsals first.")
@json_option
def rehearse(
    config_file: str,
    span: str | None,
    with_parity: bool,
    fault_names: tuple[str, ...],
    image_root: str | None,
    job_id: str | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Run the compiled job on a twin of Vertex on this machine. Exit codes as `headrace run`."""
    import shutil

    from pipeline.cli.run import Progress, show
    from pipeline.local import quiet
    from pipeline.vertex import prepare
    from pipeline.vertex.twin.faults import Faults

    require("vertex", *COMPILER, *CLIENT)
    config = load(config_file)
    faults = Faults.parse(fault_names)
    prepare.view(config)
    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    progress = Progress(Terminal(stderr=True, soft_wrap=True))
    progress.node("imports", None)
    from pipeline.vertex import jobs
    from pipeline.vertex.twin import rehearse as twins
    from pipeline.vertex.twin.parity import compare

    if fresh:
        shutil.rmtree(twins.folder_of(config), ignore_errors=True)
    name = jobs.check_id(job_id) if job_id else jobs.new_id(config, span or "")
    rows = []
    begun = time.monotonic()
    with twins.twin(config, faults, image_root) as running:
        rehearsal = twins.Rehearsal(config, running)
        job = rehearsal.compiled()
        progress.node("imports", time.monotonic() - begun)
        result, evidence = rehearsal.run(job, span=span, job_id=name, watch=watcher(progress))
        if with_parity:
            progress.node("local run", None)
            begun = time.monotonic()
            _, here = rehearsal.local(span)
            progress.node("local run", time.monotonic() - begun)
            rows = compare(here, evidence)
    if as_json:
        told = {**json.loads(result.to_json()), "parity": [vars(row) for row in rows]}
        click.echo(json.dumps(told))
    else:
        console = Terminal(soft_wrap=True)
        show(result, console, config_file)
        if rows:
            console.print(_parity(rows))
    different = any(not row.same for row in rows)
    raise SystemExit(1 if different and result.exit_code == 0 else result.exit_code)


def _parity(rows: list[Row]) -> Any:
    from rich.text import Text

    table = Sheet("parity", "local", "twin", "", no_wrap=False)
    for row in rows:
        mark = Text("✔", "green") if row.same else Text("✘ differs", "red")
        table.add_row(row.what, row.local, row.twin, mark)
    return table
