"""Training: deterministic, blind to what it must not see, plain about what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.tfx, pytest.mark.slow]


def weights(model: Path) -> dict[str, Any]:
    import tensorflow as tf

    prefix = str(model / "variables" / "variables")
    reader = tf.train.load_checkpoint(prefix)
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_dtype_map()
        if name.startswith("variables/")  # Keras lists them again, in an order of chance
    }


def test_learns_and_records(trained: Any) -> None:
    record = json.loads((trained.model / "assets.extra/headrace_training.json").read_text())
    assert record["rows"] == 3000
    assert 1 <= record["epochs"] <= 3
    assert 0 < record["holdout_log_loss"] < 0.55  # 0.69 is a coin
    assert record["seed"] == 0


def test_same_rows_give_the_same_weights_whatever_must_not_be_read(
    trained: Any, tmp_path: Path, write_examples: Any
) -> None:
    """Other leaks, other evaluation rows: bit by bit the same weights."""
    from models.training import run_fn

    other = replace(trained, train=tmp_path / "train.gz", evaluation=tmp_path / "eval.gz")
    write_examples(other.train, [{**row, "tip": -1e9} for row in trained.train_rows])
    write_examples(other.evaluation, [{"label": 1, "fare": 1.0}])
    run_fn(other.arguments(tmp_path / "model"))
    first, second = weights(trained.model), weights(tmp_path / "model")
    assert first.keys() == second.keys() and len(first) > 5
    assert [name for name in first if not np.array_equal(first[name], second[name])] == []


@pytest.mark.parametrize(
    "labels, words",
    [
        ([1, 1, 1], "'label' has a single class: 3 rows with 1"),
        ([0, 0], "'label' has a single class: 2 rows with 0"),
        ([0, 1, 7], "'label' must be 0 or 1.*1 rows with 7"),
        ([0, 1, -1], "'label' must be 0 or 1.*1 rows with -1"),
    ],
)
def test_labels_that_cannot_be_learnt_are_refused(labels: list[int], words: str) -> None:
    from models.training import check_labels

    with pytest.raises(ValueError, match=words):
        check_labels(np.array(labels), "label")


def test_single_class_ends_the_run_before_training(
    trained: Any, tmp_path: Path, write_examples: Any
) -> None:
    from models.training import run_fn

    other = replace(trained, train=tmp_path / "train.gz")
    write_examples(other.train, [{**row, "label": 1} for row in trained.rows])
    with pytest.raises(ValueError, match="single class: 200 rows with 1"):
        run_fn(other.arguments(tmp_path / "model"))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("content", [None, []])
def test_no_rows_is_a_plain_error(
    trained: Any, tmp_path: Path, write_examples: Any, content: list[Any] | None
) -> None:
    from models.training import run_fn

    other = replace(trained, train=tmp_path / "train.gz")
    if content is not None:
        write_examples(other.train, content)
    with pytest.raises(ValueError, match="no examples to train on"):
        run_fn(other.arguments(tmp_path / "model"))


@pytest.mark.parametrize(
    "losses, passes, kept",
    [
        ([0.5, 0.4, 0.402, 0.403, 0.401], 5, 4),  # as good as the best: the last stays
        ([0.5, 0.4, 0.41, 0.5, 0.3], 4, 1),  # clearly worse twice in a row: stops, back to the best
        ([0.5, 0.4, 0.41, 0.401, 0.41], 5, 1),  # ends on a clearly worse one: back to the best
        ([float("nan")] * 5, 5, 4),
    ],
)
def test_stops_where_the_holdout_is_clearly_worse(
    losses: list[float], passes: int, kept: int
) -> None:
    from models.training import Stopping

    class Model:
        weights, stop_training = -1, False

        def get_weights(self) -> int:
            return self.weights

        def set_weights(self, weights: int) -> None:
            self.weights = weights

    stop, model = Stopping(patience=2), Model()
    stop.set_model(model)
    for epoch, loss in enumerate(losses):
        model.weights = epoch
        stop.on_epoch_end(epoch, {"val_loss": loss})
        if model.stop_training:
            break
    stop.on_train_end()
    assert (epoch + 1, model.weights) == (passes, kept)
    assert stop.kept_loss == pytest.approx(losses[kept], nan_ok=True)


def test_batches_visit_each_row_once_a_pass_in_another_order() -> None:
    from models.training import Batches

    column, labels = np.arange(100), np.zeros(100, np.int32)
    batches = Batches([column], labels, np.arange(100), 10, seed=3)
    passes = []
    for _ in range(2):
        passes.append([batches[i][0][0].tolist() for i in range(len(batches))])
        batches.on_epoch_end()
    assert passes[0] != passes[1]
    assert all(sorted(chain(*visited)) == list(range(100)) for visited in passes)


def test_batches_in_order_keep_the_last_short_one() -> None:
    from models.training import Batches

    batches = Batches([np.arange(25)], np.zeros(25, np.int32), np.arange(25), 10)
    assert [len(batches[i][1]) for i in range(len(batches))] == [10, 10, 5]
