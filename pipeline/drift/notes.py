"""What should be known of a comparison's thresholds, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from pipeline.drift import compare, own
from pipeline.drift.bins import Binned
from pipeline.drift.measures import RANGES
from pipeline.drift.noise import Test
from pipeline.drift.report import Calibration

#: A span of so many times more or fewer rows than the calibrated ones has another noise.
_OTHER_SIZE = 2.0
#: Names that a sentence holds.
_NAMES = 8

COMMAND = "headrace drift calibrate"
NO_PROFILE = (
    "the schema carries no reviewed profile of the table, so that nothing tells whether it moved "
    "as a whole. If it is as it should be: headrace schema accept"
)


def of_thresholds(
    features: Sequence[Binned],
    bounds: Mapping[Test, float],
    calibration: Calibration | None,
    rows: int,
) -> Iterator[str]:
    """Where thresholds come from, and what they cannot judge.

    Args:
        features: binned; the last part is the current one.
        bounds: threshold of each feature and measure.
        calibration: measured thresholds, if there are any.
        rows: of the current side.
    """
    known = calibration
    if known and rows and not 1 / _OTHER_SIZE < rows / known.span_rows < _OTHER_SIZE:
        yield (
            f"thresholds were measured on spans of {known.span_rows:,} rows; {rows:,} are "
            f"compared. Measure again: {COMMAND}"
        )
    if not known and len(features[0].sizes) > own.MIN_SPANS:
        yield (
            f"thresholds follow from what the window's {len(features[0].sizes) - 1} spans differ "
            f"by, because none were measured. Measure them on more quiet spans: {COMMAND}"
        )
    for feature in features:
        if feature.trend:
            yield (
                f"{feature.name} trends, by {feature.trend}: the window was brought to the newest "
                "span's level before it was compared"
            )
    names = compare.restless([feature.name for feature in features], bounds)
    old = [name for name in names if known and _beyond(known.thresholds.get(name, {}))]
    if old:
        yield (
            f"{', '.join(old[:_NAMES])}: the calibrated thresholds are beyond what a distance can "
            f"be, so that nothing is news. Measure them again: {COMMAND}"
        )
    if names := [name for name in names if name not in old]:
        yield restless(names)


def _beyond(bounds: Mapping[str, float]) -> bool:
    """Whether there is a threshold that no distance can pass, as earlier versions wrote them."""
    return any(bound >= RANGES.get(name, math.inf) for name, bound in bounds.items())


def restless(names: Sequence[str]) -> str:
    """What to do about features that no threshold can judge."""
    told = ", ".join(names[:_NAMES]) + (" and more" if len(names) > _NAMES else "")
    return (
        f"{told}: differ from span to span as far as a distance can tell, so that nothing would "
        "be news of them. A column that only says which span it is of is best ignored "
        '(kind = "ignore"), a moment compared by what has passed since another (kind = "elapsed"), '
        "and a part of a moment that every span has its own of taken out of its parts"
    )


def uncalibrated(spans: int) -> str:
    """What is said once where a window is too short to tell what is usual; "" if it is not."""
    if spans >= own.MIN_SPANS:
        return ""
    return (
        f"drift is not calibrated yet, and the window's {spans} span(s) do not tell what is usual: "
        f"only large shifts are told. With {own.MIN_SPANS} quiet spans or more, run {COMMAND} "
        "--spans FIRST:LAST"
    )
