"""E, F, G: the gRPC services."""

from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
import tiny_models
from tensorflow.core.framework import tensor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

P0, P1, P2 = pytest.mark.P0, pytest.mark.P1, pytest.mark.P2
INVALID, NOT_FOUND = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
CLASSIFY, REGRESS = "classify_x_to_y", "regress_x_to_y"
AVAILABLE = 30


def case(name: str, priority: Any, *values: Any) -> Any:
    return pytest.param(*values, id=name, marks=priority)


def floats(values: Any) -> tensor_pb2.TensorProto:
    return tf.make_tensor_proto(values, tf.float32)


def raw(**fields: Any) -> tensor_pb2.TensorProto:
    shape = fields.pop("shape", None)
    made = tensor_pb2.TensorProto(dtype=fields.pop("dtype", 1), **fields)
    for size in shape or []:
        made.tensor_shape.dim.add(size=size)
    return made


def dims(proto: tensor_pb2.TensorProto) -> list[int]:
    return [dim.size for dim in proto.tensor_shape.dim]


def refusal(call: Any) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as raised:
        call()
    return raised.value


X = [2.0]
ANSWERED = [
    case("E01", P0, "default", "serving_default", {"x": X}, "y", [3.0], [1]),
    case("E02", P0, "half_plus_three", "", {"x": X}, "y", [4.0], [1]),
    case("E02-tf2", P0, "tf2", "", {"x": X}, "y", [3.0], [1]),
    case("E04", P0, "default", "", {"x": floats([[1.0], [2.0]])}, "y", [2.5, 3.0], [2, 1]),
    case("E05", P0, "default", "",
         {"x": raw(tensor_content=np.array([1, 2, 5], "<f4").tobytes(), shape=[3])},
         "y", [2.5, 3.0, 4.5], [3]),
    case("E06", P1, "default", "", {"x": raw(float_val=[2.0])}, "y", [3.0], []),
    case("E07", P1, "default", "", {"x": raw(float_val=[2.0], shape=[3])}, "y", [3.0] * 3, [3]),
    case("E07-none", P1, "default", "", {"x": raw(shape=[2])}, "y", [2.0] * 2, [2]),
    case("E07-more", P1, "default", "", {"x": raw(float_val=[2.0, 4.0, 6.0], shape=[2])},
         "y", [3.0, 4.0], [2]),
    case("E08", P1, "default", "", {"x": raw(shape=[0])}, "y", [], [0]),
    case("E09", P1, "default", "regress_x2_to_y3", {"inputs": X}, "outputs", [4.0], [1]),
    case("E10", P1, "default", REGRESS,
         {"inputs": tf.make_tensor_proto([tiny_models.example(x=2.0).SerializeToString()])},
         "outputs", [3.0], [1, 1]),
    case("E11", P1, "tf2", "", {}, "y", [2.0], [1]),
    case("E17", P1, "matrix", "", {"x": floats(np.arange(18).reshape(2, 3, 3))},
         "y", (np.arange(18) / 2 + 2).tolist(), [2, 3, 3]),
    case("E18", P1, "scalar", "", {"x": [1.0, 2.0]}, "total", [3.0], []),
    case("E19", P1, "default", "", {"x": raw(tensor_content=b"\0\0\0\x40", shape=[1, 1, 1, 1])},
         "y", [3.0], [1, 1, 1, 1]),
]  # fmt: skip


@pytest.mark.parametrize("model, signature, inputs, alias, values, shape", ANSWERED)
def test_predict(
    serving: Any, model: str, signature: str, inputs: Any, alias: str, values: Any, shape: Any
) -> None:
    response = serving(model).predict(model, inputs, signature)
    output = response.outputs[alias]
    assert list(output.float_val) == values and not output.tensor_content
    assert dims(output) == shape and not output.tensor_shape.unknown_rank
    assert response.model_spec.name == model and response.model_spec.version.value == 123
    assert response.model_spec.signature_name == (signature or "serving_default")


