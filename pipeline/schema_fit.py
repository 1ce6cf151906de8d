"""The reviewed schema fitted to the configuration.

Which columns are looked at, and as what, is the configuration's to say; what their values must be
is the schema's. Where the two disagree (a column is ignored now, has another kind, or is new to the
configuration) the schema cannot be held against the data as it stands: what it says of another
kind of column is left out, and told, until `headrace schema accept` writes it anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import Categorical, HighCardinality, Section
from pipeline import schema_file
from pipeline.config import Config
from pipeline.ingest.plan import IngestPlan
from pipeline.sql import ColumnType

_TYPES = {
    "float": schema_pb2.FLOAT,
    "int": schema_pb2.INT,
    "timestamp": schema_pb2.INT,
    "string": schema_pb2.BYTES,
}
_WORDS = {
    schema_pb2.FLOAT: "numbers",
    schema_pb2.INT: "whole numbers",
    schema_pb2.BYTES: "text",
    schema_pb2.STRUCT: "structures",
}
_GONE = (schema_pb2.DEPRECATED, schema_pb2.DISABLED)

#: Custom properties of the Schema artifact, JSON: what is not reviewed, and what is left out.
UNREVIEWED_KEY, LEFT_OUT_KEY = "unreviewed", "left_out"


class Configured(Section):
    """What of the configuration a schema must fit.

    Attributes:
        columns: every column that ends up in an example → how it is typed.
        categories: those whose values stand for something, whole numbers too.
        hidden: the label and what gives it away: not served.
        ignored: columns that are named and not looked at.
    """

    columns: dict[str, ColumnType]
    categories: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: Config) -> Configured:
        """Of a configuration."""
        features = config.features.items()
        return cls(
            columns={**IngestPlan.of(config).columns(), config.label.name: "int"},
            categories=tuple(
                name for name, one in features if isinstance(one, Categorical | HighCardinality)
            ),
            hidden=(config.label.name, *config.label.leaks),
            ignored=tuple(name for name, one in features if one.kind == "ignore"),
        )


@dataclass(frozen=True)
class Fitted:
    """A schema that fits.

    Attributes:
        schema: of the configured columns and no others.
        unreviewed: column → why nothing is checked of it.
        left_out: what the schema knows and the configuration neither uses nor ignores by name.
    """

    schema: schema_pb2.Schema
    unreviewed: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()


def fit(schema: schema_pb2.Schema, configured: Configured) -> Fitted:
    """The schema as far as it speaks of what is configured.

    Args:
        schema: as it was reviewed.
        configured: what the configuration says.
    """
    fitted = schema_pb2.Schema()
    fitted.CopyFrom(schema)
    del fitted.feature[:]
    unreviewed = {}
    known = set()
    for feature in schema.feature:
        name = feature.name
        known.add(name)
        if name not in configured.columns:
            continue
        why = _misfit(feature, _TYPES[configured.columns[name]])
        if why:
            unreviewed[name] = why
        kept = schema_pb2.Feature(name=name) if why else feature
        fitted.feature.add().CopyFrom(_settled(kept, configured))
    for name in configured.columns:
        if name not in known:
            unreviewed[name] = "the configuration names it, the schema does not"
            fitted.feature.add().CopyFrom(_settled(schema_pb2.Feature(name=name), configured))
    named = {*configured.columns, *configured.ignored}
    return Fitted(fitted, unreviewed, tuple(sorted(known - named)))


def _misfit(feature: schema_pb2.Feature, wanted: schema_pb2.FeatureType) -> str:
    if feature.lifecycle_stage in _GONE:
        return "the configuration names it, the schema has retired it"
    if feature.type not in (wanted, schema_pb2.TYPE_UNKNOWN):
        there = _WORDS.get(feature.type, "another type")
        return f"it is {_WORDS[wanted]} to the configuration, and {there} to the schema"
    return ""


def _settled(feature: schema_pb2.Feature, configured: Configured) -> schema_pb2.Feature:
    """A feature with what the configuration alone decides."""
    settled = schema_pb2.Feature()
    settled.CopyFrom(feature)
    settled.type = _TYPES[configured.columns[feature.name]]
    if feature.name in configured.hidden:
        if schema_file.SERVING not in settled.not_in_environment:
            settled.not_in_environment.append(schema_file.SERVING)
        return settled
    if schema_file.SERVING in settled.not_in_environment:
        settled.not_in_environment.remove(schema_file.SERVING)
    _count_as(settled, category=feature.name in configured.categories)
    return settled


def _count_as(feature: schema_pb2.Feature, *, category: bool) -> None:
    """Sets whether whole numbers are codes; without it an id is summarised like an amount."""
    about = feature.WhichOneof("domain_info")
    if feature.type == schema_pb2.INT and about in (None, "int_domain"):
        if category:
            feature.int_domain.is_categorical = True
        elif about:
            feature.int_domain.ClearField("is_categorical")


def in_force(config: Config) -> Fitted:
    """The configuration's schema file, fitted.

    Raises:
        ConfigError: it is not a schema in text form.
    """
    return fit(schema_file.read(config.data.schema_file), Configured.of(config))


def digest(config: Config) -> str:
    """SHA-256 of what a configuration's data are held to; that of the Schema artifact's file.

    Raises:
        ConfigError: the file is not a schema in text form.
    """
    text = text_format.MessageToString(in_force(config).schema)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def told(unreviewed: Mapping[str, str]) -> dict[str, str]:
    """What a person is told of each column that is not reviewed, with the command."""
    return {
        name: f"nothing is checked of it: {why}. Write down what it holds, and review it: "
        f"`headrace schema accept {name}`"
        for name, why in unreviewed.items()
    }
