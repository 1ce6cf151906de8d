"""Rows held to the schema's environment: what a request must not be, in words, with counts.

TFDV judges statistics, which takes seconds to import and does not say which rows are wrong. This
judges the rows themselves, of logged requests or of a span, by the same entries of the schema:
presence, type, values, ranges, and who may be there at all in an environment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import MISSING_INT, MISSING_STRING, Section
from models.contract import SERVING, bounds, domain_values, expected, least_mass
from pipeline.errors import shorten

What = Literal["unknown", "not_served", "missing", "type", "values", "range"]

_NAMES = {schema_pb2.INT: "whole numbers", schema_pb2.FLOAT: "numbers", schema_pb2.BYTES: "text"}
#: Values shown of each kind.
_SHOWN = 5


class Violation(Section):
    """One way in which rows break the schema.

    Attributes:
        column: its name.
        what: `unknown` (not in the schema), `not_served` (in it, but not in this environment: the
            label and what gives it away), `missing`, `type`, `values` or `range`.
        message: in words, with counts and examples.
        count: rows that are wrong.
        rows: rows looked at.
        examples: wrong values, the most frequent first.
        shares: how many rows hold each of them.
    """

    column: str
    what: What
    message: str
    count: int
    rows: int
    examples: tuple[str, ...] = ()
    shares: tuple[int, ...] = ()


def violations(
    schema: schema_pb2.Schema, rows: pa.Table, *, environment: str = SERVING
) -> list[Violation]:
    """Everything about some rows that a schema does not allow.

    Args:
        schema: the reviewed schema.
        rows: a column each, of any Arrow type. Missing is NULL, NaN, `""`, and in whole numbers
            -1, as a request writes it.
        environment: `SERVING` for requests, `TRAINING` for data.

    Returns:
        In the order of the schema; columns that it does not know come last.
    """
    if not rows.num_rows:
        return []
    found: list[Violation] = []
    domains = {domain.name: domain for domain in schema.string_domain}
    for feature in schema.feature:
        there = feature.name in rows.column_names
        if not expected(schema, feature, environment):
            if there and (count := _values(rows.column(feature.name)).length()):
                found.append(_not_served(feature.name, count, rows.num_rows, environment))
        elif there:
            found.extend(_column(feature, domains, rows.column(feature.name)))
        else:
            found.extend(_missing(feature, 0, rows.num_rows))
    known = {feature.name for feature in schema.feature}
    for name in rows.column_names:
        if name not in known:
            message = f"{name}: is not in the schema"
            found.append(
                Violation(
                    column=name,
                    what="unknown",
                    message=message,
                    count=_values(rows.column(name)).length(),
                    rows=rows.num_rows,
                )
            )
    return found


def _not_served(name: str, count: int, rows: int, environment: str) -> Violation:
    message = (
        f"{name}: must not be there when {environment.lower()} (it is the label, or gives it "
        f"away), but has a value in {count:,} of {rows:,} rows"
    )
    return Violation(column=name, what="not_served", message=message, count=count, rows=rows)


def _column(
    feature: schema_pb2.Feature,
    domains: dict[str, schema_pb2.StringDomain],
    column: pa.ChunkedArray,
) -> Iterator[Violation]:
    rows = len(column)
    values = _values(column)
    if len(values) and not _fits(feature, values.type):
        message = (
            f"{feature.name}: the schema says {_NAMES.get(feature.type, 'another type')}, the rows "
            f"hold {values.type}, for example {shorten(values[0].as_py())}"
        )
        yield Violation(
            column=feature.name,
            what="type",
            message=message,
            count=len(values),
            rows=rows,
            examples=(str(values[0].as_py()),),
            shares=(len(values),),
        )
        return
    yield from _missing(feature, len(values), rows)
    if not len(values):
        return
    allowed = domain_values(feature, domains)
    if allowed is not None:
        least = least_mass(feature)
        wrong = values.filter(pc.invert(pc.is_in(values, pa.array(allowed, values.type))))
        if len(wrong) > (1 - least) * len(values) + 1e-9:
            yield _wrong(
                feature.name, "values", wrong, rows, "are not in the schema's list of values"
            )
    low, high = bounds(feature)
    if low is not None and len(wrong := values.filter(pc.less(values, low))):
        yield _wrong(feature.name, "range", wrong, rows, f"are below the schema's {low:g}")
    if high is not None and len(wrong := values.filter(pc.greater(values, high))):
        yield _wrong(feature.name, "range", wrong, rows, f"are above the schema's {high:g}")


def _values(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The values that are not missing."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        return pa.chunked_array([], column.type)
    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        column = _text(column)
    kept = pc.is_valid(column)
    if pa.types.is_floating(column.type):
        kept = pc.and_(kept, pc.fill_null(pc.invert(pc.is_nan(column)), False))
    elif pa.types.is_integer(column.type):
        kept = pc.and_(kept, pc.fill_null(pc.not_equal(column, MISSING_INT), False))
    elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        kept = pc.and_(kept, pc.fill_null(pc.not_equal(column, MISSING_STRING), False))
    return column.filter(kept)


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    try:
        return column.cast(pa.large_string())
    except pa.ArrowInvalid:  # bytes that are no text are shown, not refused
        values = [v if v is None else v.decode("utf-8", "replace") for v in column.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.large_string())])


def _fits(feature: schema_pb2.Feature, kind: pa.DataType) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_boolean(kind)
    match feature.type:
        case schema_pb2.INT:
            return bool(number)
        case schema_pb2.FLOAT:
            return bool(number or pa.types.is_floating(kind))
        case schema_pb2.BYTES:
            return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
        case _:
            return True


def _missing(feature: schema_pb2.Feature, present: int, rows: int) -> Iterator[Violation]:
    wanted = feature.presence.min_fraction
    if present >= feature.presence.min_count and present >= wanted * rows - 1e-6 * rows:
        return
    count = rows - present
    asks = f"a value in {wanted:.0%} of the rows" if wanted else "at least one value"
    message = (
        f"{feature.name}: missing in {count:,} of {rows:,} rows ({_share(count, rows)}); the "
        f"schema asks for {asks}"
    )
    yield Violation(column=feature.name, what="missing", message=message, count=count, rows=rows)


def _wrong(name: str, what: What, wrong: pa.ChunkedArray, rows: int, why: str) -> Violation:
    counted = pc.value_counts(wrong).sort(by="counts", order="descending")
    pairs = [(pair["values"], pair["counts"]) for pair in counted[:_SHOWN].to_pylist()]
    told = ", ".join(f"{_plain(value)} ({count:,})" for value, count in pairs)
    more = len(counted) - len(pairs)
    message = (
        f"{name}: {len(wrong):,} of {rows:,} rows ({_share(len(wrong), rows)}) hold values that "
        f"{why}: {told}{f' and {more:,} more' if more > 0 else ''}"
    )
    return Violation(
        column=name,
        what=what,
        message=message,
        count=len(wrong),
        rows=rows,
        examples=tuple(str(value) for value, _ in pairs),
        shares=tuple(count for _, count in pairs),
    )


def _plain(value: object) -> str:
    """A value from data; of a number as many digits as its 32 bits hold."""
    return f"{value:.7g}" if isinstance(value, float) else shorten(value, 40)


def _share(count: int, rows: int) -> str:
    """In per cent; of one row in many, that it is not none."""
    return f"{count / rows:.1%}" if 2_000 * count >= rows else "under 0.1%"
