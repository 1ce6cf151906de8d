"""`headrace label`."""

from __future__ import annotations

import json
from collections.abc import Callable

import click

from pipeline.cli import serving, terminal
from pipeline.cli.options import config_option, json_option
from pipeline.errors import RunError
from serving import client as clients
from serving.durable import explained
from serving.registry import Registry


@click.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(0), required=False)
@config_option
@click.option("--remove", is_flag=True, help="Remove the label.")
@click.option(
    "--address", help=f"The server's gRPC address. [default: {serving.GRPC}, if one is there]"
)
@click.option(
    "--base-path",
    metavar="PATH",
    help="The model's folder as the server sees it, where that differs: /models/NAME in an image.",
)
@click.option(
    "--models-config",
    metavar="FILE",
    help="The file the server was started with, where it serves several models; rewritten.",
)
@click.option("--wait", default=120.0, show_default=True, help="Seconds a version may load.")
@json_option
def label(
    name: str,
    version: int | None,
    config_file: str,
    remove: bool,
    address: str | None,
    base_path: str | None,
    models_config: str | None,
    wait: float,
    as_json: bool,
) -> None:
    """Point a label at a version: headrace label stable 12.

    A running server is made to load the version first, then the label moves, then it is asked who
    answers for the label. Only when all of that has worked is the label recorded. The server is
    told all it is to serve, for that is how a reload works: this model, or what is in FILE.
    """
    if remove == (version is not None):
        raise click.UsageError("give a version, or --remove.")
    config = serving.load(config_file)
    with serving.for_people():
        registry = serving.registry_of(config)
        before = registry.labels()
        if version is not None:
            if not name:
                raise click.UsageError("a label must not be empty.")
            registry.version(version)
        elif name not in before:
            raise RunError(f"there is no label {name} (there are: {', '.join(before) or 'none'}).")
        server = _relabel(
            registry,
            {name: version},
            _grpc_address(address) if address else None,
            base_path,
            models_config,
            wait,
            say=lambda step: terminal.echo(f"  {step} …", err=True),
        )
        after = registry.assign_labels({name: version})
    if as_json:
        click.echo(json.dumps({"model": registry.model_name, "labels": after, "server": server}))
        return
    what = f"label {name} " + ("removed" if version is None else f"points to version {version}")
    if server:
        terminal.echo(f"{what}, at {server} too")
    else:
        terminal.echo(
            f"{what}; no server at {serving.GRPC}, the next `headrace serve` starts with it"
        )


def _grpc_address(address: str) -> str:
    if address.startswith(("http:", "https:")):
        raise click.UsageError(f"--address {address}: labels change over gRPC, grpc://host:8500.")
    return serving.address_of(address, "grpc")


def _relabel(
    registry: Registry,
    changes: dict[str, int | None],
    address: str | None,
    base_path: str | None,
    file: str | None,
    wait: float,
    *,
    say: Callable[[str], None],
) -> str | None:
    """Changes labels on the server; returns its address, or None if there is no server.

    Raises:
        serving.client.ClientError: the server did not take it.
    """
    from serving.client import labels as moving
    from serving.client import models_config

    model = registry.model_name
    if file:
        config = models_config.read(file)
        entry = models_config.model(config, model)
        if entry is None:
            raise RunError(f"{file}: has no model {model}.")
        before = dict(entry.version_labels)
    else:
        before = registry.labels()
        folder = base_path or str(registry.folder)
        config = models_config.of([models_config.entry(model, folder, before)])
    after = {name: to for name, to in (before | changes).items() if to is not None}
    with clients.connect(
        address or serving.GRPC, model=model, timeout=wait, retries=clients.NO_RETRIES
    ) as client:
        if address is None and not _answers(client):
            return None
        final = moving.change(client, model, config, before, after, wait_seconds=wait, say=say)
        if file:
            with explained("write", registry.folder):
                models_config.rewrite(file, final)
        return client.where


def _answers(client: clients.Client) -> bool:
    try:
        client.status(timeout=serving.STATUS_SECONDS)
    except clients.Unreachable:
        return False
    except clients.Refused:  # it serves something else, which the change itself reports
        return True
    return True