@pytest.mark.parametrize("signature", [case("E03", P0, "")])
def test_the_effective_signature_is_told(serving: Any, signature: str) -> None:
    spec = serving("default").predict("default", {"x": X}, signature).model_spec
    assert spec.signature_name == "serving_default"
    assert spec.version.value == 123 and not spec.version_label


@pytest.mark.parametrize("version, label, answered", [
    case("E13-latest", P0, None, None, 124),
    case("E13-version", P0, 123, None, 123),
    case("E13-label", P0, None, "stable", 123),
])  # fmt: skip
def test_which_version(serving: Any, version: int | None, label: str | None, answered: int) -> None:
    response = serving("m").predict("m", {"x": X}, version=version, label=label)
    assert response.model_spec.version.value == answered
    assert response.model_spec.WhichOneof("version_choice") == "version"


FIELDS = {
    "float": "float_val", "double": "double_val", "int32": "int_val", "int64": "int64_val",
    "int16": "int_val", "int8": "int_val", "uint8": "int_val", "uint16": "int_val",
    "uint32": "uint32_val", "uint64": "uint64_val", "bool": "bool_val", "string": "string_val",
    "half": "half_val", "bfloat16": "half_val", "complex64": "scomplex_val",
    "complex128": "dcomplex_val",
}  # fmt: skip


@pytest.mark.parametrize("name", [case(f"E14-{name}", P1, name) for name in FIELDS])
def test_each_dtype_comes_back_in_its_field(serving: Any, name: str) -> None:
    dtype = tiny_models.TYPES[name]
    values = ["a", b"\xff", ""] if name == "string" else np.array([0, 1, 1], dtype.as_numpy_dtype)
    sent = tf.make_tensor_proto(values, dtype)
    output = serving("types").predict("types", {"v": sent}, name).outputs["v"]
    assert output.dtype == sent.dtype and dims(output) == [3] and not output.tensor_content
    factor = 2 if name.startswith("complex") else 1
    assert len(getattr(output, FIELDS[name])) == 3 * factor
    assert (tf.make_ndarray(output) == tf.make_ndarray(sent)).all()


@pytest.mark.parametrize("wanted", [case("E12", P1, ["sum"]), case("E12-two", P1, ["tag", "sum"])])
def test_output_filter(serving: Any, wanted: list[str]) -> None:
    inputs = {
        "a": floats([[1, 2]]),
        "b": tf.make_tensor_proto([3], tf.int64),
        "s": tf.make_tensor_proto(["x"]),
    }
    response = serving("multi").predict("multi", inputs, outputs=wanted)
    assert set(response.outputs) == set(wanted)
    assert list(response.outputs["sum"].float_val) == [6.0]


@pytest.mark.parametrize("count", [case("E15", P1, 1_200_000)])
def test_answers_beyond_four_mebibytes(serving: Any, count: int) -> None:
    server = serving("default")
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "default"
    request.inputs["x"].CopyFrom(raw(float_val=[2.0], shape=[count]))
    with grpc.insecure_channel(server.target) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        assert refusal(lambda: stub.Predict(request)).code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(server.predictions.Predict(request).outputs["y"].float_val) == count


@pytest.mark.parametrize("count", [case("E20", P1, 2_000_000)])
def test_requests_beyond_four_mebibytes(serving: Any, count: int) -> None:
    sent = raw(tensor_content=np.ones(count, "<f4").tobytes(), shape=[count])
    assert len(serving("default").predict("default", {"x": sent}).outputs["y"].float_val) == count


