"""The gRPC interface. Needs grpcio and protobuf, and nothing of TensorFlow."""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from serving.client.errors import ClientError, Code, DeadlineExceeded, Refused, Unreachable
from serving.client.retry import Deadline
from serving.client.signature import (
    Metadata,
    Nested,
    Signature,
    Tensor,
    TensorSpec,
    Value,
    VersionStatus,
    nest,
)
from serving.client.transport import Target

try:
    import grpc

    from serving.client import messages
except ImportError:  # the light installation
    raise ClientError(
        "gRPC needs grpcio and protobuf. Install them: pip install 'headrace[client]', or use "
        "the REST address, http://…:8501"
    ) from None

_PREDICTION, _MODEL = "/tensorflow.serving.PredictionService/", "/tensorflow.serving.ModelService/"
_OPTIONS = (
    # The default limit, 4 MiB, is what most clients trip over.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Trying again is this client's own work; the channel must only reconnect as quickly.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A proxy in the environment is meant for the web.
    ("grpc.enable_http_proxy", 0),
)
#: Number formats of `tensor_content`, little-endian.
_FORMATS = {
    "DT_FLOAT": "f", "DT_DOUBLE": "d", "DT_INT8": "b", "DT_INT16": "h", "DT_INT32": "i",
    "DT_INT64": "q", "DT_UINT8": "B", "DT_UINT16": "H", "DT_UINT32": "I", "DT_UINT64": "Q",
    "DT_BOOL": "?",
}  # fmt: skip


