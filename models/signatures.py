"""The servable model: four signatures over one graph, with defaults and warm-up requests.

Only operations of stock TensorFlow: the official server loads it without anything of ours.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf
from google.protobuf import text_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_metadata.proto.v0 import schema_pb2

from models import contract, probe, warmup
from models.config import Features, raw_columns
from models.preprocessing import DTYPES, MISSING, model_inputs
from models.table import Transformer, parse

SERVING_DEFAULT = "serving_default"
SERVE_EXAMPLES = "serve_tf_examples"
CLASSIFY = "classify"
TRANSFORM = "transform_features"

#: How they take raw columns.
FORMS: Mapping[str, contract.Form] = {
    SERVING_DEFAULT: "columns",
    SERVE_EXAMPLES: "examples",
    CLASSIFY: "examples",
    TRANSFORM: "examples",
}

_CLASSIFY_METHOD = "tensorflow/serving/classify"

Tensors = Mapping[str, tf.Tensor]


def export(
    model: keras.Model,
    transformer: Transformer,
    features: Features,
    directory: str,
    *,
    sample_files: list[str],
    schema_file: str | None = None,
) -> None:
    """Writes a SavedModel.

    * `serving_default`: each raw column, [batch], or [1] for all rows alike; one left out counts
      as missing. Gives `probability`, float32 [batch], and `label`, int64 [batch], 1 from 0.5.
    * `serve_tf_examples`: `examples`, string [batch]; gives the same.
    * `classify`: `inputs`, string [batch]; gives `classes` "0" and "1" and their `scores`,
      both [batch, 2].
    * `transform_features`: `examples`; gives the tensors of `models.preprocessing`.

    Args:
        model: trained; from transformed tensors to logits.
        transformer: the transform graph.
        features: the features.
        directory: where to; local or remote.
        sample_files: patterns of gzip TFRecords of raw examples, none of them trained on, to make
            warm-up requests and the probe from.
        schema_file: the reviewed schema in text form, of which a request's contract is made; None:
            requests are held to nothing.
    """
    kinds = raw_columns(features)
    columns = {name: tf.TensorSpec([None], DTYPES[kind], name) for name, kind in kinds.items()}
    scored = _scored(model, transformer, columns)

    def raw(given: Tensors) -> Tensors:
        # A column left out arrives as its default, which has one value whatever the batch.
        rows = tf.reduce_max(_lengths(list(given.values())))
        whole = {name: tf.broadcast_to(column, [rows]) for name, column in given.items()}
        return _prediction(scored(whole)[0])

    def examples(given: Tensors) -> Tensors:
        return _prediction(scored(parse(given["examples"], kinds))[0])

    def classes(given: Tensors) -> Tensors:
        probability, _ = scored(parse(given["inputs"], kinds))
        scores = tf.stack([1 - probability, probability], axis=1)
        names = tf.broadcast_to(tf.constant([["0", "1"]]), tf.shape(scores))
        return {"classes": names, "scores": scores}

    def transformed(given: Tensors) -> Tensors:
        return scored(parse(given["examples"], kinds))[1]

    def in_memory(serialized: tf.Tensor) -> tf.Tensor:
        return scored(parse(serialized, kinds))[0]

    archive = keras.export.ExportArchive()
    archive.track(model)
    for resource in transformer.resources:
        archive.track(resource)
    for name, function, specs in (
        (SERVING_DEFAULT, raw, columns),
        (SERVE_EXAMPLES, examples, _serialized("examples")),
        (CLASSIFY, classes, _serialized("inputs")),
        (TRANSFORM, transformed, _serialized("examples")),
    ):
        plain = tf.autograph.experimental.do_not_convert(function)
        archive.add_endpoint(name, plain, input_signature=[specs])
    archive.write_out(directory, verbose=False)
    _edit_signatures(directory, features)
    warmup.write(directory, features, sample_files)
    probe.write(directory, features, sample_files, in_memory)
    if schema_file is not None:
        _write_contract(directory, schema_file, features)


def _write_contract(directory: str, schema_file: str, features: Features) -> None:
    schema = schema_pb2.Schema()
    with tf.io.gfile.GFile(schema_file, "r") as file:
        text_format.Parse(file.read(), schema)
    path = os.path.join(directory, contract.CONTRACT_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    with tf.io.gfile.GFile(path, "w") as file:
        held_to = contract.contract(schema, features, FORMS)
        file.write(json.dumps(held_to, indent=1, sort_keys=True, ensure_ascii=False))


def _serialized(name: str) -> dict[str, tf.TensorSpec]:
    return {name: tf.TensorSpec([None], tf.string, name)}


def _scored(
    model: keras.Model, transformer: Transformer, columns: Mapping[str, tf.TensorSpec]
) -> Callable[[Tensors], tuple[tf.Tensor, Tensors]]:
    """Raw columns, [batch] each → probability, [batch], and the transformed tensors.

    Traced once, for all signatures.
    """

    def scored(raw: Tensors) -> tuple[tf.Tensor, Tensors]:
        tensors = transformer(raw)
        logits = model(model_inputs(tensors), training=False)
        return tf.reshape(tf.sigmoid(logits), [-1]), tensors

    traced = tf.function(scored, input_signature=[dict(columns)], autograph=False)
    return lambda raw: traced(dict(raw))


def _lengths(columns: Sequence[tf.Tensor]) -> tf.Tensor:
    """How many values each column has, int32 [columns]; one operation for all of a type."""
    by_type: dict[tf.DType, list[tf.Tensor]] = {}
    for column in columns:
        by_type.setdefault(column.dtype, []).append(column)
    shapes = [shape for alike in by_type.values() for shape in tf.shape_n(alike)]
    return tf.concat(shapes, axis=0)


def _prediction(probability: tf.Tensor) -> Tensors:
    return {"probability": probability, "label": tf.cast(probability >= 0.5, tf.int64)}


def _edit_signatures(directory: str, features: Features) -> None:
    """Adds what Keras cannot write: defaults of inputs, and the method of `classify`."""
    path = os.path.join(directory, "saved_model.pb")
    saved = saved_model_pb2.SavedModel()
    with tf.io.gfile.GFile(path, "rb") as file:
        saved.ParseFromString(file.read())
    for graph in saved.meta_graphs:
        graph.signature_def[CLASSIFY].method_name = _CLASSIFY_METHOD
        defaults = graph.signature_def[SERVING_DEFAULT].defaults
        for name, kind in raw_columns(features).items():
            value = tf.make_tensor_proto([MISSING[kind]], DTYPES[kind], [1])
            defaults[name].CopyFrom(value)
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(saved.SerializeToString(deterministic=True))
    # It holds hashes of the file just edited. Nothing needs it.
    fingerprint = os.path.join(directory, "fingerprint.pb")
    if tf.io.gfile.exists(fingerprint):
        tf.io.gfile.remove(fingerprint)
