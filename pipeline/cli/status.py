"""`headrace status`."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import click

from pipeline.cli import serving, terminal
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, print_table
from serving import client as clients


@click.command()
@config_option
@click.option(
    "--address", "addresses", multiple=True, help=f"Default: {serving.REST} and {serving.GRPC}."
)
@json_option
def status(config_file: str, addresses: tuple[str, ...], as_json: bool) -> None:
    """Show the model's versions and labels, and what a running server says of them."""
    config = serving.load(config_file)
    with serving.for_people():
        registry = serving.registry_of(config)
        on_disk = {version.number: version.labels for version in registry.versions()}
        labels = registry.labels()
        changed = registry.changed()
    servers = [
        _server(serving.address_of(one, None), registry.model_name)
        for one in addresses or (serving.REST, serving.GRPC)
    ]
    if as_json:
        told = {
            "model": registry.model_name,
            "folder": str(registry.folder),
            "versions": list(on_disk),
            "changed": changed,
            "labels": labels,
            "servers": servers,
        }
        click.echo(json.dumps(told))
        return
    terminal.echo(f"{registry.model_name} in {registry.folder}")
    if not on_disk:
        terminal.echo(serving.NO_MODEL)
    reached = [server for server in servers if server["reachable"]]
    told_of = {said["version"] for server in reached for said in server["versions"]}
    sheet = Sheet("version", "labels", "on disk", *(server["address"] for server in reached))
    for number in sorted({*on_disk, *told_of}, reverse=True):
        sheet.add_row(
            str(number),
            ", ".join(label for label, to in labels.items() if to == number) or "–",
            ("changed" if number in changed else "yes") if number in on_disk else "no",
            *(_state(server, number) for server in reached),
        )
    if sheet.row_count:
        print_table(sheet)
    for line in serving.changed_lines(changed):
        terminal.echo(line)
    if not reached:
        terminal.echo("server not reachable; start one with headrace serve. Tried:")
    for server in servers:
        if server["error"]:
            terminal.echo(f"  {server['error']}")


def _server(address: str, model: str) -> dict[str, Any]:
    """What one server says of a model."""
    said: dict[str, Any] = {"address": address, "reachable": False, "versions": [], "error": ""}
    try:
        with clients.connect(
            address, model=model, timeout=serving.STATUS_SECONDS, retries=clients.NO_RETRIES
        ) as client:
            said["versions"] = [dataclasses.asdict(one) for one in client.status()]
            said["reachable"] = True
    except clients.Refused as error:
        said |= {"reachable": True, "error": str(error)}
    except clients.ClientError as error:
        said["error"] = str(error)
    return said


def _state(server: dict[str, Any], number: int) -> str:
    for said in server["versions"]:
        if said["version"] == number:
            failed = said["code"] != "OK"
            return (
                f"{said['state']} ({said['code']}: {said['message'][:60]})"
                if failed
                else said["state"]
            )
    return "–"