REFUSED = [
    case("F01", P0, {"model": "intentionally_missing_model"}, {"x": X}, NOT_FOUND,
         "Servable not found for request: Latest(intentionally_missing_model)"),
    case("F02", P0, {"version": 99}, {"x": X}, NOT_FOUND, "Specific(default, 99)"),
    case("F02-zero", P1, {"version": 0}, {"x": X}, NOT_FOUND, "Specific(default, 0)"),
    case("F03-known", P0, {"label": "nope"}, {"x": X}, INVALID,
         "Unrecognized servable version label: nope"),
    case("F03-unknown", P0, {"model": "foo", "label": "nope"}, {"x": X}, INVALID,
         "Unrecognized servable version label"),
    case("F04-name", P0, {"model": ""}, {"x": X}, INVALID, "ModelSpec has no name specified."),
    case("F05", P0, {"signature": "foo"}, {"x": X}, PRECONDITION,
         'Serving signature key "foo" not found.'),
    case("F06", P0, {}, {}, INVALID, "input size does not match signature: 0!=1"),
    case("F07-extra", P0, {}, {"unknown_key1": X, "unknown_key2": X}, INVALID,
         "Sent extra: {unknown_key1,unknown_key2}"),
    case("F07-missing", P0, {}, {"unknown_key1": X, "unknown_key2": X}, INVALID,
         "Missing but required: {x}"),
    case("F08", P1, {"outputs": ["z"]}, {"x": X}, INVALID,
         "output tensor alias not found in signature: z Outputs expected to be in the set {y}."),
    case("F09", P1, {"outputs": ["y", "y"]}, {"x": X}, INVALID,
         "duplicate output tensor alias: y"),
    case("F10", P1, {}, {"x": tf.make_tensor_proto(["a"])}, INVALID, ""),
    case("F11", P1, {}, {"x": raw(tensor_content=b"12345", shape=[2])}, INVALID,
         "tensor parsing error: x"),
    case("F11-dtype", P1, {}, {"x": raw(dtype=0, shape=[1])}, INVALID, "tensor parsing error: x"),
    case("F12", P1, {}, {"q": X}, INVALID, "x"),
    case("F14", P1, {"signature": REGRESS},
         {"inputs": tf.make_tensor_proto([b"\xff\xff"])}, INVALID, "Could not parse example input"),
]  # fmt: skip


@pytest.mark.parametrize("asked, inputs, code, phrase", REFUSED)
def test_predict_refused(
    serving: Any, asked: dict[str, Any], inputs: Any, code: grpc.StatusCode, phrase: str
) -> None:
    asked = {"model": "default", **asked}
    error = refusal(lambda: serving("default").predict(inputs=inputs, **asked))
    assert error.code() == code and phrase in error.details()


@pytest.mark.parametrize("method", [
    case("F04-predict", P0, "Predict"), case("F13-classify", P1, "Classify"),
    case("F13-regress", P1, "Regress"), case("F15-metadata", P0, "GetModelMetadata"),
    case("F16-status", P0, "GetModelStatus"),
])  # fmt: skip
def test_no_model_spec(serving: Any, method: str) -> None:
    requests = {
        "Predict": predict_pb2.PredictRequest,
        "Classify": classification_pb2.ClassificationRequest,
        "Regress": regression_pb2.RegressionRequest,
        "GetModelMetadata": get_model_metadata_pb2.GetModelMetadataRequest,
        "GetModelStatus": get_model_status_pb2.GetModelStatusRequest,
    }
    server = serving("default")
    stub = server.models if method == "GetModelStatus" else server.predictions
    error = refusal(lambda: getattr(stub, method)(requests[method]()))
    assert error.code() == INVALID and "Missing ModelSpec" in error.details()


@pytest.mark.parametrize("seconds", [case("F17", P2, 0.1)])
def test_deadline(serving: Any, seconds: float) -> None:
    server = serving("slow")
    error = refusal(lambda: server.predict("slow", {"x": X}, timeout=seconds))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def examples_request(kind: type, model: str, signature: str, *examples: Any) -> Any:
    request = kind()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    request.input.example_list.examples.extend(examples)
    return request


def classification(model: str, signature: str, *examples: Any) -> Any:
    return examples_request(classification_pb2.ClassificationRequest, model, signature, *examples)


def regression(model: str, signature: str, *examples: Any) -> Any:
    return examples_request(regression_pb2.RegressionRequest, model, signature, *examples)


TWO = tiny_models.example(x=2.0)


@pytest.mark.parametrize("model", [case("G01", P1, "default"), case("G01-tf2", P1, "tf2")])
def test_classify(serving: Any, model: str) -> None:
    response = serving(model).predictions.Classify(classification(model, CLASSIFY, TWO))
    (one,) = response.result.classifications
    assert [(c.label, c.score) for c in one.classes] == [("", 3.0)]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (model, 123, CLASSIFY)


