"""Spans: which files are found, and which of them a run sees."""

import datetime as dt
import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.spans import (
    PatternError,
    Span,
    SpanFiles,
    SpanPattern,
    Window,
    choose_window,
    discover,
    fingerprint,
)


def found(folder: Path, pattern: str) -> list[SpanFiles]:
    return discover(str(folder), SpanPattern.parse(pattern))


def fill(folder: Path, *names: str) -> None:
    """Files that differ in content."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def labels(spans: list[SpanFiles]) -> list[str]:
    return [item.span.label for item in spans]


# --- patterns ----------------------------------------------------------------------------

UNITS = {
    "%Y": dt.timedelta(days=366),
    "%Y-%m": dt.timedelta(days=31),
    "%m.%Y": dt.timedelta(days=31),
    "%Y%m%d": dt.timedelta(days=1),
    "%d_%m_%Y": dt.timedelta(days=1),
    "%Y/%m/%d": dt.timedelta(days=1),
    "%Y-%m-%dT%H": dt.timedelta(hours=1),
}


def beginning(moment: dt.datetime, form: str) -> dt.datetime:
    """First moment of the period that a format can express."""
    return dt.datetime.strptime(moment.strftime(form), form)


@given(
    form=st.sampled_from(sorted(UNITS)),
    moment=st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2300, 1, 1)),
)
def test_a_date_written_with_the_pattern_is_read_as_the_same_period(
    form: str, moment: dt.datetime
) -> None:
    pattern = SpanPattern.parse(f"trips_{{span:{form}}}.csv")
    text = moment.strftime(form)
    match = pattern.regex().fullmatch(f"trips_{text}.csv")
    assert match
    span = pattern.span(match["span"])
    assert span
    assert span.label == text
    assert span.start is not None
    assert span.end is not None
    assert dt.datetime(1970, 1, 1) + dt.timedelta(seconds=span.start) == beginning(moment, form)
    # The next period begins where this one ends, and is the next in order.
    after = pattern.span((dt.datetime(1970, 1, 1) + dt.timedelta(seconds=span.end)).strftime(form))
    assert after
    assert after.start == span.end
    assert after.ordinal == span.ordinal + 1


@given(
    form=st.sampled_from(sorted(UNITS)),
    moments=st.lists(
        st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2300, 1, 1)), min_size=2, max_size=9
    ),
)
def test_spans_are_ordered_as_time_is(form: str, moments: list[dt.datetime]) -> None:
    pattern = SpanPattern.parse(f"{{span:{form}}}")
    spans = [pattern.span(moment.strftime(form)) for moment in moments]
    by_ordinal = sorted((span for span in spans if span), key=lambda span: span.ordinal)
    by_time = sorted(beginning(moment, form) for moment in moments)
    assert [span.label for span in by_ordinal] == [moment.strftime(form) for moment in by_time]


@given(st.integers(0, 10**12), st.integers(0, 6))
def test_whole_numbers_are_spans_with_or_without_leading_zeros(number: int, zeros: int) -> None:
    span = SpanPattern.parse("part{span}.csv").span("0" * zeros + str(number))
    assert span
    assert (span.ordinal, span.start, span.end) == (number, None, None)


@pytest.mark.parametrize(
    "pattern, rule",
    [
        ("/data/{span}.csv", "relative to data.path"),
        ("gs://bucket/{span}.csv", "relative to data.path"),
        ("{date}.csv", r"a brace that is not \{span\}"),
        ("{span.csv", "a brace"),
        ("{span}/{span:%Y}.csv", "must hold one"),
        ("{span:%y-%m}.csv", "knows %Y %m %d %H, not %y"),
        ("{span:%Y-%Y}.csv", "repeats"),
        ("{span:%m-%d}.csv", "needs %Y"),
        ("{span:%Y-%d}.csv", "skips a date directive"),
        ("{span:monthly}.csv", "needs %Y"),
        ("{span:%Y-W%V}.csv", "needs %G, not %Y, with %V"),
        ("{span:%G}.csv", "skips a date directive"),
        ("{span:%Y-%q-%d}.csv", "skips a date directive"),
        ("{span:%m %b %Y}.csv", "repeats"),
        ("{span[fortnight]:%Y-%m-%d}.csv", "knows the widths hour, day, week"),
        ("{span[day]:%Y-%m}.csv", "cannot be a day wide: it names a month"),
        ("{span[week]}.csv", "a width without a date"),
    ],
)
def test_patterns_that_make_no_sense(pattern: str, rule: str) -> None:
    with pytest.raises(PatternError, match=rule):
        SpanPattern.parse(pattern)


@pytest.mark.parametrize(
    "pattern, text, start, end",
    [
        ("{span:%Y-%-m}", "2023-1", "2023-01-01", "2023-02-01"),
        ("{span:%Y-%-m}", "2023-12", "2023-12-01", "2024-01-01"),
        ("{span:%YQ%q}", "2024Q1", "2024-01-01", "2024-04-01"),
        ("{span:Q%q-%Y}", "Q4-2023", "2023-10-01", "2024-01-01"),
        ("{span:%Y/Q%q/%m}", "2024/Q2/06", "2024-06-01", "2024-07-01"),
        ("{span:%G-W%V}", "2024-W01", "2024-01-01", "2024-01-08"),
        ("{span:%GW%-V}", "2020W53", "2020-12-28", "2021-01-04"),
        ("{span:%b-%Y}", "Sep-2024", "2024-09-01", "2024-10-01"),
        ("{span:%B_%Y}", "MAY_2024", "2024-05-01", "2024-06-01"),
        ("{span:%d-%b-%Y}", "05-jan-2024", "2024-01-05", "2024-01-06"),
        ("{span[week]:%Y%m%d}", "20240103", "2024-01-03", "2024-01-10"),
        ("{span[month]:%Y-%m-%d}", "2024-02-29", "2024-02-01", "2024-03-01"),
        ("{span[quarter]:%Y-%m}", "2024-12", "2024-10-01", "2025-01-01"),
        ("{span[year]:%Y-%m-%d}", "2024-06-30", "2024-01-01", "2025-01-01"),
        ("{span:%-d.%-m.%Y}", "1.12.2024", "2024-12-01", "2024-12-02"),
    ],
)
def test_what_a_text_is_the_period_of(pattern: str, text: str, start: str, end: str) -> None:
    parsed = SpanPattern.parse(f"{pattern}/x.csv")
    match = parsed.regex().fullmatch(f"{text}/x.csv")
    assert match and match["span"] == text
    span = parsed.span(text)
    assert span
    moments = [dt.datetime.fromtimestamp(s or 0, dt.UTC).date() for s in (span.start, span.end)]
    assert [str(moment) for moment in moments] == [start, end]


@pytest.mark.parametrize(
    "pattern, text",
    [
        ("{span:%G-W%V}", "2024-W53"),  # has 52
        ("{span:%Y/Q%q/%m}", "2024/Q1/06"),
        ("{span:%Y-%-m}", "2024-13"),
        ("{span:%Y-%-m-%-d}", "2023-2-29"),
    ],
)
def test_texts_that_name_no_period(pattern: str, text: str) -> None:
    assert SpanPattern.parse(f"{pattern}.csv").span(text) is None


def test_weeks_and_quarters_follow_each_other_over_the_years_end() -> None:
    weeks = SpanPattern.parse("{span:%G-W%V}.csv")
    last, first = weeks.span("2020-W53"), weeks.span("2021-W01")
    assert last and first and first.ordinal == last.ordinal + 1 and first.start == last.end
    quarters = SpanPattern.parse("{span:%Y-Q%q}.csv")
    last, first = quarters.span("2023-Q4"), quarters.span("2024-Q1")
    assert last and first and first.ordinal == last.ordinal + 1 and first.start == last.end


def test_a_figure_is_not_cut_in_two(tmp_path: Path) -> None:
    fill(tmp_path, "x11-2-2024.csv", "x1-2-2024.csv")
    assert labels(found(tmp_path, "*{span:%-d-%-m-%Y}.csv")) == ["1-2-2024", "11-2-2024"]


def test_what_writers_leave_behind_is_no_data(tmp_path: Path) -> None:
    fill(tmp_path, "2024-01/a.csv", "_temporary/0/a.csv", ".ipynb_checkpoints/a.csv")
    fill(tmp_path, "2024-02/_a.csv", "2024-02/.a.csv", "2024-02/b.csv", "_old/a.csv")
    assert [os.path.basename(p) for s in found(tmp_path, "*/*.csv") for p in s.paths] == [
        "a.csv",
        "b.csv",
    ]
    assert labels(found(tmp_path, "_old/*.csv")) == ["all"]


# --- discovery ---------------------------------------------------------------------------


@given(st.lists(st.dates(dt.date(1990, 1, 1), dt.date(2100, 1, 1)), min_size=1, max_size=8))
def test_every_dated_file_is_found_once_oldest_first(
    tmp_path_factory: pytest.TempPathFactory, dates: list[dt.date]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    fill(folder, *(f"{date:%Y-%m-%d}.csv" for date in dates))
    spans = found(folder, "{span:%Y-%m-%d}.csv")
    assert labels(spans) == [f"{date:%Y-%m-%d}" for date in sorted(set(dates))]
    assert [Path(item.paths[0]).stem for item in spans] == labels(spans)


def test_folders_with_several_files_a_span(tmp_path: Path) -> None:
    fill(tmp_path, "2019-01/b.csv", "2019-01/a.csv", "2019-02/a.csv", "2019-02/notes.md")
    first, second = found(tmp_path, "{span:%Y-%m}/*.csv")
    assert [os.path.basename(path) for path in first.paths] == ["a.csv", "b.csv"]
    assert len(second.paths) == 1


def test_nested_date_folders(tmp_path: Path) -> None:
    fill(tmp_path, "2019/01/31/x.csv", "2019/02/01/x.csv")
    first, second = found(tmp_path, "{span:%Y/%m/%d}/x.csv")
    assert (first.span.label, second.span.label) == ("2019/01/31", "2019/02/01")
    assert second.span.ordinal == first.span.ordinal + 1


def test_what_is_no_date_is_passed_over(tmp_path: Path) -> None:
    fill(tmp_path, "2019-01.csv", "2019-13.csv", "2019-1.csv", "latest.csv", "2019-01.csv.partial")
    assert labels(found(tmp_path, "{span:%Y-%m}.csv")) == ["2019-01"]


@pytest.mark.parametrize("form", ["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%d-%H"])
def test_the_end_of_all_calendars_is_no_span(tmp_path: Path, form: str) -> None:
    end = dt.datetime(9999, 12, 31, 23).strftime(form)
    fill(tmp_path, f"{end}.csv", f"{dt.datetime(2019, 1, 1).strftime(form)}.csv")
    assert labels(found(tmp_path, f"{{span:{form}}}.csv")) != [end]
    assert len(found(tmp_path, f"{{span:{form}}}.csv")) == 1


def test_without_a_span_all_files_are_one_table(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv", "b.csv")
    (only,) = found(tmp_path, "*.csv")
    assert only.span == Span(0, "all")
    assert len(only.paths) == 2
    window = choose_window([only], newest=None, train_spans=12, eval_spans=1, gap="error")
    assert window.split_by_row
    assert window.spans == (only,)


def test_names_with_characters_that_mean_something_to_a_shell(tmp_path: Path) -> None:
    folder = tmp_path / "d[a]ta*?"
    fill(folder, "trips[1] 2019-01.csv", "trips1 2019-01.csv")
    (only,) = found(folder, "trips[1] {span:%Y-%m}.csv")
    assert only.paths == (str(folder / "trips[1] 2019-01.csv"),)


def test_nothing_found_names_folder_and_pattern(tmp_path: Path) -> None:
    fill(tmp_path, "2019-01.parquet")
    with pytest.raises(DataError, match="no span found") as caught:
        found(tmp_path, "{span:%Y-%m}.csv")
    assert str(tmp_path) in str(caught.value)
    assert "'{span:%Y-%m}.csv'" in str(caught.value)
    assert "mend the pattern" in str(caught.value)


def test_no_data_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.path: there is no folder .*gone\. Name the one"):
        found(tmp_path / "gone", "{span}.csv")


def test_a_file_in_place_of_the_data_folder(tmp_path: Path) -> None:
    fill(tmp_path, "data")
    with pytest.raises(DataError, match=r"data\.path: there is no folder"):
        found(tmp_path / "data", "{span}.csv")


def test_a_folder_named_like_a_span_file(tmp_path: Path) -> None:
    fill(tmp_path, "2019-01.csv", "2019-02.csv/part.csv")
    with pytest.raises(DataError, match=r"2019-02\.csv: is a folder where") as caught:
        found(tmp_path, "{span:%Y-%m}.csv")
    assert "Move it away" in str(caught.value)


@pytest.mark.parametrize(
    "pattern, names",
    [
        ("{span}.csv", ["1.csv", "01.csv"]),
        ("part-{span}-*.csv", ["part-1-a.csv", "part-01-a.csv"]),
    ],
)
def test_two_files_that_claim_one_span(tmp_path: Path, pattern: str, names: list[str]) -> None:
    fill(tmp_path, "0.csv", *names)
    with pytest.raises(DataError, match="has 2 files") as caught:
        found(tmp_path, pattern)
    for name in names:
        assert name in str(caught.value)
    assert "Remove the wrong one" in str(caught.value)


def test_two_formats_of_one_span_are_two_files_where_one_is_meant(tmp_path: Path) -> None:
    fill(tmp_path, "1/data.csv", "2/data.csv", "02/data.csv")
    with pytest.raises(DataError, match="span 2 has 2 files"):
        found(tmp_path, "{span}/data.csv")


# --- windows -----------------------------------------------------------------------------


def spans_of(*ordinals: int) -> list[SpanFiles]:
    return [SpanFiles(Span(n, str(n)), (f"/data/{n}.csv",)) for n in ordinals]


def chosen(
    *ordinals: int, newest: int | None = None, train: int = 3, evaluate: int = 1, gap: str = "error"
) -> tuple[list[int], list[int]]:
    window = choose_window(
        spans_of(*ordinals),
        newest=None if newest is None else str(newest),
        train_spans=train,
        eval_spans=evaluate,
        gap=gap,
    )
    assert window.newest == window.evaluate[-1].span
    assert not window.split_by_row
    return (
        [item.span.ordinal for item in window.train],
        [item.span.ordinal for item in window.evaluate],
    )


@given(
    count=st.integers(2, 30),
    train=st.integers(1, 12),
    evaluate=st.integers(1, 3),
    back=st.integers(0, 29),
)
def test_a_window_is_the_spans_before_the_newest(
    count: int, train: int, evaluate: int, back: int
) -> None:
    newest = max(0, count - 1 - back)
    if newest < evaluate:
        with pytest.raises(DataError, match="at least 1 to train on"):
            chosen(*range(count), newest=newest, train=train, evaluate=evaluate)
        return
    older, held_out = chosen(*range(count), newest=newest, train=train, evaluate=evaluate)
    assert held_out == list(range(newest - evaluate + 1, newest + 1))
    # At the beginning of history there are fewer to train on.
    assert older == list(range(max(0, held_out[0] - train), held_out[0]))


def test_without_a_name_the_newest_span_is_taken() -> None:
    assert chosen(1, 2, 3, 4, 5) == ([2, 3, 4], [5])


def test_an_unknown_span_is_told_with_what_there_is() -> None:
    with pytest.raises(DataError, match=r"there is no span 7; there are 3, 1 to 3\.") as caught:
        chosen(1, 2, 3, newest=7)
    assert "--span" in str(caught.value)


@pytest.mark.parametrize(
    "ordinals, missing, between",
    [
        ((1, 2, 4), 1, "between 2 and 4"),
        ((1, 2, 3, 7), 3, "between 3 and 7"),
        ((1, 2, 4, 5, 6), 1, "between 2 and 4"),  # the window's oldest span
    ],
)
def test_a_gap_inside_the_window_is_an_error(
    ordinals: tuple[int, ...], missing: int, between: str
) -> None:
    with pytest.raises(DataError, match=f"the window has a gap: {missing} span") as caught:
        chosen(*ordinals)
    assert between in str(caught.value)
    assert 'window.gap = "skip"' in str(caught.value)


def test_a_gap_older_than_the_window_does_not_matter() -> None:
    assert chosen(1, 3, 4, 5, 6) == ([3, 4, 5], [6])


def test_a_gap_may_be_passed_over() -> None:
    assert chosen(1, 2, 4, 8, gap="skip") == ([1, 2, 4], [8])
    assert chosen(0, 1, 2, 4, 8, gap="skip") == ([1, 2, 4], [8])


def test_one_span_alone_cannot_be_trained_and_evaluated_on() -> None:
    with pytest.raises(DataError, match="Add older data"):
        chosen(3)


@given(st.sets(st.integers(0, 40), min_size=2), st.integers(1, 12), st.integers(1, 2))
def test_skipping_gaps_takes_the_nearest_older_spans(
    ordinals: set[int], train: int, evaluate: int
) -> None:
    ordered = sorted(ordinals)
    if len(ordered) <= evaluate:
        return
    older, held_out = chosen(*ordered, train=train, evaluate=evaluate, gap="skip")
    assert older + held_out == ordered[-len(older + held_out) :]
    assert len(held_out) == evaluate
    assert len(older) == min(train, len(ordered) - evaluate)


@given(st.sets(st.integers(0, 15), min_size=2), st.integers(1, 5))
def test_a_window_without_error_has_no_gap(ordinals: set[int], train: int) -> None:
    ordered = sorted(ordinals)
    wanted = [n for n in range(ordered[-1] - train, ordered[-1] + 1) if n >= ordered[0]]
    if set(wanted) <= ordinals and len(wanted) > 1:
        assert chosen(*ordered, train=train) == (wanted[:-1], wanted[-1:])
    else:
        with pytest.raises(DataError, match="gap"):
            chosen(*ordered, train=train)


# --- fingerprints ------------------------------------------------------------------------


def window_of(folder: Path) -> Window:
    return choose_window(
        found(folder, "{span}.csv"), newest=None, train_spans=9, eval_spans=1, gap="error"
    )


def test_the_fingerprint_follows_the_content_not_the_clock(tmp_path: Path) -> None:
    fill(tmp_path, "1.csv", "2.csv", "3.csv")
    before = fingerprint(window_of(tmp_path), str(tmp_path))
    os.utime(tmp_path / "1.csv", (1, 1))
    assert fingerprint(window_of(tmp_path), str(tmp_path)) == before
    (tmp_path / "1.csv").write_text("changed")
    assert fingerprint(window_of(tmp_path), str(tmp_path)) != before


def test_the_fingerprint_does_not_depend_on_where_the_data_lies(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        fill(folder, "1.csv", "2.csv")
    prints = {fingerprint(window_of(folder), str(folder)) for folder in (here, there)}
    assert len(prints) == 1


def test_the_fingerprint_tells_training_from_evaluation(tmp_path: Path) -> None:
    fill(tmp_path, "1.csv", "2.csv", "3.csv")
    spans = found(tmp_path, "{span}.csv")
    one = Window(tuple(spans[:2]), tuple(spans[2:]))
    other = Window(tuple(spans[:1]), tuple(spans[1:]))
    assert fingerprint(one, str(tmp_path)) != fingerprint(other, str(tmp_path))


def test_the_same_bytes_under_two_names_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "1.csv", "2.csv")
    (tmp_path / "3.csv").write_text("1.csv")
    with pytest.raises(DataError, match=r"3\.csv: holds the same bytes as .*1\.csv") as caught:
        fingerprint(window_of(tmp_path), str(tmp_path))
    assert "remove it" in str(caught.value)


def test_one_file_without_spans_is_no_duplicate_of_itself(tmp_path: Path) -> None:
    fill(tmp_path, "a.csv", "b.csv")
    window = choose_window(
        found(tmp_path, "*.csv"), newest=None, train_spans=1, eval_spans=1, gap="error"
    )
    assert len(fingerprint(window, str(tmp_path))) == hashlib.sha256().digest_size * 2
    (tmp_path / "c.csv").write_text("a.csv")
    again = choose_window(
        found(tmp_path, "*.csv"), newest=None, train_spans=1, eval_spans=1, gap="error"
    )
    with pytest.raises(DataError, match="same bytes"):
        fingerprint(again, str(tmp_path))