class GrpcTransport:
    """A channel to one server; may be used by several threads.

    Args:
        address: as `host:8500`.
        secure: with TLS; the server's certificate must be one that the system trusts, or
            `root_certificates` do.
        root_certificates: in PEM.
        headers: sent with each request as metadata.
    """

    def __init__(
        self,
        address: str,
        *,
        secure: bool = False,
        root_certificates: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.where = f"{'grpcs' if secure else 'grpc'}://{address}"
        self._headers = [(name.lower(), value) for name, value in (headers or {}).items()]
        if secure:
            credentials = grpc.ssl_channel_credentials(root_certificates)
            self._channel = grpc.secure_channel(address, credentials, options=_OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, options=_OPTIONS)
        self._predict = self._method(f"{_PREDICTION}Predict", "PredictResponse")
        self._metadata = self._method(f"{_PREDICTION}GetModelMetadata", "GetModelMetadataResponse")
        self._status = self._method(f"{_MODEL}GetModelStatus", "GetModelStatusResponse")
        self._reload = self._method(f"{_MODEL}HandleReloadConfigRequest", "ReloadConfigResponse")

    def metadata(self, target: Target, deadline: Deadline) -> Metadata:
        request = messages.message("GetModelMetadataRequest")(metadata_field=["signature_def"])
        _fill(request.model_spec, target)
        answer = self._call(self._metadata, request, deadline)
        signatures = messages.message("SignatureDefMap").FromString(
            answer.metadata["signature_def"].value
        )
        return Metadata(
            target.model,
            answer.model_spec.version.value,
            {name: _signature(said) for name, said in signatures.signature_def.items()},
        )

    def status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        request = messages.message("GetModelStatusRequest")()
        _fill(request.model_spec, target)
        answer = self._call(self._status, request, deadline)
        states = messages.ENUMS["tensorflow.serving.ModelVersionStatus.State"]
        names = {number: name for name, number in states.items()}
        return [
            VersionStatus(
                said.version,
                names.get(said.state, str(said.state)),
                _code(said.status.error_code).name,
                said.status.error_message,
            )
            for said in answer.model_version_status
        ]

    def predict(
        self,
        target: Target,
        signature_name: str,
        signature: Signature,
        inputs: Mapping[str, Tensor],
        deadline: Deadline,
    ) -> dict[str, Nested]:
        request = messages.message("PredictRequest")()
        _fill(request.model_spec, target)
        request.model_spec.signature_name = signature_name
        for name, tensor in inputs.items():
            _encode(tensor, request.inputs[name])
        answer = self._call(self._predict, request, deadline)
        if answer.outputs.keys() != signature.outputs.keys():
            raise ClientError(
                f"{self.where} answered with {', '.join(answer.outputs)}; the signature has "
                f"{', '.join(signature.outputs)}."
            )
        return {name: _decode(name, tensor) for name, tensor in answer.outputs.items()}

    def reload(self, config: Any, deadline: Deadline) -> None:
        """Makes the server serve what a ModelServerConfig says, and nothing else."""
        request = messages.message("ReloadConfigRequest")()
        request.config.CopyFrom(config)
        self._call(self._reload, request, deadline)

    def close(self) -> None:
        self._channel.close()

    def _method(self, path: str, answer: str) -> Any:
        kind = messages.message(answer)
        return self._channel.unary_unary(
            path,
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=kind.FromString,
        )

    def _call(self, method: Any, request: Any, deadline: Deadline) -> Any:
        with self._explained(deadline):
            return method(request, timeout=deadline.check(self.where), metadata=self._headers)

    @contextlib.contextmanager
    def _explained(self, deadline: Deadline) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            code, reason = error.code(), error.details() or ""
            if code is grpc.StatusCode.UNAVAILABLE:
                raise Unreachable(f"no server answers at {self.where}: {reason}.") from error
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                limit = "in time" if deadline.seconds is None else f"within {deadline.seconds:g} s"
                raise DeadlineExceeded(
                    f"{self.where} did not answer {limit}. Allow more with timeout=…, or send "
                    "fewer rows at a time with batch_size=…."
                ) from error
            raise Refused(Code(code.value[0]), reason, self.where) from error


def _fill(spec: Any, target: Target) -> None:
    spec.name = target.model
    if target.version is not None:
        spec.version.value = target.version
    elif target.label:
        spec.version_label = target.label


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN


def _encode(tensor: Tensor, proto: Any) -> None:
    proto.dtype = messages.ENUMS["tensorflow.DataType"][tensor.dtype]
    for size in tensor.shape:
        proto.tensor_shape.dim.add(size=size)
    values = tensor.values
    if tensor.dtype == "DT_STRING":
        values = [value.encode() if isinstance(value, str) else value for value in values]
    getattr(proto, messages.VALUE_FIELDS[tensor.dtype]).extend(values)


def _decode(name: str, proto: Any) -> Nested:
    dtype = _type_name(proto.dtype)
    field = messages.VALUE_FIELDS.get(dtype)
    if field is None:
        raise ClientError(f"output {name}: this client cannot read values of type {dtype}.")
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    count = math.prod(shape)
    if proto.tensor_content:
        values = list(struct.unpack(f"<{count}{_FORMATS[dtype]}", proto.tensor_content))
    else:
        values = list(getattr(proto, field))
        # Trailing repetitions of the last value may be left out; so may zeros altogether.
        if len(values) < count:
            last = values[-1] if values else (b"" if dtype == "DT_STRING" else 0)
            values += [last] * (count - len(values))
    return nest(values[:count], shape)


def _signature(said: Any) -> Signature:
    return Signature(
        {
            name: _spec(info, _default(said.defaults[name]) if name in said.defaults else None)
            for name, info in said.inputs.items()
        },
        {name: _spec(info, None) for name, info in said.outputs.items()},
    )


def _spec(info: Any, default: Value | None) -> TensorSpec:
    shape = info.tensor_shape
    sizes = tuple(dim.size for dim in shape.dim)
    return TensorSpec(_type_name(info.dtype), None if shape.unknown_rank else sizes, default)


def _default(proto: Any) -> Value | None:
    """The one value of a default; None if it has several, or a type without a use here."""
    if _type_name(proto.dtype) not in messages.VALUE_FIELDS:
        return None
    value = _decode("default", proto)
    while isinstance(value, list):
        if len(value) != 1:
            return None
        value = value[0]
    if isinstance(value, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return value.decode()
    one: Value = value
    return one


def _type_name(number: int) -> str:
    for name, known in messages.ENUMS["tensorflow.DataType"].items():
        if known == number:
            return name
    return f"DT_{number}"
