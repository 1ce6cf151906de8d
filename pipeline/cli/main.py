"""`headrace`: a click group whose commands are imported only when they are called.

`--help` must answer in half a second; one careless import here would cost ten.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import sys
import tempfile
import traceback
from typing import Any

import click

from pipeline import __version__
from pipeline.cli import terminal
from pipeline.errors import HeadraceError

#: Command → where it lives, and the line that `--help` shows.
_COMMANDS = {
    "init": ("pipeline.cli.init", "Look at data, write a configuration and a schema for it."),
    "run": ("pipeline.cli.run", "Run the pipeline once: data in, a blessed model pushed."),
    "runs": ("pipeline.cli.history", "List the runs and what came of them."),
    "report": ("pipeline.cli.report", "Show the page of a run: data, drift, model, push."),
    "models": ("pipeline.cli.history", "List the pushed versions and where they come from."),
    "lineage": ("pipeline.cli.history", "Everything a pushed version was made from."),
    "audit": ("pipeline.cli.audit", "Send faults through the pipeline; see which gate stops them."),
    "drift": ("pipeline.cli.drift", "Thresholds of drift, and how far a span has moved."),
    "schema": ("pipeline.cli.schema", "What new data would change in the schema; accept it."),
    "quarantine": ("pipeline.cli.quarantine", "Show the rows that were refused, and why."),
    "serve": ("pipeline.cli.serve", "Serve the pushed model over gRPC and REST."),
    "predict": ("pipeline.cli.predict", "Ask a server for predictions on the rows of a file."),
    "status": ("pipeline.cli.status", "Versions and labels, on disk and on a server."),
    "label": ("pipeline.cli.label", "Point a label at a version, on a running server too."),
    "vertex": ("pipeline.cli.vertex", "Run it on Vertex AI Pipelines; rehearse that here."),
}

_ROOMS = ("pipeline", "models", "serving")


class _LazyGroup(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])

    def main(self, *arguments: Any, **options: Any) -> Any:
        terminal.prepare()
        return super().main(*arguments, **options)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except HeadraceError as error:
            terminal.echo(f"headrace: {error}", err=True, fg="red")
            ctx.exit(error.exit_code)
        except click.ClickException as error:
            vars(error)["message"] = terminal.visible(error.message)
            raise
        except (click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # noqa: BLE001 - a trace helps us, not the person who reads it
            if lacking := _lacking(error):
                terminal.echo(f"headrace: {lacking}", err=True, fg="red")
                ctx.exit(1)
            trace = _keep_trace()
            terminal.echo(f"headrace: {type(error).__name__}: {error}", err=True, fg="red")
            terminal.echo(f"This is a fault of Headrace's own. The trace is in {trace}", err=True)
            ctx.exit(1)


def _lacking(error: Exception) -> str | None:
    """What to install, where a library is missing: a light installation has few."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if not name or name in _ROOMS:
        return None
    return f"{name} is not installed: pip install 'headrace[pipeline]'"


def _keep_trace() -> str:
    with tempfile.NamedTemporaryFile(
        "w",
        prefix="headrace-",
        suffix=".trace",
        delete=False,
        encoding="utf-8",
        errors="backslashreplace",
    ) as file:
        traceback.print_exc(file=file)
    return file.name


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="headrace")
def headrace() -> None:
    """Raw data in; a validated, evaluated, blessed model out, pushed to TensorFlow Serving.

    Exit codes: 0 pushed or up to date, 1 failed, 2 usage or configuration, 3 blocked by a gate,
    4 not blessed.
    """


def main() -> None:
    """The console command. Ends without taking TensorFlow's modules apart, which costs seconds."""
    code: object = 0
    try:
        headrace(prog_name="headrace")
    except SystemExit as exit_:
        code = exit_.code
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))


if __name__ == "__main__":
    main()
