"""What a file says of itself and what a configuration's SQL may see: rows, never verdicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipeline import config_file, sql
from pipeline.errors import ConfigError
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard
from pipeline.starter.propose import propose

COMPUTED = ("label", "said", "reason", "row", "hash", "eval", "number", "type", "raw", "file")


# --- NaN is missing ------------------------------------------------------------------------------


def with_nan(folder: Path) -> Path:
    """Parquet as numpy's writers make it: NaN for missing, statistics that leave it out."""
    count = 600
    x = np.arange(count, dtype=float) % 37
    y = np.where(np.arange(count) % 2 == 0, 1.0, 0.0)
    spend = np.where(y == 1, 200.0, 50.0)
    x[::5] = np.nan
    y[::6], spend[::6] = np.nan, np.nan
    table = pa.table({"x": x, "k": np.arange(count) % 4, "y": y, "spend": spend})
    parquet.write_table(table, folder / "t.parquet")
    return folder / "t.parquet"


@pytest.mark.parametrize("expression", ["y = 1", "spend > 100", "coalesce(y = 1, NULL)"])
def test_nan_is_missing_in_columns_that_only_the_label_uses(bench: Any, expression: str) -> None:
    features = {"x": {"kind": "numeric"}, "k": {"kind": "numeric"}}
    rules = {"rich": "spend > 1000", "odd": "y NOT IN (0, 1)"}
    plan = _with_features(bench, features, expression, rules)
    ingested = bench.ingest(with_nan(bench.folder), plan)
    assert ingested.report.reasons == {"label is missing": 100}
    assert ingested.report.rows["train"] == 500 and ingested.report.positives["train"] == 200
    assert sum("x" not in example for example in ingested.kept) == 100


def _with_features(
    bench: Any, features: dict[str, Any], expression: str, rules: dict[str, str]
) -> IngestPlan:
    values = {
        "name": "t",
        "data": {"path": ".", "pattern": "*"},
        "label": {"expression": expression},
        "features": features,
        "quarantine": {"rules": rules},
    }
    config = config_file.parse(values, source="test.toml", folder=bench.folder)
    return IngestPlan.of(config)


@pytest.mark.tfx
def test_init_and_ingestion_refuse_the_same_rows(bench: Any) -> None:
    path = with_nan(bench.folder)
    made = propose(str(path), "y", str(bench.folder / "headrace.toml"), lambda _: None)
    assert made.judged.reasons == {"label is missing": 100}
    assert made.judged.rows.column("x").null_count == 100


def test_a_text_that_says_nan_is_no_large_number(bench: Any) -> None:
    features = {"k": {"kind": "numeric"}}
    path = bench.write("t.csv", "k,spend\n1,50\n2,NaN\n3,150\n4,nan\n")
    plan = _with_features(bench, features, "TRY_CAST(spend AS DOUBLE) > 100", {})
    assert bench.ingest(path, plan).report.reasons == {"label is missing": 2}


# --- computed names ------------------------------------------------------------------------------


@pytest.mark.parametrize("capitals", [False, True])
def test_columns_called_like_verdicts_are_data(bench: Any, capitals: bool) -> None:
    names = [f"__{name}" for name in (*COMPUTED, "shard", "span", "drawn")]
    names = [name.upper() if capitals else name for name in names]
    header = ",".join(["k", "y", *names])
    rows = [f"{k},{k % 2}," + ",".join(["1"] * len(names)) for k in range(10)]
    path = bench.write("t.csv", "\n".join([header, *rows]) + "\n")
    features = {"k": {"kind": "numeric"}} | {n: {"kind": "numeric"} for n in names[:5]}
    plan = _with_features(bench, features, "y = '1'", {"high": "k > 7", "hash": f"{names[4]} = 2"})
    made = bench.ingest(path, plan)
    assert made.report.reasons == {"high": 2}
    assert made.report.rows["train"] == 8 and made.report.positives["train"] == 4
    assert all(example[names[0]] == [1.0] for example in made.kept)


