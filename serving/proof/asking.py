"""Asks a running server, over gRPC and over REST."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import grpc
import httpx
import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.framework import types_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from serving.proof.process import MODEL_NAME, Running, ServerError
from serving.proof.rows import Probe

#: Signature name → signature, as the server tells it.
Signatures = Mapping[str, Any]
Column = Sequence[float | int | bytes | None]

#: How a missing value is written; see the model's signatures.
MISSING: dict[int, float | int | bytes] = {
    types_pb2.DT_FLOAT: math.nan,
    types_pb2.DT_INT64: -1,
    types_pb2.DT_STRING: b"",
}

_SECONDS = 30.0
_UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class Asker:
    """Connections to one server.

    Every method raises `ServerError` if the server refuses or cannot be reached.

    Args:
        server: where it listens.
        version: of the model.
    """

    def __init__(self, server: Running, version: int) -> None:
        self._server, self._version = server, version
        self._channel = grpc.insecure_channel(server.grpc, _UNLIMITED)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._http = httpx.Client(
            base_url=f"http://{server.rest}/v1/models/{MODEL_NAME}", timeout=_SECONDS
        )

    def close(self) -> None:
        """Closes the connections."""
        self._channel.close()
        self._http.close()

    def wait(self, seconds: float) -> float:
        """Waits until the version is available.

        Returns:
            Seconds since the server's process was started.

        Raises:
            ServerError: it is not after so many seconds, or never will be; with the server's word.
        """
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = MODEL_NAME
        deadline = self._server.started + seconds
        while True:
            self._server.check()
            try:
                response = self._models.GetModelStatus(request, timeout=5)
                states = list(response.model_version_status)
            except grpc.RpcError:
                states = []  # not up yet
            for status in states:
                name = type(status).State.Name(status.state)
                if name == "AVAILABLE":
                    return time.monotonic() - self._server.started
                if name == "END":
                    raise ServerError(f"the server cannot load it: {status.status.error_message}")
            if time.monotonic() > deadline:
                told = ", ".join(type(s).State.Name(s.state) for s in states) or "no answer"
                raise ServerError(
                    f"not available after {seconds:g} s (state: {told}){self._server.tail()}"
                )
            time.sleep(0.05)

    def signatures(self) -> Signatures:
        """The model's signatures."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
        self._spec(request, "")
        response = _answer(self._predictions.GetModelMetadata, request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        return dict(signatures.signature_def)

    def predict(self, signature: str, inputs: Mapping[str, tf.Tensor]) -> dict[str, Any]:
        """Predict over gRPC: output name → numpy array."""
        request = predict_pb2.PredictRequest()
        self._spec(request, signature)
        for name, value in inputs.items():
            request.inputs[name].CopyFrom(value)
        response = _answer(self._predictions.Predict, request)
        return {name: tf.make_ndarray(value) for name, value in response.outputs.items()}

    def classify(self, signature: str, probe: Probe) -> npt.NDArray[np.float32]:
        """Classify over gRPC: score of the class "1", [rows]."""
        request = classification_pb2.ClassificationRequest()
        self._spec(request, signature)
        request.input.example_list.examples.extend(probe.examples)
        response = _answer(self._predictions.Classify, request)
        return np.array(
            [
                next((c.score for c in row.classes if c.label == "1"), math.nan)
                for row in response.result.classifications
            ],
            np.float32,
        )

    def replay(self, log: Any) -> None:
        """Sends the request of a PredictionLog."""
        kind = log.WhichOneof("log_type")
        calls = {
            "predict_log": self._predictions.Predict,
            "classify_log": self._predictions.Classify,
            "regress_log": self._predictions.Regress,
        }
        if kind in calls:
            request = getattr(log, kind).request
            self._spec(request, request.model_spec.signature_name)
            _answer(calls[kind], request)

    def rest(self, verb: str, body: Mapping[str, Any]) -> Any:
        """A POST over REST: the answer's JSON."""
        try:
            response = self._http.post(
                f"/versions/{self._version}:{verb}", content=json.dumps(body).encode()
            )
        except httpx.HTTPError as error:
            raise ServerError(f"{type(error).__name__}: {error}") from error
        if response.status_code != 200:
            raise ServerError(f"HTTP {response.status_code}: {response.text[:300]}")
        return response.json()

    def _spec(self, request: Any, signature: str) -> None:
        request.model_spec.name = MODEL_NAME
        request.model_spec.version.value = self._version
        if signature:
            request.model_spec.signature_name = signature


def _answer(call: Any, request: Any) -> Any:
    try:
        return call(request, timeout=_SECONDS)
    except grpc.RpcError as error:
        raise ServerError(f"{error.code().name}: {error.details()[:300]}") from error


def tensors(columns: Mapping[str, Column], dtypes: Mapping[str, int]) -> dict[str, tf.Tensor]:
    """TensorProtos of columns, missing values written as the signatures have it."""
    return {
        name: tf.make_tensor_proto(filled(values, dtypes[name]), dtypes[name])
        for name, values in columns.items()
    }


def filled(values: Column, dtype: int) -> list[float | int | bytes]:
    """A column with its missing values written down.

    Raises:
        ServerError: there is no way to write a missing value of that type.
    """
    if None in values and dtype not in MISSING:
        name = types_pb2.DataType.Name(dtype)
        raise ServerError(f"a value is missing, and {name} has no way to say so")
    return [MISSING[dtype] if value is None else value for value in values]


def plain(value: float | int | bytes) -> Any:
    """A value as JSON has it; bytes that are no text as an object with `b64`."""
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return b64(value)


def b64(value: bytes) -> dict[str, str]:
    """Bytes as the REST API takes them."""
    return {"b64": base64.b64encode(value).decode()}
