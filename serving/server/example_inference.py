"""Classify, Regress and MultiInference: signatures over serialized examples.

The checks, their order, codes and phrases are those of the stock server, as in
`serving.server.prediction`. All raise `ServingError`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    input_pb2,
    model_pb2,
    regression_pb2,
)

from serving.server import admission
from serving.server.catalog import Catalog
from serving.server.errors import Code, ServingError
from serving.server.prediction import (
    DEFAULT_SIGNATURE,
    OnRun,
    fill_spec,
    lease,
    lease_spec,
    timed_run,
)
from serving.server.saved_model import LoadedModel
from serving.server.tensors import data_type, name_of

CLASSIFY_METHOD = "tensorflow/serving/classify"
REGRESS_METHOD = "tensorflow/serving/regress"

_INPUTS, _OUTPUTS, _CLASSES, _SCORES = "inputs", "outputs", "classes", "scores"


def classify(
    catalog: Catalog,
    request: classification_pb2.ClassificationRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> classification_pb2.ClassificationResponse:
    """Classes and scores of examples.

    Args:
        catalog: the models.
        request: names the model and the signature, and holds the examples.
        timeout: in seconds; None for no limit.
        on_run: told how long the session took.

    Raises:
        ServingError: see the module.
    """
    with lease(catalog, request) as model:
        return classify_with(model, request, timeout, on_run)


def regress(
    catalog: Catalog,
    request: regression_pb2.RegressionRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> regression_pb2.RegressionResponse:
    """A value per example; arguments and errors as in `classify`."""
    with lease(catalog, request) as model:
        return regress_with(model, request, timeout, on_run)


def multi_inference(
    catalog: Catalog,
    request: inference_pb2.MultiInferenceRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """Several classifications and regressions of the same examples, by one version.

    The first task's ModelSpec picks the version. Arguments and errors as in `classify`.
    """
    spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
    with lease_spec(catalog, spec) as model:
        return multi_inference_with(model, request, timeout, on_run)


def classify_with(
    model: LoadedModel,
    request: classification_pb2.ClassificationRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> classification_pb2.ClassificationResponse:
    """As `classify`, on a version that is known already."""
    response = classification_pb2.ClassificationResponse()
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    result = _classifications(model, name, request.input, timeout, on_run)
    response.result.CopyFrom(result)
    fill_spec(response.model_spec, model, request.model_spec.name, name)
    return response


def regress_with(
    model: LoadedModel,
    request: regression_pb2.RegressionRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> regression_pb2.RegressionResponse:
    """As `regress`, on a version that is known already."""
    response = regression_pb2.RegressionResponse()
    name = request.model_spec.signature_name or DEFAULT_SIGNATURE
    response.result.CopyFrom(_regressions(model, name, request.input, timeout, on_run))
    fill_spec(response.model_spec, model, request.model_spec.name, name)
    return response


def multi_inference_with(
    model: LoadedModel,
    request: inference_pb2.MultiInferenceRequest,
    timeout: float | None = None,
    on_run: OnRun | None = None,
) -> inference_pb2.MultiInferenceResponse:
    """As `multi_inference`, on a version that is known already."""
    names: list[str] = []
    for task in request.tasks:
        _check_task(task, request.tasks[0], model, names)
        names.append(task.model_spec.signature_name or DEFAULT_SIGNATURE)
    example_count(request.input)
    response = inference_pb2.MultiInferenceResponse()
    for task, name in zip(request.tasks, names, strict=True):
        result = response.results.add()
        fill_spec(result.model_spec, model, task.model_spec.name, name)
        if task.method_name == CLASSIFY_METHOD:
            found = _classifications(model, name, request.input, timeout, on_run)
            result.classification_result.CopyFrom(found)
        else:
            values = _regressions(model, name, request.input, timeout, on_run)
            result.regression_result.CopyFrom(values)
    return response


def _check_task(
    task: inference_pb2.InferenceTask,
    first: inference_pb2.InferenceTask,
    model: LoadedModel,
    seen: list[str],
) -> None:
    if not task.model_spec.name:
        raise _invalid("Found ModelSpec with an empty model name.")
    if task.model_spec.name != first.model_spec.name:
        raise _invalid("All ModelSpecs in a MultiInferenceRequest must access the same model name.")
    name = task.model_spec.signature_name or DEFAULT_SIGNATURE
    if name not in model.signatures:
        raise _invalid(f"Requested signature not found in model graph: {name}")
    if name in seen:
        raise _invalid(f"Duplicate evaluation of signature: {name}")
    if task.method_name not in (CLASSIFY_METHOD, REGRESS_METHOD):
        raise ServingError(
            Code.UNIMPLEMENTED, f"Unsupported signature method_name: {task.method_name}"
        )
    if task.method_name == CLASSIFY_METHOD:
        _check_classify(model.signatures[name])
    else:
        _check_regress(model.signatures[name])


def _classifications(
    model: LoadedModel,
    name: str,
    given: input_pb2.Input,
    timeout: float | None,
    on_run: OnRun | None,
) -> classification_pb2.ClassificationResult:
    _check_classify(_signature(model, name))
    outputs, count = _run(model, name, given, timeout, on_run)
    classes, scores = outputs.get(_CLASSES), outputs.get(_SCORES)
    for key, array, dtype in ((_CLASSES, classes, "string"), (_SCORES, scores, "float")):
        if array is None:
            continue
        if array.ndim != 2:
            raise _invalid(
                f"Expected Tensor shape: [batch_size num_classes] but got {_shape(array)} for {key}"
            )
        if name_of(data_type(array)) != dtype:
            raise _invalid(
                f"Expected {key} Tensor of DT_{dtype.upper()}. Got: {name_of(data_type(array))}"
            )
        if len(array) != count:
            raise _invalid(f"Expected {key} output batch size of {count}. Got: {len(array)}")
    if classes is not None and scores is not None and classes.shape != scores.shape:
        raise _invalid(
            "Tensors class and score should match in dim_size(1). Got "
            f"{classes.shape[1]} vs. {scores.shape[1]}"
        )
    labels = None if classes is None else classes.tolist()
    values = None if scores is None else scores.tolist()
    result = classification_pb2.ClassificationResult()
    for row in range(count):
        added = result.classifications.add().classes
        for column in range(len((labels or values or [])[row])):
            one = added.add()
            if labels is not None:
                one.label = labels[row][column].decode(errors="replace")
            if values is not None:
                one.score = values[row][column]
    return result


def _regressions(
    model: LoadedModel,
    name: str,
    given: input_pb2.Input,
    timeout: float | None,
    on_run: OnRun | None,
) -> regression_pb2.RegressionResult:
    _check_regress(_signature(model, name))
    outputs, count = _run(model, name, given, timeout, on_run)
    array = outputs[_OUTPUTS]
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] != 1):
        raise _invalid(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{_shape(array)}"
        )
    if len(array) != count:
        raise _invalid(f"Expected output batch size to be {count}. Got: {len(array)}")
    if name_of(data_type(array)) != "float":
        raise _invalid(f"Expected output Tensor of DT_FLOAT. Got: {name_of(data_type(array))}")
    result = regression_pb2.RegressionResult()
    for value in array.reshape(-1).tolist():
        result.regressions.add(value=value)
    return result


def _signature(model: LoadedModel, name: str) -> meta_graph_pb2.SignatureDef:
    signature = model.signatures.get(name)
    if signature is None:
        raise _invalid(f"No signature was found with the name: {name}")
    return signature


def _check_classify(signature: meta_graph_pb2.SignatureDef) -> None:
    _check_input(signature, "classification")
    if len(signature.outputs) not in (1, 2):
        raise _invalid(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if not any(key in signature.outputs for key in (_CLASSES, _SCORES)):
        raise _invalid(
            'Expected classification signature outputs to contain at least one of "classes" or '
            f'"scores". Signature outputs: {_keys(signature.outputs)}'
        )


def _check_regress(signature: meta_graph_pb2.SignatureDef) -> None:
    _check_input(signature, "regression")
    if len(signature.outputs) != 1:
        raise _invalid(f"Expected one output Tensor. Found {len(signature.outputs)}")
    if _OUTPUTS not in signature.outputs:
        raise _invalid(
            "No regression outputs found in SignatureDef's outputs: "
            f"{_keys(signature.outputs)} (the key must be `outputs`)"
        )


def _check_input(signature: meta_graph_pb2.SignatureDef, kind: str) -> None:
    if len(signature.inputs) != 1:
        raise _invalid(f"Expected one input Tensor. Found {len(signature.inputs)}")
    if _INPUTS not in signature.inputs:
        raise _invalid(
            f"No {kind} inputs found in SignatureDef's inputs: {_keys(signature.inputs)} "
            "(the key must be `inputs`)"
        )


def _run(
    model: LoadedModel,
    name: str,
    given: input_pb2.Input,
    timeout: float | None,
    on_run: OnRun | None,
) -> tuple[dict[str, np.ndarray], int]:
    examples = _serialized(given)
    outputs = timed_run(model, name, {_INPUTS: examples}, None, timeout, on_run)
    return outputs, len(examples)


def example_count(given: input_pb2.Input) -> int:
    """How many examples an input holds.

    Raises:
        ServingError: INVALID_ARGUMENT, none.
    """
    kind = given.WhichOneof("kind")
    count = 0
    if kind == "example_list":
        count = len(given.example_list.examples)
    elif kind == "example_list_with_context":
        count = len(given.example_list_with_context.examples)
    if not count:
        raise _invalid("Input is empty")
    return count


def _serialized(given: input_pb2.Input) -> np.ndarray:
    # A context comes before its example. Of a feature in both, the example's wins: that is how a
    # parser merges messages that follow each other.
    batch = np.empty(example_count(given), object)
    if given.WhichOneof("kind") == "example_list":
        batch[:] = [example.SerializeToString() for example in given.example_list.examples]
    else:
        listed = given.example_list_with_context
        context = listed.context.SerializeToString()
        # It is copied for each example, and TensorFlow has a copy of that.
        repeated = 2 * len(context) * len(listed.examples)
        if repeated > admission.SMALL:
            admission.current().fill(repeated)
        batch[:] = [context + example.SerializeToString() for example in listed.examples]
    return batch


def _shape(array: np.ndarray) -> str:
    return "[" + ",".join(map(str, array.shape)) + "]"


def _keys(infos: Any) -> str:
    return "{" + ",".join(sorted(infos)) + "}"


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
