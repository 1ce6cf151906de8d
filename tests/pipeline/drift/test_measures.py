"""Distances are what the libraries that people know say they are."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import contingency

from pipeline.drift.measures import MEASURES, chance, measure

counts = st.lists(st.integers(0, 500), min_size=4, max_size=12)


def some(values: list[int], other: list[int]) -> tuple[Any, Any]:
    size = min(len(values), len(other))
    return np.array(values[:size]), np.array(other[:size])


@pytest.mark.parametrize("kind", MEASURES)
@given(values=counts)
def test_equal_distributions_have_no_distance(kind: Any, values: list[int]) -> None:
    # The population stability index adds half a row, so that only equal counts are equal to it.
    told = measure(kind, np.array(values), np.array(values))
    assert all(value == pytest.approx(0, abs=1e-9) for value in told.values())


@given(values=counts, other=counts)
def test_many_tables_at_once_are_measured_as_one_by_one(
    values: list[int], other: list[int]
) -> None:
    left, right = some(values, other)
    for kind in MEASURES:
        stacked = measure(kind, np.stack([left, right]), np.stack([right, left]))
        for name, both in stacked.items():
            assert both[0] == pytest.approx(float(measure(kind, left, right)[name])), name
            assert both[1] == pytest.approx(float(measure(kind, right, left)[name])), name


@given(values=counts, other=counts)
def test_kolmogorov_smirnov_and_chi_square_are_scipys(values: list[int], other: list[int]) -> None:
    left, right = some(values, other)
    old, new = left[:-1], right[:-1]
    if not (old.sum() and new.sum()):
        return
    bins = np.arange(len(old))
    expected = stats.ks_2samp(np.repeat(bins, old), np.repeat(bins, new)).statistic
    assert measure("numeric", left, right)["kolmogorov_smirnov"] == pytest.approx(expected)
    table = np.stack([old, new])
    table = table[:, table.sum(axis=0) > 0]
    if table.shape[1] > 1:
        expected = contingency.association(table, method="cramer")
        assert measure("categorical", left, right)["chi_square"] == pytest.approx(expected)
        assert chance(old, new) == pytest.approx(contingency.chi2_contingency(table).pvalue)


@pytest.mark.tfx
@pytest.mark.parametrize("seed", range(5))
def test_jensen_shannon_and_l_infinity_are_tfdvs_on_the_same_histograms(seed: int) -> None:
    import tensorflow_data_validation as tfdv
    from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

    random = np.random.default_rng(seed)
    old, new = random.integers(0, 300, (2, 9))
    new[seed] = 0

    def statistics(values: Any) -> Any:
        made = statistics_pb2.DatasetFeatureStatisticsList()
        data = made.datasets.add(num_examples=int(values.sum()))
        number = data.features.add(type=statistics_pb2.FeatureNameStatistics.FLOAT)
        number.path.step.append("number")
        number.num_stats.common_stats.num_non_missing = int(values.sum())
        histogram = number.num_stats.histograms.add(type=statistics_pb2.Histogram.STANDARD)
        word = data.features.add(type=statistics_pb2.FeatureNameStatistics.STRING)
        word.path.step.append("word")
        word.string_stats.common_stats.num_non_missing = int(values.sum())
        for place, count in enumerate(values):
            histogram.buckets.add(low_value=place, high_value=place + 1, sample_count=count)
            if count:
                word.string_stats.rank_histogram.buckets.add(
                    label=str(place), sample_count=count, low_rank=place, high_rank=place
                )
        return made

    schema = schema_pb2.Schema()
    number = schema.feature.add(name="number", type=schema_pb2.FLOAT)
    number.drift_comparator.jensen_shannon_divergence.threshold = 1e-9
    word = schema.feature.add(name="word", type=schema_pb2.BYTES)
    word.drift_comparator.infinity_norm.threshold = 1e-9
    found = tfdv.validate_statistics(
        statistics(new), schema, previous_statistics=statistics(old)
    ).drift_skew_info
    theirs = {info.path.step[0]: info.drift_measurements[0].value for info in found}
    old, new = np.append(old, 0), np.append(new, 0)  # nothing is missing
    assert theirs["number"] == pytest.approx(
        float(measure("numeric", old, new)["jensen_shannon"]), rel=1e-6
    )
    assert theirs["word"] == pytest.approx(
        float(measure("categorical", old, new)["l_infinity"]), rel=1e-6
    )


def test_a_known_case_by_hand() -> None:
    old, new = np.array([50, 50, 0, 0]), np.array([25, 25, 25, 25])
    numbers, categories = measure("numeric", old, new), measure("categorical", old, new)
    third = 1 / 3
    assert numbers["kolmogorov_smirnov"] == pytest.approx(third)
    assert numbers["missing_rate"] == categories["missing_rate"] == 0.25
    assert categories["l_infinity"] == categories["unseen_rate"] == pytest.approx(third)
    # p and q over the three values, half a row added to each
    p, q = np.array([50.5, 50.5, 0.5]) / 101.5, np.array([25.5, 25.5, 25.5]) / 76.5
    assert numbers["psi"] == pytest.approx(float(((p - q) * np.log(p / q)).sum()))


def test_a_side_without_values_is_told_by_what_is_missing_alone() -> None:
    told = measure("numeric", np.array([0, 0, 100]), np.array([60, 40, 0]))
    assert told.pop("missing_rate") == 1.0
    assert all(value == 0 for value in told.values())
