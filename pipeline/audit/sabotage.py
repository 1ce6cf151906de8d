"""What model faults do: a `run_fn` that trains and exports as always, but for one thing.

The Trainer is pointed here by `pipeline.audit.sabotaged_run`; production code knows nothing of it.
Faults of training stand in for one function of `models` while it runs; faults of the export take
the served model as it is, and change its files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import saved_model_pb2

from models import signatures, training, warmup
from models.config import features_from_json, raw_columns
from models.preprocessing import CATEGORICAL, NUMERIC, model_inputs
from models.table import Transformer, parse
from pipeline.audit.instead import instead
from serving.layout import MANIFEST

#: Matrix products a request, and the size of the matrices: well over a hundred milliseconds.
_PRODUCTS, _SIZE = 80, 512


#: Digest of what was learnt from → the weights, and the record of the training. Most faults of the
#: model come after a training that is the same for all, and training repeats itself exactly.
_FITTED: dict[str, tuple[list[Any], dict[str, Any]]] = {}


def run_fn(fn_args: Any) -> Any:
    """Does what the fault named in `custom_config` says."""
    fit = training.fit

    def fit_once(model: Any, columns: Any, labels: Any, config: Any, log_dir: str) -> Any:
        learnt = hashlib.sha256(config.model_dump_json().encode())
        for name, column in sorted(columns.items()):
            learnt.update(name.encode() + np.ascontiguousarray(column).tobytes())
        learnt.update(np.ascontiguousarray(labels).tobytes())
        key = learnt.hexdigest()
        if key not in _FITTED:
            record = fit(model, columns, labels, config, log_dir)
            _FITTED[key] = (model.get_weights(), record)
        weights, record = _FITTED[key]
        model.set_weights(weights)
        return dict(record)

    with instead(training, "fit", fit_once):
        return _SABOTAGES[fn_args.custom_config["sabotage"]](fn_args)


def _trained(fn_args: Any, change: Callable[..., Any]) -> Any:
    """Fits by `change(fit, model, columns, labels, …)` instead of `fit`."""
    fit = training.fit

    def stand_in(model: Any, columns: Any, labels: Any, config: Any, log_dir: str) -> Any:
        return change(fit, model, columns, labels, config, log_dir)

    with instead(training, "fit", stand_in):
        return training.run_fn(fn_args)


def _nan_weights(fn_args: Any) -> Any:
    def change(fit: Any, model: Any, *arguments: Any) -> Any:
        record = fit(model, *arguments)
        model.set_weights([weights * np.nan for weights in model.get_weights()])
        return record

    return _trained(fn_args, change)


def _untrained(fn_args: Any) -> Any:
    def change(fit: Any, model: Any, columns: Any, labels: Any, *arguments: Any) -> Any:
        del fit, model, columns, arguments
        return {"rows": len(labels), "epochs": 0}

    return _trained(fn_args, change)


def _misjoined(fn_args: Any) -> Any:
    def change(fit: Any, model: Any, columns: Any, labels: Any, *arguments: Any) -> Any:
        random = np.random.default_rng(fn_args.custom_config["seed"])
        return fit(model, columns, random.permutation(np.asarray(labels)), *arguments)

    return _trained(fn_args, change)


def _on_evaluated_rows(fn_args: Any) -> Any:
    fn_args.train_files = [*fn_args.train_files, *fn_args.eval_files]
    return training.run_fn(fn_args)


def _exported(fn_args: Any, model: Any = None, transformer: Any = None) -> Any:
    """Exports another model or transformer in place of the trained ones."""
    export = signatures.export

    def stand_in(trained: Any, real: Any, *arguments: Any, **settings: Any) -> None:
        export(
            model(trained) if model else trained,
            transformer(real) if transformer else real,
            *arguments,
            **settings,
        )

    with instead(signatures, "export", stand_in):
        return training.run_fn(fn_args)


def _logits(scale: float, offset: float = 0.0) -> Callable[[Any], Any]:
    """A model whose logits are another's, scaled and moved."""

    def sabotage(fn_args: Any) -> Any:
        def model(trained: keras.Model) -> keras.Model:
            changed = keras.layers.Rescaling(scale, offset)(trained.output)
            return keras.Model(trained.inputs, changed)

        return _exported(fn_args, model)

    return sabotage


