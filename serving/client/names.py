"""Addresses, targets and columns: names that a person writes, checked."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from urllib.parse import urlsplit

from serving.client import values
from serving.client.errors import ClientError, RowError
from serving.client.signature import Metadata, Signature
from serving.client.transport import Target

_SHOWN = 10


def target(model: str, version: int | None, label: str | None) -> Target:
    """A model and one of its versions.

    Raises:
        ClientError: a version and a label are named both.
    """
    if version is not None and label is not None:
        raise ClientError("name a version or a label, not both.")
    return Target(model, version, label)


def split_address(address: str) -> tuple[str, str]:
    """Scheme (http, https, grpc or grpcs) and `host:port`.

    Raises:
        ClientError: it is no address of a model server.
    """
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https", "grpc", "grpcs") and parts.hostname
        port = parts.port
    except ValueError:
        known, port = False, None
    if not known:
        raise ClientError(
            f"{address!r} is no address of a model server. Write http://host:8501 for REST, "
            "grpc://host:8500 for gRPC; with TLS https:// or grpcs://."
        )
    if parts.scheme.startswith("grpc") and port is None:
        raise ClientError(f"{address}: name the port as well, as in {address}:8500.")
    return parts.scheme, parts.netloc


def check_columns(
    given: Sequence[str],
    signature: Signature,
    metadata: Metadata,
    *,
    ignore_unknown: bool,
    rows: int = 0,
) -> None:
    """Compares the rows' columns with the signature's inputs.

    Args:
        given: names of the columns.
        signature: to call.
        metadata: of the version.
        ignore_unknown: whether the model need not know all.
        rows: how many; of none, no column is asked for.

    Raises:
        RowError: a column that the model does not know, unless these are ignored; or one that
            it must have.
    """
    wanted = signature.inputs
    unknown = [name for name in given if name not in wanted]
    if unknown and (not ignore_unknown or len(unknown) == len(given)):
        absent = [name for name in wanted if name not in given]
        near = difflib.get_close_matches(str(unknown[0]), absent, 1)
        hint = f" Did you mean {near[0]}?" if near else f" It has: {_some(list(wanted))}."
        raise RowError(
            f"column {_some(unknown)}: model {metadata.model}, version {metadata.version}, does "
            f"not know it.{hint}"
        )
    needed = [
        name
        for name, spec in sorted(wanted.items())
        if name not in given and (spec.default is None or values.missing_value(spec) is None)
    ]
    if needed and (given or rows):
        raise RowError(
            f"the rows lack column {_some(needed)}, which model {metadata.model}, version "
            f"{metadata.version}, cannot do without."
        )


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(str, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
