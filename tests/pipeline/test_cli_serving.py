"""`headrace serve`, `predict`, `status`, `label`: what they say and what they change."""

import itertools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.cli import serving as commands
from pipeline.cli.main import headrace
from serving import stock
from serving.client import models_config
from serving.manifest import Provenance
from serving.registry import Registry

ROOT = Path(__file__).parents[2]
CONFIG = """
name = "trips"
data = { path = "data", pattern = "{span:%Y-%m}.csv", rename = { Fare = "x" } }
label = { expression = "tip > 0.2 * x", leaks = { tip = "float" } }
serving = { path = "serving", model_name = "m" }

[features]
x = { kind = "numeric" }
n = { kind = "categorical", type = "int" }
s = { kind = "categorical" }
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a configuration, and the current one."""
    (tmp_path / "headrace.toml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def registry(project: Path) -> Registry:
    """With versions 1, 2, 3."""
    source = project / "export"
    source.mkdir()
    (source / "saved_model.pb").write_bytes(b"graph")
    made = Registry(project / "serving", "m")
    for _ in range(3):
        made.push(source, Provenance(run_id="r", span="2020-01", window=("2020-01",)))
    return made


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "tests/serving/client"))
    import fakes

    return fakes


@pytest.fixture
def engine(fakes: Any) -> Any:
    made = fakes.Engine()
    made.on_disk, made.versions = {1, 2, 3}, {3: "AVAILABLE"}
    return made


@pytest.fixture
def rest(fakes: Any, engine: Any) -> Iterator[str]:
    server = fakes.Rest(engine)
    yield server.address
    server.close()


@pytest.fixture
def grpc(fakes: Any, engine: Any) -> Iterator[str]:
    server = fakes.Grpc(engine)
    yield server.address
    server.close()


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the commands look for a server by default there is none."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setattr(commands, "REST", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(commands, "GRPC", f"grpc://127.0.0.1:{port}")


def call(*arguments: str) -> Result:
    return CliRunner().invoke(headrace, list(arguments), prog_name="headrace")


def test_all_of_them_stand_in_the_help() -> None:
    told = call("--help").stdout
    assert all(f"  {name} " in told for name in ("serve", "predict", "status", "label"))


# --- serve ---------------------------------------------------------------------------------


def test_serve_without_a_model_says_what_to_run(project: Path) -> None:
    answer = call("serve")
    assert answer.exit_code == 1
    assert "no model pushed yet: run `headrace run`" in answer.stderr


def test_the_stock_image_sees_what_the_embedded_server_does(registry: Registry) -> None:
    answer = call("serve", "--docker", "--port", "9000", "--rest-port", "9001", "--enable_batching")
    words = shlex.split(answer.stdout)
    assert words[:2] == ["docker", "run"] and stock.IMAGE in words
    flags = words[words.index(stock.IMAGE) + 1 :]
    assert f"--model_base_path={registry.folder}" in flags and "--model_name=m" in flags
    assert "--enable_batching" in flags
    mounts = [mount for word, mount in itertools.pairwise(words) if word == "--volume"]
    assert f"{registry.folder}:{registry.folder}:ro" in mounts
    for mount in mounts:  # every file that a flag names is there inside
        assert Path(mount.split(":")[0]).exists() and mount.endswith(":ro")
    assert [w for w in words if w.startswith("127.0.0.1:")] == [
        "127.0.0.1:9000:8500",
        "127.0.0.1:9001:8501",
    ]
    embedded = json.loads(call("serve", "--docker", "--json").stdout)["command"]
    assert embedded[-3:] == flags[2:-1]


def test_the_stock_image_knows_no_contract(registry: Registry) -> None:
    answer = call("serve", "--docker", "--contract", "refuse")
    assert answer.exit_code == 2 and "leave out --docker" in answer.stderr


