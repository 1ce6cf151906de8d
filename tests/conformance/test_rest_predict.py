"""A, B: predict over REST, what is answered and what is refused."""

import json
from typing import Any, NamedTuple

import pytest

P0, P1, P2 = pytest.mark.P0, pytest.mark.P1, pytest.mark.P2
MULTI_ROWS = [{"a": [1, 2], "b": 3, "s": "foo"}, {"a": [3, 4], "b": 5, "s": {"b64": "aGVsbG8="}}]
MULTI_COLUMNS = {"a": [[1, 2], [3, 4]], "b": [3, 5], "s": ["foo", "hello"]}
NAN, INF = float("nan"), float("inf")


class Case(NamedTuple):
    id: str
    priority: Any
    model: str
    body: Any
    answer: Any
    path: str = ":predict"


ANSWERED = [
    Case("A01", P0, "default", {"instances": [2.0, 3.0, 4.0]}, {"predictions": [3.0, 3.5, 4.0]}),
    Case("A02", P0, "half_plus_three", {"instances": [2.0]}, {"predictions": [4.0]}),
    Case("A04", P0, "m", {"instances": [[1.0, 2.0], [3.0, 4.0]]},
         {"predictions": [[2.5, 3.0], [3.5, 4.0]]}),
    Case("A05", P0, "m", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]},
         "/versions/123:predict"),
    Case("A05-zeros", P1, "m", {"instances": [1.0]}, {"predictions": [2.5]},
         "/versions/00000123:predict"),
    Case("A06", P0, "m", {"instances": [1.0, 2.0]}, {"predictions": [2.5, 3.0]},
         "/labels/stable:predict"),
    Case("A07", P0, "m", {"signature_name": "serving_default", "instances": [3.0, 4.0]},
         {"predictions": [3.5, 4.0]}),
    Case("A07-empty", P1, "default", {"signature_name": "", "instances": [3.0]},
         {"predictions": [3.5]}),
    Case("A08-raw", P1, "default", {"signature_name": "regress_x2_to_y3", "instances": [2.0]},
         {"predictions": [4.0]}),
    Case("A09", P0, "default", {"instances": [{"x": 1.0}, {"x": 2.0}]},
         {"predictions": [2.5, 3.0]}),
    Case("A10", P0, "default", {"inputs": {"x": [1.0, 2.0]}}, {"outputs": [2.5, 3.0]}),
    Case("A10-list", P0, "default", {"inputs": [1.0, 2.0]}, {"outputs": [2.5, 3.0]}),
    Case("A11", P1, "default", {"inputs": 1.0}, {"outputs": 2.5}),
    Case("A12", P1, "default", {"instances": [1, 2]}, {"predictions": [2.5, 3.0]}),
    Case("A13", P1, "default", {"inputs": {"x": [1.0], "junk": "zzz"}}, {"outputs": [2.5]}),
    Case("A14", P1, "default", {"foo": [[[1]]], "instances": [1.0]}, {"predictions": [2.5]}),
    Case("A15-first", P1, "default", '{"instances":[1.0],"instances":[2.0]}',
         {"predictions": [2.5]}),
    Case("A15-rest", P1, "default", '{"instances":[1.0]} and then]}', {"predictions": [2.5]}),
    Case("A15-bom", P2, "default", b'\xef\xbb\xbf{"instances":[1.0]}', {"predictions": [2.5]}),
    Case("A16", P1, "default", {"instances": [NAN, INF, -INF]}, "[NaN, Infinity, -Infinity]"),
    Case("A16-inf", P1, "default", '{"instances":[Inf,-Inf,-NaN]}', "[Infinity, -Infinity, NaN]"),
    Case("A17-int", P1, "default", '{"instances":[1435774380]}', "717887168.0"),
    Case("A17-float", P1, "default", '{"instances":[1435774380.0]}', "717887168.0"),
    Case("A18-a", P1, "default", '{"instances":[1.0]}', "[2.5]"),
    Case("A18-b", P1, "default", '{"instances":[0.1]}', "[2.05]"),
    Case("A18-c", P1, "default", '{"instances":[0.3333333333333333]}', "[2.16666675]"),
    Case("A18-d", P1, "default", '{"instances":[17999996]}', "[9e+06]"),
    Case("A18-e", P1, "default", '{"instances":[33554428]}', "[16777216.0]"),
    Case("A18-f", P1, "default", '{"instances":[1e-05]}', "[2.00000501]"),
    Case("A19", P2, "default", '{"instances":[1.7976931348623157e308]}', "Infinity"),
    Case("A20", P1, "default", {"instances": [[]]}, {"predictions": [[]]}),
    Case("A20-two", P1, "default", {"instances": [[], []]}, {"predictions": [[], []]}),
    Case("A21", P1, "multi", {"instances": MULTI_ROWS}, {"predictions": [
        {"sum": 6.0, "tag": "foo", "tag_bytes": {"b64": "Zm9v"}},
        {"sum": 12.0, "tag": "hello", "tag_bytes": {"b64": "aGVsbG8="}}]}),
    Case("A22", P1, "multi", {"inputs": MULTI_COLUMNS}, {"outputs": {
        "sum": [6.0, 12.0], "tag": ["foo", "hello"],
        "tag_bytes": [{"b64": "Zm9v"}, {"b64": "aGVsbG8="}]}}),
    Case("A23", P1, "scalar", {"inputs": [1.0, 2.5]}, {"outputs": {"total": 3.5, "n": [0, 1]}}),
    Case("A24", P1, "types", {"signature_name": "bool", "instances": [True, False]},
         {"predictions": [True, False]}),
    Case("A25-int8", P1, "types", {"signature_name": "int8", "instances": [-128, 127]},
         {"predictions": [-128, 127]}),
    Case("A25-int32", P1, "types", {"signature_name": "int32", "instances": [-(2**31), 2**31 - 1]},
         {"predictions": [-(2**31), 2**31 - 1]}),
    Case("A25-int64", P1, "types", {"signature_name": "int64", "instances": [-(2**63), 2**63 - 1]},
         {"predictions": [-(2**63), 2**63 - 1]}),
    Case("A25-uint8", P1, "types", {"signature_name": "uint8", "instances": [0, 255]},
         {"predictions": [0, 255]}),
    Case("A25-uint32", P1, "types", {"signature_name": "uint32", "instances": [0, 2**32 - 1]},
         {"predictions": [0, 2**32 - 1]}),
    Case("A25-uint64", P1, "types", {"signature_name": "uint64", "instances": [0, 2**64 - 1]},
         {"predictions": [0, 2**64 - 1]}),
    Case("A25-double", P1, "types", '{"signature_name":"double","instances":[0.1,1,1e300]}',
         {"predictions": [0.1, 1.0, 1e300]}),
    Case("A25-double-text", P1, "types",
         '{"signature_name":"double","instances":[0.30000000000000004]}', "0.30000000000000004"),
    Case("A26-string", P1, "types", {"signature_name": "string", "instances": ["a\"\\\n", "é", ""]},
         {"predictions": ["a\"\\\n", "é", ""]}),
    Case("A26-b64", P1, "types", {"signature_name": "string", "instances": [{"b64": "w6k"}, "x"]},
         {"predictions": ["é", "x"]}),
    Case("A26-lone", P1, "types", {"signature_name": "string", "inputs": {"b64": "aGk="}},
         {"outputs": "hi"}),
    Case("A26-deep", P1, "types", {"signature_name": "string", "inputs": [[["a"]], [["b"]]]},
         {"outputs": [[["a"]], [["b"]]]}),
    Case("A27", P1, "matrix", {"instances": [[[0, 1, 2], [3, 4, 5], [6, 7, 8]]]},
         {"predictions": [[[2.0, 2.5, 3.0], [3.5, 4.0, 4.5], [5.0, 5.5, 6.0]]]}),
    Case("A28", P1, "default", '{"instances":[1.0],"deep":' + "[" * 10_000 + "]" * 10_000 + "}",
         {"predictions": [2.5]}),
    Case("A28-more", P2, "default", '{"deep":' + "[" * 300_000 + "]" * 300_000
         + ',"instances":[1.0]}', {"predictions": [2.5]}),
    Case("A29", P1, "counter", {"signature_name": "reset_counter", "inputs": {}}, {"outputs": 0.0}),
    Case("A30", P1, "a b/c", {"instances": [1.0]}, {"predictions": [2.5]}),
]  # fmt: skip

