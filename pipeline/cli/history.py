"""`headrace runs`, `headrace models`, `headrace lineage`: what happened, and what is served."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import click

from pipeline import config_file as reader
from pipeline.cli import serving, terminal
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, Terminal, print_table
from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.local import history
from pipeline.local.places import Places
from serving.layout import RegistryError
from serving.manifest import Manifest
from serving.registry import Registry, Version


@click.command()
@config_option
@click.option("--limit", default=20, show_default=True, help="Newest runs shown.")
@json_option
def runs(config_file: str, limit: int, as_json: bool) -> None:
    """List the runs and what came of them."""
    found = history.runs(Places.of(reader.load(config_file)))[:limit]
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(result) for result in found]))
        return
    if not found:
        terminal.echo("no run yet: type headrace run")
        return
    table = Sheet("run", "span", "status", "version", "auc", "log_loss", "seconds", "message")
    for result in found:
        table.add_row(
            result.run_id,
            result.span,
            result.status,
            str(result.model_version or "–"),
            _number(result.metrics.get("auc")),
            _number(result.metrics.get("log_loss")),
            f"{result.wall_seconds:.0f}",
            result.message.split("\n")[0][:80],
        )
    print_table(table)


@click.command()
@config_option
@json_option
def models(config_file: str, as_json: bool) -> None:
    """List the pushed versions and where they come from."""
    config = reader.load(config_file)
    versions = _versions(config)
    newest = versions[-1].number if versions else None
    changed = serving.registry_of(config).changed() if versions else {}
    if as_json:
        told = [_version(version, newest, changed) for version in versions]
        click.echo(json.dumps(told))
        return
    if not versions:
        terminal.echo("no model pushed yet: type headrace run")
        return
    table = Sheet("version", "span", "labels", "auc", "log_loss", "pushed", "run")
    for version in reversed(versions):
        manifest = version.manifest
        metrics = manifest.metrics if manifest else {}
        table.add_row(
            f"{version.number}{' (newest)' if version.number == newest else ''}",
            _text(manifest.span if manifest else None),
            ", ".join(version.labels) or "–",
            _number(metrics.get("auc")),
            _number(metrics.get("log_loss")),
            f"{manifest.created:%Y-%m-%d %H:%M} UTC" if manifest else "no manifest",
            _text(manifest.run_id if manifest else None),
        )
    print_table(table)
    for line in serving.changed_lines(changed):
        terminal.echo(line)


@click.command()
@click.argument("version", type=int)
@config_option
@json_option
def lineage(version: int, config_file: str, as_json: bool) -> None:
    """Everything a pushed version was made from."""
    from pipeline.local import lineage as tracing
    from pipeline.local import outcome

    config = reader.load(config_file)
    places = Places.of(config)
    manifest = next((v.manifest for v in _versions(config) if v.number == version), None)
    if not os.path.exists(places.metadata):
        raise RunError(f"{places.metadata}: there is no metadata store. Type headrace run first.")
    traced = tracing.of_version(
        outcome.connect(places.metadata), version, manifest.run_id if manifest else None
    )
    traced["manifest"] = _manifest(manifest)
    if as_json:
        click.echo(json.dumps(traced))
        return
    show_lineage(traced, Terminal(soft_wrap=True, highlight=False))


def show_lineage(traced: dict[str, Any], console: Terminal) -> None:
    """Prints a lineage: origin first, then each node with its outputs' paths."""
    manifest = traced["manifest"]
    console.print(f"version {traced['version']}")
    for key in (
        "span",
        "window",
        "rows",
        "data_fingerprint",
        "schema_sha256",
        "config_sha256",
        "code_sha256",
        "inputs_sha256",
        "git_revision",
        "metrics",
        "champion_metrics",
        "run_id",
    ):
        if manifest.get(key):
            console.print(f"  {key:<18}{_flat(manifest[key])}")
    if not manifest:
        console.print("  its folder is gone; the metadata store still knows how it was made")
    for node in traced["nodes"]:
        console.print(f"{node['node']} ({node['state'].lower()}, run {node['run_id']})")
        for artifact in node["outputs"]:
            console.print(f"  {artifact['key']:<18}{artifact['path']}")


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_flat(item)}" for key, item in value.items())
    if isinstance(value, list):
        return f"{value[0]} … {value[-1]} ({len(value)})" if len(value) > 3 else ", ".join(value)
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _versions(config: Config) -> list[Version]:
    try:
        return Registry(config.serving.path, config.serving.model_name).versions()
    except RegistryError as error:
        raise RunError(str(error)) from error


def _version(
    version: Version, newest: int | None, changed: Mapping[int, list[str]]
) -> dict[str, Any]:
    return {
        "version": version.number,
        "newest": version.number == newest,
        "path": str(version.path),
        "labels": list(version.labels),
        "changed": changed.get(version.number, []),
        "manifest": _manifest(version.manifest),
    }


def _manifest(manifest: Manifest | None) -> dict[str, Any]:
    return manifest.model_dump(mode="json", exclude={"files"}) if manifest else {}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _text(value: str | None) -> str:
    return value or "–"
