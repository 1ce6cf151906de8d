"""`headrace predict`."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import Any

import click

from pipeline.cli import serving, terminal
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, print_table
from pipeline.config import Config
from pipeline.errors import RunError
from serving import client as clients
from serving.client import table

#: Rows in a table, unless --limit says otherwise.
_ROWS_SHOWN = 20


@click.command()
@config_option
@click.option(
    "--input", "path", required=True, metavar="FILE", help="Rows: .jsonl, .csv or .parquet."
)
@click.option(
    "--rest",
    "protocol",
    flag_value="rest",
    help=f"Over REST, at {serving.REST} (the default).",
)
@click.option("--grpc", "protocol", flag_value="grpc", help=f"Over gRPC, at {serving.GRPC}.")
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

    Columns are renamed, and moments and written numbers read, as the configuration says; those
    that the model does not know are left out, those that are missing count as missing values.
    """
    config = serving.load(config_file)
    if version is not None and label is not None:
        raise click.UsageError("name --version or --label, not both.")
    place = serving.address_of(address, protocol)
    with serving.for_people():
        # Arrow and the SQL engine: `--help` answers without them.
        from pipeline.cli import predict_rows

        rows = predict_rows.read(path, config, _limit(limit, as_json))
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
            except clients.Refused as error:
                raise RunError(f"{error}{_still_loading(client)}") from error
            seconds = time.monotonic() - started
    for note in _notes(config, rows, inputs):
        terminal.echo(f"note: {note}", err=True)
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
    terminal.echo(
        f"{answered.model}, version {answered.version}, at {place}: {count} in "
        f"{seconds * 1000:.0f} ms"
    )
    sheet = Sheet("row", *answered.columns)
    for number, row in enumerate(answered, 1):
        sheet.add_row(str(number), *map(_shown, row.values()))
    print_table(sheet)


def _still_loading(client: clients.Client) -> str:
    """A hint, where a version is about to be available; else nothing."""
    try:
        states = client.status(timeout=serving.STATUS_SECONDS)
    except clients.ClientError:
        return ""
    soon = [str(one.version) for one in states if one.state in ("START", "LOADING")]
    return f". Version {', '.join(soon)} is still loading: ask again." if soon else ""


def _limit(limit: int | None, as_json: bool) -> int | None:
    return _ROWS_SHOWN if limit is None and not as_json else limit


def _notes(config: Config, rows: table.Table, inputs: Any) -> Iterator[str]:
    """What a person should know of columns: left out without a reason, or not there."""
    known = {*inputs, *config.features, *config.label.leaks, config.label.name}
    if left_out := [name for name in rows.names if name not in known]:
        yield f"not known to the model and left out: {', '.join(left_out)}"
    if absent := [name for name in inputs if name not in rows.names]:
        yield f"not in the rows and taken as missing: {', '.join(absent)}"


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