class _Slow(keras.layers.Layer):  # type: ignore[misc]
    """Passes its input on after some useless work."""

    def call(self, logits: Any) -> Any:
        def step(index: Any, matrix: Any) -> Any:
            return index + 1, tf.matmul(matrix, matrix) / float(_SIZE)

        # Of the input, so that no optimiser can do the work once and for all.
        start = tf.ones([_SIZE, _SIZE]) + 0.0 * tf.reduce_sum(logits)
        _, end = tf.while_loop(lambda index, _: index < _PRODUCTS, step, [0, start])
        return logits + 0.0 * tf.reduce_sum(end)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def _slow(fn_args: Any) -> Any:
    return _exported(fn_args, lambda trained: keras.Model(trained.inputs, _Slow()(trained.output)))


class _Python(keras.layers.Layer):  # type: ignore[misc]
    """Passes its input through a Python function."""

    def call(self, logits: Any) -> Any:
        passed = tf.numpy_function(lambda values: values, [logits], tf.float32)
        return tf.ensure_shape(passed, logits.shape)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape


def _python(fn_args: Any) -> Any:
    return _exported(
        fn_args, lambda trained: keras.Model(trained.inputs, _Python()(trained.output))
    )


class _SkewedTransformer:
    """Transforms the first columns otherwise than the transformer that was trained on."""

    def __init__(self, real: Transformer) -> None:
        self._real, self.resources = real, real.resources

    def __call__(self, raw: Any) -> dict[str, tf.Tensor]:
        tensors = self._real(raw)
        if NUMERIC in tensors:
            tensors[NUMERIC] = ops.flip(tensors[NUMERIC], axis=1)
        if CATEGORICAL in tensors:
            tensors[CATEGORICAL] = tf.zeros_like(tensors[CATEGORICAL])
        return tensors


def _template_export(fn_args: Any) -> Any:
    """What TFX's own templates do: a Keras model saved whole, its signatures closing over it."""
    features = features_from_json(fn_args.custom_config["features"])
    export = signatures.export

    def stand_in(model: Any, transformer: Any, *arguments: Any, **settings: Any) -> None:
        export(model, transformer, *arguments, **settings)
        directory = Path(arguments[1])
        kinds = raw_columns(features)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "examples")])  # type: ignore[untyped-decorator]
        def serve(examples: Any) -> Any:
            logits = model(model_inputs(transformer(parse(examples, kinds))), training=False)
            return {"probability": tf.reshape(tf.sigmoid(logits), [-1])}

        # TensorFlow's own tracking, which Keras 3 takes no part in.
        model.others = tf.Module()
        model.others.resources = transformer.resources
        shutil.move(directory / "assets.extra", directory.parent / "assets.extra")
        shutil.rmtree(directory)
        saved = dict.fromkeys((signatures.SERVING_DEFAULT, signatures.SERVE_EXAMPLES), serve)
        tf.saved_model.save(model, str(directory), saved)
        shutil.move(directory.parent / "assets.extra", directory / "assets.extra")
        (directory / warmup.WARMUP_FILE).unlink()  # the templates know no warm-up

    with instead(signatures, "export", stand_in):
        return training.run_fn(fn_args)


def _edited(change: Callable[[Path], None], *, record: bool) -> Callable[[Any], Any]:
    """The served model with changed files.

    Args:
        change: of the files in a folder.
        record: the Trainer's own list of digests is made anew, so that only what the model does
            can give it away.
    """

    def sabotage(fn_args: Any) -> None:
        folder = Path(fn_args.serving_model_dir)
        shutil.copytree(
            fn_args.custom_config["served"],
            folder,
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns(MANIFEST),
        )
        change(folder)
        if record:
            _record_anew(folder)

    return sabotage


