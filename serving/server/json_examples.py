"""Classify and Regress in JSON: a request's object -> its proto, a result -> its JSON text.

The kind of a feature follows from how its values are written: `2` makes an int64 feature and
`2.0` a float one, whatever the model expects. A parser in the model that expects the other kind
refuses it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.server.errors import Code, ServingError
from serving.server.json_numbers import float_texts
from serving.server.json_response import quote
from serving.server.json_values import from_b64, is_b64, rendered, to_bytes, type_name

if TYPE_CHECKING:
    import tensorflow as tf
    from tensorflow_serving.apis import classification_pb2, input_pb2, regression_pb2

_KINDS = {"bytes": "bytes_list", "float": "float_list", "int64": "int64_list"}
_FLOAT_MAX = float(np.finfo(np.float32).max)


def read_examples(document: Mapping[str, Any], given: input_pb2.Input) -> None:
    """Fills an Input from a request's `examples` and, if there is one, its `context`.

    Raises:
        ServingError: INVALID_ARGUMENT, they are no examples.
    """
    # All texts say "classify", as the stock server's do: the form is the same for both.
    context = document.get("context")
    if "context" in document:
        _fill(given.example_list_with_context.context, context)
    if "examples" not in document:
        raise _invalid("When method is classify, key 'examples' is expected and was not found")
    listed = document["examples"]
    if type(listed) is not list:
        raise _invalid("When method is classify, expecting 'examples' value to be an list/array")
    if not listed:
        raise _invalid("When method is classify, 'examples' value is an empty array")
    if "context" in document:
        examples = given.example_list_with_context.examples
    else:
        examples = given.example_list.examples
    for features in listed:
        _fill(examples.add(), features)


def write_classifications(result: classification_pb2.ClassificationResult) -> str:
    """The `results` of Classify: per example a list of [label, score]."""
    rows = []
    for row in result.classifications:
        scores = float_texts(np.array([one.score for one in row.classes], np.float32))
        pairs = [
            f"[{quote(one.label)}, {score}]" for one, score in zip(row.classes, scores, strict=True)
        ]
        rows.append("[" + ", ".join(pairs) + "]")
    return _results(rows)


def write_regressions(result: regression_pb2.RegressionResult) -> str:
    """The `results` of Regress: a value per example."""
    values = np.array([one.value for one in result.regressions], np.float32)
    return _results(float_texts(values))


def _results(texts: list[str]) -> str:
    return '{\n    "results": [' + ", ".join(texts) + "]\n}\n"


def _fill(example: tf.train.Example, features: Any) -> None:
    if type(features) is not dict:
        raise _invalid(
            f"Example must be JSON object but got JSON {type_name(features)}: {rendered(features)}"
        )
    made = example.features.feature
    for name, value in features.items():
        values = value if type(value) is list else [value]
        feature = made[name]
        if not values:  # a feature without a kind counts as missing
            feature.SetInParent()
            continue
        kind = _kind(name, values[0])
        converted = []
        for item in values:
            if _kind(name, item) != kind:
                raise _invalid(f"Unexpected element type in feature: {name} expecting type: {kind}")
            converted.append(_convert(kind, item))
        getattr(feature, _KINDS[kind]).value.extend(converted)


def _kind(name: str, value: Any) -> str:
    if type(value) is str or is_b64(value):
        return "bytes"
    if type(value) is bool:
        return "int64"
    if type(value) is int:
        if -(2**63) <= value < 2**63:
            return "int64"
        if 0 <= value < 2**64:
            raise _invalid(
                f"Feature: {name} has uint64 element. Only int64_t is supported. "
                f"JSON Value: {value}"
            )
        return "float"  # no integer type holds it, so JSON readers take it for a double
    if type(value) is float:
        return "float"
    raise _invalid(f"Feature: {name} has element with unexpected JSON type: {type_name(value)}")


def _convert(kind: str, value: Any) -> Any:
    if kind == "bytes":
        return to_bytes(value) if type(value) is str else from_b64(value)
    if kind == "int64":
        return int(value)
    try:
        number = float(value)
    except OverflowError:
        raise _invalid("JSON Parse error: Number too big to be stored in double.") from None
    return math.copysign(math.inf, number) if abs(number) > _FLOAT_MAX else number


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)
