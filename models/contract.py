"""What a request must hold, written into the model: the schema's SERVING environment, as JSON.

A model server has neither the schema nor TFDV. With this file beside the model it can tell a
request that no row of the training data could have been: a value that the schema does not list, a
number out of its range, a missing value where there always was one, the label itself. Nothing
here imports TensorFlow: the gates judge by the same entries of the schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import FIRST_SECOND, LAST_SECOND, Features, Timestamp, raw_columns

CONTRACT_FILE = "assets.extra/headrace_contract.json"
SERVING = "SERVING"

#: How a signature takes rows: a tensor a column, or one tensor of serialized tf.Examples.
Form = Literal["columns", "examples"]

_STAGES_OUT = (schema_pb2.DEPRECATED, schema_pb2.PLANNED, schema_pb2.ALPHA)


def contract(
    schema: schema_pb2.Schema, features: Features, signatures: Mapping[str, Form]
) -> dict[str, Any]:
    """The contract.

    Returns:
        `signatures`; `not_served`: columns that must not be there; and by column `features`:
        `type` (`float`, `int`, `string`), `presence` (least share of rows with a value), and
        where the schema has them `values` with `mass` (least share of values that are listed),
        `min` and `max` (both inclusive). Of a timestamp always `min`, `max` and `moment`.
    """
    domains = {domain.name: domain for domain in schema.string_domain}
    kinds = raw_columns(features)
    rules: dict[str, dict[str, Any]] = {}
    for feature in schema.feature:
        if feature.name not in kinds or not expected(schema, feature, SERVING):
            continue
        rule: dict[str, Any] = {
            "type": kinds[feature.name],
            "presence": feature.presence.min_fraction,
        }
        values = domain_values(feature, domains)
        if values is not None and kinds[feature.name] == "string":
            rule["values"] = values
            rule["mass"] = least_mass(feature)
        low, high = bounds(feature)
        rule |= {key: bound for key, bound in (("min", low), ("max", high)) if bound is not None}
        if isinstance(features[feature.name], Timestamp):
            # Milliseconds in place of seconds are a number as good as any, of the year 56,000.
            rule = {"min": FIRST_SECOND, "max": LAST_SECOND} | rule | {"moment": True}
        rules[feature.name] = rule
    return {
        "environment": SERVING,
        "signatures": dict(signatures),
        "features": rules,
        "not_served": [
            feature.name
            for feature in schema.feature
            if not expected(schema, feature, SERVING) and feature.lifecycle_stage not in _STAGES_OUT
        ],
    }


def expected(schema: schema_pb2.Schema, feature: schema_pb2.Feature, environment: str) -> bool:
    """Whether a feature belongs to an environment, as TFDV understands it."""
    if feature.lifecycle_stage in _STAGES_OUT or environment in feature.not_in_environment:
        return False
    if feature.in_environment:
        return environment in feature.in_environment
    return not schema.default_environment or environment in schema.default_environment


def domain_values(
    feature: schema_pb2.Feature, domains: Mapping[str, schema_pb2.StringDomain]
) -> list[str] | None:
    """The texts that a schema allows; None: all.

    Args:
        feature: of the schema.
        domains: the schema's shared lists, by name.
    """
    if feature.HasField("string_domain"):
        return list(feature.string_domain.value)
    if feature.domain in domains:
        return list(domains[feature.domain].value)
    return None


def least_mass(feature: schema_pb2.Feature) -> float:
    """The share of values that must be in the domain, at least."""
    return feature.distribution_constraints.min_domain_mass or 1.0


def bounds(feature: schema_pb2.Feature) -> tuple[float | None, float | None]:
    """The smallest and the largest number that a schema allows; None: no such bound."""
    kind = feature.WhichOneof("domain_info")
    if kind not in ("int_domain", "float_domain"):
        return None, None
    domain: Any = getattr(feature, kind)
    return (
        domain.min if domain.HasField("min") else None,
        domain.max if domain.HasField("max") else None,
    )
