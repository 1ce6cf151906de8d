"""A table without spans against the profile of it that was reviewed.

Such a table has no past in a fresh folder, and its two splits are as wrong as each other. The
schema file therefore carries how each feature was distributed when it was written (`profile_text`),
and every run compares all rows with that. What differs by more than chance and by what is called
large (`own.LARGE`) is told as drift.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast, get_args

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import Features, TimePart, Timestamp
from pipeline import files, schema_file, schema_text, spans
from pipeline.config import Config
from pipeline.drift import compare, profile_text
from pipeline.drift.bins import MAX_VALUES, MISSING, OTHERS, Binned, binned
from pipeline.drift.columns import Column, columns
from pipeline.drift.profile_text import Profile
from pipeline.drift.report import Comparison, Feature, Side
from pipeline.drift.words import message
from pipeline.ingest import sample

#: What the profile is called where a window's label stands.
REVIEWED = "the reviewed profile"
#: A category of at most so many values has a bin for each; of more, those of so large a share have:
#: the most frequent of many rare ones are so by chance, and less frequent the next time.
_VALUES, _FREQUENT = 100, 0.01
#: Where a value was seen once more will come: the rare ones are counted together.
_FEW = 5
#: Characters of a value that a reviewer reads.
_LONG = 200
#: Values looked at in all, and rows of a wide table.
_CELLS, _ROWS = 4_000_000, 2_000
#: Parts that say when a row is from: later rows have others, and nothing is wrong.
_OF_TIME = ("year", "month", "day_of_month")


def wanted(config: Config) -> bool:
    """Whether a configuration's data is one table, which nothing but a profile is known of."""
    return spans.SpanPattern.parse(config.data.pattern).format is None


def of(rows: pa.Table, config: Config) -> dict[str, Profile]:
    """Profiles of a table's rows, by feature.

    Args:
        rows: typed, with the label.
        config: the configuration; of more rows than `drift.sample_rows` so many, evenly; of very
            wide tables fewer.
    """
    return measured(_some(rows, _limit(config)), config.features, config.label.name)


