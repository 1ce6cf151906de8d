"""A schema inferred from rows in memory, by TFDV, as StatisticsGen and SchemaGen would.

Imports TFDV, which takes seconds: only commands that need it import this.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import tensorflow_data_validation as tfdv
from tensorflow_data_validation.statistics import stats_impl
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from pipeline.ingest.encode import ARROW_TYPES, to_lists
from pipeline.schema_file import TRAINING
from pipeline.sql import ColumnType


def statistics(
    rows: pa.Table, kinds: Mapping[str, ColumnType], schema: schema_pb2.Schema | None = None
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of typed rows.

    Args:
        rows: a column each, NULL where missing.
        kinds: column → how ingestion encodes it.
        schema: tells which whole numbers are categories.
    """
    table = rows.combine_chunks()
    columns = {
        name: to_lists(_chunk(table.column(name)), ARROW_TYPES[kind])
        for name, kind in kinds.items()
    }
    batch = pa.RecordBatch.from_arrays(list(columns.values()), list(columns))
    options = tfdv.StatsOptions(schema=schema, num_top_values=100)
    return stats_impl.generate_statistics_in_memory(batch, options)


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    if not column.num_chunks:
        return pa.array([], column.type)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def infer(stats: statistics_pb2.DatasetFeatureStatisticsList) -> schema_pb2.Schema:
    """The schema that these statistics would pass."""
    return tfdv.infer_schema(stats, infer_feature_shape=False)


def anomalies(
    schema: schema_pb2.Schema, stats: statistics_pb2.DatasetFeatureStatisticsList
) -> dict[str, str]:
    """What TFDV finds wrong, in its words, by feature; `""` is the data as a whole."""
    found = tfdv.validate_statistics(stats, schema, environment=TRAINING)
    told = {
        name: "; ".join(reason.description for reason in info.reason)
        for name, info in found.anomaly_info.items()
    }
    if found.dataset_anomaly_info.reason:
        reasons = found.dataset_anomaly_info.reason
        told[""] = "; ".join(reason.description for reason in reasons)
    return told


def update(
    schema: schema_pb2.Schema, stats: statistics_pb2.DatasetFeatureStatisticsList
) -> schema_pb2.Schema:
    """The schema changed as little as makes these statistics pass."""
    return tfdv.update_schema(schema, stats)
