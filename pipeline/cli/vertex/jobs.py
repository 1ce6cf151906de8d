"""Jobs on Vertex: send one, look after it, stop it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from pipeline.cli import terminal
from pipeline.cli.extra import require
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Terminal
from pipeline.cli.vertex.common import (
    CLIENT,
    COMPILER,
    compiled,
    config_argument,
    counted,
    image_option,
    load,
    silently,
    watcher,
)
from pipeline.errors import HeadraceError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.vertex.jobs import JobStatus


@click.command()
@config_option
@click.option("--span", metavar="SPAN", help="Newest span to use; default: the newest there is.")
@image_option
@click.option("--schedule", "scheduled", is_flag=True, help="Make or replace the schedule.")
@click.option("--cron", metavar="CRON", help="When; default: vertex.schedule.")
@click.option("--sync", is_flag=True, help="Wait for the end. Exit codes as `headrace run`.")
@click.option("--job-id", metavar="ID", help="Id of the job; default: name, span and second.")
@json_option
def submit(
    config_file: str,
    span: str | None,
    image: str | None,
    scheduled: bool,
    cron: str | None,
    sync: bool,
    job_id: str | None,
    as_json: bool,
) -> None:
    """Compile, lint, and send the job, or its schedule, to Vertex."""
    config = load(config_file, image)
    if scheduled and (span or sync or job_id):
        raise click.UsageError("--schedule goes with none of --span, --sync and --job-id.")
    if cron and not scheduled:
        raise click.UsageError("--cron goes with --schedule.")
    require("vertex", *COMPILER, *CLIENT)
    with silently():
        from pipeline.vertex import jobs
    if scheduled:
        cron = jobs.check_cron(cron or config.vertex.schedule)
    chosen = jobs.check_id(job_id) if job_id else jobs.new_id(config, span or "")
    job = compiled(config)
    with silently():
        from pipeline.vertex.lint import run as linter

        found = linter.lint_for(config, job)
    if found:
        listed = "\n".join(f"  {finding}" for finding in found)
        raise HeadraceError(f"the job is not sent ({counted(found)}):\n{listed}")
    if cron:
        name = jobs.schedule(config, job, cron=cron)
        if as_json:
            click.echo(json.dumps({"schedule": name}))
        else:
            terminal.echo(f"scheduled: {name}")
        return
    page = jobs.submit(config, job, span=span, job_id=chosen)
    if not as_json:
        terminal.echo(f"submitted: {chosen}\n{page}")
    if sync:
        _waited(config, chosen, as_json)
    elif as_json:
        click.echo(json.dumps({"job": chosen, "page": page}))
    else:
        terminal.echo(
            f"next: headrace vertex status {chosen}{config_argument(config_file)}", err=True
        )


def _waited(config: Config, job_id: str, as_json: bool) -> None:

    from pipeline.cli.run import Progress
    from pipeline.vertex import api, jobs

    watch = watcher(Progress(Terminal(stderr=True, soft_wrap=True)))
    found = jobs.wait(config, job_id, watch, poll_seconds=0.1 if api.emulator() else 15.0)
    _show(found, as_json)


@click.command()
@click.argument("job")
@config_option
@json_option
def status(job: str, config_file: str, as_json: bool) -> None:
    """State of a job, its tasks, and what came of it. Exit codes as `headrace run`."""
    config = _connected(config_file)
    from pipeline.vertex import jobs

    _show(jobs.status(config, job), as_json)


def _show(found: JobStatus, as_json: bool) -> None:
    if as_json:
        click.echo(found.to_json())
    else:
        for task in found.tasks:
            line = f"  {task.name:<36}{task.state:<16}{task.seconds:8.1f} s"
            terminal.echo(f"{line}  {task.error}".rstrip())
        version = f", version {found.model_version}" if found.model_version else ""
        terminal.echo(f"{found.status}  job {found.job} ({found.state}){version}")
        if found.message:
            terminal.echo(found.message)
    raise SystemExit(found.exit_code)


@click.command()
@click.argument("job")
@config_option
def cancel(job: str, config_file: str) -> None:
    """Stop a job. What served before goes on serving."""
    config = _connected(config_file)
    from pipeline.vertex import jobs

    jobs.cancel(config, job)
    terminal.echo(
        f"cancelling: {job}\nnext: headrace vertex status {job}{config_argument(config_file)}"
    )


@click.command()
@click.argument("job")
@click.option("--node", metavar="NODE", help="Only this node's.")
@config_option
def logs(job: str, node: str | None, config_file: str) -> None:
    """Print what the tasks of a job wrote."""
    config = _connected(config_file)
    from pipeline.vertex import jobs

    for name, line in jobs.logs(config, job, node):
        terminal.echo(f"{name}: {line}")


def _connected(config_file: str) -> Config:
    from pipeline.vertex import prepare

    require("vertex", *CLIENT)
    config = load(config_file)
    prepare.view(config)
    with silently():
        from pipeline.vertex import api
    api.connect(config.vertex)
    return config
