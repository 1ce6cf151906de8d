"""Headrace against stock TFX: the same rows, the same model code, each from a cold process.

    python benchmarks/stock.py --rows 120000 --repeat 3

Stock components under the stock LocalDagRunner (`benchmarks/stock_pipeline.py`) and `headrace run`
take turns, each in its own process with an empty output folder. The rows are drawn, with
replacement and a seed, from the committed ones; each span of the window gets the same number of
them, in a CSV file of its own. Both sides see the same rows, but not the same text, because
CsvExampleGen cannot do what our ingestion does on the fly. Made for it beforehand, in nobody's
time, are: the label column; timestamps as whole seconds since 1970; a decimal point in every
number that is a float here, so that its type inference agrees; folders `train` and `eval` for its
splits. Rows that a rule would quarantine are left out for both. The bars a model must pass are
opened wide, so that both push whatever the sample: they judge, and cost no time.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from ml_metadata.proto import metadata_store_pb2 as mlmd
from rich.console import Console
from rich.table import Table
from tensorflow_metadata.proto.v0 import statistics_pb2

# This folder's `serving.py` must not be taken for the package.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline import config_file, spans, sql
from pipeline.config import Bars, Config
from pipeline.ingest.plan import IngestPlan
from pipeline.local import outcome, quiet
from pipeline.spans import SpanFiles

ROOT = Path(__file__).resolve().parent.parent
HEADRACE, STOCK = "headrace", "stock"
_STOCK_PIPELINE = Path(__file__).with_name("stock_pipeline.py")

#: What a row of the table compares: the node here and the node there, "" for none.
STAGES = {
    "imports": ("imports", "imports"),
    "ingestion": ("SpanExampleGen", "CsvExampleGen"),
    "StatisticsGen": ("StatisticsGen", "StatisticsGen"),
    "schema": ("ImportSchemaGen", "SchemaGen"),
    "ExampleValidator": ("ExampleValidator", "ExampleValidator"),
    "DataGate": ("DataGate", ""),
    "Transform": ("Transform", "Transform"),
    "Trainer": ("Trainer", "Trainer"),
    "Resolver": ("Champion", "Champion"),
    "Evaluator": ("Evaluator", "Evaluator"),
    "Pusher": ("Pusher", "Pusher"),
}
REST = "the rest"

_LIBRARIES = ("tfx", "tensorflow", "keras", "apache-beam", "pyarrow", "duckdb", "numpy")
_LOG_LINES = 25


class SideError(Exception):
    """A side failed, or did not do the same work; ends the benchmark."""


@dataclass(frozen=True)
class Run:
    """One run of one side.

    Attributes:
        side: `headrace` or `stock`.
        wall_seconds: of the process, from its start until it was gone.
        cpu_seconds: user and system time, of its children too.
        peak_bytes: largest resident memory of the process, or of a child if that was larger.
        seconds: by stage (see `STAGES`); `the rest` is wall time outside of all of them.
        rows: rows by split that reached the statistics.
        metrics: of the model over all eval rows, if the side tells them.
    """

    side: str
    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    seconds: dict[str, float]
    rows: dict[str, int]
    metrics: dict[str, float]


# --- the data --------------------------------------------------------------------------


def write_data(config: Config, span: str, rows: int, seed: int, folder: Path) -> dict[str, int]:
    """Writes `headrace/<span>.csv`, `stock/train/<span>.csv` and `stock/eval/<span>.csv`.

    Returns:
        Rows by split.
    """
    plan = IngestPlan.of(config)
    window = spans.window_of(config, span, gap="error")
    share, rest = divmod(rows, len(window.spans))
    counts = dict.fromkeys(("train", "eval"), 0)
    for name in (HEADRACE, *(f"{STOCK}/{split}" for split in counts)):
        (folder / name).mkdir(parents=True)
    for index, item in enumerate(window.spans):
        split = "eval" if item in window.evaluate else "train"
        count = share + (index < rest)
        file = f"{item.span.label}.csv"
        with sql.connect() as connection:
            _draw(connection, plan, item, count, seed)
            _copy(connection, "SELECT * EXCLUDE (__number)", folder / HEADRACE / file)
            _copy(connection, _stock_columns(connection, plan), folder / STOCK / split / file)
        counts[split] += count
    return counts


def _draw(
    connection: duckdb.DuckDBPyConnection, plan: IngestPlan, item: SpanFiles, count: int, seed: int
) -> None:
    """Creates the table `drawn`: that many of the span's rows, none of which breaks a rule."""
    moment = f"epoch({sql.quote(plan.time_column)})" if plan.time_column else "NULL"
    refused = [
        f"({plan.label.expression}) IS NULL",
        f"{moment} < {item.span.start} OR {moment} >= {item.span.end}",
        *plan.rules.values(),
    ]
    good = " AND ".join(f"NOT coalesce(({rule}), false)" for rule in refused)
    files = ", ".join(sql.text(path) for path in item.paths)
    connection.execute(
        f"""
        CREATE TEMP TABLE good AS
        SELECT * EXCLUDE (filename, file_row_number),
          row_number() OVER (ORDER BY filename, file_row_number) - 1 AS __number
        FROM read_parquet([{files}], filename=true, file_row_number=true) WHERE {good}
        """
    )
    ((found,),) = connection.execute("SELECT count(*) FROM good").fetchall()
    # Seeded by the span too: equal places in two months are no equal rows, but need not pair up.
    random = np.random.default_rng([seed, item.span.ordinal])
    picks = pa.table({"__place": np.arange(count), "__pick": random.integers(0, found, count)})
    connection.register("picks", picks)
    connection.execute(
        "CREATE TEMP TABLE drawn AS SELECT good.* FROM picks JOIN good ON __pick = __number "
        "ORDER BY __place"
    )


