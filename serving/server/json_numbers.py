"""Floats as TensorFlow Serving's REST interface writes them.

Six significant digits where these are enough to read the same number back, else nine (float) or
seventeen (double); never without a point or an exponent, so that a reader sees a float; `NaN`,
`Infinity` and `-Infinity` by name.
"""

from __future__ import annotations

import math
import time

import numpy as np

from serving.server.errors import Code, ServingError

# Numbers that are formatted at a time: another thread may run in between.
_CHUNK = 1 << 14
_NAMES = {"nan": "NaN", "-nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def float_texts(values: np.ndarray, deadline: float | None = None) -> list[str]:
    """The texts of a float32 or float64 array, in row-major order.

    Args:
        values: any shape.
        deadline: when to give up, on the clock `time.monotonic`.

    Raises:
        ServingError: DEADLINE_EXCEEDED.
    """
    flat = values.reshape(-1)
    if flat.size <= _CHUNK:
        return _texts(flat)
    texts: list[str] = []
    for start in range(0, flat.size, _CHUNK):
        if deadline is not None and time.monotonic() > deadline:
            raise ServingError(Code.DEADLINE_EXCEEDED, "Timed out while writing the JSON text.")
        texts += _texts(flat[start : start + _CHUNK])
    return texts


def float_text(value: float) -> str:
    """The text of a double."""
    return _texts(np.array([value]))[0]


def _texts(flat: np.ndarray) -> list[str]:
    numbers = flat.tolist()
    digits = "%.9g " if flat.dtype == np.float32 else "%.17g "
    short = _maybe_six_digits(flat)
    # One format call for all: half the time of one call each.
    formats = np.where(short, "%.6g ", digits).tolist()
    texts = ("".join(formats) % tuple(numbers)).split()
    for index in np.flatnonzero(short).tolist():
        text, number = texts[index], numbers[index]
        if not math.isfinite(number):
            texts[index] = _NAMES[text]
        elif flat.dtype.type(text) != number:
            texts[index] = (digits % number).rstrip()
    return [
        text if "." in text or "e" in text or text[-1] in "Ny" else f"{text}.0" for text in texts
    ]


def _maybe_six_digits(flat: np.ndarray) -> np.ndarray:
    """False where six significant digits cannot be enough: most results of a model."""
    size = np.abs(flat.astype(np.float64))
    with np.errstate(all="ignore"):
        scaled = size * 10.0 ** (5 - np.floor(np.log10(size)))
        # The nearest float is at most 2**-24 off, relatively, and so 0.06 in this scale.
        far: np.ndarray = np.abs(scaled - np.rint(scaled)) > 0.1
    return ~far | (size < 1e-37)
