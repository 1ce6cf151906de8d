"""The command line: the stock server's flags, some of our own, and what to say about the rest.

Imports nothing heavy: `--help` answers at once.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

PROGRAM = "python -m serving"
#: Port numbers with a meaning of their own.
OFF, ANY_FREE = 0, -1

_CPUS = os.cpu_count() or 1
# Threads mostly wait for the session; a few slow requests must not keep a status from being asked.
_GRPC_THREADS = max(16, 4 * _CPUS)


def _flag(default: Any, text: str, *, ours: bool = False, choices: Sequence[str] = ()) -> Any:
    return dataclasses.field(
        default=default, metadata={"help": text, "ours": ours, "choices": choices}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a server is started with; each field is the flag of the same name, with its help."""

    port: int = _flag(8500, "gRPC port; 0 or auto: a free one, or none if there is a socket path.")
    rest_api_port: int = _flag(OFF, "REST port; 0: no REST; auto: a free one.")
    grpc_socket_path: str = _flag("", "UNIX socket on which gRPC listens as well.")
    model_name: str = _flag("default", "Name of the one model.")
    model_base_path: str = _flag("", "Folder of the one model, with a folder per version.")
    model_config_file: str = _flag("", "File with several models, instead of the two above.")
    model_config_file_poll_wait_seconds: float = _flag(
        0.0, "Seconds between two looks at that file; 0: read it once."
    )
    file_system_poll_wait_seconds: float = _flag(
        1.0, "Seconds between two scans for versions; 0: scan once; below 0: never."
    )
    allow_version_labels_for_unavailable_models: bool = _flag(
        False, "Let a new label point to a version that is not available yet."
    )
    saved_model_tags: str = _flag("serve", "Tags of the MetaGraph to load, with commas between.")
    enable_model_warmup: bool = _flag(True, "Run the warm-up requests in a model's folder.")
    num_request_iterations_for_warmup: int = _flag(0, "How often each of them runs; 0: once.")
    max_num_load_retries: int = _flag(5, "Further attempts after a failed load.")
    load_retry_interval_micros: int = _flag(
        2_000_000, "Microseconds between them (the stock server waits a minute)."
    )
    num_load_threads: int = _flag(0, "Loads at a time; 0: 4.")
    num_unload_threads: int = _flag(0, "Unloads at a time; 0: 1.")
    enable_batching: bool = _flag(False, "Run requests that arrive together as one batch.")
    batching_parameters_file: str = _flag("", "File with the batching parameters.")
    enable_per_model_batching_parameters: bool = _flag(
        False, "Batch by batching_params.pbtxt in a version's folder; without one, not at all."
    )
    monitoring_config_file: str = _flag("", "File that turns Prometheus metrics on.")
    rest_api_timeout_in_ms: int = _flag(30_000, "Limit of a REST call; 0: none.")
    rest_api_num_threads: int = _flag(4 * _CPUS, "REST calls that run at a time.")
    rest_api_enable_cors_support: bool = _flag(False, "Send CORS headers.")
    grpc_max_threads: int = _flag(_GRPC_THREADS, "gRPC calls that run at a time.")
    grpc_channel_arguments: str = _flag("", "For gRPC's core: name=value, with commas between.")
    enable_grpc_healthcheck_service: bool = _flag(
        True, "Serve grpc.health.v1.Health (the stock server: off by default)."
    )
    ssl_config_file: str = _flag("", "File with key and certificates in PEM for gRPC.")
    tensorflow_session_parallelism: int = _flag(0, "Threads of a session, for both below; 0: auto.")
    tensorflow_intra_op_parallelism: int = _flag(0, "Threads within an operation; 0: auto.")
    tensorflow_inter_op_parallelism: int = _flag(0, "Operations at a time; 0: auto.")

    host: str = _flag("0.0.0.0", "Address to listen on.", ours=True)
    port_file: str = _flag(
        "", "JSON file to write once both ports listen: grpc_port, rest_port, pid.", ours=True
    )
    exit_with_parent: bool = _flag(False, "End when the starting process has ended.", ours=True)
    parent_pid: int = _flag(
        0,
        "The same, and its number, so that a parent is missed that ended before this began.",
        ours=True,
    )
    check_rows: bool = _flag(
        True,
        "Refuse a request in which inputs of one row stand beside inputs of several, which many "
        "graphs would repeat without a word.",
        ours=True,
    )
    drain_seconds: float = _flag(
        30.0, "On SIGTERM, how long running requests may take to finish.", ours=True
    )
    allow_reload: Literal["loopback", "all", "none"] = _flag(
        "loopback",
        "Whose HandleReloadConfigRequest is obeyed: loopback (this machine's), all, or none. The "
        "stock server obeys all.",
        ours=True,
        choices=("loopback", "all", "none"),
    )
    verify_manifest: bool = _flag(
        True,
        "Refuse a version whose files are not those that its manifest.json names.",
        ours=True,
    )
    max_message_bytes: int = _flag(
        128 << 20, "Of a message that gRPC receives; 0: no limit, as the stock server.", ours=True
    )
    max_filled_bytes: int = _flag(
        64 << 20,
        "What the shapes of a request's tensors may stand for beyond the values sent; 0: no limit.",
        ours=True,
    )
    max_inflight_bytes: int = _flag(
        2 << 30, "Memory that all requests may take at a time; 0: no limit.", ours=True
    )
    grpc_max_calls: int = _flag(
        2000, "gRPC calls that are there at a time, waiting ones too.", ours=True
    )
    grpc_max_watches: int = _flag(500, "Streams of health's Watch at a time.", ours=True)
    grpc_max_reflections: int = _flag(8, "Streams of server reflection at a time.", ours=True)
    grpc_client_seconds: float = _flag(
        60.0,
        "How long a client may take to send its message, and to take its answer; half a second "
        "when too many do; 0: no limit.",
        ours=True,
    )
    rest_max_connections: int = _flag(
        1000, "REST connections that are open; for one more, one that waits is closed.", ours=True
    )
    rest_max_header_bytes: int = _flag(
        64 << 10, "Bytes of a REST request's first line and headers.", ours=True
    )
    rest_header_timeout_seconds: float = _flag(
        10.0, "Seconds for a REST request's headers to come.", ours=True
    )
    rest_keep_alive_seconds: float = _flag(
        60.0, "Seconds a REST connection may wait for its next request.", ours=True
    )
    rest_max_body_bytes: int = _flag(128 << 20, "Bytes of a REST body, however sent.", ours=True)
    rest_max_inflated_bytes: int = _flag(
        32 << 20, "The same for one sent with gzip, where that is less.", ours=True
    )
    rest_max_inflate_seconds: float = _flag(
        2.0, "Seconds of processor time to inflate a REST body.", ours=True
    )
    rest_max_gzip_members: int = _flag(1000, "Members of a REST body sent with gzip.", ours=True)
    rest_max_total_body_bytes: int = _flag(
        256 << 20, "Bytes of all REST bodies held at a time, inflated.", ours=True
    )
    rest_body_timeout_seconds: float = _flag(
        60.0, "Seconds without a byte of a REST body, or for an answer to be read.", ours=True
    )
    rest_min_bytes_per_second: int = _flag(
        1024, "Bytes a second, beside that time, at which bodies come and answers go.", ours=True
    )
    rest_max_unread_bytes: int = _flag(
        256 << 20, "Bytes of all REST answers that clients do not read.", ours=True
    )
    request_log_dir: str = _flag(
        "", "Folder for sampled requests as TFRecords of PredictionLog.", ours=True
    )
    request_log_sampling_rate: float = _flag(0.01, "Part of requests to log, 0 to 1.", ours=True)
    request_contract: Literal["off", "count", "refuse"] = _flag(
        "count",
        "What to do with requests that break the contract in the model's folder (the schema's "
        "SERVING environment): off, count them in the metrics, or refuse them.",
        ours=True,
        choices=("off", "count", "refuse"),
    )


