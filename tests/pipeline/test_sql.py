"""Conversions to the canonical types, against what Python makes of the same values."""

import datetime as dt
import decimal
import math
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import moments, sql
from pipeline.errors import ConfigError

INT64 = st.integers(-(2**63), 2**63 - 1)
#: Whole numbers that a DOUBLE holds exactly.
EXACT = st.integers(-(2**53), 2**53)
MOMENTS = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1))


DATABASE = sql.connect()


def convert(values: list[Any], arrow: pa.DataType, kind: Any) -> list[tuple[Any, bool]]:
    """Each value converted, and whether the file had one there."""
    DATABASE.register("t", pa.table({"x": pa.array(values, arrow)}))
    ((_, source, *_),) = DATABASE.execute("DESCRIBE t").fetchall()
    typed, present = sql.typed("x", kind, source), sql.present("x", source)
    return DATABASE.execute(f"SELECT {typed}, {present} FROM t").fetchall()


def values_of(values: list[Any], arrow: pa.DataType, kind: Any) -> list[Any]:
    return [value for value, _ in convert(values, arrow, kind)]


def seconds(moment: dt.datetime) -> int:
    return math.floor((moment - dt.datetime(1970, 1, 1)).total_seconds())


# --- to float ----------------------------------------------------------------------------


@given(st.lists(st.none() | st.floats(), min_size=1))
def test_floats_stay_and_nan_is_missing(values: list[float | None]) -> None:
    for value, (made, there) in zip(values, convert(values, pa.float64(), "float"), strict=True):
        missing = value is None or math.isnan(value)
        assert made == (None if missing else value)
        assert there == (not missing)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | EXACT, min_size=1))
def test_numbers_written_as_text_are_read_as_python_reads_them(values: list[float]) -> None:
    made = values_of([str(value) for value in values], pa.string(), "float")
    assert made == [float(value) for value in values]


@given(st.lists(INT64, min_size=1))
def test_integers_become_floats(values: list[int]) -> None:
    assert values_of(values, pa.int64(), "float") == [float(value) for value in values]


@pytest.mark.parametrize("text", ["NaN", "nan", "NAN", ""])
def test_nan_as_text_is_missing_not_wrong(text: str) -> None:
    assert convert([text], pa.string(), "float") == [(None, False)]
    assert convert([text], pa.string(), "int") == [(None, False)]


@pytest.mark.parametrize("text", ["abc", "1,5", "1.5.2", "12 kg", "--", "0x"])
def test_text_that_is_no_number_is_there_but_not_converted(text: str) -> None:
    for kind in ("float", "int", "timestamp"):
        assert convert([text], pa.string(), kind) == [(None, True)]


def test_infinity_is_kept_apart_from_missing() -> None:
    # The rule "not finite" refuses the row; here it must not vanish.
    assert values_of(["inf", "-Infinity"], pa.string(), "float") == [math.inf, -math.inf]


# --- to int ------------------------------------------------------------------------------


@given(st.lists(st.none() | INT64, min_size=1))
def test_integers_stay_to_the_last_digit(values: list[int | None]) -> None:
    assert values_of(values, pa.int64(), "int") == values
    as_text = [None if value is None else str(value) for value in values]
    assert values_of(as_text, pa.string(), "int") == values


@given(st.lists(EXACT, min_size=1))
def test_whole_floats_are_integers(values: list[int]) -> None:
    assert values_of([float(value) for value in values], pa.float64(), "int") == values
    assert values_of([f"{value}.0" for value in values], pa.string(), "int") == values


@given(
    st.floats(allow_nan=False).filter(
        lambda value: value != math.trunc(value) if math.isfinite(value) else True
    )
)
def test_what_is_no_whole_number_is_not_rounded_to_one(value: float) -> None:
    assert convert([value], pa.float64(), "int") == [(None, True)]
    assert convert([repr(value)], pa.string(), "int") == [(None, True)]


