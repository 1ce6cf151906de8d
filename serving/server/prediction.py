"""Predict, GetModelMetadata and GetModelStatus on protos; no transport.

Each answers a request as the stock server does, check by check: which check comes first, its code
and the phrase of its text are what clients see. All raise `ServingError`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    predict_pb2,
)

from serving.server import tensors
from serving.server.catalog import Catalog
from serving.server.errors import Code, ServingError
from serving.server.lifecycle import Lease
from serving.server.saved_model import LoadedModel

DEFAULT_SIGNATURE = "serving_default"
METADATA_FIELD = "signature_def"

#: Told a model's name and the seconds of each run of its session.
OnRun = Callable[[str, float], None]


def predict(
    catalog: Catalog,
    request: predict_pb2.PredictRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> predict_pb2.PredictResponse:
    """Runs one signature on tensors.

    Args:
        catalog: the models.
        request: names the model, the signature and the tensors.
        timeout: in seconds; None for no limit.
        on_run: told how long the session took.

    Raises:
        ServingError: see the module.
    """
    with lease(catalog, request) as model:
        return predict_with(model, request, timeout, on_run)


def predict_with(
    model: LoadedModel,
    request: predict_pb2.PredictRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> predict_pb2.PredictResponse:
    """As `predict`, on a version that is known already (a warm-up's, say)."""
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    inputs = _inputs(model, name, signature, request.inputs)
    outputs = _outputs(signature, list(request.output_filter))
    arrays = timed_run(model, name, inputs, outputs, timeout, on_run)
    response = predict_pb2.PredictResponse()
    fill_spec(response.model_spec, model, request.model_spec.name, name)
    for alias, array in arrays.items():
        try:
            response.outputs[alias].CopyFrom(tensors.encode(array))
        except ValueError as error:
            raise ServingError(Code.INTERNAL, f"output {alias}: {error}") from error
    return response


def get_metadata(
    catalog: Catalog, request: get_model_metadata_pb2.GetModelMetadataRequest
) -> get_model_metadata_pb2.GetModelMetadataResponse:
    """The signatures of a version.

    Raises:
        ServingError: see the module.
    """
    check_spec(request)
    if not request.metadata_field:
        raise _invalid("GetModelMetadataRequest must specify at least one metadata_field")
    for field in request.metadata_field:
        if field != METADATA_FIELD:
            raise _invalid(f"Metadata field {field} is not supported")
    with lease(catalog, request) as model:
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = model.version
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in model.signatures.items():
            signatures.signature_def[name].CopyFrom(signature)
        response.metadata[METADATA_FIELD].Pack(signatures)
        return response


def get_status(
    catalog: Catalog, request: get_model_status_pb2.GetModelStatusRequest
) -> get_model_status_pb2.GetModelStatusResponse:
    """The states of a model's versions. A label is ignored, as the stock server does.

    Raises:
        ServingError: see the module.
    """
    check_spec(request)
    spec = request.model_spec
    version = spec.version.value if spec.WhichOneof("version_choice") == "version" else None
    response = get_model_status_pb2.GetModelStatusResponse()
    for status in catalog.statuses(spec.name, version):
        added = response.model_version_status.add(version=status.version, state=status.state)
        added.status.error_code = int(status.code)
        added.status.error_message = status.message
    return response


def check_spec(request: Any) -> None:
    """Refuses a request without a ModelSpec.

    Raises:
        ServingError: INVALID_ARGUMENT.
    """
    if not request.HasField("model_spec"):
        raise _invalid("Missing ModelSpec")


def lease(catalog: Catalog, request: Any) -> Lease:
    """Pins the version that a request's ModelSpec names.

    Raises:
        ServingError: see `Catalog.use`.
    """
    check_spec(request)
    return lease_spec(catalog, request.model_spec)


def lease_spec(catalog: Catalog, spec: model_pb2.ModelSpec) -> Lease:
    """Pins the version that a ModelSpec names.

    Raises:
        ServingError: see `Catalog.use`.
    """
    choice = spec.WhichOneof("version_choice")
    return catalog.use(
        spec.name,
        spec.version.value if choice == "version" else None,
        spec.version_label if choice == "version_label" else None,
    )


def fill_spec(spec: model_pb2.ModelSpec, model: LoadedModel, name: str, signature: str) -> None:
    """Says in a response who answered; never by label."""
    spec.name = name
    spec.version.value = model.version
    spec.signature_name = signature


def _inputs(
    model: LoadedModel,
    name: str,
    signature: meta_graph_pb2.SignatureDef,
    given: Mapping[str, Any],
) -> dict[str, np.ndarray]:
    wanted, defaults = signature.inputs, signature.defaults
    if len(given) > len(wanted) or (len(given) < len(wanted) and not defaults):
        sent, expected = set(given), set(wanted)
        raise _invalid(
            f"input size does not match signature: {len(sent)}!={len(expected)} "
            f"len({_names(sent)}) != len({_names(expected)}). "
            f"Sent extra: {_names(sent - expected)}. "
            f"Missing but required: {_names(expected - sent - set(defaults))}."
        )
    inputs = {}
    for alias, info in wanted.items():
        if alias in given:
            try:
                inputs[alias] = tensors.decode(given[alias])
            except (ValueError, OverflowError) as error:
                raise _invalid(f"tensor parsing error: {alias}: {error}") from error
            except ServingError as error:
                raise ServingError(error.code, f"input {alias}: {error.message}") from None
        elif alias in defaults:
            inputs[alias] = model.defaults(name)[alias]
        else:
            raise _invalid(
                f"Signature input alias: {alias}(feed name: {info.name}) not found in request "
                f"and no default value provided. Inputs expected to be in the set "
                f"{_names(set(wanted))}."
            )
    unknown = set(given) - set(wanted)
    if unknown:
        raise _invalid(f"Inputs contains invalid name: {_names(unknown)}")
    return inputs


def _outputs(signature: meta_graph_pb2.SignatureDef, wanted: list[str]) -> list[str] | None:
    if not wanted:
        return None
    for index, alias in enumerate(wanted):
        if alias not in signature.outputs:
            raise _invalid(
                f"output tensor alias not found in signature: {alias} "
                f"Outputs expected to be in the set {_names(set(signature.outputs))}."
            )
        if alias in wanted[:index]:
            raise _invalid(f"duplicate output tensor alias: {alias}")
    return wanted


def _names(names: set[str]) -> str:
    return "{" + ",".join(sorted(names)) + "}"


def timed_run(
    model: LoadedModel,
    signature: str,
    inputs: Mapping[str, np.ndarray],
    outputs: list[str] | None,
    timeout: float | None,
    on_run: OnRun | None,
) -> dict[str, np.ndarray]:
    """`LoadedModel.run`, with its time told to `on_run`."""
    if on_run is None:
        return model.run(signature, inputs, outputs, timeout)
    started = time.perf_counter()
    arrays = model.run(signature, inputs, outputs, timeout)
    on_run(model.name, time.perf_counter() - started)
    return arrays


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