@pytest.mark.parametrize("model", [case("G02", P1, "default"), case("G02-tf2", P1, "tf2")])
def test_regress(serving: Any, model: str) -> None:
    response = serving(model).predictions.Regress(regression(model, REGRESS, TWO))
    assert [value.value for value in response.result.regressions] == [3.0]
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (model, 123, REGRESS)


@pytest.mark.parametrize("signature", [case("G04", P1, "")])
def test_classes_and_scores(serving: Any, signature: str) -> None:
    request = classification("cls", signature, tiny_models.example(p=0.25))
    response = serving("cls").predictions.Classify(request)
    (one,) = response.result.classifications
    assert [(c.label, c.score) for c in one.classes] == [("neg", 0.75), ("pos", 0.25)]
    assert response.model_spec.signature_name == "serving_default"


@pytest.mark.parametrize("x, result", [
    case("G05-context", P1, None, 3.0), case("G05-wins", P1, 4.0, 4.0)
])  # fmt: skip
def test_context(serving: Any, x: float | None, result: float) -> None:
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "default"
    request.model_spec.signature_name = REGRESS
    listed = request.input.example_list_with_context
    listed.context.CopyFrom(TWO)
    listed.examples.append(tiny_models.example(**({} if x is None else {"x": x})))
    response = serving("default").predictions.Regress(request)
    assert [value.value for value in response.result.regressions] == [result]


@pytest.mark.parametrize("request_, phrase", [
    case("F13-name", P1, classification("", CLASSIFY, TWO), "ModelSpec has no name specified."),
    case("F13-signature", P1, classification("default", "foo", TWO),
         "No signature was found with the name: foo"),
    case("F13-empty", P1, classification("default", CLASSIFY), "Input is empty"),
    case("F13-empty-r", P1, regression("default", REGRESS), "Input is empty"),
    case("F13-outputs", P1, classification("default", REGRESS, TWO), "classification"),
    case("F13-outputs-r", P1, regression("default", CLASSIFY, TWO), "regression"),
    case("F13-inputs", P1, regression("default", "serving_default", TWO), "inputs"),
    case("F18", P1, regression("default", REGRESS, tiny_models.example(x=2)),
         "Data types don't match"),
    case("F18-missing", P1, regression("default", REGRESS, tiny_models.example(z=2.0)),
         "is required but could not be found"),
])  # fmt: skip
def test_examples_refused(serving: Any, request_: Any, phrase: str) -> None:
    stub = serving("default").predictions
    is_classify = isinstance(request_, classification_pb2.ClassificationRequest)
    call = stub.Classify if is_classify else stub.Regress
    error = refusal(lambda: call(request_))
    assert error.code() == INVALID and phrase in error.details()


def multi_request(*tasks: tuple[str, str, str], examples: Any = (TWO,)) -> Any:
    request = inference_pb2.MultiInferenceRequest()
    request.input.example_list.examples.extend(examples)
    for model, signature, method in tasks:
        task = request.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name = model
        task.model_spec.signature_name = signature
    return request


BOTH = ("default", REGRESS, "regress"), ("default", CLASSIFY, "classify")


@pytest.mark.parametrize("tasks", [case("G03", P2, BOTH)])
def test_multi_inference(serving: Any, tasks: Any) -> None:
    response = serving("default").predictions.MultiInference(multi_request(*tasks))
    first, second = response.results
    assert first.regression_result.regressions[0].value == 3.0
    assert second.classification_result.classifications[0].classes[0].score == 3.0
    assert first.model_spec.signature_name == REGRESS


