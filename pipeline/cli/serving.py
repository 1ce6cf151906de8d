"""`headrace serve`, `predict`, `status`, `label`: a pushed model in use."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.table import Table as Sheet

from pipeline.cli.options import config_option, json_option
from pipeline.config import Config
from pipeline.errors import RunError
from serving import client as clients
from serving import stock
from serving.client import names, table
from serving.durable import explained, write_atomic
from serving.layout import RegistryError
from serving.registry import Registry

REST, GRPC = "http://localhost:8501", "grpc://localhost:8500"
#: Rows in a table, unless --limit says otherwise.
_ROWS_SHOWN = 20
_STATUS_SECONDS = 3.0
_NO_MODEL = "no model pushed yet: run `headrace run`"


@contextlib.contextmanager
def _for_people() -> Iterator[None]:
    """Errors of `serving` as errors that the command line prints without a trace."""
    try:
        yield
    except (clients.ClientError, RegistryError) as error:
        raise RunError(str(error)) from error


def _load(config_file: str) -> Config:
    from pipeline import config_file as reader  # it parses SQL, which takes a library

    return reader.load(config_file)


def _registry(config: Config) -> Registry:
    return Registry(config.serving.path, config.serving.model_name)


# --- serve ---------------------------------------------------------------------------------


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
    help="A label for this server only, beside those of `headrace label`.",
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
    docker: str | None,
    as_json: bool,
    flags: tuple[str, ...],
) -> None:
    """Serve the pushed model over gRPC and REST, newer versions as they come.

    FLAGS are further flags of tensorflow_model_server, such as --enable_batching=true.
    """
    config = _load(config_file)
    with _for_people():
        registry = _registry(config)
        numbers = [version.number for version in registry.versions()]
        if not numbers:
            raise RunError(_NO_MODEL)
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


# --- predict -------------------------------------------------------------------------------


@click.command()
@config_option
@click.option(
    "--input", "path", required=True, metavar="FILE", help="Rows: .jsonl, .csv or .parquet."
)
@click.option("--rest", "protocol", flag_value="rest", help=f"Over REST, at {REST} (the default).")
@click.option("--grpc", "protocol", flag_value="grpc", help=f"Over gRPC, at {GRPC}.")
@click.option("--address", help="The server: http://host:port or grpc://host:port.")
@click.option("--version", type=click.IntRange(0), metavar="N", help="Version that is to answer.")
@click.option("--label", metavar="NAME", help="Label of the version that is to answer.")
@click.option("--signature", default="serving_default", show_default=True)
@click.option(
    "--limit",
    type=click.IntRange(0),
    help=f"First rows only; by default {_ROWS_SHOWN}, and with --json all.",
)
@click.option("--timeout", default=30.0, show_default=True, help="Seconds a request may take.")
@json_option
def predict(
    config_file: str,
    path: str,
    protocol: str | None,
    address: str | None,
    version: int | None,
    label: str | None,
    signature: str,
    limit: int | None,
    timeout: float,
    as_json: bool,
) -> None:
    """Ask a server for predictions on the rows of a file.

    Columns are renamed as the configuration says; those that the model does not know are left
    out, those that are missing count as missing values.
    """
    config = _load(config_file)
    if version is not None and label is not None:
        raise click.UsageError("name --version or --label, not both.")
    place = _address(address, protocol)
    with _for_people():
        rows = table.read(path, _limit(limit, as_json), _dialect(config)).renamed(
            config.data.rename
        )
        with clients.connect(
            place, model=config.serving.model_name, version=version, label=label, timeout=timeout
        ) as client:
            try:
                metadata = client.metadata()
                inputs = metadata.signature(signature).inputs
                started = time.monotonic()
                answered = client.predict(rows, signature=signature, ignore_unknown=True)
            except clients.Unreachable as error:
                raise RunError(f"{error} Start one: headrace serve") from error
            seconds = time.monotonic() - started
    for note in _notes(config, rows, inputs):
        click.echo(f"note: {note}", err=True)
    if as_json:
        click.echo(
            json.dumps(
                {
                    "model": answered.model,
                    "version": answered.version,
                    "signature": answered.signature,
                    "address": place,
                    "seconds": round(seconds, 6),
                    "predictions": _finite(list(answered)),
                },
                allow_nan=False,
            )
        )
        return
    count = f"{len(answered):,} row{'' if len(answered) == 1 else 's'}"
    click.echo(
        f"{answered.model}, version {answered.version}, at {place}: {count} in "
        f"{seconds * 1000:.0f} ms"
    )
    sheet = _sheet("row", *answered.columns)
    for number, row in enumerate(answered, 1):
        sheet.add_row(str(number), *map(_shown, row.values()))
    _print(sheet)


def _limit(limit: int | None, as_json: bool) -> int | None:
    return _ROWS_SHOWN if limit is None and not as_json else limit


def _dialect(config: Config) -> table.Dialect:
    csv = config.data.csv
    return table.Dialect(
        delimiter=None if csv.delimiter == "auto" else csv.delimiter,
        encoding="utf-8-sig" if csv.encoding == "utf-8" else csv.encoding,
        nulls=csv.null_values,
    )


def _notes(config: Config, rows: table.Table, inputs: Any) -> Iterator[str]:
    """What a person should know of columns: left out without a reason, or not there."""
    known = {*inputs, *config.features, *config.label.leaks, config.label.name}
    if left_out := [name for name in rows.names if name not in known]:
        yield f"not known to the model and left out: {', '.join(left_out)}"
    if absent := [name for name in inputs if name not in rows.names]:
        yield f"not in the rows and taken as missing: {', '.join(absent)}"


def _address(address: str | None, protocol: str | None) -> str:
    if address is None:
        return GRPC if protocol == "grpc" else REST
    if "://" not in address:
        address = f"{'grpc' if protocol == 'grpc' else 'http'}://{address}"
    with _for_people():
        scheme, _ = names.split_address(address)
    if protocol and scheme.startswith("grpc") != (protocol == "grpc"):
        raise click.UsageError(f"--{protocol} and --address {address} contradict each other.")
    return address


# --- status --------------------------------------------------------------------------------


@click.command()
@config_option
@click.option("--address", "addresses", multiple=True, help=f"Default: {REST} and {GRPC}.")
@json_option
def status(config_file: str, addresses: tuple[str, ...], as_json: bool) -> None:
    """Show the model's versions and labels, and what a running server says of them."""
    config = _load(config_file)
    with _for_people():
        registry = _registry(config)
        on_disk = {version.number: version.labels for version in registry.versions()}
        labels = registry.labels()
    servers = [
        _server(_address(one, None), registry.model_name) for one in addresses or (REST, GRPC)
    ]
    if as_json:
        told = {
            "model": registry.model_name,
            "folder": str(registry.folder),
            "versions": list(on_disk),
            "labels": labels,
            "servers": servers,
        }
        click.echo(json.dumps(told))
        return
    click.echo(f"{registry.model_name} in {registry.folder}")
    if not on_disk:
        click.echo(_NO_MODEL)
    reached = [server for server in servers if server["reachable"]]
    told_of = {said["version"] for server in reached for said in server["versions"]}
    sheet = _sheet("version", "labels", "on disk", *(server["address"] for server in reached))
    for number in sorted({*on_disk, *told_of}, reverse=True):
        sheet.add_row(
            str(number),
            ", ".join(label for label, to in labels.items() if to == number) or "–",
            "yes" if number in on_disk else "no",
            *(_state(server, number) for server in reached),
        )
    if sheet.row_count:
        _print(sheet)
    if not reached:
        click.echo("server not reachable; start one with headrace serve. Tried:")
    for server in servers:
        if server["error"]:
            click.echo(f"  {server['error']}")


