"""C, D: classify, regress, status and metadata over REST."""

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

P0, P1, P2 = pytest.mark.P0, pytest.mark.P1, pytest.mark.P2

CLASSIFY = "classify_x_to_y"
REGRESS = "regress_x_to_y"

ANSWERED = [
    ("C01", "default", ":classify", CLASSIFY, [{"x": 2.0}], [[["", 3.0]]]),
    ("C02", "m", ":classify", CLASSIFY, [{"x": 20.0}], [[["", 12.0]]]),
    ("C02-label", "m", "/labels/stable:classify", CLASSIFY, [{"x": 10.0}], [[["", 7.0]]]),
    ("C03", "default", ":classify", CLASSIFY, [{"x": 2.0}, {"x": 4.0}], [[["", 3.0]], [["", 4.0]]]),
    ("C04", "m", ":regress", REGRESS, [{"x": 80.0}], [42.0]),
    ("C04-version", "m", "/versions/123:regress", REGRESS, [{"x": 80.0}], [42.0]),
    ("C04-label", "m", "/labels/stable:regress", REGRESS, [{"x": [80.0]}], [42.0]),
    ("C06", "default", ":regress", "regress_x_to_y2", [{"x": 80.0}], [43.0]),
    ("C07-tf2", "tf2", ":regress", REGRESS, [{"x": 2.0}], [3.0]),
    ("C08", "cls", ":classify", "classify", [{"p": 0.25}], [[["neg", 0.75], ["pos", 0.25]]]),
    ("C08-default", "cls", ":classify", "", [{"p": 0.25}], [[["neg", 0.75], ["pos", 0.25]]]),
    ("C08-text", "default", ":regress", REGRESS, '[{"x":2e0}]', [3.0]),
    ("C08-nan", "default", ":regress", REGRESS, '[{"x":Infinity}]', [float("inf")]),
]

REFUSED = [
    ("C09", "default", "regress", REGRESS, [{"x": 2}], "Data types don't match"),
    ("C10", "default", "regress", REGRESS, [{"z": 1.0}], "is required but could not be found"),
    ("C10-empty", "default", "regress", REGRESS, [{"x": []}], "is required but could not be found"),
    ("C11", "default", "regress", "nope", [{"x": 1.0}], "No signature was found with the name"),
    ("C11-default", "default", "classify", "", [{"x": 1.0}], "inputs"),
    ("C12", "default", "regress", REGRESS, None, "key 'examples' is expected and was not found"),
    ("C12-list", "default", "regress", REGRESS, 5, "'examples' value to be an list/array"),
    ("C12-none", "default", "classify", CLASSIFY, [], "'examples' value is an empty array"),
    ("C13", "default", "classify", CLASSIFY, [1], "Example must be JSON object but got JSON"),
    ("C14-wrong", "default", "classify", REGRESS, [{"x": 1.0}], "classification"),
    ("C15-null", "default", "regress", REGRESS, [{"x": [10, None]}], "Null"),
    ("C15-mixed", "default", "regress", REGRESS, [{"x": [10, 10.0]}], "expecting type: int64"),
    ("C15-object", "default", "regress", REGRESS, [{"x": [10, {"t": 1}]}], "Object"),
    ("C15-array", "default", "regress", REGRESS, [{"x": [[10], 20]}], "Array"),
    ("C15-uint64", "default", "regress", REGRESS, [{"x": [20, 18446744073709551603]}],
     "Only int64_t is supported"),
]  # fmt: skip


def body_of(signature: str, examples: Any) -> str:
    parts = [f'"signature_name": {json.dumps(signature)}']
    if examples is not None:
        text = examples if isinstance(examples, str) else json.dumps(examples)
        parts.append(f'"examples": {text}')
    return "{" + ",".join(parts) + "}"


@pytest.mark.parametrize(
    "model, path, signature, examples, results",
    [pytest.param(*row[1:], id=row[0], marks=P1) for row in ANSWERED],
)
def test_answered(
    serving: Any, model: str, path: str, signature: str, examples: Any, results: Any
) -> None:
    response = serving(model).rest(
        "POST", f"/v1/models/{model}{path}", body_of(signature, examples)
    )
    assert response.status_code == 200, response.text
    assert json.loads(response.text) == {"results": results}


@pytest.mark.parametrize(
    "model, method, signature, examples, phrase",
    [pytest.param(*row[1:], id=row[0], marks=P1) for row in REFUSED],
)
def test_refused(
    serving: Any, model: str, method: str, signature: str, examples: Any, phrase: str
) -> None:
    response = serving(model).rest(
        "POST", f"/v1/models/{model}:{method}", body_of(signature, examples)
    )
    assert response.status_code == 400, response.text
    assert phrase in response.json()["error"]


@pytest.mark.parametrize("case", [pytest.param(0, id="C05", marks=P1)])
def test_a_signature_with_slashes_in_its_name(serving: Any, case: int, models: Path) -> None:
    server = serving("half_plus_three")
    metadata = server.rest("GET", "/v1/models/half_plus_three/metadata").json()
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    name = "tensorflow/serving/regress"
    signature = name if name in signatures else REGRESS
    response = server.rest(
        "POST", "/v1/models/half_plus_three:regress", body_of(signature, '[{"x":1.0},{"x":2.0}]')
    )
    assert response.json() == {"results": [3.5, 4.0]}


