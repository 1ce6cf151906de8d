"""`headrace vertex`: the same pipeline on Vertex AI Pipelines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.extra import require
from pipeline.cli.options import config_option, json_option
from pipeline.errors import HeadraceError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.vertex.jobs import JobStatus, Task
    from pipeline.vertex.lint.finding import Finding
    from pipeline.vertex.twin.parity import Row


#: What the commands below import of the extra `vertex`: some only the compiler's side.
_COMPILER = ("kfp", "celpy")
_CLIENT = ("google.cloud.aiplatform", "google.cloud.storage")


@click.group()
def vertex() -> None:
    """Run the pipeline on Vertex AI Pipelines: compile, lint, rehearse, submit."""


def _config(config_file: str, image: str | None = None) -> Config:
    from pipeline import config_file as reader

    config = reader.load(config_file)
    if image is None:
        return config
    return config.model_copy(update={"vertex": config.vertex.model_copy(update={"image": image})})


_image_option = click.option(
    "--image", metavar="IMAGE", help="Of the tasks, with tag or digest; default: vertex.image."
)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow's and Google's libraries are imported without a word, and without a network."""
    from pipeline.local import collector, quiet

    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    with quiet.output_to(os.devnull), collector.quiet():
        yield


def _compiled(config: Config) -> dict[str, Any]:
    from pipeline import beam_options
    from pipeline.vertex import prepare

    require("vertex", *_COMPILER)
    seen = prepare.view(config)  # what is wrong with the configuration is told in half a second
    with _quiet():
        beam_options.check(seen.beam)  # in a second or two, and only if there are options
        from pipeline.vertex import compile as compiler

        return compiler.compile_job(config)


@vertex.command()
@config_option
@_image_option
@click.option("--out", metavar="FILE", help="Where to; default: standard output.")
def compile(config_file: str, image: str | None, out: str | None) -> None:  # noqa: A001 - the command's name
    """Write the pipeline job (spec 2.1, JSON). The same input gives the same bytes."""
    job = _compiled(_config(config_file, image))
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
    click.echo(f"{out}: {tasks} tasks, {len(content):,} bytes", err=True)
    click.echo(f"next: headrace vertex lint {out}{_option(config_file)}", err=True)


@vertex.command()
@click.argument("file", required=False)
@config_option
@click.option(
    "--python", metavar="PATH", help="Python of the image, if it is not this one: imports there."
)
@json_option
def lint(file: str | None, config_file: str, python: str | None, as_json: bool) -> None:
    """Find what is wrong with a compiled job (FILE, or the configuration's)."""
    require("vertex", *_COMPILER)
    from pipeline.vertex import prepare
    from pipeline.vertex.lint import run as linter

    config = _config(config_file)
    prepare.view(config)
    job = linter.read(file) if file else _compiled(config)
    with _quiet():
        found = linter.lint_for(config, job, python)
    if as_json:
        click.echo(json.dumps({"findings": [vars(finding) for finding in found]}))
    else:
        for finding in found:
            click.echo(f"{finding}  [{finding.check}]")
        click.echo(_count(found))
    raise SystemExit(1 if found else 0)