@dataclass(frozen=True, slots=True)
class Parsed:
    """A command line.

    Attributes:
        options: what the server is started with.
        warnings: a line for each flag that has no effect.
        help: whether help was asked for.
        version: whether the version was asked for.
    """

    options: Options
    warnings: tuple[str, ...] = ()
    help: bool = False
    version: bool = False


class FlagError(Exception):
    """The command line cannot be understood; the message names the flag and the remedy."""


# Flags of the stock server that have no counterpart here: name -> why.
_TPU = "there is no TPU support"
_UNSUPPORTED = {
    "allow_list_regex_for_device_memory": "device memory is not managed",
    "enable_profiler": "there is no profiler service",
    "enable_serialization_as_tensor_content": "responses always carry typed value fields",
    "enable_signature_method_name_check": "methods of signatures are not checked",
    "experimental_cc_tfrt_cpp_runtime": "models run in a session",
    "flush_filesystem_caches": "file system caches are left alone",
    "force_allow_any_version_labels_for_unavailable_models": (
        "use --allow_version_labels_for_unavailable_models"
    ),
    "mixed_precision": "models run as they are",
    "model_platform": "all models are TensorFlow SavedModels",
    "per_process_gpu_memory_fraction": "there is no GPU support",
    "platform_config_file": "TensorFlow SavedModels are the one platform",
    "prefer_tflite_model": "TFLite models are not served",
    "remove_unused_fields_from_bundle_metagraph": "they are removed always",
    "skip_initialize_tpu": _TPU,
    "tensorflow_session_config_file": "use the flags for parallelism",
    "tfrt_use_fused_tpu_op": _TPU,
    "thread_pool_factory_config_file": "threads are TensorFlow's own",
    "use_alts_credentials": "there is no ALTS support; use --ssl_config_file",
    "use_tflite_model": "TFLite models are not served",
    "xla_cpu_compilation_enabled": "models run as they are",
    "xla_gpu_compilation_enabled": "models run as they are",
}