@pytest.mark.parametrize("name", [sql.COMPUTED + "reason", "Headrace:LABEL"])
def test_a_column_with_a_computed_name_is_refused_by_name(bench: Any, name: str) -> None:
    path = bench.write("t.csv", f'k,y,"{name}"\n1,1,\n2,0,\n')
    plan = _with_features(bench, {"k": {"kind": "numeric"}}, "y = '1'", {})
    error = bench.ingest(path, plan).report.error
    assert error is not None and repr(name) in error and "[data.rename]" in error
    renamed = plan.model_copy(update={"rename": {name: "own"}})
    assert bench.ingest(path, renamed).report.rows["train"] == 2


def test_names_of_refused_rows_are_no_columns(bench: Any) -> None:
    with pytest.raises(ConfigError, match="is a column that ingestion adds to the rows it refuses"):
        bench.config(features={"Quarantine_Reason": {"kind": "numeric"}})
    with pytest.raises(ConfigError, match=r"label\.name"):
        bench.config(label={"name": "quarantine_row"})
    with pytest.raises(ConfigError, match=r"label\.name"):
        bench.config(label={"name": "FARE"})


@pytest.mark.tfx
def test_init_on_columns_called_like_verdicts(bench: Any) -> None:
    rows = [
        {"k": k * 7 % 50, "__shard": k % 3, "__label": k % 5, "quarantine_row": k % 7, "y": k % 2}
        for k in range(200)
    ]
    path = bench.write_csv("t.csv", rows)
    made = propose(str(path), "y", str(bench.folder / "headrace.toml"), lambda _: None)
    assert list(made.config.features) == ["k", "shard", "label", "c_quarantine_row"]
    assert made.judged.reasons == {} and made.judged.label.tolist() == [k % 2 for k in range(200)]


# --- SQL by mail ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "SELECT content FROM read_text('{secret}')",
        "SELECT count(*) FROM read_csv('{secret}')",
        "SELECT count(*) FROM '{secret}'",
        "SELECT count(*) FROM read_blob('{secret}')",
        "SELECT count(*) FROM glob('{folder}/*')",
        "SELECT count(*) FROM read_csv('https://example.invalid/x.csv')",
        "SELECT count(*) FROM query('SELECT * FROM read_text(''{secret}'')')",
        "SELECT count(*) FROM plan",
    ],
)
@pytest.mark.parametrize("where", ["label", "rule"])
def test_sql_of_the_configuration_reads_its_rows_alone(bench: Any, query: str, where: str) -> None:
    secret = bench.write("secret.csv", "password\nhunter2\n")
    path = bench.write_csv("data.csv", bench.rows())
    asked = f"({query.format(secret=secret, folder=bench.folder)}) IS NOT NULL"
    sections = (
        {"label": {"expression": asked}}
        if where == "label"
        else {"quarantine": {"rules": {"a": asked}}}
    )
    plan = bench.plan(**sections)
    report = bench.ingest(path, plan).report
    assert report.error is not None and "hunter2" not in report.error
    with pytest.raises(ConfigError):
        shard_work.check(Shard(0, 1, str(path), "2019-12", None, None, "train"), plan)


def test_a_confined_connection_stays_so(bench: Any) -> None:
    secret = bench.write("a[1]*.csv", "x\n1\n")
    with sql.connect() as connection:
        sql.confine(connection, [str(secret)])
        sql.confine(connection, ["/"])
        scan = sql.text(sql.unglobbed(str(secret)))
        assert connection.execute(f"SELECT x FROM read_csv({scan})").fetchall() == [(1,)]
        for statement in (
            "SET enable_external_access=true",
            "SET allowed_paths=['/']",
            f"COPY (SELECT 1) TO '{bench.folder}/out.csv'",
            f"ATTACH '{bench.folder}/out.db'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
        assert not (bench.folder / "out.csv").exists()