REFUSED = [
    Case("B04", P0, "m", {"instances": [1]}, (400, "Unrecognized servable version label: nope"),
         "/labels/nope:predict"),
    Case("B05", P0, "default", {"instances": [1]}, (404, "Specific(default, 99)"),
         "/versions/99:predict"),
    Case("B06", P0, "default", "instances = [1, 2]", (400, "JSON Parse error: Invalid value")),
    Case("B06-empty", P1, "default", "", (400, "JSON Parse error: The document is empty")),
    Case("B06-cut", P1, "default", '{"instances":[1', (400, "JSON Parse error")),
    Case("B06-nan", P1, "default", '{"instances":[Nan]}', (400, "JSON Parse error: Invalid value")),
    Case("B06-big", P1, "default", '{"instances":[1e400]}', (400, "JSON Parse error")),
    Case("B07", P0, "default", {"instances": ["x", "y"]}, (400, "not of expected type: float")),
    Case("B08", P0, "default", {"signature_name": "foo", "instances": [1]},
         (400, 'Serving signature name: "foo" not found in signature def')),
    Case("B09", P1, "default", {"signature_name": 5, "instances": [1]},
         (400, "'signature_name' key must be a string value.")),
    Case("B10", P0, "default", {"instances": [1.0], "inputs": [1.0]},
         (400, "Not formatted correctly")),
    Case("B11", P0, "default", {}, (400, "Missing 'inputs' or 'instances' key")),
    Case("B12", P1, "default", {"instances": []}, (400, "No values in 'instances' array.")),
    Case("B13", P1, "default", {"instances": 1.0},
         (400, "Expecting 'instances' to be an list/array")),
    Case("B14", P1, "default", [1.0], (400, "Is not object")),
    Case("B15", P1, "default", {"instances": [[1, 2], [3, 4], [5, 6, 7]]},
         (400, "Expecting tensor size: 2 but got: 3")),
    Case("B16", P1, "default", {"instances": [[1, 2], [[1, 2]]]},
         (400, "Expecting shape [2] but got: [1,2]")),
    Case("B17", P1, "default", {"inputs": [[1, 2], [3]]},
         (400, "Encountered list at unexpected size: 1")),
    Case("B17-level", P1, "default", {"inputs": [[1], 2]}, (400, "found at incorrect level")),
    Case("B17-list", P1, "default", {"inputs": [1, [2]]},
         (400, "Encountered list at unexpected level")),
    Case("B18", P1, "default", {"instances": [{"x": 1.0}, [2.0]]},
         (400, "Expecting object but got list")),
    Case("B19", P1, "default", {"instances": [1.0, {"x": 2.0}]},
         (400, "Expecting value/list but got object")),
    Case("B20", P1, "default", {"instances": [{"z": 1.0}]},
         (400, "does not have named input: z")),
    Case("B21", P1, "multi", {"instances": [{"a": [1, 2], "b": 3}]},
         (400, "keys must be equal to: a,b,s")),
    Case("B22", P1, "multi", {"instances": [1.0]},
         (400, "expecting list of objects as multiple input tensors required")),
    Case("B23", P1, "multi", {"inputs": {"a": [[1, 2]], "b": [3]}},
         (400, "Missing named input: s")),
    Case("B24", P1, "multi", {"inputs": [1.0]}, (400, "inputs is a plain value/list")),
    Case("B25", P1, "default", {"instances": [None]},
         (400, "Type: Null is not of expected type: float")),
    Case("B26", P1, "default", {"instances": [{"b64": "aGk="}]},
         (400, "Type: Object is not of expected type: float")),
    Case("B26-bool", P1, "default", {"instances": [True]}, (400, "not of expected type: float")),
    Case("B27-float", P1, "types", '{"signature_name":"int32","instances":[1.0]}',
         (400, "not of expected type: int32")),
    Case("B27-exponent", P1, "types", '{"signature_name":"int64","instances":[1e2]}',
         (400, "not of expected type: int64")),
    Case("B27-range", P1, "types", {"signature_name": "int32", "instances": [2**31]},
         (400, "not of expected type: int32")),
    Case("B27-sign", P1, "types", {"signature_name": "uint64", "instances": [-1]},
         (400, "not of expected type: uint64")),
    Case("B28", P1, "types", {"signature_name": "bool", "instances": [1]},
         (400, "not of expected type: bool")),
    Case("B28-string", P1, "types", {"signature_name": "string", "instances": [1]},
         (400, "not of expected type: string")),
    Case("B29", P1, "types", {"signature_name": "string", "instances": [{"b64": "!!"}]},
         (400, "Unable to base64 decode")),
    Case("B30-columns", P2, "types", {"signature_name": "half", "inputs": [1.0]}, (501, "half")),
    Case("B30-rows", P2, "types", {"signature_name": "half", "instances": [1.0]}, (400, "half")),
    Case("B31", P1, "scalar", {"instances": [1.0]},
         (400, "Tensor name: total has no shape information")),
    Case("B32-empty", P2, "default", "[[[[", (400, "JSON Parse error")),
    Case("B38", P2, "default", {"instances": [1.0]}, (400, "Malformed request"), ":predict?x=1"),
    Case("B38-verb", P2, "default", {"instances": [1.0]}, (400, "Malformed request"), ":PREDICT"),
]  # fmt: skip