@pytest.mark.parametrize(
    "value, arrow",
    [
        (2**63, pa.uint64()),
        (1e19, pa.float64()),
        ("9223372036854775808", pa.string()),
        (decimal.Decimal("2.5"), pa.decimal128(10, 2)),
    ],
)
def test_numbers_beyond_64_bits_are_refused(value: Any, arrow: pa.DataType) -> None:
    assert convert([value], arrow, "int") == [(None, True)]


@given(st.lists(st.none() | st.booleans(), min_size=1))
def test_truths_are_numbers(values: list[bool | None]) -> None:
    whole = [None if value is None else int(value) for value in values]
    assert values_of(values, pa.bool_(), "int") == whole
    assert values_of(values, pa.bool_(), "float") == whole


@pytest.mark.parametrize(
    "arrow", [pa.int8(), pa.int16(), pa.int32(), pa.uint8(), pa.uint32(), pa.uint64()]
)
def test_every_width_of_integer(arrow: pa.DataType) -> None:
    for kind in ("int", "timestamp"):
        assert values_of([0, 7, None], arrow, kind) == [0, 7, None]


# --- to timestamp ------------------------------------------------------------------------


@given(st.lists(st.none() | MOMENTS, min_size=1), st.sampled_from(["s", "ms", "us", "ns"]))
def test_moments_become_whole_seconds(values: list[dt.datetime | None], unit: str) -> None:
    values = [value and value.replace(microsecond=0) for value in values]
    expected = [None if value is None else seconds(value) for value in values]
    assert values_of(values, pa.timestamp(unit), "timestamp") == expected


@given(MOMENTS)
def test_parts_of_seconds_are_cut_downwards(value: dt.datetime) -> None:
    assert values_of([value], pa.timestamp("us"), "timestamp") == [seconds(value)]
    assert values_of([value.isoformat()], pa.string(), "timestamp") == [seconds(value)]
    assert values_of([value.isoformat(" ")], pa.string(), "timestamp") == [seconds(value)]


@given(st.dates(dt.date(1700, 1, 1), dt.date(2200, 1, 1)))
def test_dates_are_their_midnight(value: dt.date) -> None:
    midnight = seconds(dt.datetime(value.year, value.month, value.day))
    assert values_of([value], pa.date32(), "timestamp") == [midnight]
    assert values_of([value.isoformat()], pa.string(), "timestamp") == [midnight]


@given(st.integers(moments.FIRST + 1, moments.LAST))
def test_numbers_are_seconds_already(value: int) -> None:
    assert values_of([value], pa.int64(), "timestamp") == [value]
    assert values_of([float(value)], pa.float64(), "timestamp") == [value]
    assert values_of([str(value)], pa.string(), "timestamp") == [value]
    assert values_of([value + 0.25], pa.float64(), "timestamp") == [value]
    assert values_of([f"{value}.25"], pa.string(), "timestamp") == [value - (value < 0)]


@given(st.integers(moments.LAST + 1, 2**53) | st.integers(-(2**53), moments.FIRST - 1))
def test_seconds_beyond_the_year_9999_are_no_moment(value: int) -> None:
    for arrow, written in ((pa.int64(), value), (pa.float64(), value), (pa.string(), str(value))):
        assert convert([written], arrow, "timestamp") == [(None, True)]


@pytest.mark.parametrize("text", ["2019-12-01T08:00:00Z", "2019-12-01 10:00:00+02:00"])
def test_an_offset_is_counted_and_the_machine_s_own_is_not(text: str) -> None:
    assert DATABASE.execute("SELECT current_setting('TimeZone')").fetchall() == [("UTC",)]
    expected = seconds(dt.datetime(2019, 12, 1, 8))
    assert values_of([text], pa.string(), "timestamp") == [expected]


def test_moments_with_a_zone_are_utc() -> None:
    moment = dt.datetime(2019, 12, 1, 8, tzinfo=dt.UTC)
    made = values_of([moment], pa.timestamp("us", "America/New_York"), "timestamp")
    assert made == [int(moment.timestamp())]