def test_labels_go_into_the_configuration_that_is_served(registry: Registry) -> None:
    registry.assign_labels({"stable": 1})
    answer = call("serve", "--docker", "--label", "canary=3", "--json")
    told = json.loads(answer.stdout)
    assert told["labels"] == {"stable": 1, "canary": 3}
    (file,) = [w.split("=")[1] for w in told["command"] if w.startswith("--model_config_file=")]
    entry = models_config.model(models_config.read(file), "m")
    assert dict(entry.version_labels) == told["labels"]
    assert entry.base_path == str(registry.folder)
    assert entry.model_version_policy.WhichOneof("policy_choice") == "all"
    assert registry.labels() == {"stable": 1}  # the other was for this server only


@pytest.mark.parametrize("label, code, complaint", [
    ("canary", 2, "write NAME=N"),
    ("canary=x", 2, "write NAME=N"),
    ("canary=9", 1, "version 9, which is not in"),
])  # fmt: skip
def test_a_label_is_checked(registry: Registry, label: str, code: int, complaint: str) -> None:
    answer = call("serve", "--docker", "--label", label)
    assert answer.exit_code == code and complaint in answer.stderr


def test_a_port_in_use_says_who_uses_it(registry: Registry) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = call("serve", "--port", "0", "--rest-port", str(port))
    assert answer.exit_code == 1
    assert f"port {port} is in use" in answer.stderr
    assert "--rest-port=" in answer.stderr
    if sys.platform == "linux":
        assert f"process {os.getpid()}" in answer.stderr


# --- predict -------------------------------------------------------------------------------


def rows(project: Path) -> str:
    (project / "rows.csv").write_text("Fare,n,s,tip,colour\n1.5,2,a,1,red\n,3,b,2,blue\n2,,,,\n")
    return "rows.csv"


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_raw_file_is_asked_about_as_it_is(
    project: Path, request: pytest.FixtureRequest, protocol: str, engine: Any
) -> None:
    address = request.getfixturevalue(protocol)
    arguments = ["--input", rows(project), f"--{protocol}", "--address", address]
    answer = call("predict", *arguments, "--limit", "1")
    assert answer.exit_code == 0, answer.stderr
    assert "m, version 3, at" in answer.stdout and "1 row in" in answer.stdout
    assert "5.0000" in answer.stdout
    # Its label's source and what the configuration ignores need no note.
    assert answer.stderr == "note: not known to the model and left out: colour\n"
    assert engine.asked[0][1]["x"] == [1.5]

    answer = call("predict", *arguments, "--json")
    told = json.loads(answer.stdout)
    assert [row["text"] for row in told["predictions"]] == ["a", "b", ""]
    assert told["predictions"][1]["total"] is None  # NaN is no JSON
    assert told["version"] == 3 and told["model"] == "m"


def test_a_column_that_is_not_there_is_told(project: Path, rest: str) -> None:
    (project / "rows.jsonl").write_text('{"x": 1, "n": 2}\n')
    answer = call("predict", "--input", "rows.jsonl", "--address", rest)
    assert "note: not in the rows and taken as missing: s" in answer.stderr


def test_a_bad_value_is_told_with_row_and_column(project: Path, rest: str) -> None:
    (project / "rows.csv").write_text("x,n\n1,2\nmany,2\n")
    answer = call("predict", "--input", "rows.csv", "--address", rest)
    assert answer.exit_code == 1
    assert "row 2, column x: must be a number, got 'many'" in answer.stderr


def test_a_version_or_a_label_answers(project: Path, rest: str, engine: Any) -> None:
    engine.versions[1], engine.labels = "AVAILABLE", {"stable": 1}
    arguments = ["predict", "--input", rows(project), "--address", rest]
    assert "version 1," in call(*arguments, "--label", "stable").stdout
    assert "version 1," in call(*arguments, "--version", "1").stdout
    assert "label: nope" in call(*arguments, "--label", "nope").stderr
    assert call(*arguments, "--label", "stable", "--version", "1").exit_code == 2