def _record_anew(folder: Path) -> None:
    path = folder / training.RECORD_FILE
    record = json.loads(path.read_text())
    record["files"] = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file != path
    }
    path.write_text(json.dumps(record, indent=2, sort_keys=True))


def _other_vocabulary(folder: Path) -> None:
    for file in (folder / "assets").iterdir():
        lines = file.read_bytes().splitlines()
        file.write_bytes(b"\n".join([*lines[1:], lines[0]]) + b"\n")


def _variables(folder: Path, change: Callable[[Any], Any]) -> None:
    """Writes the variables anew, each floating-point one through `change`."""
    prefix = str(folder / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    names = sorted(reader.get_variable_to_shape_map())
    values = [reader.get_tensor(name) for name in names]
    values = [
        tf.constant(change(value) if getattr(value, "dtype", None) == np.float32 else value)
        for value in values
    ]
    tf.raw_ops.SaveV2(
        prefix=prefix, tensor_names=names, shape_and_slices=[""] * len(names), tensors=values
    )


def _half_precision(folder: Path) -> None:
    _variables(folder, lambda value: tf.cast(tf.cast(value, tf.bfloat16), tf.float32))


def _one_weight(folder: Path) -> None:
    largest = 0
    reader = tf.train.load_checkpoint(str(folder / "variables" / "variables"))
    for name, shape in reader.get_variable_to_shape_map().items():
        if reader.get_variable_to_dtype_map()[name] == tf.float32:
            largest = max(largest, int(np.prod(shape)))

    def change(value: Any) -> Any:
        if value.size == largest:
            value.flat[0] = -value.flat[0]
        return value

    _variables(folder, change)


def _no_variables(folder: Path) -> None:
    for file in (folder / "variables").glob("*.data-*"):
        file.unlink()


def _saved_model(folder: Path, change: Callable[[Any], None]) -> None:
    path = folder / "saved_model.pb"
    saved = saved_model_pb2.SavedModel()
    saved.ParseFromString(path.read_bytes())
    for graph in saved.meta_graphs:
        change(graph.signature_def)
    path.write_bytes(saved.SerializeToString(deterministic=True))


def _other_dtype(folder: Path) -> None:
    def change(signature_defs: Any) -> None:
        inputs = signature_defs[signatures.SERVING_DEFAULT].inputs
        first = min(name for name in inputs if inputs[name].dtype == types_pb2.DT_FLOAT)
        inputs[first].dtype = types_pb2.DT_DOUBLE

    _saved_model(folder, change)


def _no_classify(folder: Path) -> None:
    _saved_model(folder, lambda defs: defs.pop(signatures.CLASSIFY))


_SABOTAGES: dict[str, Callable[[Any], Any]] = {
    "nan-weights": _nan_weights,
    "untrained": _untrained,
    "labels-misjoined": _misjoined,
    "classes-swapped": _logits(-1.0),
    "overconfident": _logits(3.0),
    "miscalibrated": _logits(1.0, 0.7),
    "serving-skew": lambda fn_args: _exported(fn_args, transformer=_SkewedTransformer),
    "wrong-vocabulary": _edited(_other_vocabulary, record=True),
    "half-precision": _edited(_half_precision, record=True),
    "one-weight-changed": _edited(_one_weight, record=False),
    "missing-variables": _edited(_no_variables, record=True),
    "unservable-export": _template_export,
    "python-in-the-graph": _python,
    "wrong-dtype": _edited(_other_dtype, record=True),
    "missing-signature": _edited(_no_classify, record=True),
    "slow-model": _slow,
    "stale-model": _edited(lambda folder: None, record=True),
    "trained-on-evaluated-rows": _on_evaluated_rows,
}
