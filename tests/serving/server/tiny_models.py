"""Small SavedModels, one per thing a server can get wrong; each is written in under a second.

The TF2 ones are what `tf.saved_model.save` writes today; the TF1 ones are what a great many served
models still are: reference to a placeholder by name, no defaults, methods named in the signatures.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import tensor_pb2
from tensorflow.core.protobuf import saved_model_pb2

tf1 = tf.compat.v1

PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"

#: Signature of TYPES -> dtype of its one input and output, both `v`.
TYPES = {
    "float": tf.float32,
    "double": tf.float64,
    "int32": tf.int32,
    "int64": tf.int64,
    "int8": tf.int8,
    "int16": tf.int16,
    "uint8": tf.uint8,
    "uint16": tf.uint16,
    "uint32": tf.uint32,
    "uint64": tf.uint64,
    "bool": tf.bool,
    "string": tf.string,
    "half": tf.float16,
    "bfloat16": tf.bfloat16,
    "complex64": tf.complex64,
    "complex128": tf.complex128,
}


def half_plus(directory: Path, offset: float = 2.0) -> Path:
    """TF1 style: y = x / 2 + offset, over plain floats and over serialized examples.

    Signatures: `serving_default` (x -> y), `regress_x_to_y`, `regress_x_to_y2` (one more),
    `regress_x2_to_y3` (raw float `inputs`; one more), `classify_x_to_y` (scores only),
    `classify_x2_to_y3`.
    """
    with tf.Graph().as_default(), tf1.Session() as session:
        slope = tf1.Variable(0.5, name="a")
        intercept = tf1.Variable(offset, name="b")
        more = tf1.Variable(offset + 1, name="c")
        serialized = tf1.placeholder(tf.string, [None], name="tf_example")
        spec = {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
        }
        parsed = tf.io.parse_example(serialized, spec)
        x = tf.identity(parsed["x"], name="x")
        y = tf.add(slope * x, intercept, name="y")
        y2 = tf.add(slope * x, more, name="y2")
        x2 = tf.identity(parsed["x2"], name="x2")
        y3 = tf.add(slope * x2, more, name="y3")
        session.run(tf1.global_variables_initializer())
        info = tf1.saved_model.build_tensor_info

        def signature(
            inputs: dict[str, tf.Tensor], outputs: dict[str, tf.Tensor], method: str
        ) -> object:
            return tf1.saved_model.build_signature_def(
                {key: info(tensor) for key, tensor in inputs.items()},
                {key: info(tensor) for key, tensor in outputs.items()},
                method,
            )

        signatures = {
            "serving_default": signature({"x": x}, {"y": y}, PREDICT),
            "regress_x_to_y": signature({"inputs": serialized}, {"outputs": y}, REGRESS),
            "regress_x_to_y2": signature({"inputs": serialized}, {"outputs": y2}, REGRESS),
            "regress_x2_to_y3": signature({"inputs": x2}, {"outputs": y3}, REGRESS),
            "classify_x_to_y": signature({"inputs": serialized}, {"scores": y}, CLASSIFY),
            "classify_x2_to_y3": signature({"inputs": x2}, {"scores": y3}, CLASSIFY),
        }
        builder = tf1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return directory


def half_plus_two_tf2(directory: Path) -> Path:
    """TF2 style, the same answers; an omitted `x` of `serving_default` is [0.0]."""

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.slope = tf.Variable(0.5)

        def parsed(self, serialized: tf.Tensor, offset: float) -> tf.Tensor:
            feature = tf.io.FixedLenFeature([1], tf.float32)
            return self.slope * tf.io.parse_example(serialized, {"x": feature})["x"] + offset

        @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, "x")])
        def default(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"y": self.slope * x + 2.0}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def regress(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"outputs": self.parsed(inputs, 2.0)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"scores": self.parsed(inputs, 2.0)}

    module = Module()
    signatures = {
        "serving_default": module.default,
        "regress_x_to_y": module.regress,
        "classify_x_to_y": module.classify,
    }
    tf.saved_model.save(module, str(directory), signatures=signatures)
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        default = graph.signature_def["serving_default"].defaults["x"]
        default.CopyFrom(tf.make_tensor_proto([0.0], tf.float32))
    (directory / "saved_model.pb").write_bytes(saved.SerializeToString())
    return directory


def multi(directory: Path) -> Path:
    """MULTI: a float [n, 2], b int64 [n], s string [n] -> sum, tag, tag_bytes."""

    class Module(tf.Module):
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, 2], tf.float32, "a"),
                tf.TensorSpec([None], tf.int64, "b"),
                tf.TensorSpec([None], tf.string, "s"),
            ]
        )
        def default(self, a: tf.Tensor, b: tf.Tensor, s: tf.Tensor) -> dict[str, tf.Tensor]:
            total = a[:, 0] + a[:, 1] + tf.cast(b, tf.float32)
            return {"sum": total, "tag": tf.identity(s), "tag_bytes": tf.identity(s)}

    module = Module()
    tf.saved_model.save(module, str(directory), signatures=module.default)
    return directory


def types(directory: Path) -> Path:
    """TYPES: one signature per dtype, named after it, that echoes `v`, whatever its shape."""

    def echo(dtype: tf.DType) -> Callable[..., dict[str, tf.Tensor]]:
        @tf.function(input_signature=[tf.TensorSpec(None, dtype, "v")])
        def function(v: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"v": tf.identity(v)}

        return function

    signatures = {name: echo(dtype) for name, dtype in TYPES.items()}
    tf.saved_model.save(tf.Module(), str(directory), signatures=signatures)
    return directory


def scalar(directory: Path) -> Path:
    """SCALAR: x float [n] -> total float [] (its sum), n int32 [n] (0, 1, …)."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def default(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"total": tf.reduce_sum(x), "n": tf.range(tf.size(x))}

    module = Module()
    tf.saved_model.save(module, str(directory), signatures=module.default)
    return directory