def _server(address: str, model: str) -> dict[str, Any]:
    """What one server says of a model."""
    said: dict[str, Any] = {"address": address, "reachable": False, "versions": [], "error": ""}
    try:
        with clients.connect(
            address, model=model, timeout=_STATUS_SECONDS, retries=clients.NO_RETRIES
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


# --- label ---------------------------------------------------------------------------------


@click.command()
@click.argument("name")
@click.argument("version", type=click.IntRange(0), required=False)
@config_option
@click.option("--remove", is_flag=True, help="Remove the label.")
@click.option("--address", help=f"The server's gRPC address. [default: {GRPC}, if one is there]")
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
    config = _load(config_file)
    with _for_people():
        registry = _registry(config)
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
            say=lambda step: click.echo(f"  {step} …", err=True),
        )
        after = registry.assign_labels({name: version})
    if as_json:
        click.echo(json.dumps({"model": registry.model_name, "labels": after, "server": server}))
        return
    what = f"label {name} " + ("removed" if version is None else f"points to version {version}")
    if server:
        click.echo(f"{what}, at {server} too")
    else:
        click.echo(f"{what}; no server at {GRPC}, the next `headrace serve` starts with it")


def _grpc_address(address: str) -> str:
    if address.startswith(("http:", "https:")):
        raise click.UsageError(f"--address {address}: labels change over gRPC, grpc://host:8500.")
    return _address(address, "grpc")


def _relabel(
    registry: Registry,
    changes: dict[str, int | None],
    address: str | None,
    base_path: str | None,
    file: str | None,
    wait: float,
    *,
    say: Any,
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
        address or GRPC, model=model, timeout=wait, retries=clients.NO_RETRIES
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
        client.status(timeout=_STATUS_SECONDS)
    except clients.Unreachable:
        return False
    except clients.Refused:  # it serves something else, which the change itself reports
        return True
    return True


# --- printing ------------------------------------------------------------------------------


def _sheet(*headings: str) -> Sheet:
    sheet = Sheet(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        sheet.add_column(heading, no_wrap=True)
    return sheet


def _print(sheet: Sheet) -> None:
    console = Console()
    # Into a pipe there is no width to fit; a table cut at 80 columns would lose what is asked for.
    (console if console.is_terminal else Console(width=200)).print(sheet)


def _shown(value: Any) -> str:
    text = f"{value:.4f}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _finite(value: Any) -> Any:
    """NaN and the infinities as null: JSON has no such numbers; and bytes as text."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return None if isinstance(value, float) and not math.isfinite(value) else value
