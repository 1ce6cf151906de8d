"""A workbench for the pipeline's tests: a small configuration, small files, what became of them."""

import copy
import csv
import ctypes
import dataclasses
import datetime as dt
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline import config_file
from pipeline.config import Config
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import SPLITS, IngestPlan, Shard, ShardReport

Row = dict[str, Any]
Example = dict[str, list[Any]]

VALUES: dict[str, Any] = {
    "name": "trips",
    "data": {"path": "data", "pattern": "{span:%Y-%m}.csv", "schema_file": "schema.pbtxt"},
    "label": {"expression": "tip > 0.2 * fare", "leaks": {"tip": "float"}},
    "features": {
        "distance": {"kind": "numeric"},
        "fare": {"kind": "numeric"},
        "riders": {"kind": "categorical", "type": "int"},
        "place": {"kind": "high_cardinality", "type": "int"},
        "flag": {"kind": "categorical"},
        "note": {"kind": "text"},
        "started": {"kind": "timestamp"},
        "ended": {"kind": "timestamp", "parts": []},
        "minutes": {"kind": "elapsed", "start": "started", "end": "ended"},
        "operator": {"kind": "ignore"},
    },
}


@dataclasses.dataclass(frozen=True)
class Ingested:
    """What ingestion of one file came to: its report, and the examples it wrote."""

    report: ShardReport
    examples: dict[str, list[Example]]
    folder: Path

    @property
    def kept(self) -> list[Example]:
        return self.examples["train"] + self.examples["eval"]

    @property
    def refused(self) -> list[Example]:
        return self.examples["quarantine"]


class Bench:
    """Writes small files and ingests them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def values(self, **sections: Any) -> dict[str, Any]:
        """A valid configuration; a table given for a section is merged into it."""
        return merged(VALUES, sections)

    def config(self, **sections: Any) -> Config:
        return config_file.parse(self.values(**sections), source="test.toml", folder=self.folder)

    def plan(self, **sections: Any) -> IngestPlan:
        return IngestPlan.of(self.config(**sections))

    def rows(self, count: int = 6, **columns: Any) -> list[Row]:
        """Rows in the order of the configuration, half of them with label 1.

        Args:
            count: how many.
            columns: values that all rows have instead, or a list of one value a row.
        """
        rows = []
        for index in range(count):
            started = dt.datetime(2019, 12, 1, 8) + dt.timedelta(hours=index)
            row = {
                "distance": 1.5 + index,
                "fare": 10.0 + index,
                "riders": 1 + index % 3,
                "place": 100 + index,
                "flag": "YN"[index % 2],
                "note": f"to gate {index}",
                "started": started,
                "ended": started + dt.timedelta(minutes=20),
                "operator": "acme",
                "tip": 8.0 if index % 2 else 0.5,
            }
            for name, value in columns.items():
                row[name] = value[index] if isinstance(value, list) else value
            rows.append(row)
        return rows

    def write(self, name: str, content: bytes | str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def write_csv(self, name: str, rows: Sequence[Row], **dialect: Any) -> Path:
        return self.write(name, self.csv(rows, **dialect))

    def csv(self, rows: Sequence[Row], **dialect: Any) -> str:
        """CSV text; missing values are empty fields, moments as ISO writes them."""
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, **{"lineterminator": "\n"} | dialect)
        writer.writerow(rows[0])
        writer.writerows(["" if value is None else value for value in row.values()] for row in rows)
        return stream.getvalue()

    def write_parquet(self, name: str, rows: Sequence[Row], **types: pa.DataType) -> Path:
        """A Parquet file; `types` says what Arrow would not infer."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = {
            column: pa.array([row[column] for row in rows], types.get(column)) for column in rows[0]
        }
        parquet.write_table(pa.table(columns), path)
        return path

    def ingest(self, path: Path, plan: IngestPlan | None = None, **shard: Any) -> Ingested:
        """Ingests one file; `shard` overrides what the shard says beside the path."""
        output = Path(tempfile.mkdtemp(dir=self.folder, prefix="out-"))
        for split in SPLITS:
            (output / f"Split-{split}").mkdir()
        work = Shard(
            **{"index": 0, "total": 1, "path": str(path), "span": "2019-12", "split": "train"}
            | {"start": None, "end": None}
            | shard
        )
        report = shard_work.ingest(work, plan or self.plan(), str(output))
        return Ingested(report, {split: read_split(output, split) for split in SPLITS}, output)


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A copy in which tables are merged and everything else is replaced; None removes a key."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            result[key] = merged(result[key], value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def read_split(output: Path, split: str) -> list[Example]:
    """Examples of a split, read as any TensorFlow program would; absent and empty are one."""
    import tensorflow as tf

    examples = []
    for file in sorted((output / f"Split-{split}").glob("*.gz")):
        for record in tf.data.TFRecordDataset(str(file), "GZIP").as_numpy_iterator():
            example: Example = {}
            for name, feature in tf.train.Example.FromString(record).features.feature.items():
                values = list(getattr(feature, feature.WhichOneof("kind") or "int64_list").value)
                if values:
                    example[name] = values
            examples.append(example)
    return examples


def expected(row: Row) -> Example:
    """The example that a good row of the small configuration becomes."""
    example: Example = {"label": [int(row["tip"] > 0.2 * row["fare"])]}
    for name, value in row.items():
        if value is None or name == "operator":
            continue
        if isinstance(value, dt.datetime):
            example[name] = [int(value.replace(tzinfo=dt.UTC).timestamp())]
        else:
            example[name] = [value.encode() if isinstance(value, str) else value]
    return example


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture(name="expected")
def _expected() -> Any:
    return expected


@pytest.fixture
def examples_of() -> Any:
    return read_split


_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2


def _obey_permissions() -> None:
    """Makes the program that is executed next obey file permissions, run by root or not."""
    libc = ctypes.CDLL(None)
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture
def as_user(root: Path) -> Callable[..., str]:
    """Runs a Python program that may not read or write what permissions forbid; its output."""

    def run(program: str, *arguments: object, stdin: str = "") -> str:
        return subprocess.run(
            [sys.executable, "-c", program, *map(str, arguments)],
            input=stdin,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            preexec_fn=_obey_permissions,
            check=True,
        ).stdout

    return run


@pytest.fixture
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parents[2]