def classifier(directory: Path) -> Path:
    """CLS: `classify` and `serving_default`: examples with float `p` -> two classes, two scores."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
        def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            feature = tf.io.FixedLenFeature([], tf.float32)
            p = tf.io.parse_example(inputs, {"p": feature})["p"]
            scores = tf.stack([1 - p, p], axis=1)
            classes = tf.broadcast_to(tf.constant([["neg", "pos"]]), tf.shape(scores))
            return {"classes": classes, "scores": scores}

    module = Module()
    signatures = {"serving_default": module.classify, "classify": module.classify}
    tf.saved_model.save(module, str(directory), signatures=signatures)
    return directory


def slow(directory: Path, rounds: int = 3_000_000) -> Path:
    """SLOW: x float [n] -> y = x after `rounds` rounds of a loop (some seconds)."""

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
        def default(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
            done = tf.constant(0)
            while done < rounds:
                done += 1
            return {"y": x + tf.cast(done - rounds, tf.float32)}

    module = Module()
    tf.saved_model.save(module, str(directory), signatures=module.default)
    return directory


def counter(directory: Path) -> Path:
    """TF1 reference variable: `get_counter`, `incr_counter`, `incr_counter_by`, `reset_counter`."""
    with tf.Graph().as_default(), tf1.Session() as session:
        value = tf1.Variable(0.0, name="counter", use_resource=False)
        delta = tf1.placeholder(tf.float32, [], "delta")
        outputs = {
            "get_counter": value,
            "incr_counter": tf1.assign_add(value, 1.0),
            "incr_counter_by": tf1.assign_add(value, delta),
            "reset_counter": tf1.assign(value, 0.0),
        }
        session.run(tf1.global_variables_initializer())
        info = tf1.saved_model.build_tensor_info
        signatures = {
            name: tf1.saved_model.build_signature_def(
                {"delta": info(delta)} if name == "incr_counter_by" else {},
                {"output": info(output)},
                PREDICT,
            )
            for name, output in outputs.items()
        }
        builder = tf1.saved_model.Builder(str(directory))
        builder.add_meta_graph_and_variables(session, ["serve"], signatures)
        builder.save()
    return directory


#: What rows of `guarded` must hold, as a Trainer writes it.
CONTRACT = {
    "environment": "SERVING",
    "signatures": {"serving_default": "columns", "serve_tf_examples": "examples"},
    "features": {
        "amount": {"type": "float", "presence": 1.0, "min": 0.1, "max": 100.0},
        "code": {"type": "int", "presence": 0.5, "min": 1, "max": 9},
        "kind": {"type": "string", "presence": 1.0, "values": ["a", "b"], "mass": 1.0},
    },
    "not_served": ["label"],
}


def guarded(directory: Path) -> Path:
    """amount float, code int64, kind string -> y = amount + code; brings `CONTRACT` along.

    Signatures: `serving_default`, in which each may be left out, and `serve_tf_examples`.
    """
    missing = {"amount": [float("nan")], "code": [-1], "kind": [""]}
    kinds = {"amount": tf.float32, "code": tf.int64, "kind": tf.string}

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], t, name) for name, t in kinds.items()])
        def default(self, amount: tf.Tensor, code: tf.Tensor, kind: tf.Tensor) -> object:
            return {"y": amount + tf.cast(code, tf.float32), "kind": tf.identity(kind)}

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])
        def rows(self, examples: tf.Tensor) -> object:
            spec = {n: tf.io.FixedLenFeature([], t, missing[n][0]) for n, t in kinds.items()}
            return self.default(**tf.io.parse_example(examples, spec))

    module = Module()
    signatures = {"serving_default": module.default, "serve_tf_examples": module.rows}
    tf.saved_model.save(module, str(directory), signatures=signatures)
    saved = saved_model_pb2.SavedModel.FromString((directory / "saved_model.pb").read_bytes())
    for graph in saved.meta_graphs:
        defaults = graph.signature_def["serving_default"].defaults
        for name, dtype in kinds.items():
            defaults[name].CopyFrom(tf.make_tensor_proto(missing[name], dtype))
    (directory / "saved_model.pb").write_bytes(saved.SerializeToString())
    (directory / "assets.extra").mkdir()
    (directory / "assets.extra" / "headrace_contract.json").write_text(json.dumps(CONTRACT))
    return directory


def matrix(directory: Path) -> Path:
    """x float [n, 3, 3] -> y = x / 2 + 2; no variables at all."""
    with tf.Graph().as_default(), tf1.Session() as session:
        x = tf1.placeholder(tf.float32, [None, 3, 3], "x")
        y = tf.identity(x / 2 + 2, "y")
        tf1.saved_model.simple_save(session, str(directory), {"x": x}, {"y": y})
    return directory


def example(**features: float | int | str | bytes) -> tf.train.Example:
    """An example with one value per feature."""
    made = tf.train.Example()
    for name, value in features.items():
        feature = made.features.feature[name]
        if isinstance(value, float):
            feature.float_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.bytes_list.value.append(os.fsencode(value))
    return made


def tensor(
    values: object, dtype: tf.DType = tf.float32, shape: list[int] | None = None
) -> tensor_pb2.TensorProto:
    """A TensorProto as clients make it."""
    return tf.make_tensor_proto(np.asarray(values, dtype.as_numpy_dtype), dtype, shape)
