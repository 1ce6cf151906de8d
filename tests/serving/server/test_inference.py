"""What the prediction and model services answer and refuse, on small real models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)
from tiny_models import TYPES, example, tensor

from serving.server import inference
from serving.server.batching import BatchingParameters, BatchScheduler
from serving.server.catalog import Catalog
from serving.server.errors import Code, ServingError

NAMES = (
    "half_plus_two",
    "half_plus_three",
    "half_plus_two_tf2",
    "multi",
    "types",
    "scalar",
    "classifier",
    "slow",
    "counter",
    "matrix",
)


@pytest.fixture(scope="module")
def catalog(tiny: Path, serve: Callable[..., Catalog]) -> Catalog:
    return serve({name: tiny / name for name in NAMES})


def request(
    name: str, signature: str = "", only: tuple[str, ...] = (), **inputs: Any
) -> predict_pb2.PredictRequest:
    made = predict_pb2.PredictRequest(output_filter=only)
    made.model_spec.name = name
    made.model_spec.signature_name = signature
    for alias, value in inputs.items():
        proto = value if hasattr(value, "dtype") and hasattr(value, "float_val") else tensor(value)
        made.inputs[alias].CopyFrom(proto)
    return made


def refused(call: Callable[[], object], code: Code, *texts: str) -> None:
    with pytest.raises(ServingError) as caught:
        call()
    assert caught.value.code is code, caught.value
    for text in texts:
        assert text in caught.value.message


@pytest.mark.parametrize(
    "name, offset", [("half_plus_two", 2), ("half_plus_three", 3), ("half_plus_two_tf2", 2)]
)
def test_predict(catalog: Catalog, name: str, offset: float) -> None:
    response = inference.predict(catalog, request(name, x=[1.0, 2.0, 5.0]))
    assert list(response.outputs["y"].float_val) == [0.5 + offset, 1 + offset, 2.5 + offset]
    assert not response.outputs["y"].tensor_content
    spec = response.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == (name, 1, "serving_default")


@pytest.mark.parametrize("shape", [[], [3], [3, 1], [1, 3, 1]])
def test_static_shape_is_not_enforced(catalog: Catalog, shape: list[int]) -> None:
    values = np.full(shape, 2.0)
    output = inference.predict(catalog, request("half_plus_two", x=values)).outputs["y"]
    assert [dim.size for dim in output.tensor_shape.dim] == shape
    assert list(output.float_val) == [3.0] * values.size
    assert output.HasField("tensor_shape")


@pytest.mark.parametrize("name", sorted(TYPES))
def test_every_dtype_is_echoed(catalog: Catalog, name: str) -> None:
    dtype = TYPES[name]
    values = [b"a", b"\xff\x00"] if name == "string" else [0, 1]
    sent = tf.make_tensor_proto(np.array(values, dtype.as_numpy_dtype), dtype)
    output = inference.predict(catalog, request("types", name, v=sent)).outputs["v"]
    assert output.dtype == dtype.as_datatype_enum
    assert not output.tensor_content
    assert tf.make_ndarray(output).tolist() == tf.make_ndarray(sent).tolist()


def test_scalar_string_goes_there_and_back(catalog: Catalog) -> None:
    sent = tf.make_tensor_proto(b"lone", tf.string)
    output = inference.predict(catalog, request("types", "string", v=sent)).outputs["v"]
    assert list(output.string_val) == [b"lone"]
    assert not output.tensor_shape.dim


def test_several_inputs_and_an_output_filter(catalog: Catalog) -> None:
    inputs = {
        "a": tensor([[1, 2], [3, 4]]),
        "b": tensor([3, 5], tf.int64),
        "s": tensor([b"foo", b"hello"], tf.string),
    }
    everything = inference.predict(catalog, request("multi", **inputs)).outputs
    assert sorted(everything) == ["sum", "tag", "tag_bytes"]
    some = inference.predict(catalog, request("multi", only=("sum",), **inputs)).outputs
    assert sorted(some) == ["sum"]
    assert list(some["sum"].float_val) == [6.0, 12.0]


def test_left_out_input_has_its_default(catalog: Catalog) -> None:
    response = inference.predict(catalog, request("half_plus_two_tf2"))
    assert list(response.outputs["y"].float_val) == [2.0]


def test_state_is_kept_between_requests(catalog: Catalog) -> None:
    def value(signature: str, **inputs: Any) -> float:
        response = inference.predict(catalog, request("counter", signature, **inputs))
        found: float = response.outputs["output"].float_val[0]
        return found

    assert value("get_counter") == 0
    assert value("incr_counter") == 1
    assert value("incr_counter_by", delta=3.0) == 4
    assert value("get_counter") == 4
    assert value("reset_counter") == 0


def test_matrix(catalog: Catalog) -> None:
    values = np.arange(18).reshape(2, 3, 3)
    output = inference.predict(catalog, request("matrix", x=values)).outputs["y"]
    assert list(output.float_val) == [n / 2 + 2 for n in range(18)]


X = tensor([1.0])


@pytest.mark.parametrize(
    "made, code, texts",
    [
        (predict_pb2.PredictRequest(), Code.INVALID_ARGUMENT, ["Missing ModelSpec"]),
        (request(""), Code.INVALID_ARGUMENT, ["ModelSpec has no name specified."]),
        (
            request("absent", x=X),
            Code.NOT_FOUND,
            ["Servable not found for request: Latest(absent)"],
        ),
        (
            request("half_plus_two", "foo", x=X),
            Code.FAILED_PRECONDITION,
            ['Serving signature key "foo" not found.'],
        ),
        (
            request("half_plus_two"),
            Code.INVALID_ARGUMENT,
            ["input size does not match signature: 0!=1", "Missing but required: {x}"],
        ),
        (
            request("half_plus_two", unknown_key2=X, unknown_key1=X),
            Code.INVALID_ARGUMENT,
            [
                "2!=1 len({unknown_key1,unknown_key2}) != len({x}). "
                "Sent extra: {unknown_key1,unknown_key2}. Missing but required: {x}."
            ],
        ),
        (
            request("half_plus_two", q=X),
            Code.INVALID_ARGUMENT,
            ["Signature input alias: x", "not found in request and no default value provided"],
        ),
        (request("half_plus_two_tf2", q=X), Code.INVALID_ARGUMENT, ["contains invalid name"]),
        (request("half_plus_two_tf2", x=X, q=X), Code.INVALID_ARGUMENT, ["2!=1"]),
        (
            request("half_plus_two", x=tensor([b"a"], tf.string)),
            Code.INVALID_ARGUMENT,
            ["Expects arg[0] to be float but string is provided"],
        ),
        (
            request("half_plus_two", x=tf.make_tensor_proto([1], tf.int64)),
            Code.INVALID_ARGUMENT,
            ["to be float but int64 is provided"],
        ),
        (
            request("half_plus_two", only=("z",), x=X),
            Code.INVALID_ARGUMENT,
            ["output tensor alias not found in signature: z", "in the set {y}."],
        ),
        (
            request("half_plus_two", only=("y", "y"), x=X),
            Code.INVALID_ARGUMENT,
            ["duplicate output tensor alias: y"],
        ),
    ],
)
def test_predict_refuses(
    catalog: Catalog, made: predict_pb2.PredictRequest, code: Code, texts: list[str]
) -> None:
    refused(lambda: inference.predict(catalog, made), code, *texts)


def test_undecodable_tensor_is_named(catalog: Catalog) -> None:
    made = request("half_plus_two", x=X)
    made.inputs["x"].tensor_content = b"123"
    refused(
        lambda: inference.predict(catalog, made), Code.INVALID_ARGUMENT, "tensor parsing error: x"
    )


def test_versions_are_picked_by_number(catalog: Catalog) -> None:
    made = request("half_plus_two", x=X)
    made.model_spec.version.value = 1
    assert inference.predict(catalog, made).model_spec.version.value == 1
    for number in (0, 99):  # 0 is a number like others, not "latest"
        made.model_spec.version.value = number
        refused(
            lambda: inference.predict(catalog, made),
            Code.NOT_FOUND,
            f"Servable not found for request: Specific(half_plus_two, {number})",
        )
    made.model_spec.version_label = "nope"
    refused(
        lambda: inference.predict(catalog, made),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: nope",
    )


def test_deadline_ends_a_slow_run(catalog: Catalog) -> None:
    refused(lambda: inference.predict(catalog, request("slow", x=X), 0.2), Code.DEADLINE_EXCEEDED)


def classification(name: str, signature: str, *examples: Any) -> Any:
    made = classification_pb2.ClassificationRequest()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    made.input.example_list.examples.extend(examples)
    return made


def regression(name: str, signature: str, *examples: Any) -> Any:
    made = regression_pb2.RegressionRequest()
    made.model_spec.name, made.model_spec.signature_name = name, signature
    made.input.example_list.examples.extend(examples)
    return made


@pytest.mark.parametrize("name", ["half_plus_two", "half_plus_two_tf2"])
def test_classify_and_regress(catalog: Catalog, name: str) -> None:
    made = classification(name, "classify_x_to_y", example(x=2.0))
    classes = inference.classify(catalog, made).result.classifications[0].classes
    assert [(one.label, one.score) for one in classes] == [("", 3.0)]
    response = inference.regress(catalog, regression(name, "regress_x_to_y", example(x=2.0)))
    assert [one.value for one in response.result.regressions] == [3.0]
    assert response.model_spec.signature_name == "regress_x_to_y"


def test_classes_have_labels(catalog: Catalog) -> None:
    made = classification("classifier", "", example(p=0.25), example(p=1.0))
    response = inference.classify(catalog, made)
    assert [
        [(one.label, one.score) for one in row.classes] for row in response.result.classifications
    ] == [[("neg", 0.75), ("pos", 0.25)], [("neg", 0.0), ("pos", 1.0)]]
    assert response.model_spec.signature_name == "serving_default"


def test_context_is_merged_and_the_example_wins(catalog: Catalog) -> None:
    made = regression("half_plus_two", "regress_x_to_y")
    listed = made.input.example_list_with_context
    listed.context.CopyFrom(example(x=10.0))
    listed.examples.extend([example(x=2.0), example(y=1.0)])
    response = inference.regress(catalog, made)
    assert [one.value for one in response.result.regressions] == [3.0, 7.0]


@pytest.mark.parametrize(
    "call, made, texts",
    [
        (inference.classify, classification_pb2.ClassificationRequest(), ["Missing ModelSpec"]),
        (inference.regress, regression("", ""), ["ModelSpec has no name specified."]),
        (
            inference.regress,
            regression("half_plus_two", "foo", example(x=1.0)),
            ["No signature was found with the name: foo"],
        ),
        (inference.regress, regression("half_plus_two", "regress_x_to_y"), ["Input is empty"]),
        (
            inference.classify,
            classification("half_plus_two", "", example(x=1.0)),
            ["No classification inputs found"],
        ),
        (
            inference.regress,
            regression("multi", "", example(x=1.0)),
            ["Expected one input Tensor."],
        ),
        (
            inference.regress,
            regression("half_plus_two", "classify_x_to_y", example(x=1.0)),
            ["No regression outputs found"],
        ),
        (
            inference.classify,
            classification("half_plus_two", "regress_x_to_y", example(x=1.0)),
            ["Expected classification signature outputs to contain at least one of"],
        ),
        (
            inference.regress,
            regression("classifier", "", example(p=1.0)),
            ["Expected one output Tensor."],
        ),
        (
            inference.regress,
            regression("half_plus_two", "regress_x_to_y", example(x=2)),
            ["Data types don't match"],
        ),
        (
            inference.regress,
            regression("half_plus_two", "regress_x_to_y", example(z=2.0)),
            ["is required but could not be found"],
        ),
        (
            inference.regress,
            regression("half_plus_two", "regress_x2_to_y3", example(x2=2.0)),
            ["to be float but string is provided"],
        ),
    ],
)
def test_classify_and_regress_refuse(
    catalog: Catalog, call: Callable[..., object], made: Any, texts: list[str]
) -> None:
    refused(lambda: call(catalog, made), Code.INVALID_ARGUMENT, *texts)


def multi(*tasks: tuple[str, str, str], examples: int = 1) -> inference_pb2.MultiInferenceRequest:
    made = inference_pb2.MultiInferenceRequest()
    for name, signature, method in tasks:
        task = made.tasks.add(method_name=f"tensorflow/serving/{method}")
        task.model_spec.name, task.model_spec.signature_name = name, signature
    made.input.example_list.examples.extend([example(x=2.0)] * examples)
    return made


REGRESSION = ("half_plus_two", "regress_x_to_y", "regress")
CLASSIFICATION = ("half_plus_two", "classify_x_to_y", "classify")


def test_multi_inference_keeps_the_order_of_tasks(catalog: Catalog) -> None:
    results = inference.multi_inference(catalog, multi(REGRESSION, CLASSIFICATION)).results
    assert results[0].regression_result.regressions[0].value == 3.0
    assert results[1].classification_result.classifications[0].classes[0].score == 3.0
    assert [result.model_spec.signature_name for result in results] == [
        "regress_x_to_y",
        "classify_x_to_y",
    ]


@pytest.mark.parametrize(
    "made, code, text",
    [
        (multi(), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
        (
            multi(REGRESSION, ("half_plus_three", "x", "regress")),
            Code.INVALID_ARGUMENT,
            "must access the same model name",
        ),
        (
            multi(REGRESSION, ("", "x", "regress")),
            Code.INVALID_ARGUMENT,
            "Found ModelSpec with an empty model name.",
        ),
        (
            multi(REGRESSION, REGRESSION),
            Code.INVALID_ARGUMENT,
            "Duplicate evaluation of signature: regress_x_to_y",
        ),
        (
            multi(("half_plus_two", "foo", "regress")),
            Code.INVALID_ARGUMENT,
            "Requested signature not found in model graph: foo",
        ),
        (
            multi(("half_plus_two", "serving_default", "predict")),
            Code.UNIMPLEMENTED,
            "Unsupported signature method_name: tensorflow/serving/predict",
        ),
        (multi(REGRESSION, examples=0), Code.INVALID_ARGUMENT, "Input is empty"),
    ],
)
def test_multi_inference_refuses(
    catalog: Catalog, made: inference_pb2.MultiInferenceRequest, code: Code, text: str
) -> None:
    refused(lambda: inference.multi_inference(catalog, made), code, text)


def metadata(name: str, *fields: str) -> get_model_metadata_pb2.GetModelMetadataRequest:
    made = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    made.model_spec.name = name
    return made


def test_metadata_is_every_signature(catalog: Catalog) -> None:
    response = inference.get_metadata(catalog, metadata("half_plus_two", "signature_def"))
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert len(signatures.signature_def) == 6
    x = signatures.signature_def["serving_default"].inputs["x"]
    assert (x.name, [dim.size for dim in x.tensor_shape.dim]) == ("x:0", [-1, 1])
    assert (response.model_spec.version.value, response.model_spec.signature_name) == (1, "")


@pytest.mark.parametrize(
    "made, code, text",
    [
        (
            get_model_metadata_pb2.GetModelMetadataRequest(),
            Code.INVALID_ARGUMENT,
            "Missing ModelSpec",
        ),
        (metadata("half_plus_two"), Code.INVALID_ARGUMENT, "at least one metadata_field"),
        (metadata("x", "y"), Code.INVALID_ARGUMENT, "Metadata field y is not supported"),
        (metadata("x", "signature_def"), Code.NOT_FOUND, "Latest(x)"),
    ],
)
def test_metadata_refuses(catalog: Catalog, made: Any, code: Code, text: str) -> None:
    refused(lambda: inference.get_metadata(catalog, made), code, text)


def test_status(catalog: Catalog) -> None:
    made = get_model_status_pb2.GetModelStatusRequest()
    refused(lambda: inference.get_status(catalog, made), Code.INVALID_ARGUMENT, "Missing ModelSpec")
    made.model_spec.name = "half_plus_two"
    made.model_spec.version_label = "ignored"
    (status,) = inference.get_status(catalog, made).model_version_status
    assert (status.version, status.state, status.status.error_code) == (1, 30, 0)
    made.model_spec.version.value = 99
    refused(
        lambda: inference.get_status(catalog, made),
        Code.NOT_FOUND,
        "Could not find version 99 of model half_plus_two",
    )
    made.model_spec.Clear()
    made.model_spec.name = "m"
    refused(
        lambda: inference.get_status(catalog, made),
        Code.NOT_FOUND,
        "Could not find any versions of model m",
    )


def test_batched_answers_are_those_of_single_runs(
    tiny: Path, serve: Callable[..., Catalog]
) -> None:
    scheduler = BatchScheduler(BatchingParameters(max_batch_size=8, allowed_batch_sizes=(4, 8)))
    catalog = serve({name: tiny / name for name in ("half_plus_two", "multi")}, scheduler=scheduler)
    response = inference.predict(catalog, request("half_plus_two", x=[[1.0], [2.0]]), 5)
    assert list(response.outputs["y"].float_val) == [2.5, 3.0]
    refused(
        lambda: inference.predict(catalog, request("half_plus_two", x=np.zeros([9, 1]))),
        Code.INVALID_ARGUMENT,
        "larger than maximum input batch size",
    )
    refused(
        lambda: inference.predict(catalog, request("half_plus_two", x=tensor([b"a"], tf.string))),
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    )
    regressed = inference.regress(
        catalog, regression("half_plus_two", "regress_x_to_y", *[example(x=2.0)] * 3)
    )
    assert [one.value for one in regressed.result.regressions] == [3.0] * 3
    scheduler.stop()