def test_an_infinite_moment_is_refused_not_an_error() -> None:
    typed = sql.typed("x", "timestamp", "TIMESTAMP")
    query = f"SELECT {typed} FROM (SELECT TIMESTAMP 'infinity' AS x)"
    assert DATABASE.execute(query).fetchall() == [(None,)]


@pytest.mark.parametrize("text", ["yesterday", "2019-13-01", "01/12/2019", "12:30"])
def test_text_that_is_no_moment(text: str) -> None:
    assert convert([text], pa.string(), "timestamp") == [(None, True)]


@pytest.mark.parametrize("kind", ["float", "int"])
def test_a_moment_is_no_number(kind: str) -> None:
    moment = dt.datetime(2019, 12, 1)
    assert convert([moment, None], pa.timestamp("us"), kind) == [(None, True), (None, False)]
    assert convert([moment.date()], pa.date32(), kind) == [(None, True)]


# --- to string ---------------------------------------------------------------------------


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_text_stays_and_the_empty_text_is_missing(values: list[str | None]) -> None:
    blanks = " \t\r\n\u00a0\u202f"
    wanted = [value if value and value.strip(blanks) else None for value in values]
    assert values_of(values, pa.string(), "string") == wanted


@given(st.lists(INT64, min_size=1))
def test_integers_become_their_digits(values: list[int]) -> None:
    assert values_of(values, pa.int64(), "string") == [str(value) for value in values]


def test_bytes_that_are_text_are_text_and_others_are_refused() -> None:
    made = convert(["é".encode(), b"", b"\xff\xfe", None], pa.binary(), "string")
    assert made[0] == ("é", True)
    assert made[1][0] is None
    assert made[2] == (None, True)
    assert made[3] == (None, False)


# --- columns without values, columns of strange types ------------------------------------


@pytest.mark.parametrize("kind", ["float", "int", "timestamp", "string"])
@pytest.mark.parametrize("arrow", [pa.null(), pa.float64(), pa.string(), pa.date32(), pa.bool_()])
def test_a_column_without_values_is_missing_in_every_type(kind: str, arrow: pa.DataType) -> None:
    assert convert([None, None], arrow, kind) == [(None, False), (None, False)]


@pytest.mark.parametrize(
    "value, arrow",
    [
        ([1.0], pa.list_(pa.float64())),
        ({"a": 1}, pa.struct([("a", pa.int64())])),
        (dt.time(1, 2), pa.time64("us")),
        (b"\x00\x01", pa.binary()),
    ],
)
@pytest.mark.parametrize("kind", ["float", "int", "timestamp"])
def test_a_value_of_a_strange_type_is_refused_not_an_error(
    value: Any, arrow: pa.DataType, kind: str
) -> None:
    assert convert([value], arrow, kind) == [(None, True)]


# --- names -------------------------------------------------------------------------------

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(NAMES | st.sampled_from(["select", 'a"b', "a b", "a;b", "größe", "a'b", "a.b", "*"]))
def test_any_name_may_be_a_column(name: str) -> None:
    DATABASE.execute(f"CREATE OR REPLACE TABLE named ({sql.quote(name)} VARCHAR)")
    DATABASE.execute("INSERT INTO named VALUES ('1.5')")
    typed, present = sql.typed(name, "float", "VARCHAR"), sql.present(name, "VARCHAR")
    assert DATABASE.execute(f"SELECT {typed}, {present} FROM named").fetchall() == [(1.5, True)]


@given(NAMES)
def test_any_text_may_be_a_literal(text: str) -> None:
    assert DATABASE.execute(f"SELECT {sql.text(text)}").fetchall() == [(text,)]


# --- reasons -----------------------------------------------------------------------------