def test_a_server_that_still_loads_says_so(project: Path, rest: str, engine: Any) -> None:
    engine.versions = {3: "LOADING"}
    answer = call("predict", "--input", rows(project), "--address", rest)
    assert answer.exit_code == 1 and "Version 3 is still loading: ask again." in answer.stderr


@pytest.mark.parametrize("protocol", ["--rest", "--grpc"])
def test_no_server_says_where_it_looked(project: Path, nobody: None, protocol: str) -> None:
    answer = call("predict", "--input", rows(project), protocol)
    assert answer.exit_code == 1
    where = commands.REST if protocol == "--rest" else commands.GRPC
    assert where in answer.stderr and "4 tries" in answer.stderr
    assert "headrace serve" in answer.stderr


def test_address_and_protocol_must_agree(project: Path) -> None:
    answer = call("predict", "--input", "rows.csv", "--grpc", "--address", "http://a:1")
    assert answer.exit_code == 2 and "contradict" in answer.stderr


# --- status --------------------------------------------------------------------------------


def test_status_of_disk_and_servers(registry: Registry, rest: str, grpc: str, engine: Any) -> None:
    registry.assign_labels({"stable": 1})
    engine.versions, engine.broken = {1: "AVAILABLE", 3: "END"}, {3}
    answer = call("status", "--address", rest, "--address", grpc)
    lines = {line.split()[0]: line for line in answer.stdout.splitlines()}
    assert "stable" in lines["1"] and lines["1"].count("AVAILABLE") == 2
    assert "END (NOT_FOUND: no saved_model.pb)" in lines["3"]
    told = json.loads(call("status", "--address", rest, "--json").stdout)
    assert told["versions"] == [1, 2, 3] and told["labels"] == {"stable": 1}
    (server,) = told["servers"]
    assert server["reachable"] and {v["version"]: v["state"] for v in server["versions"]} == {
        1: "AVAILABLE",
        3: "END",
    }


def test_status_without_a_server_says_what_was_tried(registry: Registry, nobody: None) -> None:
    answer = call("status")
    assert answer.exit_code == 0
    assert "server not reachable" in answer.stdout
    assert f"no server answers at {commands.REST}" in answer.stdout
    assert f"no server answers at {commands.GRPC}" in answer.stdout


def test_status_without_a_model(project: Path, nobody: None) -> None:
    assert "no model pushed yet: run `headrace run`" in call("status").stdout


# --- label ---------------------------------------------------------------------------------


def test_a_label_moves_on_server_and_disk(registry: Registry, grpc: str, engine: Any) -> None:
    answer = call("label", "stable", "1", "--address", grpc)
    assert answer.exit_code == 0, answer.stderr
    assert "label stable points to version 1, at grpc" in answer.stdout
    assert engine.labels == registry.labels() == {"stable": 1}
    assert engine.versions[1] == "AVAILABLE"
    told = json.loads(call("label", "canary", "3", "--address", grpc, "--json").stdout)
    assert told == {"model": "m", "labels": {"canary": 3, "stable": 1}, "server": grpc}
    assert call("label", "stable", "--remove", "--address", grpc).exit_code == 0
    assert engine.labels == registry.labels() == {"canary": 3}


def test_what_the_server_refuses_is_not_recorded(
    registry: Registry, grpc: str, engine: Any
) -> None:
    engine.broken = {2}
    call("label", "stable", "3", "--address", grpc)
    answer = call("label", "stable", "2", "--address", grpc)
    assert answer.exit_code == 1 and "version 2 of m did not load" in answer.stderr
    assert engine.labels == registry.labels() == {"stable": 3}


def test_without_a_server_the_label_is_recorded(registry: Registry, nobody: None) -> None:
    answer = call("label", "stable", "2")
    assert answer.exit_code == 0 and f"no server at {commands.GRPC}" in answer.stdout
    assert registry.labels() == {"stable": 2}


def test_a_server_that_is_named_must_be_there(registry: Registry, nobody: None) -> None:
    answer = call("label", "stable", "2", "--address", commands.GRPC)
    assert answer.exit_code == 1 and "no server answers" in answer.stderr
    assert registry.labels() == {}


