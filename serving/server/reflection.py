"""Server reflection: what `grpcurl` and other clients without stubs ask for, in both versions.

A stream is answered as long as it asks: one that idles is ended, and there are only a few.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha._base import BaseReflectionServicer

from serving.server.grpc_calls import Lane, first

# These modules register the services' descriptors, and then fail on an attribute that newer
# versions of protobuf do not let them set; nothing after that is needed.
with contextlib.suppress(AttributeError):
    from tensorflow_serving.apis import model_service_pb2  # noqa: F401
with contextlib.suppress(AttributeError):
    from tensorflow_serving.apis import prediction_service_pb2  # noqa: F401

#: Names of the service; the messages of both are the same on the wire.
SERVICES = ("grpc.reflection.v1alpha.ServerReflection", "grpc.reflection.v1.ServerReflection")
_FILE_OF_V1 = "grpc/reflection/v1/reflection.proto"
# A name of a file or symbol is short; what is answered repeats it.
_MAX_REQUEST_BYTES = 4096


class Reflection(BaseReflectionServicer):  # type: ignore[misc]
    """The service over the descriptors that are loaded."""

    def __init__(self, names: Sequence[str], lane: Lane) -> None:
        """Describes the services of these names, and itself."""
        super().__init__([*names, *SERVICES])
        self._lane = lane
        _describe_v1()

    def handler(self) -> Any:
        """The method ServerReflectionInfo."""

        def info(
            requests: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[Any], None]
        ) -> None:
            try:
                self._info(requests, context, send)
            finally:
                self._lane.leave()

        info.experimental_non_blocking = True  # type: ignore[attr-defined]
        return grpc.stream_stream_rpc_method_handler(
            info, response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString
        )

    def _info(
        self, requests: Iterator[bytes], context: grpc.ServicerContext, send: Callable[[Any], None]
    ) -> None:
        patience = self._lane.patience
        while (raw := first(requests, context, patience)) is not None:
            answer = self._answer(raw)
            if answer is None:
                context.set_code(grpc.StatusCode.INVALID_ARGUMENT)
                context.set_details("That is no ServerReflectionRequest.")
                break
            with patience.waiting(context.cancel):
                send(answer)
        send(None)

    def _answer(self, raw: bytes) -> Any:
        if len(raw) > _MAX_REQUEST_BYTES:
            return None
        try:
            request = reflection_pb2.ServerReflectionRequest.FromString(raw)
        except DecodeError:
            return None
        kind = request.WhichOneof("message_request")
        if kind == "file_by_filename":
            return self._file_by_filename(request, request.file_by_filename)
        if kind == "file_containing_symbol":
            symbol = _containing(request.file_containing_symbol)
            return self._file_containing_symbol(request, symbol)
        if kind == "file_containing_extension":
            extension = request.file_containing_extension
            return self._file_containing_extension(
                request, extension.containing_type, extension.extension_number
            )
        if kind == "all_extension_numbers_of_type":
            return self._all_extension_numbers_of_type(
                request, request.all_extension_numbers_of_type
            )
        if kind == "list_services":
            return self._list_services(request)
        return None


def _containing(symbol: str) -> str:
    """The symbol itself, or the service, message or enum that has it: the pool knows no members."""
    pool = descriptor_pool.Default()
    owner, _, member = symbol.rpartition(".")
    for find, members in (
        (pool.FindServiceByName, ("methods_by_name",)),
        (pool.FindMessageTypeByName, ("fields_by_name", "oneofs_by_name")),
        (pool.FindEnumTypeByName, ("values_by_name",)),
    ):
        with contextlib.suppress(KeyError):
            found = find(owner)
            if any(member in getattr(found, name) for name in members):
                return owner
    return symbol


def _describe_v1() -> None:
    """Version 1 is version 1 alpha in another package."""
    pool = descriptor_pool.Default()
    with contextlib.suppress(KeyError):
        pool.FindFileByName(_FILE_OF_V1)
        return
    proto = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(proto)
    proto.name = _FILE_OF_V1
    proto.package = "grpc.reflection.v1"
    _rename(proto)
    pool.AddSerializedFile(proto.SerializeToString())


def _rename(proto: descriptor_pb2.FileDescriptorProto) -> None:
    old, new = ".grpc.reflection.v1alpha.", ".grpc.reflection.v1."
    for message in proto.message_type:
        for field in filter(lambda field: field.type_name, message.field):
            field.type_name = field.type_name.replace(old, new)
    for service in proto.service:
        for method in service.method:
            method.input_type = method.input_type.replace(old, new)
            method.output_type = method.output_type.replace(old, new)