def reasons(rules: dict[str, str], value: Any) -> str:
    query = f"SELECT {sql.reasons(rules)} FROM (SELECT CAST(? AS DOUBLE) AS x)"
    ((answer,),) = DATABASE.execute(query, [value]).fetchall()
    return str(answer)


def test_every_broken_rule_is_a_reason() -> None:
    rules = {"low": "x < 0", "odd": "x <> trunc(x)", "it's high": "x > 10 -- too much"}
    assert reasons(rules, -1.5) == "low;odd"
    assert reasons(rules, 11) == "it's high"
    assert reasons(rules, 5) == ""
    assert reasons({}, 5) == ""


def test_a_rule_about_a_missing_value_is_not_broken() -> None:
    assert reasons({"low": "x < 0"}, None) == ""
    assert reasons({"missing": "x IS NULL"}, None) == "missing"


def test_the_separator_in_a_name_does_not_make_two_reasons() -> None:
    assert reasons({"a;b": "true", "c": "true"}, 1) == "a,b;c"


# --- expressions -------------------------------------------------------------------------


@pytest.fixture
def trips() -> duckdb.DuckDBPyConnection:
    connection = sql.connect()
    connection.execute(
        "CREATE TABLE trips (fare_amount DOUBLE, tip_amount DOUBLE, flag VARCHAR, "
        'tags VARCHAR[], day DATE, "headrace:raw" INTEGER)'
    )
    connection.execute("INSERT INTO trips VALUES (1, 0, 'x', [], '2019-01-01', 0)")
    return connection


@pytest.mark.parametrize(
    "expression",
    [
        "tip_amount > 0",
        "tip_amount / 0 > 1",
        "1",
        "flag",
        "NULL",
        "tip_amount > 0 -- or not",
        "2.5",
    ],
)
def test_expressions_that_fit(trips: duckdb.DuckDBPyConnection, expression: str) -> None:
    sql.check_expression(trips, "label.expression", expression, "trips", "a.csv")


@pytest.mark.parametrize(
    "expression, rule, remedy",
    [
        ("tip_amont > 1", "a column that is not there: tip_amont", "Did you mean 'tip_amount'?"),
        ("zzz > 1", "not there: zzz", "Columns: fare_amount, tip_amount, flag, tags, day."),
        ("flag > 1", "cannot be computed", "is text unless"),
        ("sqrtt(fare_amount)", "cannot be computed", "Mend the expression."),
        ("day", "must be true or false (1 or 0), but is of type DATE", "Mend"),
        ("tags", "of type VARCHAR[]", "Mend"),
        ("fare_amount, tip_amount", "must be true or false", "Mend"),
        ("count(*) > 1", "cannot contain aggregates", "Mend"),
        ("row_number() OVER () > 1", "cannot contain window functions", "Mend"),
        ("unnest(tags)", "UNNEST", "Mend"),
        ("*", "cannot be computed", "Mend"),
    ],
)
def test_expressions_that_do_not_fit_are_told_with_key_and_remedy(
    trips: duckdb.DuckDBPyConnection, expression: str, rule: str, remedy: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        sql.check_expression(trips, "quarantine.rules.odd", expression, "trips", "a.csv")
    (fault,) = caught.value.faults
    assert caught.value.source == "a.csv"
    assert fault.key == "quarantine.rules.odd"
    assert expression in fault.value
    assert rule in fault.rule
    assert remedy in fault.remedy
    assert "headrace:" not in str(fault)


def test_what_fails_only_on_a_row_is_found_by_running_it(trips: duckdb.DuckDBPyConnection) -> None:
    problem = sql.run_time_problem(trips, "CAST(flag AS INTEGER) = 1", "trips")
    assert problem
    assert "Could not convert string 'x'" in problem
    assert sql.run_time_problem(trips, "fare_amount / 0 > 1", "trips") is None


def test_the_database_never_installs_anything() -> None:
    with sql.connect() as connection, pytest.raises(duckdb.Error, match=r"not found|INSTALL"):
        connection.execute("LOAD spatial")
