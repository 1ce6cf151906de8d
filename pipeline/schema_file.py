"""The reviewed schema: written by the first run on new data, from then on changed by people."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import Categorical, HighCardinality
from pipeline import files, open_lists, schema_text
from pipeline.config import Config
from pipeline.drift import profile_text
from pipeline.errors import ConfigError, DataError, Fault

TRAINING, SERVING = "TRAINING", "SERVING"

_COMPARATORS = ("drift_comparator", "skew_comparator")
#: TFDV's comparators, and our names of what they measure.
_MEASURES = {"infinity_norm": "l_infinity", "jensen_shannon_divergence": "jensen_shannon"}

_HEADER = """\
# The data contract of '{name}'. Inferred from the data; review it, then keep it under version
# control. Later runs validate against it; an anomaly stops a run before it trains.
# The label and the columns that give it away are not in the SERVING environment.
"""


def read(path: str) -> schema_pb2.Schema:
    """Reads a schema file.

    Raises:
        ConfigError: it cannot be read, or is not a schema in text form; names the line.
    """
    try:
        with files.open_file(path, "rb") as file:
            content = file.read()
        schema = text_format.Parse(content.decode("utf-8"), schema_pb2.Schema())
        if not schema.feature:
            raise text_format.ParseError("it has no feature")
    except OSError as error:
        fault = Fault(
            "data.schema_file",
            "",
            f"cannot be read ({error.strerror or error})",
            "Name a file that this user may read.",
        )
        raise ConfigError(path, [fault]) from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())[:200]
        fault = Fault(
            "data.schema_file",
            "",
            f"is not a schema in protocol buffer text form ({reason})",
            "Restore it from version control, or remove it to have it inferred again.",
        )
        raise ConfigError(path, [fault]) from error
    if wrong := [*_wrong_comparators(schema), *_wrong_profiles(schema)]:
        raise ConfigError(path, wrong)
    return schema


def _wrong_profiles(schema: schema_pb2.Schema) -> Iterator[Fault]:
    """A reviewed profile that cannot be read would compare nothing."""
    try:
        profile_text.read(schema)
    except ValueError as error:
        yield Fault(
            "annotation.comment",
            "",
            str(error),
            "Restore it from version control, or remove it and run headrace schema accept.",
        )


def _wrong_comparators(schema: schema_pb2.Schema) -> Iterator[Fault]:
    """Comparators that do not fit a feature's type: TFDV would measure 0, whatever happens."""
    for feature in schema.feature:
        category = _is_category(feature)
        for name in _COMPARATORS:
            comparator = getattr(feature, name)
            wrong, right = ("jensen_shannon_divergence", "infinity_norm")
            if not category:
                wrong, right = right, wrong
            if comparator.HasField(wrong):
                yield Fault(
                    f"{feature.name}.{name}.{wrong}",
                    "",
                    f"does not fit {'categories' if category else 'a number'}: TFDV would measure "
                    "0 whatever happens",
                    f"Use {right}.",
                )


def _is_category(feature: schema_pb2.Feature) -> bool:
    return bool(feature.type == schema_pb2.BYTES or feature.int_domain.is_categorical)


def thresholds(schema: schema_pb2.Schema) -> dict[str, dict[str, float]]:
    """Drift thresholds of the schema's comparators: feature → measure → threshold."""
    found: dict[str, dict[str, float]] = {}
    for feature in schema.feature:
        for comparator, measure in _MEASURES.items():
            if feature.drift_comparator.HasField(comparator):
                bound = getattr(feature.drift_comparator, comparator).threshold
                found.setdefault(feature.name, {})[measure] = bound
    return found


