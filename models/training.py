"""The Trainer's entry point: examples and a transform graph in, a servable model out."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf
import tensorflow_transform as tft

from models import edges, network, preprocessing, signatures, table
from models.config import (
    Features,
    ModelConfig,
    Text,
    TrainingConfig,
    features_from_json,
)
from models.table import Array

#: What ingestion says of the rows it wrote, beside the splits.
INGEST_FILE = "ingest.json"
RECORD_FILE = "assets.extra/headrace_training.json"


def run_fn(fn_args: Any) -> keras.Model:
    """Trains and exports.

    Args:
        fn_args: TFX's `FnArgs`. Read are `train_files` and `eval_files` (raw examples),
            `transform_graph_path`, `schema_path` (may be None), `serving_model_dir`,
            `model_run_dir` (TensorBoard) and of `custom_config` `features`, `model`, `training`
            (JSON texts) and `label`.

    Returns:
        The model, from transformed tensors to logits; TFX has no use for it.

    Raises:
        ValueError: no rows, or labels that are not both 0 and 1.
    """
    settings = fn_args.custom_config
    features = features_from_json(settings["features"])
    model_config = ModelConfig.model_validate_json(settings["model"])
    config = TrainingConfig.model_validate_json(settings["training"])
    label = settings["label"]

    tf.config.experimental.enable_op_determinism()
    transformed = tft.TFTransformOutput(fn_args.transform_graph_path)
    transformer = table.Transformer(transformed, features)
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        columns, labels = table.build(
            fn_args.train_files, transformer, features, label, Path(folder)
        )
        check_labels(labels, label)
        keras.utils.set_random_seed(config.seed)
        model = build_model(model_config, features, transformed)
        record = fit(model, columns, labels, config, log_dir=fn_args.model_run_dir)
    signatures.export(
        model,
        transformer,
        features,
        fn_args.serving_model_dir,
        sample_files=fn_args.eval_files,
        schema_file=fn_args.schema_path,
    )
    record["dealt"] = _dealt(fn_args.train_files)
    record["files"] = _digests(fn_args.serving_model_dir)
    with tf.io.gfile.GFile(os.path.join(fn_args.serving_model_dir, RECORD_FILE), "w") as file:
        file.write(json.dumps(record, indent=2, sort_keys=True))
    return model


def _dealt(train_files: Sequence[str]) -> Any:
    """How the rows trained on were told from the others, as ingestion left it beside the splits.

    A later run must know whether this model has seen the rows that it evaluates on.
    """
    folder = os.path.dirname(os.path.dirname(train_files[0])) if train_files else ""
    path = os.path.join(folder, INGEST_FILE)
    if not tf.io.gfile.exists(path):
        return None
    with tf.io.gfile.GFile(path) as file:
        return json.loads(file.read()).get("dealt")


def _digests(directory: str) -> dict[str, str]:
    """SHA-256 of every file of the export by its path in it, so that a later change shows."""
    digests = {}
    for folder, _, names in tf.io.gfile.walk(directory):
        for name in names:
            path = os.path.join(folder, name)
            with tf.io.gfile.GFile(path, "rb") as file:
                digest = hashlib.sha256(file.read()).hexdigest()
            digests[os.path.relpath(path, directory)] = digest
    return digests


def check_labels(labels: Array, name: str) -> None:
    """Refuses labels that are not 0 and 1, both present.

    Raises:
        ValueError: naming the label and the counts.
    """
    values, counts = np.unique(labels, return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    if set(found) == {0, 1}:
        return
    rows = ", ".join(f"{count} rows with {value}" for value, count in list(found.items())[:5])
    if set(found) <= {0, 1}:
        raise ValueError(f"label {name!r} has a single class: {rows}; both 0 and 1 are needed")
    raise ValueError(f"label {name!r} must be 0 or 1 in every row (-1 is missing): {rows}")


def build_model(
    config: ModelConfig, features: Features, transformed: tft.TFTransformOutput
) -> keras.Model:
    """The untrained network for these features; see `network.build`."""
    texts = {name: value for name, value in features.items() if isinstance(value, Text)}
    return network.build(
        config,
        numbers=len(preprocessing.numeric_names(features)),
        bins=edges.BINS,
        category_counts=list(preprocessing.category_counts(features, transformed).values()),
        token_counts=[
            (text.max_tokens, preprocessing.token_count(name, text, transformed))
            for name, text in texts.items()
        ],
    )


def fit(
    model: keras.Model,
    columns: Mapping[str, Array],
    labels: Array,
    config: TrainingConfig,
    log_dir: str,
) -> dict[str, Any]:
    """Fits the model in place; see `Stopping` for which weights stay.

    Args:
        model: from `build_model`.
        columns: transformed tensors by name, one row an example.
        labels: 0 or 1.
        config: how.
        log_dir: for TensorBoard.

    Returns:
        What is worth remembering: rows, passes run, the holdout loss, the seed.
    """
    rows = len(labels)
    held_out = np.random.default_rng(config.seed).random(rows) < config.holdout
    inputs = preprocessing.model_inputs(columns)
    train = Batches(inputs, labels, np.flatnonzero(~held_out), config.batch_size, config.seed)
    holdout = Batches(inputs, labels, np.flatnonzero(held_out), config.batch_size)
    steps = max(1, len(train))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        warmup_target=config.learning_rate,
        warmup_steps=max(1, steps // 2),
        decay_steps=max(1, steps * config.epochs - steps // 2),
    )
    model.compile(
        optimizer=keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay),
        loss=keras.losses.BinaryCrossentropy(from_logits=True),
        # Fewer returns to Python: half the time on a busy machine, and the same weights.
        steps_per_execution=min(32, steps),
    )
    stop = Stopping(config.patience)
    board = keras.callbacks.TensorBoard(log_dir, write_graph=False)
    history = model.fit(
        train,
        validation_data=holdout,
        epochs=config.epochs,
        callbacks=[stop, board],
        shuffle=False,
        verbose=0,
    )
    return {
        "rows": rows,
        "epochs": len(history.history["val_loss"]),
        "holdout_rows": int(held_out.sum()),
        "holdout_log_loss": stop.kept_loss,
        "parameters": model.count_params(),
        "seed": config.seed,
    }


class Stopping(keras.callbacks.Callback):  # type: ignore[misc]
    """Stops when the holdout says that the network overfits, and then takes its best pass back.

    Unless the loss is clearly worse than at its best, the last weights stay: the holdout cannot
    tell passes apart that are this close, and those from before the learning rate had fallen
    were worse on the next span, though they looked better on the holdout.

    Args:
        patience: passes in a row that must be clearly worse.
    """

    #: Clearly worse is more than this share.
    TOLERANCE = 0.01

    def __init__(self, patience: int) -> None:
        super().__init__()
        self.kept_loss = float("inf")
        self._patience, self._worse = patience, 0
        self._best_loss = float("inf")
        self._best_weights: list[Array] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        del epoch
        self.kept_loss = float(logs["val_loss"])
        if self.kept_loss < self._best_loss:
            self._best_loss, self._best_weights = self.kept_loss, self.model.get_weights()
        clearly = self.kept_loss > (1 + self.TOLERANCE) * self._best_loss
        self._worse = self._worse + 1 if clearly else 0
        if self._worse >= self._patience:
            self.model.stop_training = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        del logs
        if self._worse:
            self.model.set_weights(self._best_weights)
            self.kept_loss = self._best_loss


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    """Minibatches gathered from columns on disk.

    Args:
        inputs: the model's inputs, in order.
        labels: one a row.
        rows: the rows to draw from; in memory they need 8 bytes each, all that grows with them.
        size: rows a batch. The last, smaller batch of a shuffled pass is left out.
        seed: of the order, which differs from pass to pass; None leaves the rows in order.
    """

    def __init__(
        self,
        inputs: Sequence[Array],
        labels: Array,
        rows: npt.NDArray[np.int64],
        size: int,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        self._inputs, self._labels, self._rows = inputs, labels, rows
        self._size = min(size, max(1, len(rows)))
        self._random = None if seed is None else np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        whole, rest = divmod(len(self._rows), self._size)
        return whole + (self._random is None and rest > 0)

    def __getitem__(self, index: int) -> tuple[tuple[Array, ...], Array]:
        rows = self._rows[index * self._size : (index + 1) * self._size]
        if self._random is not None:
            rows = np.sort(rows)  # the disk is read forwards; the order in a batch is all one
        target = self._labels[rows].astype(np.float32)[:, None]
        return tuple(column[rows] for column in self._inputs), target

    def on_epoch_end(self) -> None:
        if self._random is not None:
            self._random.shuffle(self._rows)
