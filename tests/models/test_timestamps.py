"""Parts of a point in time against Python's own calendar."""

from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from models.config import TimePart

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTS = get_args(TimePart)
MOMENTS = st.datetimes(
    min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31), timezones=st.just(UTC)
)


def expected(moment: datetime) -> dict[str, int]:
    return {
        "hour": moment.hour,
        "minute_of_day": 60 * moment.hour + moment.minute,
        "weekday": moment.weekday(),
        "day_of_month": moment.day - 1,
        "month": moment.month - 1,
        "year": moment.year,
    }


@pytest.mark.slow
@given(st.lists(MOMENTS, min_size=1, max_size=20))
@example([EPOCH, EPOCH - timedelta(seconds=1), datetime(2000, 2, 29, tzinfo=UTC)])
@example([datetime(1900, 2, 28, 23, 59, 59, tzinfo=UTC), datetime(1900, 3, 1, tzinfo=UTC)])
@example([datetime(2020, 2, 29, 23, 59, 59, tzinfo=UTC), datetime(2024, 12, 31, tzinfo=UTC)])
def test_parts_agree_with_datetime(moments: list[datetime]) -> None:
    import tensorflow as tf

    from models import timestamps

    seconds = tf.constant([(moment - EPOCH) // timedelta(seconds=1) for moment in moments])
    seconds = tf.cast(seconds, tf.int64)
    for part in PARTS:
        result = timestamps.part(seconds, part).numpy().tolist()
        assert result == [expected(moment)[part] for moment in moments], part


def test_categorical_parts_count_their_values() -> None:
    import tensorflow as tf

    from models import timestamps

    days = tf.range(0, 366 * timestamps.DAY_SECONDS, 3600, tf.int64)
    for part, count in timestamps.CATEGORICAL_PARTS.items():
        assert sorted(set(timestamps.part(days, part).numpy().tolist())) == list(range(count))
