"""The line of `[features]` for a column that is new in the files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipeline import sql
from pipeline.config import Config
from pipeline.ingest import reader
from pipeline.ingest.plan import IngestPlan
from pipeline.starter import decide
from pipeline.starter import profile as profiling
from pipeline.starter.draft import key, toml
from pipeline.starter.names import plain_names
from pipeline.starter.sample import SHARD, Sample

_ROWS = 50_000


def of_new_columns(config: Config, new: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Column → the line, and a line of `[data.rename]` above it where the name needs one.

    Args:
        config: which names none of them.
        new: column as the file calls it → a file that has it.
    """
    plan = IngestPlan.of(config)
    tolerant = plan.model_copy(update={"optional_columns": tuple(plan.columns())})
    for column, path in new.items():
        with sql.connect() as connection, reader.localized(path) as local:
            types, _ = reader.open_source(connection, path, local, tolerant)
            connection.execute(
                f"CREATE TABLE sample AS SELECT {sql.quote(column)}, 0 AS {SHARD} FROM source "
                f"LIMIT {_ROWS}"
            )
            (rows,) = connection.execute("SELECT count(*) FROM sample").fetchone() or (0,)
            sample = Sample(
                *((path,), (0,), (column,), {column: types[column]}, {}, rows, rows, None),
                number_formats={column: plan.numbers(column)},
            )
            (profile,) = profiling.columns(connection, sample)
        name = plain_names([*config.features, column])[column]
        (decision,) = decide.features([profile], {column: name})
        line = f"{key(name)} = {toml(decision.spec)}  # {decision.why}"
        if name != column:
            line = f"{line}\n# and to [data.rename]: {key(column)} = {toml(name)}"
        yield column, line
