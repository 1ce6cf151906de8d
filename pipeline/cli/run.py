"""`headrace run`."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import click
from rich.text import Text

from pipeline.cli import terminal
from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, Terminal
from pipeline.errors import HeadraceError
from pipeline.local.result import RunResult

_MARKS = {
    "pushed": ("✔ pushed", "green"),
    "up_to_date": ("✔ up to date", "green"),
    "not_blessed": ("✘ not blessed", "yellow"),
    "blocked": ("✘ blocked by a gate", "yellow"),
    "failed": ("✘ failed", "red"),
}


class Progress:
    """Shows each component with its time; on a terminal, a running clock for the current one.

    Writes to its own copy of the error stream, because the run sends the real one to its log.
    """

    def __init__(self, console: Terminal) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._running: dict[str, float] = {}
        if console.is_terminal:
            threading.Thread(target=self._clock, daemon=True).start()

    def say(self, message: str) -> None:
        """One line of what is going on."""
        self._console.print(message, style="dim")

    def node(self, name: str, seconds: float | None) -> None:
        """A component starts (None) or has ended; two may run at a time."""
        label = "loading TensorFlow and TFX" if name == "imports" else name
        with self._lock:
            if seconds is None:
                self._running[label] = time.monotonic()
                return
            self._running.pop(label, None)
            if self._console.is_terminal:
                self._console.file.write("\r\x1b[K")
            self._console.print(f"  {label:<28}{seconds:6.1f} s", highlight=False)

    def _clock(self) -> None:
        while True:
            time.sleep(0.2)
            with self._lock:
                if self._running:
                    label, started = list(self._running.items())[-1]
                    elapsed = time.monotonic() - started
                    self._console.file.write(f"\r  {label:<28}{elapsed:6.1f} s …\x1b[K")
                    self._console.file.flush()


@click.command()
@config_option
@click.option("--span", metavar="SPAN", help="Newest span to use; default: the newest there is.")
@click.option(
    "--wait",
    "wait_seconds",
    type=float,
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for another run on the same output folder.",
)
@json_option
def run(config_file: str, span: str | None, wait_seconds: float, as_json: bool) -> None:
    """Run the pipeline once: data in, a blessed model pushed."""
    from pipeline import config_file as reader
    from pipeline.local import run as local

    # Its own descriptor: the run itself sends descriptor 2 to its log.
    stream = open(  # noqa: SIM115
        _duplicate(2), "w", encoding=terminal.encoding(), errors=terminal.ERRORS, buffering=1
    )
    console = Terminal(file=stream, force_terminal=sys.stderr.isatty(), soft_wrap=True)
    try:
        result = local.run(
            reader.load(config_file),
            span,
            Progress(console),
            wait_seconds=wait_seconds,
            config_file=config_file,
        )
    except HeadraceError as error:
        if as_json:
            failed = RunResult("failed", run_id="", message=str(error), exit_code=error.exit_code)
            click.echo(failed.to_json())
            raise SystemExit(error.exit_code) from error
        raise
    if as_json:
        click.echo(result.to_json())
    else:
        show(result, Terminal(soft_wrap=True), config_file)
    raise SystemExit(result.exit_code)


def _duplicate(descriptor: int) -> int:
    return os.dup(descriptor)


def show(result: RunResult, console: Terminal, config_file: str) -> None:
    """The summary, and the next command to type."""
    console.print()
    headline = f"  span {result.span}, run {result.run_id}"
    if result.model_version is not None:
        headline += f", version {result.model_version}"
    headline += f", {result.wall_seconds:.0f} s"
    console.print(Text.assemble(_MARKS[result.status], terminal.one_line(headline)))
    if result.message:
        style = "red" if result.status == "failed" else None
        console.print(result.message, style=style, highlight=False)
    for note in result.notes:
        console.print(f"note: {note}", style="yellow", highlight=False)
    for name, value in summary(result) if result.rows else ():
        console.print(f"{name:<16}{value}", highlight=False)
    if result.metrics:
        console.print(_metrics(result))
    for finding in result.gates.get("data", {}).get("findings", []):
        if finding["policy"] != "block":
            console.print(_warning(finding), style="yellow", highlight=False)
    if result.gates.get("data", {}).get("retrain") and result.status != "pushed":
        console.print("what serves was made from other data: push a model made from newer spans")
    written = result.gates.get("schema", {}).get("written")
    if written:
        console.print(f"schema inferred and written to {written}: review it and commit it")
    if result.report:
        console.print(f"page: {_nearby(result.report)}", highlight=False)
    if result.status == "failed" and result.log:
        console.print(f"log: {result.log}", highlight=False)
    console.print(f"next: {following(result, config_file)}", style="dim", highlight=False)


def _nearby(path: str) -> str:
    """A path as one would type it here: relative if it is below this folder."""
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative


def summary(result: RunResult) -> list[tuple[str, str]]:
    """Rows of the summary table: name and value."""
    train, held_out = result.window.get("train", []), result.window.get("eval", [])
    spans = f"{train[0]} … {train[-1]} ({len(train)})" if train else ""
    data = result.gates.get("data", {})
    anomalies = [f for f in data.get("findings", []) if f["kind"] == "anomaly"]
    refused = ", ".join(f"{reason} {count:,}" for reason, count in result.quarantined.items())
    rows = [
        ("trained on", f"{result.rows.get('train', 0):,} rows, spans {spans}"),
        ("evaluated on", f"{result.rows.get('eval', 0):,} rows, spans {', '.join(held_out)}"),
        (
            "quarantined",
            f"{result.rows.get('quarantine', 0):,} rows" + (f" ({refused})" if refused else ""),
        ),
    ]
    proof = result.gates.get("proof", {}).get("figures", {})
    if "latency grpc" in proof:
        over = (("grpc", "gRPC"), ("rest", "REST"))
        times = [f"{proof[f'latency {way}']['p99_ms']:.1f} ms over {name}" for way, name in over]
        rows.append(("answered in", f"{', '.join(times)} (one row, 99th percentile)"))
    if data:
        rows.append(("anomalies", str(len(anomalies)) if anomalies else "none"))
    return rows


def _metrics(result: RunResult) -> Sheet:
    table = Sheet("metric")
    for heading in ("candidate", "champion"):
        table.add_column(heading, justify="right")
    for name in ("auc", "log_loss", "calibration", "mean_prediction", "mean_label"):
        table.add_row(name, _number(result.metrics, name), _number(result.champion_metrics, name))
    return table


def _number(metrics: dict[str, Any], name: str) -> str:
    value = metrics.get(name)
    return "–" if value is None else f"{value:.4f}"


def _warning(finding: dict[str, Any]) -> str:
    head = {"warn": "warning"}.get(finding["policy"], finding["policy"])
    reason = f" ({finding['reason']})" if finding.get("reason") else ""
    return f"{head}{reason}: {finding['kind']} {finding['feature']}: {finding['message']}"


def following(result: RunResult, config_file: str) -> str:
    """The next command to type."""
    option = "" if config_file == "headrace.toml" else f" --config {config_file}"
    if result.status in ("pushed", "up_to_date"):
        return f"headrace lineage {result.model_version}{option}"
    findings = result.gates.get("data", {}).get("findings", [])
    if any(one["kind"] == "anomaly" and one["policy"] == "block" for one in findings):
        return f"headrace schema diff{option}"
    return f"headrace runs{option}"
