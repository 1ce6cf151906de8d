"""A project as a stranger has it: a folder with data and a configuration, and the real command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROOT = Path(__file__).resolve().parents[2]
SPANS = ("2019-10", "2019-11", "2019-12")
ROWS = 3000

CONFIG = """
name = "trips"
output = "runs"

[data]
path = "data"
pattern = "{pattern}"
time_column = "pickup_datetime"
schema_file = "schema.pbtxt"

[window]
train_spans = 2

[label]
expression = "tip_amount > 0.2 * fare_amount"
leaks = {{ tip_amount = "float", total_amount = "float" }}

[features]
pickup_datetime = {{ kind = "timestamp", parts = ["hour", "weekday"] }}
dropoff_datetime = {{ kind = "timestamp", parts = [] }}
trip_minutes = {{ kind = "elapsed", start = "pickup_datetime", end = "dropoff_datetime" }}
passenger_count = {{ kind = "numeric" }}
trip_distance = {{ kind = "numeric", clip = [0, 100] }}
store_and_fwd_flag = {{ kind = "categorical" }}
pickup_location_id = {{ kind = "high_cardinality", type = "int" }}
payment_type = {{ kind = "categorical", type = "int" }}
fare_amount = {{ kind = "numeric", clip = [0, 500] }}
vendor_id = {{ kind = "ignore" }}
rate_code_id = {{ kind = "ignore" }}
dropoff_location_id = {{ kind = "ignore" }}
extra = {{ kind = "ignore" }}
mta_tax = {{ kind = "ignore" }}
tolls_amount = {{ kind = "ignore" }}
improvement_surcharge = {{ kind = "ignore" }}
congestion_surcharge = {{ kind = "ignore" }}

[quarantine]
max_share = 0.02
[quarantine.rules]
negative_fare = "fare_amount < 0"

[evaluation]
bars = {{ auc_min = 0.6, log_loss_max = 0.65, calibration_max = 0.2 }}
slices = ["payment_type"]

[serving]
path = "serving"
model_name = "trips"

[proof] # wide: other tests run beside these
latency_p99_ms = 1000
load_seconds_max = 300
"""


@dataclass
class Outcome:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def result(self) -> dict[str, Any]:
        """The JSON object a run ends with."""
        lines = self.out.strip().splitlines()
        assert lines, self.err
        parsed: dict[str, Any] = json.loads(lines[-1])
        return parsed


@dataclass
class Project:
    """A project folder."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "pipeline.cli.main", *arguments]

    def env(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return {**inherited, "PYTHONPATH": str(ROOT), **self.environment}

    def headrace(self, *arguments: str, timeout: float = 240) -> Outcome:
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.path,
            env=self.env(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def run(self, *arguments: str) -> Outcome:
        return self.headrace("run", "--json", *arguments)

    def configure(self, change: Callable[[str], str]) -> None:
        file = self.path / "headrace.toml"
        file.write_text(change(file.read_text()))

    def versions(self) -> list[int]:
        folder = self.path / "serving" / "trips"
        if not folder.is_dir():
            return []
        return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())

    def span(self, name: str) -> Path:
        (found,) = (self.path / "data").glob(f"{name}.*")
        return found

    def write(self, query: str, name: str, options: str = "") -> None:
        """Replaces a span by a query over its rows, `trips`."""
        file = self.span(name)
        target = self.path / "replacement"
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE trips AS SELECT * FROM '{file}'")
            connection.execute(f"COPY ({query}) TO '{target}' ({options})")
        os.replace(target, file)


def make(path: Path, *, form: str = "parquet", rows: int = ROWS) -> Project:
    """A project with three small spans of real trips."""
    (path / "data").mkdir(parents=True)
    options = "FORMAT parquet" if form == "parquet" else "FORMAT csv, HEADER"
    with duckdb.connect() as connection:
        for span in SPANS:
            source = ROOT / "data" / "nyc_yellow" / f"yellow_tripdata_sample_{span}.parquet"
            connection.execute(
                f"COPY (SELECT * FROM '{source}' LIMIT {rows}) "
                f"TO '{path / 'data' / f'{span}.{form}'}' ({options})"
            )
    (path / "headrace.toml").write_text(CONFIG.format(pattern=f"{{span:%Y-%m}}.{form}"))
    return Project(path)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make(tmp_path / "project")


@pytest.fixture
def csv_project(tmp_path: Path) -> Project:
    return make(tmp_path / "project", form="csv")


@pytest.fixture
def bare_project(tmp_path: Path) -> Project:
    """A folder without anything in it."""
    return Project(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after its first run. Tests must leave it as it is; see `changeable`."""
    made = make(tmp_path_factory.mktemp("trained") / "project")
    # Runs under a guard that refuses, and notes, any connection to another machine.
    guarded = Project(
        made.path,
        {
            "PYTHONPATH": f"{Path(__file__).parent / 'guard'}{os.pathsep}{ROOT}",
            "HEADRACE_GUARD": str(made.path / "network.txt"),
        },
    )
    outcome = guarded.run()
    assert outcome.code == 0, outcome.out + outcome.err
    return made


@pytest.fixture
def changeable(trained: Project, tmp_path: Path) -> Iterator[Project]:
    """The trained project, to be changed at will; it is put back afterwards.

    Not a copy elsewhere: paths are part of the cache key, as in real life.
    """
    backup = tmp_path / "backup"
    shutil.copytree(trained.path, backup)
    yield Project(trained.path)
    shutil.rmtree(trained.path)
    shutil.move(backup, trained.path)