def write_thresholds(path: str, measured: Mapping[str, Mapping[str, float]]) -> None:
    """Sets the comparators of drift and skew; everything else stays as it is, comments too.

    Args:
        path: of the schema file.
        measured: feature → measure → threshold; a feature that is not there loses its comparators.

    Raises:
        ConfigError: it is not a schema in text form.
        DataError: it cannot be written.
    """
    schema = read(path)
    for feature in schema.feature:
        comparator = "infinity_norm" if _is_category(feature) else "jensen_shannon_divergence"
        bound = measured.get(feature.name, {}).get(_MEASURES[comparator])
        for name in _COMPARATORS:
            feature.ClearField(name)
            if bound is not None:
                getattr(getattr(feature, name), comparator).threshold = bound
    with files.open_file(path, "rb") as file:
        before = file.read().decode("utf-8")
    write(path, schema_text.write(schema, before))


def digest(path: str) -> str:
    """SHA-256 of what a schema file says, whatever its comments and layout.

    Raises:
        ConfigError: it is not a schema in text form.
    """
    return hashlib.sha256(text_format.MessageToString(read(path)).encode("utf-8")).hexdigest()


def curate(schema: schema_pb2.Schema, config: Config) -> schema_pb2.Schema:
    """An inferred schema with what the configuration knows and the data does not show."""
    curated = schema_pb2.Schema()
    curated.CopyFrom(schema)
    del curated.default_environment[:]
    curated.default_environment.extend([TRAINING, SERVING])
    hidden = {config.label.name, *config.label.leaks}
    for feature in curated.feature:
        declared = config.features.get(feature.name)
        if feature.name in hidden:
            feature.not_in_environment[:] = [SERVING]
        if isinstance(declared, Categorical | HighCardinality) and declared.type == "int":
            # Without this an id is summarised, and compared, as if it were an amount.
            feature.int_domain.is_categorical = True
    return curated


def least_presence(share: float, rows: int) -> float:
    """The share of rows with a value to ask for, where `share` of `rows` rows had one.

    A tenth less, and two standard errors, so that it is a fault that breaks it, not chance.
    """
    least = 0.9 * share - 2 * math.sqrt(share * (1 - share) / rows)
    return max(0.0, math.floor(100 * least) / 100)


def write(path: str, text: str) -> None:
    """Writes a schema file, whole or not at all.

    Raises:
        DataError: it cannot be written.
    """
    try:
        if files.is_local(path):
            os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write_atomically(path, text.encode("utf-8"))
    except OSError as error:
        raise DataError(f"data.schema_file: cannot write {path} ({error.strerror}).") from error


def write_inferred(config: Config, schema_uri: str, parts: Sequence[pa.Table] = ()) -> None:
    """Writes the schema that SchemaGen inferred as the file to review.

    Args:
        config: the configuration.
        schema_uri: of SchemaGen's artifact.
        parts: rows that it was inferred from, oldest first; they tell which lists of values grow.

    Raises:
        DataError: the file cannot be written.
    """
    schema = curate(read(os.path.join(schema_uri, "schema.pbtxt")), config)
    why = _lists(schema, config, parts) if parts else {}
    text = _HEADER.format(name=config.name) + schema_text.write(schema, why=why)
    write(config.data.schema_file, text)


def _lists(schema: schema_pb2.Schema, config: Config, parts: Sequence[pa.Table]) -> dict[str, str]:
    """Opens the lists that grow, and drops those that are none; why, by feature."""
    why = {}
    for feature in schema.feature:
        declared = config.features.get(feature.name)
        if not feature.domain or declared is None:
            continue
        if not isinstance(declared, Categorical):
            feature.ClearField("domain")  # names and words, of which few were seen so far
            continue
        grown = open_lists.growth([part.column(feature.name) for part in parts])
        why[feature.name] = open_lists.open_list(feature, grown.let_pass).capitalize()
    used = {feature.domain for feature in schema.feature}
    kept = [domain for domain in schema.string_domain if domain.name in used]
    del schema.string_domain[:]
    schema.string_domain.extend(kept)
    return {name: reason for name, reason in why.items() if reason}
