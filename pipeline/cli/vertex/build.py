"""What needs no Google project: the compiled job, what is wrong with it, Dataflow's jobs."""

from __future__ import annotations

import json
import sys

import click

from pipeline.cli import terminal
from pipeline.cli.extra import require
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Terminal
from pipeline.cli.vertex.common import (
    COMPILER,
    compiled,
    config_argument,
    counted,
    image_option,
    load,
    silently,
)
from pipeline.errors import HeadraceError


@click.command()
@config_option
@image_option
@click.option("--out", metavar="FILE", help="Where to; default: standard output.")
def compile(config_file: str, image: str | None, out: str | None) -> None:  # noqa: A001 - the command's name
    """Write the pipeline job (spec 2.1, JSON). The same input gives the same bytes."""
    job = compiled(load(config_file, image))
    from pipeline import files
    from pipeline.vertex.compile import to_bytes

    content = to_bytes(job)
    if out is None:
        sys.stdout.buffer.write(content)
        return
    try:
        files.write_atomically(out, content)
    except OSError as error:
        raise HeadraceError(
            f"{out}: cannot be written ({error.strerror or error}). Name another file with --out."
        ) from error
    tasks = len(job["pipelineSpec"]["root"]["dag"]["tasks"])
    terminal.echo(f"{out}: {tasks} tasks, {len(content):,} bytes", err=True)
    terminal.echo(f"next: headrace vertex lint {out}{config_argument(config_file)}", err=True)


@click.command()
@click.argument("file", required=False)
@config_option
@click.option(
    "--python", metavar="PATH", help="Python of the image, if it is not this one: imports there."
)
@json_option
def lint(file: str | None, config_file: str, python: str | None, as_json: bool) -> None:
    """Find what is wrong with a compiled job (FILE, or the configuration's)."""
    require("vertex", *COMPILER)
    from pipeline.vertex import prepare
    from pipeline.vertex.lint import run as linter

    config = load(config_file)
    prepare.view(config)
    job = linter.read(file) if file else compiled(config)
    with silently():
        found = linter.lint_for(config, job, python)
    if as_json:
        click.echo(json.dumps({"findings": [vars(finding) for finding in found]}))
    else:
        for finding in found:
            terminal.echo(f"{finding}  [{finding.check}]")
        terminal.echo(counted(found))
    raise SystemExit(1 if found else 0)


@click.command()
@config_option
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only this component.")
@click.option("--out", metavar="FOLDER", help="Write each request there, as NODE.json.")
@json_option
def dataflow(config_file: str, nodes: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Build the Dataflow job of each Beam component here and check it; nothing is sent."""
    from pipeline.vertex import prepare

    config = load(config_file)
    prepare.view(prepare.for_dataflow(config))
    status = Terminal(stderr=True).status("loading Beam and TFX")
    with status, silently():
        from pipeline.vertex.dataflow import dry_run

        components, found = dry_run.dry_run(config, nodes, status.update)
    if out is not None:
        dry_run.write(components, out)
    if as_json:
        jobs = [vars(component) for component in components]
        click.echo(json.dumps({"jobs": jobs, "findings": [vars(each) for each in found]}))
    else:
        for each in components:
            terminal.echo(
                f"{each.node:<16}{each.steps:4} steps, graph {each.graph_bytes / 1e3:,.0f} kB, "
                f"request {each.request_bytes / 1e3:,.0f} kB; {each.machine or 'default machine'}, "
                f"up to {each.max_workers or 'any number of'} workers"
            )
        for image in sorted({each.image for each in components}):
            terminal.echo(f"workers run {image}")
        for finding in found:
            terminal.echo(f"{finding}  [{finding.check}]")
        terminal.echo(counted(found))
    raise SystemExit(1 if found else 0)