def _limit(config: Config) -> int:
    """Rows that are looked at: fewer where there are very many columns."""
    return min(config.drift.sample_rows, max(_ROWS, _CELLS // max(1, len(config.features))))


def _some(rows: pa.Table, limit: int) -> pa.Table:
    """At most so many rows, evenly over the table."""
    if rows.num_rows <= limit:
        return rows
    return rows.take(np.linspace(0, rows.num_rows - 1, limit).astype(np.int64))


def measured(rows: pa.Table, features: Features, label: str) -> dict[str, Profile]:
    """Profiles of all rows, by feature."""
    made = columns(rows, features, label)
    return {one.name: _profile(one) for one in _comparable(made, features)}


def put(schema: schema_pb2.Schema, profiles: Mapping[str, Profile]) -> schema_pb2.Schema:
    """A schema with these profiles; without any, as it is."""
    made = schema_pb2.Schema()
    made.CopyFrom(schema)
    if profiles:
        profile_text.write(made, profiles.values())
    return made


def renewed(
    schema: schema_pb2.Schema, now: Mapping[str, Profile], names: Sequence[str], *, whole: bool
) -> schema_pb2.Schema:
    """A schema whose profiles of some columns are those of now; the others stay.

    Args:
        schema: with the profiles as they were reviewed.
        now: of the table as it is.
        names: columns.
        whole: columns without a profile get one, too, and those that are gone lose theirs.
    """
    old = profile_text.read(schema)
    fresh = {one: now[one] for one in now if any(_is_of(one, name) for name in names)}
    if whole:
        return put(schema, {one: fresh.get(one) or old.get(one) or now[one] for one in now})
    return put(schema, {**old, **fresh})


def moved(
    config: Config, schema: schema_pb2.Schema, rows: pa.Table
) -> Iterator[tuple[str, str, Feature]]:
    """Columns of one table that are unlike their reviewed profile: name, in words, and figures.

    Args:
        config: the configuration.
        schema: the reviewed one.
        rows: of the table, typed, with the label.
    """
    if not wanted(config):
        return
    limit, name = _limit(config), config.label.name
    made = against(
        profile_text.read(schema),
        _some(rows, limit),
        config.features,
        name,
        config.drift.false_alarms,
    )
    for feature in made.features if made else ():
        if made and any(one.alarms for one in feature.measures):
            columns_ = [one for one in rows.column_names if _is_of(feature.feature, one)]
            yield (columns_ or [feature.feature])[0], message(made, feature), feature


def chosen(profiles: Mapping[str, Profile], names: Sequence[str]) -> set[str]:
    """Those of the names that a profile is of."""
    return {name for name in names if any(_is_of(one, name) for one in profiles)}


def _is_of(name: str, column: str) -> bool:
    """Whether what is compared is a column, or a part of it if that is a moment."""
    return name == column or name in {f"{column}.{part}" for part in get_args(TimePart)}


def write_first(config: Config, examples: str) -> None:
    """Puts the profile of a table's first run into the schema file that it wrote.

    Args:
        config: the configuration.
        examples: URI of the Examples artifact, with samples beside the splits.

    Raises:
        DataError: the file cannot be written.
    """
    path = config.data.schema_file
    if not wanted(config):
        return
    tables = sample.read(examples, config.drift.sample_rows).values()
    schema = put(schema_file.read(path), of(pa.concat_tables(tables), config))
    with files.open_file(path, "rb") as file:
        before = file.read().decode("utf-8")
    schema_file.write(path, schema_text.write(schema, before))


def _comparable(made: Sequence[Column], features: Features) -> Iterator[Column]:
    moments = [name for name, one in features.items() if isinstance(one, Timestamp)]
    later = {f"{name}.{part}" for name in moments for part in _OF_TIME}
    return (column for column in made if column.by_row and column.name not in later)


def _profile(column: Column) -> Profile:
    feature = binned([_single(column)])
    *counts, missing = feature.counts()[0].tolist()
    if feature.edges is not None:
        edges = [str(edge) for edge in feature.edges.astype(np.float32)]
        bins = dict(zip(edges, counts, strict=False))
    else:
        least = _least(counts)
        known = zip(feature.labels[:MAX_VALUES], counts, strict=False)
        bins = {one: count for one, count in known if count >= least and len(one) <= _LONG}
    rest = sum(counts) - sum(bins.values())
    type_ = cast(profile_text.Type, column.type)
    return Profile(column.name, type_, bins, rest, missing)


def _least(counts: Sequence[int]) -> float:
    """Rows that a value needs for a bin of its own."""
    if len(counts) > _VALUES:
        return _FREQUENT * sum(counts)
    return _FEW if 1 in counts else 1


def _single(column: Column) -> Column:
    """A number as 32 bits hold it, as ingestion does: an edge must not lie below its own value."""
    if column.type != "numeric":
        return column
    values = column.values.astype(np.float32).astype(np.float64)
    return Column(column.name, column.type, values, column.by_row)


def against(
    profiles: Mapping[str, Profile],
    rows: pa.Table,
    features: Features,
    label: str,
    false_alarms: int,
) -> Comparison | None:
    """All rows of a table against its reviewed profile; None if nothing can be compared.

    Args:
        profiles: of the schema, by feature.
        rows: sampled by ingestion, of all splits.
        features: the configuration's.
        label: its name.
        false_alarms: comparisons of which one may alarm by chance.
    """
    made = []
    for column in _comparable(columns(rows, features, label), features):
        profile = profiles.get(column.name)
        if profile is not None and profile.type == column.type:
            made.append(_with(profile, _single(column)))
    if not made or not rows.num_rows:
        return None
    bounds = compare.thresholds(
        made, {}, {}, current_rows=rows.num_rows, false_alarms=false_alarms, kind="profile"
    )
    reviewed = max(feature.sizes[0] for feature in made)
    sides = (
        Side(label=REVIEWED, rows=reviewed, sampled=reviewed),
        Side(label="the table", rows=rows.num_rows, sampled=rows.num_rows),
    )
    return compare.compare("profile", sides, made, bounds)


def _with(profile: Profile, column: Column) -> Binned:
    """The profile's rows and the table's in the profile's bins."""
    counts = [*profile.bins.values(), profile.rest, profile.missing]
    old = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    if profile.type == "numeric":
        edges = np.array([float(edge) for edge in profile.bins], np.float32).astype(np.float64)
        places = np.searchsorted(edges, column.values, side="left")
        new = np.where(np.isnan(column.values), len(edges) + 1, places).astype(np.int32)
        labels = [f"≤ {edge}" for edge in profile.bins]
        labels += [f"> {list(profile.bins)[-1]}" if profile.bins else "any value"]
    else:
        number = {value: place for place, value in enumerate(profile.bins)}
        texts = column.values.cast(pa.string()).to_pylist()
        last = len(number)
        new = np.array(
            [last + 1 if text is None else number.get(text, last) for text in texts], np.int32
        )
        labels = [*profile.bins, OTHERS]
        edges = None
    labels.append(MISSING)
    codes = np.concatenate([old, new])
    return Binned(profile.name, column.type, labels, edges, codes, [len(old), len(new)], True)
