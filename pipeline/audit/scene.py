"""What a fault spoils: the newest span, the spans before it, and the configuration.

Faults speak of roles (a varied number, a category, an id), so that they fit any configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import parquet

from models.config import Categorical, HighCardinality, Numeric, Timestamp
from pipeline import sql
from pipeline.audit.fault import NotApplicableError
from pipeline.config import Config
from pipeline.ingest.plan import IngestPlan

#: A number with fewer different values is rather a code.
_VARIED = 20


@dataclass
class Scene:
    """The stage on which one fault plays.

    Attributes:
        config: the configuration of the run; a fault may replace it.
        spans: labels, oldest first; the last is the newest.
        seed: of what is drawn at random.
    """

    config: Config
    spans: tuple[str, ...]
    seed: int = 1

    @property
    def newest(self) -> str:
        """Label of the newest span."""
        return self.spans[-1]

    def file(self, span: str, ending: str = ".parquet") -> Path:
        """The file of a span (there is one a span, whatever the user's data has)."""
        return Path(self.config.data.path) / f"{span}{ending}"

    def before(self) -> str:
        """Label of the span before the newest.

        Raises:
            NotApplicableError: the data has no spans.
        """
        if len(self.spans) < 2:
            raise NotApplicableError("data in spans")
        return self.spans[-2]

    @contextmanager
    def opened(self, span: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the table `rows` of a span (default: the newest)."""
        with sql.connect() as connection:
            connection.execute("SET threads=1")  # row numbers must not depend on the machine
            path = sql.text(str(self.file(span or self.newest)))
            scan = f"read_parquet({path}, hive_partitioning=false)"
            connection.execute(f"CREATE TEMP TABLE rows AS SELECT * FROM {scan}")
            yield connection

    def query(self, statement: str, span: str | None = None) -> pa.Table:
        """The answer of a statement over `rows`."""
        with self.opened(span) as connection:
            return connection.sql(statement).to_arrow_table()

    def replace(self, where: str = "true", span: str | None = None, **columns: str) -> None:
        """Rewrites a span with some columns replaced by expressions in some rows."""
        changed = ", ".join(
            f"CASE WHEN {where} THEN {expression} ELSE {sql.quote(name)} END AS {sql.quote(name)}"
            for name, expression in columns.items()
        )
        self.save(self.query(f"SELECT * REPLACE ({changed}) FROM rows", span), span)

    def keep(self, where: str, span: str | None = None) -> None:
        """Rewrites a span with some of its rows only."""
        self.save(self.query(f"SELECT * FROM rows WHERE {where}", span), span)

    def save(self, table: pa.Table, span: str | None = None) -> None:
        """Rewrites a span."""
        parquet.write_table(table, self.file(span or self.newest))

    def chance(self, share: float) -> str:
        """SQL that is true for a share of the rows, always the same ones."""
        return f"(hash(rowid + {self.seed * 1_000_003}) % 10000 < {round(share * 10000)})"

    def random(self) -> np.random.Generator:
        """Random numbers of this fault."""
        return np.random.default_rng(self.seed)

    def numbers(self, count: int = 1) -> list[str]:
        """Numeric features with many values, those outside the label first.

        Raises:
            NotApplicableError: there are fewer.
        """
        varied = []
        with self.opened() as connection:
            for name, feature in self.config.features.items():
                if isinstance(feature, Numeric) and _distinct(connection, name) >= _VARIED:
                    varied.append(name)
        varied.sort(key=self.in_label)
        return _enough(varied, count, "numeric feature(s) with many values")

    def category(self, *, text: bool = False) -> str:
        """The categorical feature whose values are spread most evenly.

        Args:
            text: it must hold text.

        Raises:
            NotApplicableError: there is none with two frequent values.
        """
        spread = {}
        with self.opened() as connection:
            for name, feature in self.config.features.items():
                if isinstance(feature, Categorical) and (not text or feature.type == "string"):
                    counts = self._counts(connection, name)
                    if len(counts) >= (1 if text else 2):
                        shares = np.array(counts) / sum(counts)
                        spread[name] = float(-(shares * np.log(shares)).sum())
        kind = "text" if text else "values spread over it"
        return max(_enough(sorted(spread), 1, f"categorical feature with {kind}"), key=spread.get)  # type: ignore[arg-type]

    def values(self, category: str) -> list[Any]:
        """A category's values, the most frequent first."""
        name = sql.quote(category)
        table = self.query(
            f"SELECT {name} AS value FROM rows WHERE {name} IS NOT NULL "
            "GROUP BY 1 ORDER BY count(*) DESC, 1"
        )
        return list(table.column("value").to_pylist())

    def ids(self) -> str:
        """A feature with many different values that stand for something.

        Raises:
            NotApplicableError: there is none.
        """
        names = [n for n, f in self.config.features.items() if isinstance(f, HighCardinality)]
        return _enough(names, 1, "high_cardinality feature")[0]

    def times(self) -> list[str]:
        """Every timestamp feature.

        Raises:
            NotApplicableError: there is none.
        """
        names = [n for n, f in self.config.features.items() if isinstance(f, Timestamp)]
        return _enough(names, 1, "timestamp feature")

    def in_label(self, column: str) -> bool:
        """Whether the label expression names a column."""
        return bool(re.search(rf"\b{re.escape(column)}\b", self.config.label.expression))

    def labels(self, span: str | None = None) -> npt.NDArray[np.float64]:
        """The label of each row of a span, NaN where it has none."""
        with self.opened(span) as connection:
            columns = connection.execute("DESCRIBE rows").fetchall()
            kinds = IngestPlan.of(self.config).columns()
            typed = ", ".join(
                f"{sql.typed(name, kinds[name], source)} AS {sql.quote(name)}"
                if name in kinds
                else sql.quote(name)
                for name, source, *_ in columns
            )
            sql.confine(connection)
            expression = f"TRY_CAST(({self.config.label.expression}\n) AS DOUBLE)"
            answer = connection.sql(f"SELECT {expression} AS y FROM (SELECT {typed} FROM rows)")
            return np.asarray(answer.to_arrow_table().column("y").to_numpy(), np.float64)

    def turn_labels(self, rows: npt.NDArray[np.bool_], span: str | None = None) -> None:
        """Gives rows the label that they do not have.

        What only the label is made of (columns that give it away, or that are no feature) is
        taken from rows with the other label.

        Raises:
            NotApplicableError: the label is made of features alone.
        """
        table = self.query("SELECT * FROM rows", span)
        own = [c for c in table.column_names if self.in_label(c) and not self._is_feature(c)]
        labels, random = self.labels(span), self.random()
        donors = np.arange(len(labels))
        for label in (0.0, 1.0):
            takers, givers = np.flatnonzero(rows & (labels == label)), labels == 1 - label
            if not own or not givers.any():
                raise NotApplicableError("a label made of columns that are no feature")
            donors[takers] = random.choice(np.flatnonzero(givers), len(takers))
        for name in own:
            taken = table.column(name).take(pa.array(donors))
            table = table.set_column(table.column_names.index(name), name, taken)
        self.save(table, span)

    def configure(self, **sections: Any) -> None:
        """Replaces sections of the configuration."""
        self.config = self.config.model_copy(update=sections)

    def _is_feature(self, column: str) -> bool:
        feature = self.config.features.get(column)
        return feature is not None and feature.kind != "ignore"

    def _counts(self, connection: duckdb.DuckDBPyConnection, name: str) -> list[int]:
        found = connection.execute(
            f"SELECT count({sql.quote(name)}) AS n FROM rows GROUP BY {sql.quote(name)} "
            "HAVING n > 0"
        ).fetchall()
        return [count for (count,) in found]


def _distinct(connection: duckdb.DuckDBPyConnection, name: str) -> int:
    found = connection.execute(f"SELECT count(DISTINCT {sql.quote(name)}) FROM rows").fetchone()
    return int(found[0]) if found else 0


def _enough(names: list[str], count: int, what: str) -> list[str]:
    if len(names) < count:
        raise NotApplicableError(f"{count} {what}")
    return names
