"""What the commands for a model in use share: errors, addresses, tables."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence

import click

from pipeline.config import Config
from pipeline.errors import RunError
from serving import client as clients
from serving.client import names
from serving.layout import RegistryError
from serving.printable import printable
from serving.registry import Registry

REST, GRPC = "http://localhost:8501", "grpc://localhost:8500"
#: How long a server may take to say what it serves.
STATUS_SECONDS = 3.0
NO_MODEL = "no model pushed yet: run `headrace run`"


@contextlib.contextmanager
def for_people() -> Iterator[None]:
    """Errors of `serving` as errors that the command line prints without a trace."""
    try:
        yield
    except (clients.ClientError, RegistryError) as error:
        raise RunError(str(error)) from error


def load(config_file: str) -> Config:
    """The configuration.

    Raises:
        pipeline.errors.ConfigError: it has faults.
    """
    from pipeline import config_file as reader  # it parses SQL, which takes a library

    return reader.load(config_file)


def registry_of(config: Config) -> Registry:
    """The registry that the configuration names."""
    return Registry(config.serving.path, config.serving.model_name)


def address_of(address: str | None, protocol: str | None) -> str:
    """The server that the options mean.

    Args:
        address: as written; the scheme may be left out.
        protocol: `rest` or `grpc`, if chosen.

    Raises:
        click.UsageError: they contradict each other.
        RunError: it is no address.
    """
    if address is None:
        return GRPC if protocol == "grpc" else REST
    if "://" not in address:
        address = f"{'grpc' if protocol == 'grpc' else 'http'}://{address}"
    with for_people():
        scheme, _ = names.split_address(address)
    if protocol and scheme.startswith("grpc") != (protocol == "grpc"):
        raise click.UsageError(f"--{protocol} and --address {address} contradict each other.")
    return address


def changed_lines(changed: Mapping[int, Sequence[str]]) -> list[str]:
    """What is to be said of versions that are not what was pushed."""
    return [
        printable(
            f"version {number} is not what was pushed, and the server refuses it: "
            f"{'; '.join(problems[:3])}{' …' if len(problems) > 3 else ''}. "
            "headrace run pushes it anew."
        )
        for number, problems in sorted(changed.items())
    ]
