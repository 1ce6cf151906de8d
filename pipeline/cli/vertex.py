"""`headrace vertex`: the same pipeline on Vertex AI Pipelines."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from pipeline.cli.options import config_option, json_option
from pipeline.errors import HeadraceError

if TYPE_CHECKING:
    from pipeline.config import Config
    from pipeline.vertex.lint.finding import Finding


@click.group()
def vertex() -> None:
    """Run the pipeline on Vertex AI Pipelines: compile, lint, rehearse, submit."""


def _config(config_file: str) -> Config:
    from pipeline import config_file as reader

    return reader.load(config_file)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """TensorFlow's and Google's libraries are imported without a word, and without a network."""
    from pipeline.local import collector, quiet

    os.environ.update({k: v for k, v in quiet.ENVIRONMENT.items() if k not in os.environ})
    with quiet.output_to(os.devnull), collector.quiet():
        yield


def _compiled(config: Config) -> dict[str, Any]:
    from pipeline.vertex import prepare

    prepare.view(config)  # what is wrong with the configuration is told in half a second
    with _quiet():
        from pipeline.vertex import compile as compiler

        return compiler.compile_job(config)


@vertex.command()
@config_option
@click.option("--out", metavar="FILE", help="Where to; default: standard output.")
def compile(config_file: str, out: str | None) -> None:  # noqa: A001 - the command's name
    """Write the pipeline job (spec 2.1, JSON). The same input gives the same bytes."""
    job = _compiled(_config(config_file))
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


def _count(found: list[Finding]) -> str:
    return "no finding" if not found else f"{len(found)} finding{'s' if len(found) > 1 else ''}"


def _option(config_file: str) -> str:
    return "" if config_file == "headrace.toml" else f" --config {config_file}"