ELSEWHERE = [
    ("B01", P0, "POST", "/v1/models/foo:predict", '{"instances":[1]}', 404,
     "Servable not found for request: Latest(foo)"),
    ("B02", P1, "POST", "/v1/models/default/versions/99999999999999999999:predict", "{}", 400,
     "Failed to convert version"),
    ("B34-a", P1, "POST", "/v1/models", "{}", 400, "Malformed request"),
    ("B34-b", P1, "GET", "/v1/models/default:predict", None, 400, "Malformed request"),
    ("B34-c", P1, "POST", "/v1/models/default/metadata", "{}", 400, "Malformed request"),
    ("B34-d", P1, "POST", "/v1/models/default/version/1:predict", "{}", 400, "Malformed request"),
    ("B34-e", P1, "POST", "/v1/models/default/versions/HELLO:regress", "{}", 400,
     "Malformed request"),
    ("B34-f", P1, "POST", "/v1/models/default/versions/1/labels/a:regress", "{}", 400,
     "Malformed request"),
    ("B34-g", P1, "GET", "/v1/models/default/", None, 400, "Malformed request"),
    ("B34-h", P1, "PUT", "/v1/models/default", "{}", 400, "Malformed request"),
    ("B34-i", P1, "DELETE", "/v1/models/default", None, 400, "Malformed request"),
    ("B34-j", P1, "POST", "/v1/models/default/label/a:predict", "{}", 400, "Malformed request"),
    ("B34-k", P1, "POST", "/v1/models/default", "{}", 400, "Malformed request"),
    ("B36", P1, "GET", "/v1/models", None, 400, "Missing model name in request."),
    ("B39-json", P1, "POST", "/v1/models/foo:predict", "{", 400, "JSON Parse error"),
    ("B39-model", P1, "POST", "/v1/models/foo:predict", '{"signature_name":"s"}', 404,
     "Servable not found"),
    ("B39-label", P1, "POST", "/v1/models/foo/labels/l:predict", "{}", 400,
     "Unrecognized servable version label: l"),
]  # fmt: skip