@vertex.command()
@config_option
@click.option("--node", "nodes", multiple=True, metavar="NODE", help="Only this component.")
@click.option("--out", metavar="FOLDER", help="Write each request there, as NODE.json.")
@json_option
def dataflow(config_file: str, nodes: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Build the Dataflow job of each Beam component here and check it; nothing is sent."""
    from rich.console import Console

    from pipeline.vertex import prepare

    config = _config(config_file)
    prepare.view(prepare.for_dataflow(config))
    status = Console(stderr=True).status("loading Beam and TFX")
    with status, _quiet():
        from pipeline.vertex.dataflow import dry_run

        components, found = dry_run.dry_run(config, nodes, status.update)
    if out is not None:
        dry_run.write(components, out)
    if as_json:
        jobs = [vars(component) for component in components]
        click.echo(json.dumps({"jobs": jobs, "findings": [vars(each) for each in found]}))
    else:
        for each in components:
            click.echo(
                f"{each.node:<16}{each.steps:4} steps, graph {each.graph_bytes / 1e3:,.0f} kB, "
                f"request {each.request_bytes / 1e3:,.0f} kB; {each.machine or 'default machine'}, "
                f"up to {each.max_workers or 'any number of'} workers"
            )
        for image in sorted({each.image for each in components}):
            click.echo(f"workers run {image}")
        for finding in found:
            click.echo(f"{finding}  [{finding.check}]")
        click.echo(_count(found))
    raise SystemExit(1 if found else 0)


@vertex.command()
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

    from rich.console import Console

    from pipeline.cli.run import Progress, show
    from pipeline.local import quiet
    from pipeline.vertex import prepare
    from pipeline.vertex.twin.faults import Faults

    require("vertex", *_COMPILER, *_CLIENT)
    config = _config(config_file)
    faults = Faults.parse(fault_names)
    prepare.view(config)
    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    progress = Progress(Console(stderr=True, soft_wrap=True))
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
        result, evidence = rehearsal.run(job, span=span, job_id=name, watch=_watch(progress))
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
        console = Console(soft_wrap=True)
        show(result, console, config_file)
        if rows:
            console.print(_parity(rows))
    different = any(not row.same for row in rows)
    raise SystemExit(1 if different and result.exit_code == 0 else result.exit_code)


def _watch(progress: Any) -> Callable[[Task], None]:
    """Shows tasks as `headrace run` shows nodes; one may be over before it was seen to run."""

    def watch(task: Task) -> None:
        if task.state == "RUNNING":
            progress.node(task.name, None)
        elif task.state in ("SUCCEEDED", "FAILED"):
            progress.node(task.name, task.seconds)
        elif task.state == "SKIPPED":
            progress.say(f"  {task.name:<28}  from the cache")

    return watch


def _parity(rows: list[Row]) -> Any:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in ("parity", "local", "twin", ""):
        table.add_column(heading)
    for row in rows:
        mark = "[green]✔[/]" if row.same else "[red]✘ differs[/]"
        table.add_row(row.what, row.local, row.twin, mark)
    return table


@vertex.command()
@config_option
@click.option("--span", metavar="SPAN", help="Newest span to use; default: the newest there is.")
@_image_option
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
    config = _config(config_file, image)
    if scheduled and (span or sync or job_id):
        raise click.UsageError("--schedule goes with none of --span, --sync and --job-id.")
    if cron and not scheduled:
        raise click.UsageError("--cron goes with --schedule.")
    require("vertex", *_COMPILER, *_CLIENT)
    with _quiet():
        from pipeline.vertex import jobs
    if scheduled:
        cron = jobs.check_cron(cron or config.vertex.schedule)
    chosen = jobs.check_id(job_id) if job_id else jobs.new_id(config, span or "")
    job = _compiled(config)
    with _quiet():
        from pipeline.vertex.lint import run as linter

        found = linter.lint_for(config, job)
    if found:
        listed = "\n".join(f"  {finding}" for finding in found)
        raise HeadraceError(f"the job is not sent ({_count(found)}):\n{listed}")
    if cron:
        name = jobs.schedule(config, job, cron=cron)
        click.echo(json.dumps({"schedule": name}) if as_json else f"scheduled: {name}")
        return
    page = jobs.submit(config, job, span=span, job_id=chosen)
    if not as_json:
        click.echo(f"submitted: {chosen}\n{page}")
    if sync:
        _waited(config, chosen, as_json)
    elif as_json:
        click.echo(json.dumps({"job": chosen, "page": page}))
    else:
        click.echo(f"next: headrace vertex status {chosen}{_option(config_file)}", err=True)


def _waited(config: Config, job_id: str, as_json: bool) -> None:
    from rich.console import Console

    from pipeline.cli.run import Progress
    from pipeline.vertex import api, jobs

    watch = _watch(Progress(Console(stderr=True, soft_wrap=True)))
    found = jobs.wait(config, job_id, watch, poll_seconds=0.1 if api.emulator() else 15.0)
    _show(found, as_json)


@vertex.command()
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
            click.echo(f"{line}  {task.error}".rstrip())
        version = f", version {found.model_version}" if found.model_version else ""
        click.echo(f"{found.status}  job {found.job} ({found.state}){version}")
        if found.message:
            click.echo(found.message)
    raise SystemExit(found.exit_code)


@vertex.command()
@click.argument("job")
@config_option
def cancel(job: str, config_file: str) -> None:
    """Stop a job. What served before goes on serving."""
    config = _connected(config_file)
    from pipeline.vertex import jobs

    jobs.cancel(config, job)
    click.echo(f"cancelling: {job}\nnext: headrace vertex status {job}{_option(config_file)}")


@vertex.command()
@click.argument("job")
@click.option("--node", metavar="NODE", help="Only this node's.")
@config_option
def logs(job: str, node: str | None, config_file: str) -> None:
    """Print what the tasks of a job wrote."""
    config = _connected(config_file)
    from pipeline.vertex import jobs

    for name, line in jobs.logs(config, job, node):
        click.echo(f"{name}: {line}")


def _connected(config_file: str) -> Config:
    from pipeline.vertex import prepare

    require("vertex", *_CLIENT)
    config = _config(config_file)
    prepare.view(config)
    with _quiet():
        from pipeline.vertex import api
    api.connect(config.vertex)
    return config


def _count(found: list[Finding]) -> str:
    return "no finding" if not found else f"{len(found)} finding{'s' if len(found) > 1 else ''}"


def _option(config_file: str) -> str:
    return "" if config_file == "headrace.toml" else f" --config {config_file}"
