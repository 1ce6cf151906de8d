"""kill -9 in every component: the next run goes on, and a server never sees half a model."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from serving.registry import Registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ORDER = (
    "SpanExampleGen",
    "StatisticsGen",
    "SchemaGen",
    "ImportSchemaGen",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "InfraValidator",
    "Evaluator",
    "Pusher",
)


def _kill_in(project, node: str) -> None:
    """Starts a run and kills it as soon as its log says that a node is running."""
    running = subprocess.Popen(
        project.command("run", "--json"),
        cwd=project.path,
        env=project.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    history = project.path / "runs" / "history"
    wanted = f"Node {node} is running."
    before = {path.name for path in history.iterdir()} if history.exists() else set()
    while running.poll() is None:
        logs = [path / "run.log" for path in history.iterdir()] if history.exists() else []
        ours = [log for log in logs if log.parent.name not in before and log.exists()]
        if any(wanted in log.read_text(errors="replace") for log in ours):
            running.send_signal(signal.SIGKILL)
        time.sleep(0.01)
    assert running.returncode == -signal.SIGKILL, f"{node} never ran: {running.stdout.read()}"


def test_killed_in_every_component_then_completes(project) -> None:
    base, model = project.path / "serving", "trips"
    for node in ORDER:
        _kill_in(project, node)
        registry = Registry(base, model)
        for version in registry.versions():
            assert registry.verify(version.number) == [], node
    completed = project.run()
    assert completed.code == 0, completed.out + completed.err
    assert completed.result["status"] in ("pushed", "up_to_date")
    registry = Registry(base, model)
    assert project.versions() == [completed.result["model_version"]]
    assert registry.verify(completed.result["model_version"]) == []
    leftovers = [p.name for p in (base / model).iterdir() if p.name.startswith((".staging", ".tr"))]
    assert leftovers == []
    listed = project.headrace("runs", "--json").result
    assert sum("killed" in run["message"] for run in listed) == len(ORDER)