def params(cases: list[Case]) -> list[Any]:
    return [pytest.param(case, id=case.id, marks=case.priority) for case in cases]


@pytest.mark.parametrize("case", params(ANSWERED))
def test_answered(serving: Any, case: Case) -> None:
    model = case.model.replace(" ", "%20").replace("/", "%2F")
    response = serving(case.model).rest("POST", f"/v1/models/{model}{case.path}", case.body)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("application/json")
    if isinstance(case.answer, str):  # the text itself counts, but for white space
        assert case.answer.replace(" ", "") in "".join(response.text.split())
    else:
        assert json.loads(response.text) == case.answer


@pytest.mark.parametrize("case", params(REFUSED))
def test_refused(serving: Any, case: Case) -> None:
    response = serving(case.model).rest("POST", f"/v1/models/{case.model}{case.path}", case.body)
    status, phrase = case.answer
    assert response.status_code == status, response.text
    assert response.headers["content-type"].startswith("application/json")
    assert list(response.json()) == ["error"] and phrase in response.json()["error"]


@pytest.mark.parametrize(
    "method, path, body, status, phrase",
    [pytest.param(*row[2:], id=row[0], marks=row[1]) for row in ELSEWHERE],
)
def test_elsewhere(
    serving: Any, method: str, path: str, body: Any, status: int, phrase: str
) -> None:
    response = serving("default").rest(method, path, body)
    assert response.status_code == status, response.text
    assert phrase in response.json()["error"]


