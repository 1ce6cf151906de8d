"""Parts of a point in time, by integer arithmetic in the TensorFlow graph.

`datetime` does not exist where a model is served, and floats lose seconds: everything here is
int64. The calendar is the proleptic Gregorian one, without leap seconds, as in Unix time.
"""

from __future__ import annotations

import tensorflow as tf

from models.config import TimePart

DAY_SECONDS = 86_400

#: Parts that are one of few values, with the number of values. The others are numbers.
CATEGORICAL_PARTS: dict[TimePart, int] = {"hour": 24, "weekday": 7, "day_of_month": 31, "month": 12}


def part(seconds: tf.Tensor, name: TimePart) -> tf.Tensor:
    """A part of points in time.

    Args:
        seconds: int64, any shape, since 1970-01-01; may be negative.
        name: `hour` 0–23, `minute_of_day` 0–1439, `weekday` 0 (Monday) – 6, `day_of_month` 0–30,
            `month` 0 (January) – 11, `year` as it is.

    Returns:
        int64 of the same shape. All but `year` count from 0.
    """
    match name:
        case "hour":
            return seconds % DAY_SECONDS // 3600
        case "minute_of_day":
            return seconds % DAY_SECONDS // 60
        case "weekday":
            return (seconds // DAY_SECONDS + 3) % 7  # 1970-01-01 was a Thursday
        case "day_of_month":
            return _civil(seconds)[2]
        case "month":
            return _civil(seconds)[1]
        case "year":
            return _civil(seconds)[0]


def _civil(seconds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Year, month from 0, day from 0.

    Years are counted from March, so that the leap day is the last of a year, within "eras" of
    400 years = 146,097 days (https://howardhinnant.github.io/date_algorithms.html).
    """
    days = seconds // DAY_SECONDS + 719_468  # since 0000-03-01
    era = days // 146_097
    day_of_era = days % 146_097
    year_of_era = (
        day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096
    ) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    march_month = (5 * day_of_year + 2) // 153
    day = day_of_year - (153 * march_month + 2) // 5
    month = (march_month + 2) % 12
    january_or_february = tf.cast(month < 2, tf.int64)
    return year_of_era + 400 * era + january_or_february, month, day