def _stock_columns(connection: duckdb.DuckDBPyConnection, plan: IngestPlan) -> str:
    """SELECT of every column in its canonical type, and the label."""
    types = {row[0]: row[1] for row in connection.execute("DESCRIBE drawn").fetchall()}
    columns = [
        f"{sql.typed(name, kind, types[name])} AS {sql.quote(name)}"
        for name, kind in plan.columns().items()
    ]
    label = f"CAST(({plan.label.expression}) AS BIGINT) AS {sql.quote(plan.label.name)}"
    return f"SELECT {', '.join([*columns, label])}"


def _copy(connection: duckdb.DuckDBPyConnection, select: str, path: Path) -> None:
    connection.execute(f"COPY ({select} FROM drawn) TO {sql.text(str(path))} (FORMAT csv, HEADER)")


def benchmark_config(config: Config, data: Path, output: Path) -> Config:
    """The configuration both sides share, with its own data, output and open bars."""
    # Not above 0, which is what TFMA calls the AUC of a slice that has one class only.
    bars = Bars(auc_min=0, log_loss_max=100, calibration_max=100)
    wide = config.evaluation.model_copy(update={"bars": bars, "slice_bars": bars})
    return config.model_copy(
        update={
            "output": str(output),
            "data": config.data.model_copy(
                update={"path": str(data), "pattern": _csv_pattern(config.data.pattern)}
            ),
            "evaluation": wide,
            "serving": config.serving.model_copy(update={"path": str(output / "serving")}),
        }
    )


def _csv_pattern(pattern: str) -> str:
    return pattern[pattern.index("{") : pattern.index("}") + 1] + ".csv"


def to_toml(config: Config) -> str:
    """The configuration as a file: every section an inline table."""
    values = config.model_dump(mode="json", exclude_none=True)
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        items = (f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items())
        return f"{{ {', '.join(items)} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


# --- the sides -------------------------------------------------------------------------


def run_headrace(config: Config, folder: Path) -> Run:
    """`headrace run` once.

    Raises:
        SideError: it did not push, or refused a row.
    """
    command = ["-m", "pipeline.cli.main", "run", "--json", "--config", _written(config, folder)]
    code, usage, wall, said = _process(command, folder)
    result = _last_json(said)
    if code or result.get("status") != "pushed":
        log = Path(result.get("log") or folder / "stderr.log")
        raise _failure(HEADRACE, f"exit {code}: {result.get('message', '')}", log)
    rows = result["rows"]
    if rows.pop("quarantine", 0):
        raise SideError(f"{HEADRACE} quarantined rows: {result['quarantined']}")
    version = Path(config.serving.path, config.serving.model_name, str(result["model_version"]))
    if not (version / "saved_model.pb").is_file():
        raise SideError(f"{HEADRACE} says it pushed, but {version} holds no model")
    return _run(HEADRACE, usage, wall, result["seconds"], rows, result["metrics"])