@pytest.mark.parametrize("path", [
    pytest.param("/nothing", id="B37", marks=P2),
    pytest.param("/", id="B37-root", marks=P2),
    pytest.param("/v2/models/default", id="B37-v2", marks=P2),
])  # fmt: skip
def test_not_the_api(serving: Any, path: str) -> None:
    response = serving("default").rest("GET", path)
    assert response.status_code == 404
    with pytest.raises(ValueError, match="Expecting value"):
        response.json()


@pytest.mark.parametrize("content_type", [
    pytest.param("text/plain", id="A31-text", marks=P1),
    pytest.param("application/x-www-form-urlencoded", id="A31-form", marks=P1),
])  # fmt: skip
def test_the_content_type_of_requests_is_ignored(serving: Any, content_type: str) -> None:
    response = serving("default").rest(
        "POST", "/v1/models/default:predict", {"instances": [1]}, **{"Content-Type": content_type}
    )
    assert response.json() == {"predictions": [2.5]}


@pytest.mark.parametrize("x", [pytest.param(2.0, id="A32", marks=P1)])
def test_gzip_bodies_are_inflated(serving: Any, x: float) -> None:
    import gzip

    body = gzip.compress(json.dumps({"instances": [x]}).encode())
    response = serving("default").rest(
        "POST", "/v1/models/default:predict", body, **{"Content-Encoding": "gzip"}
    )
    assert response.json() == {"predictions": [3.0]}


@P1
@pytest.mark.embedded
def test_the_version_that_answered_is_told(serving: Any) -> None:
    response = serving("m").rest("POST", "/v1/models/m/labels/stable:predict", {"instances": [1]})
    assert response.headers["x-model-version"] == "123"


@P2
@pytest.mark.embedded
def test_a_string_that_is_not_utf8(serving: Any) -> None:
    body = {"signature_name": "string", "instances": [{"b64": "/w=="}]}
    response = serving("types").rest("POST", "/v1/models/types:predict", body)
    assert response.status_code == 400 and "UTF-8" in response.json()["error"]


@P2
@pytest.mark.embedded
@pytest.mark.parametrize("depth", [pytest.param(10_000, id="B40")])
def test_a_tensor_of_endless_dimensions(serving: Any, depth: int) -> None:
    body = '{"instances":' + "[" * depth + "1" + "]" * depth + "}"
    response = serving("default").rest("POST", "/v1/models/default:predict", body)
    assert response.status_code == 400 and "dimensions" in response.json()["error"]
