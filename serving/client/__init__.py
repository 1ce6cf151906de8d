"""A client for model servers, TensorFlow Serving's or Headrace's own, over REST or gRPC.

    with connect("http://localhost:8501", model="nyc_yellow") as client:
        client.predict([{"trip_distance": 2.1, "payment_type": 1}])[0]["probability"]

REST needs httpx only; gRPC needs grpcio and protobuf (`pip install 'headrace[client]'`). Neither
loads TensorFlow. From asyncio: `await asyncio.to_thread(client.predict, rows)`.
"""

from __future__ import annotations

from collections.abc import Mapping

from serving.client import names
from serving.client.client import Client, Predictions
from serving.client.errors import (
    ClientError,
    Code,
    DeadlineExceeded,
    Refused,
    RowError,
    Unreachable,
)
from serving.client.retry import NO_RETRIES, Retries
from serving.client.signature import Metadata, Signature, TensorSpec, VersionStatus
from serving.client.transport import Transport

__all__ = [
    "NO_RETRIES",
    "Client",
    "ClientError",
    "Code",
    "DeadlineExceeded",
    "Metadata",
    "Predictions",
    "Refused",
    "Retries",
    "RowError",
    "Signature",
    "TensorSpec",
    "Unreachable",
    "VersionStatus",
    "connect",
]


def connect(
    address: str,
    *,
    model: str,
    version: int | None = None,
    label: str | None = None,
    timeout: float | None = 30.0,
    batch_size: int = 1024,
    retries: Retries | None = None,
    headers: Mapping[str, str] | None = None,
    root_certificates: bytes | None = None,
) -> Client:
    """A client of one model. Nothing is sent before it is asked something.

    Args:
        address: `http://host:8501` for REST, `grpc://host:8500` for gRPC; `https`, `grpcs`: TLS.
        model: the name the server serves it under.
        version: its number; by default the newest that is available.
        label: or the label of one.
        timeout: limit of one request, trying again included, in seconds; None: no limit.
        batch_size: rows a request.
        retries: how a request is tried again when the server is not there (UNAVAILABLE, HTTP 503,
            connection refused or closed); nothing else is tried again.
        headers: sent with each request.
        root_certificates: in PEM, to trust instead of the system's; gRPC only.

    Raises:
        ClientError: the address is none, or gRPC is not installed.
    """
    scheme, place = names.split_address(address)
    target = names.target(model, version, label)
    transport: Transport
    if scheme.startswith("http"):
        from serving.client.rest import RestTransport

        transport = RestTransport(address.rstrip("/"), headers)
    else:
        from serving.client.grpc_transport import GrpcTransport

        transport = GrpcTransport(
            place,
            secure=scheme == "grpcs",
            root_certificates=root_certificates,
            headers=dict(headers or {}),
        )
    return Client(transport, target, timeout=timeout, batch_size=batch_size, retries=retries)