@pytest.mark.parametrize(
    "arguments, code, complaint",
    [
        (["stable", "9"], 1, "no version 9 of model m"),
        (["stable", "--remove"], 1, "there is no label stable (there are: none)"),
        (["stable"], 2, "give a version, or --remove"),
        (["stable", "1", "--remove"], 2, "give a version, or --remove"),
        (["", "1"], 2, "must not be empty"),
        (["stable", "1", "--address", "http://localhost:1"], 2, "over gRPC"),
    ],
)
def test_what_cannot_be_done(
    registry: Registry, nobody: None, arguments: list[str], code: int, complaint: str
) -> None:
    answer = call("label", *arguments)
    assert answer.exit_code == code and complaint in answer.stderr
    assert registry.labels() == {}


def test_a_server_of_several_models_keeps_them(
    registry: Registry, project: Path, grpc: str, engine: Any
) -> None:
    path = project / "models.config"
    config = models_config.of(
        [models_config.entry("m", "/models/m"), models_config.entry("other", "/models/other")]
    )
    path.write_text("# Two models.\n" + models_config.text(config))
    answer = call("label", "stable", "1", "--address", grpc, "--models-config", str(path))
    assert answer.exit_code == 0, answer.stderr
    for reloaded in engine.reloads:
        assert [one.name for one in reloaded.model_config_list.config] == ["m", "other"]
    written = models_config.read(path)
    assert dict(models_config.model(written, "m").version_labels) == {"stable": 1}
    assert models_config.model(written, "m").base_path == "/models/m"
    assert path.read_text().startswith("# Two models.\n")


# --- with a real server --------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


@pytest.fixture
def served(project: Path) -> Iterator[tuple[Callable[..., Result], str, str]]:
    """`headrace serve` of half-plus-two versions 1 and 2; asks it through the command line."""
    source = project / "tiny"
    program = (
        "import sys; sys.path.insert(0, 'tests/serving/server'); import tiny_models, pathlib;"
        "tiny_models.half_plus(pathlib.Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, source], cwd=ROOT, check=True)
    Registry(project / "serving", "m").push(source, Provenance(run_id="r", span="", window=()))
    shutil.copytree(project / "serving/m/1", project / "serving/m/2")
    grpc, rest = free_port(), free_port()
    command = [sys.executable, "-m", "pipeline.cli.main", "serve", "--port", str(grpc)]
    process = subprocess.Popen(
        [*command, "--rest-port", str(rest)],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    rest_address, grpc_address = f"http://127.0.0.1:{rest}", f"grpc://127.0.0.1:{grpc}"
    try:
        end = time.monotonic() + 120
        while "AVAILABLE" not in call("status", "--address", rest_address).stdout:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.5)
        yield call, rest_address, grpc_address
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.slow
def test_serve_label_predict_status_with_the_embedded_server(
    served: tuple[Callable[..., Result], str, str], project: Path
) -> None:
    ask, rest, grpc = served
    (project / "rows.jsonl").write_text('{"x": 1}\n{"x": 2.5}\n')
    for address in (rest, grpc):
        answer = ask("predict", "--input", "rows.jsonl", "--address", address, "--json")
        assert answer.exit_code == 0, answer.stderr
        told = json.loads(answer.stdout)
        assert told["version"] == 2
        assert [list(row.values()) for row in told["predictions"]] == [[[2.5]], [[3.25]]]
    answer = ask("label", "stable", "1", "--address", grpc)
    assert answer.exit_code == 0, answer.stderr
    answer = ask("predict", "--input", "rows.jsonl", "--address", rest, "--label", "stable")
    assert "version 1," in answer.stdout
    assert "stable" in ask("status", "--address", grpc).stdout
    assert ask("label", "stable", "--remove", "--address", grpc).exit_code == 0
    answer = ask("predict", "--input", "rows.jsonl", "--address", rest, "--label", "stable")
    assert answer.exit_code == 1 and "label: stable" in answer.stderr