@pytest.mark.parametrize("request_, code, phrase", [
    case("G08-none", P2, multi_request(), INVALID, "ModelSpec has no name specified."),
    case("G08-twice", P2, multi_request(BOTH[0], BOTH[0]), INVALID,
         f"Duplicate evaluation of signature: {REGRESS}"),
    case("G08-models", P2, multi_request(BOTH[0], ("m", CLASSIFY, "classify")), INVALID,
         "must access the same model name"),
    case("G08-name", P2, multi_request(BOTH[0], ("", CLASSIFY, "classify")), INVALID,
         "Found ModelSpec with an empty model name."),
    case("G08-signature", P2, multi_request(("default", "foo", "regress")), INVALID,
         "Requested signature not found in model graph: foo"),
    case("G08-method", P2, multi_request(("default", REGRESS, "guess")),
         grpc.StatusCode.UNIMPLEMENTED, "Unsupported signature method_name"),
    case("G08-empty", P2, multi_request(*BOTH, examples=()), INVALID, "Input is empty"),
])  # fmt: skip
def test_multi_inference_refused(
    serving: Any, request_: Any, code: grpc.StatusCode, phrase: str
) -> None:
    error = refusal(lambda: serving("default").predictions.MultiInference(request_))
    assert error.code() == code and phrase in error.details()


def metadata_request(model: str, *fields: str, version: int | None = None) -> Any:
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    return request


@pytest.mark.parametrize("model", [case("G09", P0, "default")])
def test_metadata(serving: Any, model: str) -> None:
    request = metadata_request(model, "signature_def")
    response = serving(model).predictions.GetModelMetadata(request)
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (model, 123, "")
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert {"serving_default", REGRESS, CLASSIFY} <= set(signatures.signature_def)


@pytest.mark.parametrize("request_, code, phrase", [
    case("G10-field", P0, metadata_request("default"), INVALID,
         "must specify at least one metadata_field"),
    case("G10-other", P0, metadata_request("default", "signature_def", "x"), INVALID,
         "Metadata field x is not supported"),
    case("G10-model", P0, metadata_request("foo", "signature_def"), NOT_FOUND, "Latest(foo)"),
    case("G10-version", P1, metadata_request("default", "signature_def", version=9), NOT_FOUND,
         "Specific(default, 9)"),
])  # fmt: skip
def test_metadata_refused(serving: Any, request_: Any, code: grpc.StatusCode, phrase: str) -> None:
    error = refusal(lambda: serving("default").predictions.GetModelMetadata(request_))
    assert error.code() == code and phrase in error.details()


@pytest.mark.parametrize("model, version, versions", [
    case("G06", P0, "default", None, [123]),
    case("G07", P1, "m", None, [124, 123]),
    case("G07-version", P1, "m", 123, [123]),
])  # fmt: skip
def test_status(serving: Any, model: str, version: int | None, versions: list[int]) -> None:
    found = serving(model).statuses(model, version)
    assert list(found) == versions
    for status in found.values():
        assert status.state == AVAILABLE
        assert (status.status.error_code, status.status.error_message) == (0, "")


@pytest.mark.parametrize("label", [case("G11", P1, "stable"), case("G11-unknown", P1, "nope")])
def test_status_ignores_labels(serving: Any, label: str) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "m"
    request.model_spec.version_label = label
    response = serving("m").models.GetModelStatus(request)
    assert [status.version for status in response.model_version_status] == [124, 123]


@pytest.mark.parametrize("model, version, phrase", [
    case("G12", P0, "foo", None, "Could not find any versions of model foo"),
    case("G12-name", P1, "", None, "Could not find any versions of model"),
    case("G12-version", P0, "default", 99, "Could not find version 99 of model default"),
])  # fmt: skip
def test_status_refused(serving: Any, model: str, version: int | None, phrase: str) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = model
    if version is not None:
        request.model_spec.version.value = version
    error = refusal(lambda: serving("default").models.GetModelStatus(request))
    assert error.code() == NOT_FOUND and phrase in error.details()


@pytest.mark.parametrize("steps", [case("E21", P1, 3)])
def test_a_model_with_state(serving: Any, steps: int) -> None:
    server = serving("counter")
    server.predict("counter", {}, "reset_counter")
    for step in range(1, steps + 1):
        response = server.predict("counter", {}, "incr_counter")
        assert list(response.outputs["output"].float_val) == [float(step)]
    server.predict("counter", {"delta": raw(float_val=[5.0])}, "incr_counter_by")
    response = server.predict("counter", {}, "get_counter")
    assert list(response.outputs["output"].float_val) == [steps + 5.0]
