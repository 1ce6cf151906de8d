"""The protocol buffers a gRPC client needs, wire-compatible with tensorflow-serving-api's.

That package imports all of TensorFlow, which takes seconds and a gigabyte of disk. What a client
sends and receives is a dozen small messages, so they are declared here, in a pool of their own:
both can live in one process. Fields that a client does not use are left out; protocol buffers
carry unknown fields along. Numbers are those of tensorflow/core/framework and
tensorflow_serving/apis; a test compares them with the package's.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Mapping
from typing import Any

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

_MAKING = threading.Lock()
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    "int32": _FIELD.TYPE_INT32,
    "int64": _FIELD.TYPE_INT64,
    "uint32": _FIELD.TYPE_UINT32,
    "uint64": _FIELD.TYPE_UINT64,
    "float": _FIELD.TYPE_FLOAT,
    "double": _FIELD.TYPE_DOUBLE,
    "bool": _FIELD.TYPE_BOOL,
    "string": _FIELD.TYPE_STRING,
    "bytes": _FIELD.TYPE_BYTES,
}

# Message -> field -> "number type"; "*" before a type: repeated; "map T": from string to T;
# "T in X": in the oneof X.
_T, _S = "tensorflow", "tensorflow.serving"
_PACKAGES = (f"{_T}.error", _T, _S)
_POLICY = f"{_S}.FileSystemStoragePathSourceConfig.ServableVersionPolicy"
MESSAGES: Mapping[str, Mapping[str, str]] = {
    f"{_T}.TensorShapeProto.Dim": {"size": "1 int64", "name": "2 string"},
    f"{_T}.TensorShapeProto": {
        "dim": f"2 *{_T}.TensorShapeProto.Dim",
        "unknown_rank": "3 bool",
    },
    f"{_T}.TensorProto": {
        "dtype": f"1 {_T}.DataType",
        "tensor_shape": f"2 {_T}.TensorShapeProto",
        "tensor_content": "4 bytes",
        "float_val": "5 *float",
        "double_val": "6 *double",
        "int_val": "7 *int32",
        "string_val": "8 *bytes",
        "int64_val": "10 *int64",
        "bool_val": "11 *bool",
        "uint32_val": "16 *uint32",
        "uint64_val": "17 *uint64",
    },
    f"{_T}.TensorInfo": {
        "name": "1 string",
        "dtype": f"2 {_T}.DataType",
        "tensor_shape": f"3 {_T}.TensorShapeProto",
    },
    f"{_T}.SignatureDef": {
        "inputs": f"1 map {_T}.TensorInfo",
        "outputs": f"2 map {_T}.TensorInfo",
        "method_name": "3 string",
        "defaults": f"4 map {_T}.TensorProto",
    },
    f"{_S}.ModelSpec": {
        "name": "1 string",
        "version": "2 google.protobuf.Int64Value in version_choice",
        "version_label": "4 string in version_choice",
        "signature_name": "3 string",
    },
    f"{_S}.PredictRequest": {
        "model_spec": f"1 {_S}.ModelSpec",
        "inputs": f"2 map {_T}.TensorProto",
        "output_filter": "3 *string",
    },
    f"{_S}.PredictResponse": {
        "outputs": f"1 map {_T}.TensorProto",
        "model_spec": f"2 {_S}.ModelSpec",
    },
    f"{_S}.SignatureDefMap": {"signature_def": f"1 map {_T}.SignatureDef"},
    f"{_S}.GetModelMetadataRequest": {
        "model_spec": f"1 {_S}.ModelSpec",
        "metadata_field": "2 *string",
    },
    f"{_S}.GetModelMetadataResponse": {
        "model_spec": f"1 {_S}.ModelSpec",
        "metadata": "2 map google.protobuf.Any",
    },
    f"{_S}.StatusProto": {"error_code": f"1 {_T}.error.Code", "error_message": "2 string"},
    f"{_S}.ModelVersionStatus": {
        "version": "1 int64",
        "state": f"2 {_S}.ModelVersionStatus.State",
        "status": f"3 {_S}.StatusProto",
    },
    f"{_S}.GetModelStatusRequest": {"model_spec": f"1 {_S}.ModelSpec"},
    f"{_S}.GetModelStatusResponse": {"model_version_status": f"1 *{_S}.ModelVersionStatus"},
    f"{_POLICY}.Latest": {"num_versions": "1 uint32"},
    f"{_POLICY}.All": {},
    f"{_POLICY}.Specific": {"versions": "1 *int64"},
    _POLICY: {
        "latest": f"100 {_POLICY}.Latest in policy_choice",
        "all": f"101 {_POLICY}.All in policy_choice",
        "specific": f"102 {_POLICY}.Specific in policy_choice",
    },
    f"{_S}.ModelConfig": {
        "name": "1 string",
        "base_path": "2 string",
        "model_type": f"3 {_S}.ModelType",
        "model_platform": "4 string",
        "model_version_policy": f"7 {_POLICY}",
        "version_labels": "8 map int64",
    },
    f"{_S}.ModelConfigList": {"config": f"1 *{_S}.ModelConfig"},
    f"{_S}.ModelServerConfig": {"model_config_list": f"1 {_S}.ModelConfigList in config"},
    f"{_S}.ReloadConfigRequest": {"config": f"1 {_S}.ModelServerConfig"},
    f"{_S}.ReloadConfigResponse": {"status": f"1 {_S}.StatusProto"},
}
ENUMS: Mapping[str, Mapping[str, int]] = {
    f"{_T}.DataType": {
        "DT_INVALID": 0,
        "DT_FLOAT": 1,
        "DT_DOUBLE": 2,
        "DT_INT32": 3,
        "DT_UINT8": 4,
        "DT_INT16": 5,
        "DT_INT8": 6,
        "DT_STRING": 7,
        "DT_INT64": 9,
        "DT_BOOL": 10,
        "DT_BFLOAT16": 14,
        "DT_UINT16": 17,
        "DT_HALF": 19,
        "DT_UINT32": 22,
        "DT_UINT64": 23,
    },
    f"{_S}.ModelVersionStatus.State": {
        "UNKNOWN": 0,
        "START": 10,
        "LOADING": 20,
        "AVAILABLE": 30,
        "UNLOADING": 40,
        "END": 50,
    },
    f"{_S}.ModelType": {"MODEL_TYPE_UNSPECIFIED": 0, "TENSORFLOW": 1, "OTHER": 2},
    f"{_T}.error.Code": {"OK": 0},  # further numbers are those of serving.server.errors.Code
}

#: TensorProto's field for the values of a type.
VALUE_FIELDS = {
    "DT_FLOAT": "float_val",
    "DT_DOUBLE": "double_val",
    "DT_INT8": "int_val",
    "DT_INT16": "int_val",
    "DT_INT32": "int_val",
    "DT_UINT8": "int_val",
    "DT_UINT16": "int_val",
    "DT_INT64": "int64_val",
    "DT_UINT32": "uint32_val",
    "DT_UINT64": "uint64_val",
    "DT_BOOL": "bool_val",
    "DT_STRING": "string_val",
}


def message(name: str) -> Any:
    """The class of a message, by its name without the package, as `PredictRequest`."""
    classes = _classes()
    for package in (_S, _T):
        if f"{package}.{name}" in MESSAGES:
            return classes[f"{package}.{name}"]
    raise KeyError(name)


def _classes() -> dict[str, Any]:
    with _MAKING:
        return _made()


@functools.cache
def _made() -> dict[str, Any]:
    """All classes, those of inner messages and maps too, held for good.

    protobuf itself holds a class only as long as something uses it. The garbage collector then
    takes it apart step by step, and a thread that asks for it in between gets a class in pieces:
    the process ends with a segmentation fault.
    """
    pool = _pool()
    files = [f"headrace/{package}.proto" for package in _PACKAGES]
    made: dict[str, Any] = message_factory.GetMessageClassesForFiles(
        [any_pb2.DESCRIPTOR.name, wrappers_pb2.DESCRIPTOR.name, *files], pool
    )
    inner = [kind.DESCRIPTOR for kind in made.values()]
    while inner:
        descriptor = inner.pop()
        made[descriptor.full_name] = message_factory.GetMessageClass(descriptor)
        inner += descriptor.nested_types
    return made


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    # Each package is a file of its own; the second imports the first.
    shared = [any_pb2.DESCRIPTOR, wrappers_pb2.DESCRIPTOR]
    for descriptor in shared:
        pool.AddSerializedFile(descriptor.serialized_pb)
    names = [descriptor.name for descriptor in shared]
    for package in _PACKAGES:
        file = descriptor_pb2.FileDescriptorProto(
            name=f"headrace/{package}.proto", package=package, syntax="proto3", dependency=names
        )
        _add_types(file, package)
        pool.AddSerializedFile(file.SerializeToString())
        names.append(file.name)
    return pool


def _add_types(file: Any, package: str) -> None:
    for name, numbers in ENUMS.items():
        owner, own = _owner(file, package, name)
        if owner is not None:
            made = owner.enum_type.add(name=own)
            for value, number in numbers.items():
                made.value.add(name=value, number=number)
    for name, fields in MESSAGES.items():
        owner, own = _owner(file, package, name)
        if owner is not None:
            _add_fields(_child(owner, own), name, fields)


def _owner(file: Any, package: str, name: str) -> tuple[Any, str]:
    """Where in a file a type belongs: the file or an outer message; None if in another file."""
    inside = name.removeprefix(f"{package}.").split(".")
    others = [p for p in (_S, f"{_T}.error") if p != package and p.startswith(package)]
    if not name.startswith(f"{package}.") or any(name.startswith(f"{p}.") for p in others):
        return None, ""
    owner = file
    for outer in inside[:-1]:
        owner = _child(owner, outer)
    return owner, inside[-1]


def _child(owner: Any, name: str) -> Any:
    children = (
        owner.message_type
        if isinstance(owner, descriptor_pb2.FileDescriptorProto)
        else owner.nested_type
    )
    return next((child for child in children if child.name == name), None) or children.add(
        name=name
    )


def _add_fields(made: Any, name: str, fields: Mapping[str, str]) -> None:
    for field, spec in fields.items():
        number, _, kind = spec.partition(" ")
        kind, _, oneof = kind.partition(" in ")
        added = made.field.add(name=field, number=int(number), label=_FIELD.LABEL_OPTIONAL)
        if kind.startswith("map "):
            entry = made.nested_type.add(name="".join(map(str.title, field.split("_"))) + "Entry")
            entry.options.map_entry = True
            _add_fields(entry, "", {"key": "1 string", "value": f"2 {kind[4:]}"})
            kind = f"*{name}.{entry.name}"
        if kind.startswith("*"):
            added.label, kind = _FIELD.LABEL_REPEATED, kind[1:]
        if kind in _SCALARS:
            added.type = _SCALARS[kind]
        else:
            added.type_name = f".{kind}"
            added.type = _FIELD.TYPE_ENUM if kind in ENUMS else _FIELD.TYPE_MESSAGE
        if oneof:
            if not made.oneof_decl:
                made.oneof_decl.add(name=oneof)
            added.oneof_index = 0
