"""What the transform graph makes of values of every kind, good and bad."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.tfx, pytest.mark.slow]

Transform = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def transform(trained: Any) -> Transform:
    """Raw columns, one value a row, to tensors by column; columns not given are missing."""
    import tensorflow as tf
    import tensorflow_transform as tft

    from models import preprocessing
    from models.config import raw_columns
    from models.table import Transformer

    graph = tft.TFTransformOutput(str(trained.graph))
    apply = Transformer(graph, trained.features)
    numbers = preprocessing.numeric_names(trained.features)
    categories = list(preprocessing.category_counts(trained.features, graph))

    def run(**columns: list[Any]) -> dict[str, Any]:
        count = max(len(values) for values in columns.values())
        raw = {
            name: tf.constant(
                columns.get(name, [preprocessing.MISSING[kind]] * count),
                preprocessing.DTYPES[kind],
            )
            for name, kind in raw_columns(trained.features).items()
        }
        result = {name: tensor.numpy() for name, tensor in apply(raw).items()}
        by_name: Mapping[str, Any] = {
            **dict(zip(numbers, result["numeric"].T, strict=True)),
            **dict(zip(categories, result["categorical"].T, strict=True)),
            "note": result["note_tokens"],
        }
        return dict(by_name)

    return run


def test_the_scale_decides_where_the_edges_lie(transform: Transform) -> None:
    """Squares of evenly spread numbers: few large ones, many small ones."""
    from models.edges import BINS

    values = [3.0, 100.0, 480.0, 970.0]
    linear, log = (transform(**{name: values})[name] / BINS for name in ("linear", "log"))
    assert linear == pytest.approx([value / 985 for value in values], abs=0.02)
    spread = np.log1p(np.array(values)) / np.log1p(985.0)
    assert log == pytest.approx(spread, abs=0.05)
    assert math.isnan(transform(linear=[math.nan])["linear"][0])


def test_numbers_rise_with_the_value_and_stay_within_the_bins(transform: Transform) -> None:
    from models.edges import BINS

    values = [-math.inf, -5.0, 0.5, 10.0, 10.05, 30.0, 59.0, 1e30, math.inf]
    fare = transform(fare=values)["fare"]
    assert np.isfinite(fare).all()
    assert (np.diff(fare) >= 0).all()
    assert fare[0] == fare[1] == 0
    assert fare[-1] == fare[-2] == BINS
    assert fare[5] == pytest.approx(BINS / 2, abs=3)  # the median of uniform 1–60 is near 30


def test_missing_and_nan_are_the_same_and_no_number(transform: Transform) -> None:
    result = transform(fare=[math.nan, 3.0])
    assert math.isnan(result["fare"][0]) and not math.isnan(result["fare"][1])
    assert np.isnan(result["constant"]).all()


def test_constant_and_wholly_missing_columns(transform: Transform) -> None:
    result = transform(constant=[2.5, 2.4, 99.0], never=[math.nan, 0.0, 7.0])
    assert np.isfinite(result["constant"]).all()
    assert math.isnan(result["never"][0]) and np.isfinite(result["never"][1:]).all()


def test_missing_unseen_and_known_categories_differ(transform: Transform) -> None:
    payment = transform(payment=[-1, 1, 2, 3, 4, 77])["payment"]
    # 1 is the most frequent; three values are kept; the fourth and any new one share a bucket.
    assert payment.tolist()[:3] == [0, 2, 3]
    assert 1 in payment[3:5] and payment[5] == 1
    assert transform(flag=["", "Y", "?"])["flag"].tolist()[::2] == [0, 1]


def test_empty_vocabulary_has_only_missing_and_buckets(transform: Transform) -> None:
    result = transform(empty_int=[-1, 5], empty_string=["", "x"])
    for name in ("empty_int", "empty_string"):
        assert result[name][0] == 0 and result[name][1] > 0


def test_ids_stay_below_their_count(transform: Transform, trained: Any) -> None:
    import tensorflow_transform as tft

    from models.preprocessing import category_counts

    graph = tft.TFTransformOutput(str(trained.graph))
    words = [f"w{i}" for i in range(200)]
    result = transform(
        place=words, flag=words, empty_string=words, payment=list(range(200)),
        empty_int=list(range(200)), start=[i * 7_000_001 for i in range(200)],
        end=[i * 7_000_001 for i in range(200)],
    )  # fmt: skip
    for name, count in category_counts(trained.features, graph).items():
        assert result[name].min() >= 0 and result[name].max() < count, name


def test_time_parts_and_elapsed(transform: Transform) -> None:
    start = datetime(2019, 3, 5, 14, 30, tzinfo=UTC)
    seconds = int(start.timestamp())
    result = transform(start=[seconds, seconds, -1], end=[seconds + 600, -1, seconds])
    assert result["start_hour"].tolist() == [15, 15, 0]  # from 1; 0 is missing
    assert result["start_weekday"].tolist() == [2, 2, 0]
    assert result["end_month"].tolist() == [3, 0, 3]
    assert result["end_day_of_month"].tolist() == [5, 0, 5]
    assert np.isnan(result["trip"]).tolist() == [False, True, True]
    assert np.isnan(result["start_minute_of_day"]).tolist() == [False, False, True]


def test_words_are_lower_cased_split_and_cut(transform: Transform) -> None:
    note = transform(note=["Quick  RIDE!", "quick-ride", "", "slow slow ride a b c d", "zzz"])[
        "note"
    ]
    assert note.shape == (5, 4)
    assert (note[0] == note[1]).all() and (note[0][2:] == 0).all()
    assert (note[2] == 0).all()
    assert note[3][0] == note[3][1] > 0 and note[3][2] == note[0][1]
    assert 1 <= note[4][0] <= 2  # out of vocabulary: one of two buckets, before the known words
    assert note[0].max() > 2


def test_vocabulary_does_not_learn_the_missing_value(trained: Any) -> None:
    import tensorflow_transform as tft

    graph = tft.TFTransformOutput(str(trained.graph))
    assert b"-1" not in graph.vocabulary_by_name("payment")
    assert len(graph.vocabulary_by_name("payment")) == 3


def test_dense_and_sparse_columns_give_the_same() -> None:
    import tensorflow as tf

    from models.preprocessing import _dense, _one_a_row

    sparse = tf.SparseTensor([[0, 0], [2, 0]], tf.constant([1, 3], tf.int64), [3, 1])
    empty = tf.SparseTensor(tf.zeros([0, 2], tf.int64), tf.zeros([0], tf.int64), [3, 0])
    dense = tf.constant([[1], [-1], [3]], tf.int64)
    found = [
        _dense(column, "int", _one_a_row([column])).numpy().tolist()
        for column in (sparse, dense, empty)
    ]
    assert found == [[1, -1, 3], [1, -1, 3], [-1, -1, -1]]
    # The shape of all may come from a column that the whole batch lacks.
    assert _dense(sparse, "int", _one_a_row([dense, empty])).numpy().tolist() == [1, -1, 3]
