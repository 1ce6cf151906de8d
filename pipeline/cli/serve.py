"""`headrace serve`."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys

import click

from pipeline.cli import serving
from pipeline.cli.options import config_option, json_option
from pipeline.errors import RunError
from serving import stock
from serving.durable import explained, write_atomic


@click.command(context_settings={"ignore_unknown_options": True})
@config_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; 0.0.0.0: all.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8500, show_default=True, help="gRPC; 0: free."
)
@click.option(
    "--rest-port",
    type=click.IntRange(0, 65535),
    default=8501,
    show_default=True,
    help="REST; 0: free.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=N",
    help="A label beside those of `headrace label`, which ends it; for this server only.",
)
@click.option(
    "--contract",
    type=click.Choice(["off", "count", "refuse"]),
    help="What becomes of requests that break the schema's SERVING environment: the embedded "
    "server counts them (its default) or refuses them; the stock one knows no such thing.",
)
@click.option(
    "--docker",
    is_flag=False,
    flag_value="print",
    type=click.Choice(["print", "run"]),
    help="Print the stock image's command line, or run it.",
)
@json_option
@click.argument("flags", nargs=-1, type=click.UNPROCESSED)
def serve(
    config_file: str,
    host: str,
    port: int,
    rest_port: int,
    labels: tuple[str, ...],
    contract: str | None,
    docker: str | None,
    as_json: bool,
    flags: tuple[str, ...],
) -> None:
    """Serve the pushed model over gRPC and REST, newer versions as they come.

    FLAGS are further flags of tensorflow_model_server, such as --enable_batching=true.
    """
    if contract:
        if docker:
            raise click.UsageError("--contract is of the embedded server; leave out --docker.")
        flags = (f"--request_contract={contract}", *flags)
    config = serving.load(config_file)
    with serving.for_people():
        registry = serving.registry_of(config)
        numbers = [version.number for version in registry.versions()]
        if not numbers:
            raise RunError(serving.NO_MODEL)
        chosen = registry.labels() | dict(map(_label_option, labels))
        for label, number in chosen.items():
            if number not in numbers:
                raise RunError(
                    f"label {label} points to version {number}, which is not in {registry.folder} "
                    f"(there are: {', '.join(map(str, numbers))}). Move it: headrace label "
                    f"{label} {numbers[-1]}"
                )
        start = stock.Start(
            registry.model_name, registry.folder, host, port, rest_port, chosen, flags
        )
        command = start.docker() if docker else start.embedded()
        if docker == "run" and not shutil.which("docker"):
            raise RunError("docker is not installed. `headrace serve` needs none.")
        if docker != "print":
            _check_ports(start)
        if chosen:
            path = registry.folder / stock.MODELS_CONFIG
            with explained("write", path):
                write_atomic(path, start.models_config())
    if as_json:
        told = {
            "model": start.model,
            "versions": numbers,
            "labels": chosen,
            "grpc": f"grpc://{host}:{port}" if port else None,
            "rest": f"http://{host}:{rest_port}" if rest_port else None,
            "command": command,
        }
        click.echo(json.dumps(told))
    elif docker:
        click.echo(shlex.join(command))
    if docker != "print":
        _become(command)


def _label_option(text: str) -> tuple[str, int]:
    label, equals, number = text.partition("=")
    if not (label and equals and number.isascii() and number.isdigit()):
        raise click.UsageError(f"--label {text}: write NAME=N, as in --label canary=3.")
    return label, int(number)


def _check_ports(start: stock.Start) -> None:
    """Before seconds are spent on loading TensorFlow."""
    from serving.server import ports

    try:
        for port, option in ((start.port, "port"), (start.rest_port, "rest-port")):
            if port:
                ports.check_free(start.host, port, option)
    except ports.PortInUseError as error:
        raise RunError(str(error)) from error
    except OSError as error:
        raise RunError(f"cannot listen on {start.host}: {error.strerror or error}.") from error


def _become(command: list[str]) -> None:
    """This process turns into the server: signals and its exit code are the server's own."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(command[0], command)
