"""Values put into bins that all sides of a comparison share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.drift.columns import Column, Type

#: Bins of a number: each holds a thirty-second of the reference, unless many rows share a value.
NUMERIC_BINS = 32
#: Values of a category with a bin of their own, the reference's most frequent first.
MAX_VALUES = 1_000

MISSING, OTHERS = "missing", "others"

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Binned:
    """A feature's rows as numbers of bins.

    Attributes:
        name: of the feature.
        type: how it is compared.
        labels: of the bins, for people; the last is `missing`.
        edges: of a number: upper ends of the bins but the last.
        codes: the bin of each value, int32, part after part.
        sizes: values in each part.
        by_row: whether there is one code a row.
        trend: along which earlier parts were moved to the newest one's level; "" for none.
    """

    name: str
    type: Type
    labels: list[str]
    edges: Array | None
    codes: Array
    sizes: list[int]
    by_row: bool
    trend: str = ""

    def counts(self) -> Array:
        """Values by part and bin, int64 [parts, bins]."""
        ends = np.cumsum(self.sizes)[:-1]
        size = len(self.labels)
        parts = np.split(self.codes, ends)
        return np.stack([np.bincount(part, minlength=size) for part in parts])

    def place(self, values: Array) -> Array:
        """Bins of further values of a number."""
        assert self.edges is not None
        return _placed(self.edges, values)


def binned(reference: Sequence[Column], current: Sequence[Column] = ()) -> Binned:
    """Puts one feature's rows into bins.

    Args:
        reference: parts by which the bins are chosen, such as the spans of a window.
        current: further parts.
    """
    first = reference[0]
    sizes = [len(part.values) for part in (*reference, *current)]
    edges: Array | None = None
    if first.type in ("numeric", "prediction"):
        values = np.concatenate([part.values for part in (*reference, *current)])
        edges, labels = _edges(values[: sum(sizes[: len(reference)])])
        codes = _placed(edges, values)
    else:
        arrays = [part.values for part in (*reference, *current)]
        labels, codes = _categories(arrays, sum(sizes[: len(reference)]))
    labels = [*labels, MISSING]
    return Binned(first.name, first.type, labels, edges, codes, sizes, first.by_row)


def _edges(reference: Array) -> tuple[Array, list[str]]:
    """Closed above: a value that many rows share is the upper end of its bin."""
    known = reference[~np.isnan(reference)]
    if not len(known):  # whatever comes is "more than nothing"
        return np.empty(0), ["any value"]
    quantiles = np.linspace(0, 1, NUMERIC_BINS + 1)
    edges = np.unique(np.quantile(known, quantiles, method="lower"))
    texts = [f"{edge:.6g}" for edge in edges]
    inner = [f"{low} – {high}" for low, high in itertools.pairwise(texts)]
    return edges, [f"≤ {texts[0]}", *inner, f"> {texts[-1]}"]


def _placed(edges: Array, values: Array) -> Array:
    places = np.searchsorted(edges, values, side="left")
    return np.where(np.isnan(values), len(edges) + 1, places).astype(np.int32)


def _categories(parts: Sequence[pa.Array], reference: int) -> tuple[list[str], Array]:
    kind = next((part.type for part in parts if not pa.types.is_null(part.type)), pa.string())
    encoded = pa.concat_arrays([part.cast(kind) for part in parts]).dictionary_encode()
    texts = [str(value) for value in encoded.dictionary.to_pylist()]
    there = np.asarray(encoded.indices.is_valid())
    indices = np.asarray(encoded.indices.fill_null(0))
    before, after = np.split(np.arange(len(indices)), [reference])
    seen, new = (
        np.bincount(indices[side][there[side]], minlength=len(texts)) for side in (before, after)
    )
    # Ties in the order of the texts, so that the same rows always give the same bins.
    ranked = sorted(range(len(texts)), key=lambda i: (-seen[i], -new[i], texts[i]))
    labels = [texts[i] for i in ranked[:MAX_VALUES]]
    if len(ranked) > MAX_VALUES:
        labels.append(OTHERS)
    bins = np.empty(max(len(texts), 1), np.int32)
    bins[ranked] = np.minimum(np.arange(len(ranked)), MAX_VALUES)
    return labels, np.where(there, bins[indices], len(labels)).astype(np.int32)