def run_stock(config: Config, data: Path, folder: Path, *, lean: bool) -> Run:
    """The stock pipeline once.

    Raises:
        SideError: a node did not complete, or nothing was pushed.
    """
    output = Path(config.output)
    command = [str(_STOCK_PIPELINE), "--config", _written(config, folder)]
    command += ["--data", str(data), "--output", str(output), *(["--lean"] if lean else [])]
    output.mkdir(parents=True)
    code, usage, wall, said = _process(command, folder)
    if code:
        raise _failure(STOCK, f"exit {code}", folder / "stderr.log")
    # LocalDagRunner ends well even if a node was skipped: only the metadata store knows.
    result = _last_json(said)
    nodes, seconds = _stock_nodes(result["metadata"])
    seconds["imports"] = result["imports"]
    wanted = {theirs for _, theirs in STAGES.values()} - {"", "imports"}
    undone = wanted - {n for n, node in nodes.items() if node.state == mlmd.Execution.COMPLETE}
    if undone:
        raise _failure(STOCK, f"not completed: {', '.join(undone)}", folder / "stderr.log")
    pushed = nodes["Pusher"].outputs["pushed_model"].custom_properties["pushed"].int_value
    if not pushed or not list(Path(result["serving"]).glob("*/saved_model.pb")):
        raise _failure(STOCK, "nothing was pushed", folder / "stderr.log")
    uri = nodes["StatisticsGen"].outputs["statistics"].uri
    rows = {split: _counted(Path(uri, f"Split-{split}")) for split in ("train", "eval")}
    return _run(STOCK, usage, wall, seconds, rows, {})


def _written(config: Config, folder: Path) -> str:
    folder.mkdir(parents=True)
    path = folder / "headrace.toml"
    path.write_text(to_toml(config), encoding="utf-8")
    return str(path)


def _process(command: Sequence[str], folder: Path) -> tuple[int, Any, float, str]:
    """Runs Python in a new process; its output goes to files in `folder`.

    Returns:
        Exit code, resource usage, wall seconds, standard output.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Both sides alike: neither looks for Google's metadata server, nor prints TensorFlow's noise.
    environment |= quiet.ENVIRONMENT
    paths = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    said = folder / "stdout.log"
    with said.open("wb") as out, (folder / "stderr.log").open("wb") as err:
        started = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=environment, stdout=out, stderr=err
        )
        try:
            # Of this one process and its children, unlike getrusage() of all children so far.
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            raise
        wall = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage, wall, said.read_text(encoding="utf-8", errors="replace")


def _last_json(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    value: dict[str, Any] = json.loads(lines[-1]) if lines else {}
    return value


def _failure(side: str, what: str, log: Path) -> SideError:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return SideError("\n".join([*lines[-_LOG_LINES:], f"{side} failed: {what}"]))


def _stock_nodes(path: str) -> tuple[dict[str, outcome.NodeOutcome], dict[str, float]]:
    """Every node of the only run in a metadata store, and the seconds of its execution."""
    store = outcome.connect(path)
    (run,) = store.get_contexts_by_type("pipeline_run")
    seconds = {}
    for execution in store.get_executions_by_context(run.id):
        names = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"]
        milliseconds = execution.last_update_time_since_epoch - execution.create_time_since_epoch
        seconds[names[0].partition(".")[2]] = milliseconds / 1000
    return outcome.nodes_of_run(store, run.name), seconds


def _counted(folder: Path) -> int:
    (file,) = folder.iterdir()
    found = statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
    return int(found.datasets[0].num_examples)


def _run(
    side: str,
    usage: Any,
    wall: float,
    nodes: Mapping[str, float],
    rows: dict[str, int],
    metrics: dict[str, float],
) -> Run:
    column = (HEADRACE, STOCK).index(side)
    seconds = {stage: nodes[names[column]] for stage, names in STAGES.items() if names[column]}
    seconds[REST] = wall - sum(seconds.values())
    return Run(
        side=side,
        wall_seconds=wall,
        cpu_seconds=usage.ru_utime + usage.ru_stime,
        peak_bytes=usage.ru_maxrss * 1024,
        seconds=seconds,
        rows=rows,
        metrics=metrics,
    )


# --- the result ------------------------------------------------------------------------


def figures(runs: Sequence[Run], side: str) -> dict[str, float]:
    """Medians of a side's runs, by row of the table."""
    own = [run for run in runs if run.side == side]
    return {
        "wall": statistics.median(run.wall_seconds for run in own),
        **{
            stage: statistics.median(run.seconds[stage] for run in own)
            for stage in (*STAGES, REST)
            if stage in own[0].seconds
        },
        "CPU": statistics.median(run.cpu_seconds for run in own),
        "peak memory, MB": statistics.median(run.peak_bytes / 1e6 for run in own),
    }


