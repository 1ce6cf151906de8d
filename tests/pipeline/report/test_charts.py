"""The geometry of the charts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report import text
from pipeline.report.charts import axis, histogram, lines, model
from pipeline.report.formats import Bin, Change, CurveBin, Feature, Past, WorstBin

counts = st.floats(0, 1e9)


@given(st.floats(-100, 100), st.floats(1e-3, 1e6), st.integers(2, 6))
def test_ticks_are_round_and_cover_the_range(low: float, span: float, count: int) -> None:
    high = low + span
    ticks = axis.nice_ticks(low, high, count)
    step = ticks[1] - ticks[0]
    assert ticks[0] <= low + 1e-6 * step and ticks[-1] >= high - 1e-6 * step
    assert 2 <= len(ticks) <= count + 3
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(mantissa - nice) for nice in (1, 2, 5, 10)) < 1e-3


@given(st.lists(st.tuples(counts, counts), min_size=1, max_size=120), st.integers(0, 200))
def test_folding_loses_no_row_and_keeps_the_worst_bin(
    rows: list[tuple[float, float]], worst: int
) -> None:
    bins = [
        Bin(label=str(index), reference=one, current=other)
        for index, (one, other) in enumerate(rows)
    ]
    name = str(worst % len(bins))
    kept, folded = histogram.by_frequency(bins, name)
    assert len(kept) <= histogram.MAX_ROWS
    assert len(kept) - bool(folded) + folded == len(bins)
    columns = histogram.by_value(bins, name)
    assert len(columns) <= histogram.MAX_COLUMNS
    firsts = [int(b.label.split(" ")[0]) for b in columns if b.label != name]
    assert firsts == sorted(firsts)
    for drawn in (kept, columns):
        assert name in {b.label for b in drawn}
        for side in ("reference", "current"):
            assert math.fsum(getattr(b, side) for b in drawn) == pytest.approx(
                math.fsum(getattr(b, side) for b in bins)
            )


def feature(kind: str, bins: list[tuple[str, float, float]], worst: int = 0) -> Feature:
    made = [Bin(label=label, reference=one, current=other) for label, one, other in bins]
    changed = WorstBin(**made[worst].model_dump(), reference_share=0, current_share=0)
    return Feature(feature="f", type=kind, bins=tuple(made), worst_bin=changed)


def test_categories_are_rows_by_frequency_with_what_stands_for_several_last() -> None:
    chart = histogram.histogram(
        feature("categorical", [("missing", 50, 0), ("a", 10, 10), ("b", 40, 90)], worst=2)
    )
    assert chart is not None and not chart.upright
    assert [pair.label for pair in chart.pairs] == ["b", "a", "missing"]
    assert [pair.worst for pair in chart.pairs] == [True, False, False]
    assert chart.pairs[0].text == "40.0 → 90.0 %"
    longest = max(max(pair.reference, pair.current) for pair in chart.pairs)
    # 90 % is the longest bar; all others are in proportion.
    assert chart.pairs[0].current == longest
    assert chart.pairs[0].reference == pytest.approx(longest * 40 / 90)


def test_numbers_are_columns_in_their_own_order() -> None:
    chart = histogram.histogram(feature("numeric", [("0 – 1", 1, 3), ("1 – 2", 3, 1)]))
    assert chart is not None and chart.upright
    assert [pair.label for pair in chart.pairs] == ["0 – 1", "1 – 2"]
    assert chart.pairs[0].current == chart.pairs[1].reference == 3 * chart.pairs[0].reference
    assert chart.pairs[-1].at + chart.pairs[-1].width <= 100
    assert all(0 <= tick.at <= chart.base for tick in chart.ticks)


def test_a_side_without_rows_draws_nothing() -> None:
    assert histogram.histogram(feature("numeric", [("0", 0, 5)])) is None
    assert histogram.histogram(feature("categorical", [("0", 5, 0)])) is None


def test_a_change_beyond_the_chart_is_cut_and_said_to_be() -> None:
    near, far = Change(value=0.001, low=-0.02, high=0.03), Change(value=-0.09, low=-0.1, high=-0.08)
    forest = model.forest([("AUC", near, 0.005), ("Log loss", far, 0.005)])
    assert forest is not None
    first, second = forest.ranges
    assert first.low_cut and first.high_cut and first.beyond == ""
    assert forest.zero < first.x < forest.bar
    assert second.beyond == "low" and second.value == "−0.0900"
    assert all(0 <= end <= 100 for item in forest.ranges for end in (item.low, item.high, item.x))
    assert model.forest([]) is None


@given(st.lists(st.tuples(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_groups_of_the_calibration_curve_hold_every_row_once(
    bins: list[tuple[int, float, float]],
) -> None:
    curve = [
        CurveBin(
            low=index / 1000,
            high=(index + 1) / 1000,
            rows=rows,
            predictions=rows * prediction,
            labels=rows * share,
        )
        for index, (rows, prediction, share) in enumerate(bins)
    ]
    groups = model.reliability(curve)
    assert sum(group.rows for group in groups) == sum(b.rows for b in curve)
    assert len(groups) <= 11
    for group in groups:
        assert group.low - 1e-9 <= group.observed <= group.high + 1e-9


def test_the_label_rate_has_an_interval_that_narrows_with_rows() -> None:
    history = [
        Past(span="1", rows=100, label_rate=0.5),
        Past(span="2", rows=10_000, label_rate=0.5),
        Past(span="3", rows=10_000, label_rate=None),
    ]
    drawn = lines.label_rate(history)
    assert drawn is not None and len(drawn.dots) == 2
    few, many = drawn.dots
    assert few.low is not None and few.high is not None
    assert many.low is not None and many.high is not None
    # Larger shares are higher up, so smaller y.
    assert few.low > many.low > many.y > many.high > few.high
    assert lines.label_rate(history[:1]) is None


# --- text and numbers --------------------------------------------------------------------


@given(st.text(), st.integers(5, 80))
def test_a_clipped_text_keeps_both_ends(whole: str, limit: int) -> None:
    clipped = text.clip(whole, limit)
    assert len(clipped) <= limit
    assert clipped == whole or (whole.startswith(clipped[:2]) and whole.endswith(clipped[-1:]))


@pytest.mark.parametrize(
    "shown, expected",
    [
        (text.integer(119735), "119,735"),
        (text.fixed(0.84766), "0.8477"),
        (text.signed(-0.09116), "−0.0912"),
        (text.short(0.12), "0.12"),
        (text.short(0.00001234), "1.23e-05"),
        (text.short(0), "0"),
        (text.percent(0.1234), "12.3\u00a0%"),
        (text.percent(0.000001, 2), "<\u00a00.01\u00a0%"),
        (text.percent(0), "0.0\u00a0%"),
        (text.times(2.4), "2.40\u00a0×"),
        (text.times(1234.5), "1,234\u00a0×"),
        (text.many(1, "row"), "1 row"),
        (text.many(2000, "row"), "2,000 rows"),
        (text.listed(["a"]), "a"),
        (text.listed(["a", "b"]), "a and b"),
        (text.listed(list("abcde")), "a, b, c and 2 more"),
    ],
)
def test_numbers_and_lists_read_well(shown: str, expected: str) -> None:
    assert shown == expected


def test_what_is_no_number_is_a_dash() -> None:
    for write in (text.integer, text.fixed, text.signed, text.short, text.percent, text.times):
        assert write(None) == write(math.nan) == write(math.inf) == "–"
