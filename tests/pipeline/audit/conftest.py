"""A small table of three spans, as the audit's workshop lays it out."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

ROWS = 400
SPANS = ("2019-09", "2019-10", "2019-11", "2019-12")

_VALUES: dict[str, Any] = {
    "name": "trips",
    "output": "runs",
    "data": {
        "path": "data",
        "pattern": "{span:%Y-%m}.*",
        "time_column": "started",
        "schema_file": "schema.pbtxt",
    },
    "window": {"train_spans": 2},
    "label": {"expression": "tip > 0.2 * fare", "leaks": {"tip": "float"}},
    "features": {
        "fare": {"kind": "numeric"},
        "distance": {"kind": "numeric"},
        "riders": {"kind": "numeric"},
        "flag": {"kind": "categorical"},
        "payment": {"kind": "categorical", "type": "int"},
        "place": {"kind": "high_cardinality", "type": "int"},
        "started": {"kind": "timestamp"},
        "ended": {"kind": "timestamp", "parts": []},
    },
    "quarantine": {"rules": {"negative": "distance < 0"}},
    "serving": {"path": "serving"},
}


_SCHEMA = "".join(
    f'feature {{ name: "{n}" type: FLOAT }}\n' for n in ("fare", "distance", "riders")
)


def _config(folder: Path, **sections: Any) -> Any:
    from pipeline import config_file

    return config_file.parse({**_VALUES, **sections}, source="test.toml", folder=folder)


@pytest.fixture(scope="session")
def _spans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("spans")
    for number, span in enumerate(SPANS):
        query = f"""
            SELECT
              5 + (i * 37 % 101) / 4 AS fare,
              0.5 + (i * 53 % 89) / 8 AS distance,
              1 + i % 3 AS riders,
              CASE WHEN i % 7 = 0 THEN 'Y' ELSE 'N' END AS flag,
              CAST(1 + (i * 11 % 5 > 2)::INT AS BIGINT) AS payment,
              CAST(100 + i * i % 41 AS BIGINT) AS place,
              TIMESTAMP '{span}-01' + to_minutes(CAST(60 + i * 97 AS BIGINT)) AS started,
              TIMESTAMP '{span}-01' + to_minutes(CAST(80 + i * 97 AS BIGINT)) AS ended,
              CASE WHEN (i * 29 + {number}) % 13 < 6 THEN 40.0 ELSE 0.1 END AS tip,
            FROM range({ROWS}) AS t(i)
        """
        duckdb.sql(f"COPY ({query}) TO '{folder / span}.parquet'")
    return folder


@pytest.fixture
def make_config(tmp_path: Path) -> Callable[..., Any]:
    return lambda **sections: _config(tmp_path, **sections)


@pytest.fixture
def make_scene(_spans: Path, tmp_path: Path) -> Callable[..., Any]:
    """A fresh scene each time, over copies of the spans."""
    from pipeline.audit.scene import Scene

    made: list[Path] = []

    def make(**sections: Any) -> Any:
        home = tmp_path / f"scene-{len(made)}"
        made.append(home)
        shutil.copytree(_spans, home / "data")
        (home / "schema.pbtxt").write_text(_SCHEMA)
        return Scene(_config(home, **sections), SPANS)

    return make


@pytest.fixture
def scene(make_scene: Callable[..., Any]) -> Any:
    return make_scene()