_FIELDS = {field.name: field for field in dataclasses.fields(Options)}
_PORTS = ("port", "rest_api_port")
# Flag -> its least value.
_LIMITS = {
    "grpc_max_threads": 1, "grpc_max_calls": 1, "grpc_max_watches": 1, "grpc_max_reflections": 1,
    "max_message_bytes": 0, "max_filled_bytes": 0, "max_inflight_bytes": 0,
    "grpc_client_seconds": 0,
}  # fmt: skip
_TRUE, _FALSE = ("true", "t", "1", "yes", "y"), ("false", "f", "0", "no", "n")


def parse(arguments: Sequence[str]) -> Parsed:
    """Reads a command line: `--flag=value`, `--flag value`, or `--flag` for a switch.

    Raises:
        FlagError: an unknown flag, or a value that does not fit.
    """
    values: dict[str, Any] = {}
    warnings = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("--help", "-h", "--helpfull", "-help"):
            return Parsed(Options(), help=True)
        if word in ("--version", "--version=true"):
            return Parsed(Options(), version=True)
        name, equals, value = word.removeprefix("--").partition("=")
        if not word.startswith("--"):
            raise FlagError(f"{word!r} is no flag. Write flags as --flag=value.")
        reason = _UNSUPPORTED.get(name)
        if reason is not None:
            if not equals and rest and not rest[0].startswith("--"):
                rest.pop(0)
            warnings.append(f"--{name} has no effect in this server: {reason}.")
            continue
        if name not in _FIELDS:
            raise FlagError(_unknown(name))
        if not equals:
            value = _next_value(name, rest)
        values[name] = _convert(name, value)
    return Parsed(Options(**values), tuple(warnings))


def usage() -> str:
    """All flags with their defaults and meanings."""
    lines = [
        f"usage: {PROGRAM} --model_base_path=FOLDER [--flag=value ...]",
        "",
        "A model server with the interfaces of TensorFlow Serving, for development, tests,",
        "validation and small loads. Flags of tensorflow_model_server:",
    ]
    for ours in (False, True):
        if ours:
            lines.append("\nFlags of this server only:")
        for field in _FIELDS.values():
            if field.metadata["ours"] == ours:
                lines.append(f"  --{field.name}={_text(field.default)}")
                lines.append(f"      {field.metadata['help']}")
    lines.append("\nAccepted with a warning, without effect:")
    lines.append("  " + ", ".join(f"--{name}" for name in _UNSUPPORTED))
    return "\n".join(lines)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, [*_FIELDS, *_UNSUPPORTED], 1, 0.5)
    hint = f" Did you mean --{near[0]}?" if near else ""
    return f"unknown flag --{name}.{hint} {PROGRAM} --help lists all flags."


def _next_value(name: str, rest: list[str]) -> str:
    if isinstance(_FIELDS[name].default, bool):
        # A value may follow a switch, but so may anything else.
        if rest and rest[0].lower() in _TRUE + _FALSE:
            return rest.pop(0)
        return "true"
    if not rest:
        raise FlagError(f"--{name} needs a value: --{name}=…")
    return rest.pop(0)


def _convert(name: str, value: str) -> Any:
    kind: Any = type(_FIELDS[name].default)
    choices = _FIELDS[name].metadata["choices"]
    if choices and value not in choices:
        raise FlagError(f"--{name} must be one of {', '.join(choices)}, got {value!r}.")
    if kind is bool:
        if value.lower() in _TRUE + _FALSE:
            return value.lower() in _TRUE
        raise FlagError(f"--{name} must be true or false, got {value!r}.")
    if name in _PORTS and value == "auto":
        return ANY_FREE
    try:
        converted = kind(value)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        raise FlagError(f"--{name} must be {wanted}, got {value!r}.") from None
    if name in _LIMITS and converted < _LIMITS[name]:
        raise FlagError(f"--{name} must be at least {_LIMITS[name]}, got {value}.")
    if name in _PORTS and not ANY_FREE <= converted <= 65535:
        raise FlagError(f"--{name} must be a port, 0 to 65535, got {value}.")
    return converted


def _text(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else str(default)
