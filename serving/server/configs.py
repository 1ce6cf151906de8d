"""The stock configuration files, in the text format of protocol buffers.

The messages for batching, monitoring and TLS are in no package of stubs, so they are declared
here: what counts is their fields' names and types in the text format.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from serving.server.batching import BatchingParameters
from serving.server.discovery import Policy, Source
from serving.server.errors import Code, ServingError

if TYPE_CHECKING:
    from tensorflow_serving.config import model_server_config_pb2

DEFAULT_METRICS_PATH = "/monitoring/prometheus/metrics"

_PACKAGE = "headrace.serving"
_TYPES = {"int64": "TYPE_INT64", "bool": "TYPE_BOOL", "string": "TYPE_STRING"}
# Message -> field -> type; a capitalized scalar is wrapped: `name { value: 1 }`.
_MESSAGES: Mapping[str, Mapping[str, str]] = {
    "BatchingParameters": {
        "max_batch_size": "Int64",
        "batch_timeout_micros": "Int64",
        "max_enqueued_batches": "Int64",
        "num_batch_threads": "Int64",
        "thread_pool_name": "String",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
        "enable_large_batch_splitting": "Bool",
        "max_execution_batch_size": "Int64",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": "PrometheusConfig"},
    "SSLConfig": {
        "server_key": "string",
        "server_cert": "string",
        "custom_ca": "string",
        "client_verify": "bool",
    },
}


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """What gRPC listens with, all in PEM.

    Attributes:
        key: of the server.
        certificate: of the server.
        authority: that clients' certificates are checked against; "" for none.
        client_verify: whether a client must show a certificate.
    """

    key: str
    certificate: str
    authority: str
    client_verify: bool


def read_batching(path: str, default_threads: int) -> BatchingParameters:
    """Reads a file of batching parameters.

    Raises:
        ServingError: it cannot be read, or the parameters contradict each other.
    """
    text = _parse(path, "BatchingParameters")
    values: dict[str, Any] = {"num_batch_threads": default_threads}
    for name in (
        "max_batch_size",
        "batch_timeout_micros",
        "max_enqueued_batches",
        "num_batch_threads",
        "enable_large_batch_splitting",
        "max_execution_batch_size",
    ):
        if text.HasField(name):
            values[name] = getattr(text, name).value
    parameters = BatchingParameters(
        **values,
        allowed_batch_sizes=tuple(text.allowed_batch_sizes),
        pad_variable_length_inputs=text.pad_variable_length_inputs,
    )
    parameters.check()
    return parameters


def read_monitoring(path: str) -> str | None:
    """The path that metrics are served at, or None.

    Raises:
        ServingError: the file cannot be read.
    """
    prometheus = _parse(path, "MonitoringConfig").prometheus_config
    return (prometheus.path or DEFAULT_METRICS_PATH) if prometheus.enable else None


def read_tls(path: str) -> TlsConfig:
    """Reads a file with a key and certificates.

    Raises:
        ServingError: it cannot be read.
    """
    text = _parse(path, "SSLConfig")
    return TlsConfig(text.server_key, text.server_cert, text.custom_ca, text.client_verify)


def read_models(path: str) -> model_server_config_pb2.ModelServerConfig:
    """Reads a `model_config_file`.

    Raises:
        ServingError: it cannot be read.
    """
    from tensorflow_serving.config import model_server_config_pb2

    return _read(path, model_server_config_pb2.ModelServerConfig())


def single_model(name: str, base_path: str) -> model_server_config_pb2.ModelServerConfig:
    """What `--model_name` and `--model_base_path` stand for."""
    from tensorflow_serving.config import model_server_config_pb2

    made = model_server_config_pb2.ModelServerConfig()
    made.model_config_list.config.add(name=name, base_path=base_path, model_platform="tensorflow")
    return made


def source(config: model_server_config_pb2.ModelConfig) -> Source:
    """Where a model's versions are, and which to serve."""
    policy = config.model_version_policy
    chosen = policy.WhichOneof("policy_choice")
    if chosen == "all":
        return Source(config.name, config.base_path, Policy(latest=None))
    if chosen == "specific":
        numbers = frozenset(policy.specific.versions)
        return Source(config.name, config.base_path, Policy(latest=None, specific=numbers))
    return Source(config.name, config.base_path, Policy(latest=policy.latest.num_versions or 1))


def _parse(path: str, message: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.Add(_descriptor())
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.{message}")
    return _read(path, message_factory.GetMessageClass(descriptor)())


def _read(path: str, message: Any) -> Any:
    kind = message.DESCRIPTOR.full_name.replace(_PACKAGE, "tensorflow.serving")
    try:
        with open(path, encoding="utf-8") as file:
            return text_format.Parse(file.read(), message)
    except OSError as error:
        raise ServingError(Code.NOT_FOUND, f"Cannot read {path}: {error.strerror}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise ServingError(
            Code.INVALID_ARGUMENT, f"Error parsing text-format {kind}: {path}: {error}"
        ) from error


def _descriptor() -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="headrace/serving/stock_configs.proto", package=_PACKAGE, syntax="proto3"
    )
    for kind, proto_type in _TYPES.items():
        wrapper = file.message_type.add(name=kind.capitalize())
        _add_field(wrapper, "value", 1, proto_type)
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            plain = kind.removeprefix("repeated ")
            added = _add_field(message, field, number, _TYPES.get(plain, "TYPE_MESSAGE"))
            if plain not in _TYPES:
                added.type_name = f".{_PACKAGE}.{plain}"
            if plain != kind:
                added.label = added.LABEL_REPEATED
    return file


def _add_field(
    message: descriptor_pb2.DescriptorProto, name: str, number: int, proto_type: str
) -> descriptor_pb2.FieldDescriptorProto:
    field = descriptor_pb2.FieldDescriptorProto
    return message.field.add(
        name=name, number=number, type=field.Type.Value(proto_type), label=field.LABEL_OPTIONAL
    )