def ratios(runs: Sequence[Run]) -> dict[str, float]:
    """Stock over Headrace, where both have a figure that is not next to nothing."""
    ours, theirs = figures(runs, HEADRACE), figures(runs, STOCK)
    return {
        name: theirs[name] / ours[name]
        for name in ours
        if name in theirs and ours[name] > 0.05 and theirs[name] > 0.05
    }


def show(runs: Sequence[Run], title: str) -> None:
    """The table."""
    ours, theirs, compared = figures(runs, HEADRACE), figures(runs, STOCK), ratios(runs)
    table = Table(title=title, title_justify="left", box=None, padding=(0, 3, 0, 0))
    table.add_column("seconds, median")
    for heading in (HEADRACE, STOCK, "stock / headrace"):
        table.add_column(heading, justify="right")
    for name in ours:
        digits = 0 if name.startswith("peak") else 2
        cells = [f"{side[name]:.{digits}f}" if name in side else "–" for side in (ours, theirs)]
        table.add_row(name, *cells, f"{compared[name]:.2f}" if name in compared else "")
    Console(width=None if sys.stdout.isatty() else 100).print(table)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": memory,
        "load_before": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in _LIBRARIES},
    }


def measure(
    arguments: argparse.Namespace, config: Config, folder: Path
) -> tuple[list[Run], dict[str, int]]:
    """Makes the data and runs the sides in turn.

    Returns:
        The runs in order, and rows by split.

    Raises:
        SideError: a side failed, or was not given every row.
    """
    data = folder / "data"
    rows = write_data(config, arguments.span, arguments.rows, arguments.seed, data)
    # Untimed, so that the first side does not pay for reading the libraries from the disk.
    subprocess.run([sys.executable, "-c", "import tfx.v1"], check=True, capture_output=True)
    runs = []
    for turn in range(arguments.repeat):
        for side in (HEADRACE, STOCK):
            place = folder / f"{turn}-{side}"
            own = benchmark_config(config, data / HEADRACE, place / "output")
            if side == HEADRACE:
                run = run_headrace(own, place)
            else:
                run = run_stock(own, data / STOCK, place, lean=arguments.lean)
            if run.rows != rows:
                raise SideError(f"{side} saw {run.rows} of {rows} rows")
            print(f"{side}: {run.wall_seconds:.1f} s", file=sys.stderr, flush=True)
            runs.append(run)
            if not arguments.keep:
                shutil.rmtree(place)
    return runs, rows


def main() -> None:
    """Prints the table; see `--help`."""
    arguments = _arguments()
    # So that a benchmark that is stopped takes the running side and its data with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    config = config_file.load(arguments.config)
    description = machine()
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="headrace-stock-"))
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise SystemExit(f"{folder} is not empty")
    try:
        runs, rows = measure(arguments, config, folder.resolve())
    except SideError as error:
        raise SystemExit(str(error)) from error
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    show(
        runs,
        f"{rows['train']:,} + {rows['eval']:,} rows, {arguments.repeat} run(s) a side, "
        f"{description['cores']} cores, {description['memory_bytes'] / 1e9:.0f} GB",
    )
    if arguments.json:
        report = {
            "rows": rows,
            "span": arguments.span,
            "seed": arguments.seed,
            "lean": arguments.lean,
            "machine": description,
            "medians": {side: figures(runs, side) for side in (HEADRACE, STOCK)},
            "ratios": ratios(runs),
            "runs": [dataclasses.asdict(run) for run in runs],
        }
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=120_000, help="in all spans together")
    parser.add_argument("--repeat", type=int, default=1, help="runs a side")
    parser.add_argument("--span", default="2019-12", help="newest span, which is evaluated on")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of rows")
    parser.add_argument(
        "--lean", action="store_true", help="stock Transform without materializing and statistics"
    )
    parser.add_argument("--config", default=str(ROOT / "headrace.toml"), help="real data, model")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--keep", type=Path, help="leave data, logs and artifacts in this folder")
    return parser.parse_args()


if __name__ == "__main__":
    main()