@pytest.mark.parametrize("context, x, result", [
    pytest.param({"x": 2.0}, None, 3.0, id="C16-context", marks=P1),
    pytest.param({"x": 2.0}, 4.0, 4.0, id="C16-wins", marks=P1),
])  # fmt: skip
def test_context(serving: Any, context: Any, x: float | None, result: float) -> None:
    example = {} if x is None else {"x": x}
    body = {"signature_name": REGRESS, "context": context, "examples": [example]}
    response = serving("default").rest("POST", "/v1/models/default:regress", body)
    assert response.json() == {"results": [result]}


@pytest.mark.parametrize("body, status", [
    pytest.param('{"examples":[]}', 400, id="C17-json", marks=P1),
    pytest.param('{"examples":[{"x":1.0}]}', 404, id="C17-model", marks=P1),
])  # fmt: skip
def test_examples_are_read_before_the_model_is_looked_up(
    serving: Any, body: str, status: int
) -> None:
    response = serving("default").rest("POST", "/v1/models/foo:classify", body)
    assert response.status_code == status


def entry(version: str) -> dict[str, Any]:
    return {
        "version": version,
        "state": "AVAILABLE",
        "status": {"error_code": "OK", "error_message": ""},
    }


@pytest.mark.parametrize("model, path, versions", [
    pytest.param("default", "", ["123"], id="D01", marks=P0),
    pytest.param("m", "", ["124", "123"], id="D02", marks=P0),
    pytest.param("m", "/versions/123", ["123"], id="D03", marks=P0),
    pytest.param("m", "/labels/stable", ["124", "123"], id="D04-known", marks=P1),
    pytest.param("m", "/labels/nope", ["124", "123"], id="D04-unknown", marks=P1),
    pytest.param("m", "/METADATA", ["124", "123"], id="D11", marks=P2),
])  # fmt: skip
def test_status(serving: Any, model: str, path: str, versions: list[str]) -> None:
    response = serving(model).rest("GET", f"/v1/models/{model}{path}")
    assert response.status_code == 200
    assert response.json() == {"model_version_status": [entry(version) for version in versions]}


@pytest.mark.parametrize("path, status, phrase", [
    pytest.param("/v1/models/foo", 404, "Could not find any versions of model foo",
                 id="D05", marks=P0),
    pytest.param("/v1/models/default/versions/99", 404, "Could not find version 99 of model",
                 id="D06", marks=P1),
    pytest.param("/v1/models/default?x=1", 404, "default?x=1", id="D12", marks=P2),
    pytest.param("/v1/models/foo/metadata", 404, "Latest(foo)", id="D10-model", marks=P1),
    pytest.param("/v1/models/default/versions/99/metadata", 404, "Specific(default, 99)",
                 id="D10-version", marks=P1),
    pytest.param("/v1/models/default/labels/nope/metadata", 400, "Unrecognized servable version",
                 id="D10-label", marks=P1),
])  # fmt: skip
def test_status_and_metadata_refused(serving: Any, path: str, status: int, phrase: str) -> None:
    response = serving("default").rest("GET", path)
    assert response.status_code == status, response.text
    assert phrase in response.json()["error"]


@pytest.mark.parametrize("path, version", [
    pytest.param("/metadata", "124", id="D08", marks=P1),
    pytest.param("/versions/123/metadata", "123", id="D08-version", marks=P1),
    pytest.param("/labels/stable/metadata", "123", id="D08-label", marks=P1),
])  # fmt: skip
def test_metadata_of_a_version(serving: Any, path: str, version: str) -> None:
    metadata = serving("m").rest("GET", f"/v1/models/m{path}").json()
    assert metadata["model_spec"] == {"name": "m", "signature_name": "", "version": version}


@pytest.mark.parametrize("model", [
    pytest.param("default", id="D07", marks=P0), pytest.param("tf2", id="D09", marks=P1),
    pytest.param("multi", id="D09-multi", marks=P1),
])  # fmt: skip
def test_metadata(serving: Any, model: str) -> None:
    """The JSON is that of the signatures as gRPC has them, names and defaults in full."""
    server = serving(model)
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = model
    over_grpc = server.predictions.GetModelMetadata(request).metadata["signature_def"]
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert over_grpc.Unpack(signatures)
    wanted = json_format.MessageToDict(
        signatures, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    assert server.rest("GET", f"/v1/models/{model}/metadata").json() == {
        "model_spec": {"name": model, "signature_name": "", "version": "123"},
        "metadata": {"signature_def": wanted},
    }


@pytest.mark.parametrize("name", [pytest.param("x", id="D07-text", marks=P0)])
def test_metadata_as_text(serving: Any, name: str) -> None:
    metadata = serving("default").rest("GET", "/v1/models/default/metadata").json()
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", REGRESS, CLASSIFY} <= set(signatures)
    default = signatures["serving_default"]
    assert default["method_name"] == "tensorflow/serving/predict" and default["defaults"] == {}
    assert default["inputs"][name] == {
        "dtype": "DT_FLOAT",
        "name": "x:0",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}, {"size": "1", "name": ""}],
            "unknown_rank": False,
        },
    }


@pytest.mark.parametrize("golden", [
    pytest.param("half_plus_two_model_metadata.json", id="D07-golden", marks=P0)
])  # fmt: skip
def test_metadata_of_the_stock_model(serving: Any, stock_models: Path | None, golden: str) -> None:
    if stock_models is None:
        pytest.skip("needs the stock testdata: --models=FOLDER")
    wanted = json.loads(next(stock_models.rglob(golden)).read_text())
    assert serving("default").rest("GET", "/v1/models/default/metadata").json() == wanted
