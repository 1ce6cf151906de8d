"""An OpenAPI description of the REST interface, for tools: clients, tests, documentation."""

from __future__ import annotations

from typing import Any

from serving.server.errors import HTTP_STATUS, Code

_ERROR = {"$ref": "#/components/schemas/Error"}
_ANY: dict[str, Any] = {}
_SIGNATURE = {
    "type": "string",
    "description": "Which of the model's signatures to call; without it, `serving_default`.",
}
_EXAMPLE = {
    "type": "object",
    "description": "Feature -> value or list of values. Write floats with a point: 2.0, not 2.",
    "additionalProperties": _ANY,
}
_CODES = {
    400: "The request is malformed, or the model refuses it.",
    404: "The model or version is not available.",
    408: "The body came too slowly.",
    413: "The body is too large.",
    429: "Memory ran out.",
    499: "The request was cancelled.",
    500: "The model failed.",
    501: "JSON has no form for the dtype.",
    503: "Too many requests.",
    504: "The time limit passed.",
}


def describe() -> dict[str, Any]:
    """The description, in OpenAPI 3.1."""
    places = {
        "": [],
        "/versions/{version}": [_parameter("version", {"type": "integer", "minimum": 0})],
        "/labels/{label}": [_parameter("label", {"type": "string", "minLength": 1})],
    }
    paths: dict[str, Any] = {}
    for place, parameters in places.items():
        base = f"/v1/models/{{model}}{place}"
        shared = [_parameter("model", {"type": "string", "minLength": 1}), *parameters]
        paths[base] = {
            "parameters": shared,
            "get": _operation("The states of the versions", "Status", place),
        }
        paths[f"{base}/metadata"] = {
            "parameters": shared,
            "get": _operation("The signatures", "Metadata", place),
        }
        for method in ("predict", "classify", "regress"):
            kind = "Predict" if method == "predict" else "Examples"
            operation = _operation(method.capitalize(), f"{method.capitalize()}Answer", place)
            operation["requestBody"] = {
                "required": True,
                "content": _content({"$ref": f"#/components/schemas/{kind}"}),
            }
            paths[f"{base}:{method}"] = {"parameters": shared, "post": operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace model server",
            "version": "1",
            "description": "The REST interface of TensorFlow Serving. Numbers may also be NaN, "
            "Infinity and -Infinity, which are no JSON.",
        },
        "paths": paths,
        "components": {"schemas": _schemas()},
    }


def _parameter(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _content(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _operation(summary: str, answer: str, place: str) -> dict[str, Any]:
    of = place.strip("/").partition("/")[0].removesuffix("s")
    known = sorted({*HTTP_STATUS.values(), *_CODES} - {HTTP_STATUS[Code.OK], 401, 403, 409})
    responses: dict[str, Any] = {
        "200": {
            "description": "The answer.",
            "content": _content({"$ref": f"#/components/schemas/{answer}"}),
            "headers": {
                "X-Model-Version": {
                    "description": "The version that answered.",
                    "schema": {"type": "integer"},
                }
            },
        }
    }
    for status in known:
        responses[str(status)] = {"description": _CODES[status], "content": _content(_ERROR)}
    return {
        "summary": f"{summary}, by {of}" if of else summary,
        "operationId": f"{answer.removesuffix('Answer')}{of.capitalize()}",
        "responses": responses,
    }


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": required, "properties": properties}


def _schemas() -> dict[str, Any]:
    rows = {"type": "array", "minItems": 1, "items": _ANY}
    status = _object(
        ["version", "state", "status"],
        version={"type": "string", "pattern": "^[0-9]+$"},
        state={
            "type": "string",
            "enum": ["UNKNOWN", "START", "LOADING", "AVAILABLE", "UNLOADING", "END"],
        },
        status=_object(
            ["error_code", "error_message"],
            error_code={"type": "string", "enum": [code.name for code in Code]},
            error_message={"type": "string"},
        ),
    )
    return {
        "Error": _object(["error"], error={"type": "string"}),
        "Predict": {
            "description": "By row (`instances`) or by column (`inputs`). Bytes are written as "
            '`{"b64": "…"}`.',
            "oneOf": [
                _object(["instances"], signature_name=_SIGNATURE, instances=rows),
                _object(["inputs"], signature_name=_SIGNATURE, inputs=_ANY),
            ],
        },
        "PredictAnswer": {
            "oneOf": [
                _object(["predictions"], predictions={"type": "array"}),
                _object(["outputs"], outputs=_ANY),
            ]
        },
        "Examples": _object(
            ["examples"],
            signature_name=_SIGNATURE,
            context=_EXAMPLE,
            examples={"type": "array", "minItems": 1, "items": _EXAMPLE},
        ),
        "ClassifyAnswer": _object(
            ["results"],
            results={
                "type": "array",
                "items": {"type": "array", "items": {"type": "array", "minItems": 2}},
            },
        ),
        "RegressAnswer": _object(
            ["results"], results={"type": "array", "items": {"type": ["number", "string"]}}
        ),
        "Status": _object(
            ["model_version_status"], model_version_status={"type": "array", "items": status}
        ),
        "Metadata": _object(
            ["model_spec", "metadata"],
            model_spec=_object(["name", "version"]),
            metadata=_object(["signature_def"]),
        ),
    }
