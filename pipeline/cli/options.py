"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

_Command = Callable[..., Any]


def config_option(command: _Command) -> _Command:
    """`--config FILE`, by default `headrace.toml` here."""
    return click.option(
        "--config",
        "config_file",
        default="headrace.toml",
        show_default=True,
        metavar="FILE",
        help="The configuration.",
    )(command)


def json_option(command: _Command) -> _Command:
    """`--json`: for programs."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)
