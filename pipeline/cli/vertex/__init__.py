"""`headrace vertex`: the same pipeline on Vertex AI Pipelines."""

import click

from pipeline.cli.vertex import build, jobs, rehearse


@click.group()
def vertex() -> None:
    """Run the pipeline on Vertex AI Pipelines: compile, lint, rehearse, submit."""


for _command in (
    build.compile, build.lint, build.dataflow, rehearse.rehearse,
    jobs.submit, jobs.status, jobs.cancel, jobs.logs,
):  # fmt: skip
    vertex.add_command(_command)
