"""What the client does not load: a machine that only asks needs no TensorFlow."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import setuptools
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[3]
BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked}:
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Block())
"""
HEAVY = "tensorflow tensorflow_serving tfx tfx_bsl apache_beam keras ml_metadata".split()


def run(blocked: list[str], program: str, *arguments: str) -> str:
    """Runs a program in a Python where importing some packages fails."""
    program = BLOCK.replace("{blocked}", repr(set(blocked))) + program
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


ASK = """
from serving.client import connect
with connect(sys.argv[1], model="m") as client:
    print(client.predict([{"x": 1.0, "n": 2}])[0]["total"], client.status()[0].state)
"""


def test_rest_needs_httpx_alone(engine: object) -> None:
    import fakes

    server = fakes.Rest(engine)
    light = [*HEAVY, "grpc", "google", "numpy", "pandas", "pyarrow", "duckdb", "starlette"]
    assert run(light, ASK, server.address) == "4.0 AVAILABLE\n"
    server.close()


def test_grpc_needs_no_tensorflow(grpc_address: str) -> None:
    assert run([*HEAVY, "numpy", "pandas", "pyarrow"], ASK, grpc_address) == "4.0 AVAILABLE\n"


def test_a_light_installation_says_what_grpc_and_parquet_need(tmp_path: Path) -> None:
    program = """
from serving.client import ClientError, connect, table
for call in (lambda: connect("grpc://a:1", model="m"), lambda: table.of("rows.parquet")):
    try:
        call()
    except ClientError as error:
        print(error)
"""
    told = run([*HEAVY, "grpc", "google", "pyarrow"], program)
    assert told.count("pip install 'headrace[client]'") == 2


@pytest.mark.parametrize("command", ["", "predict", "serve", "status", "label", "run"])
def test_help_needs_the_base_installation_only(command: str) -> None:
    program = """
from pipeline.cli.main import headrace
try:
    headrace([*sys.argv[1:], "--help"], prog_name="headrace")
except SystemExit as end:
    assert not end.code
"""
    light = [*HEAVY, "grpc", "google", "numpy", "pandas", "pyarrow", "duckdb", "starlette"]
    told = run(light, program, *command.split())
    assert "Usage: headrace" in told


def test_a_command_says_what_it_lacks(tmp_path: Path) -> None:
    program = """
from pipeline.cli.main import headrace
try:
    headrace(["models"], prog_name="headrace")
except SystemExit as end:
    print(end.code)
"""
    told = run(["duckdb"], "sys.stderr = sys.stdout" + program)
    assert "duckdb is not installed: pip install 'headrace[pipeline]'" in told
    assert told.endswith("\n1\n")


def test_the_base_installation_is_four_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(setuptools, "setup", lambda **arguments: seen.update(arguments))
    runpy.run_path(str(ROOT / "setup.py"))

    def packages(lines: list[str]) -> set[str]:
        return {Requirement(line).name for line in lines}

    extras = {name: packages(lines) for name, lines in seen["extras_require"].items()}
    assert packages(seen["install_requires"]) == {"click", "httpx", "pydantic", "rich"}
    assert extras["client"] == {"grpcio", "protobuf", "pyarrow"}
    assert "tensorflow" in extras["server"] and "tfx" not in extras["server"]
    assert extras["server"] | extras["client"] | {"tfx", "duckdb"} <= extras["pipeline"]
