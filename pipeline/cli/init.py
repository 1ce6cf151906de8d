"""`headrace init`."""

from __future__ import annotations

import os

import click

from pipeline.cli import terminal


@click.command()
@click.option(
    "--data", "path", required=True, metavar="PATH", help="CSV or Parquet: file, folder or glob."
)
@click.option(
    "--label", metavar="EXPR", help="A column with two values, or a yes-or-no question in SQL."
)
@click.option("--out", "folder", metavar="DIR", help="Folder to write to.  [default: here]")
@click.option(
    "--config",
    "config_file",
    metavar="FILE",
    help="The configuration to write.  [default: headrace.toml]",
)
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def init(
    path: str, label: str | None, folder: str | None, config_file: str | None, force: bool
) -> None:
    """Look at data and write a configuration and a schema for it.

    Writes headrace.toml and schema/schema.pbtxt, with the reason for every column as a comment;
    then `headrace run` works on the data.
    """
    from pipeline.starter import write

    if folder and config_file:
        raise click.UsageError("give --out or --config, not both.")
    target = config_file or os.path.join(folder or "", "headrace.toml")
    if not target.endswith(".toml"):
        raise click.UsageError(f"--config {target}: give it the ending .toml.")
    made = write.write(
        path, label, target, force=force, say=lambda step: terminal.echo(f"  {step} …", err=True)
    )
    for line in made.lines:
        terminal.echo(line)
    option = "" if target == "headrace.toml" else f" --config {target}"
    terminal.echo(f"next: headrace run{option}")
