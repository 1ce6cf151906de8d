"""`make clients-check`: the embedded server asked by clients that others wrote.

grpcurl, which knows no more than reflection tells it, and Node with generated stubs. Needs Go and
npm, and the network once; a client that cannot be had on this machine is named.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
GRPCURL = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
NODE = ("@grpc/grpc-js@1.14.7", "@grpc/proto-loader@0.8.1")
SERVICES = (
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
)
PREDICT = {
    "model_spec": {"name": "m"},
    "inputs": {
        "x": {"dtype": "DT_FLOAT", "tensorShape": {"dim": [{"size": 2}]}, "floatVal": [2, 4]}
    },
}


def main() -> int:
    """Runs all; returns the exit code."""
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as address:
        checks = [("grpcurl, by reflection", grpcurl), ("Node, generated stubs", node)]
        failed = False
        for what, check in checks:
            try:
                why = check(address, Path(folder))
            except (AssertionError, subprocess.CalledProcessError) as error:
                failed = True
                print(f"{what:<52}FAILED", flush=True)
                print(getattr(error, "stderr", "") or error, file=sys.stderr)
            else:
                print(f"{what:<52}{why or 'ok'}", flush=True)
        return int(failed)


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A server of a small model `m`; gives its address."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests/serving/server")]
    import tiny_models

    tiny_models.half_plus(folder / "m" / "1")
    ports = folder / "ports.json"
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "serving", "--host=127.0.0.1", "--port=auto"),
            *(f"--port_file={ports}", "--model_name=m", f"--model_base_path={folder / 'm'}"),
            "--exit_with_parent",
        ],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + 120
        while not ports.exists():
            assert process.poll() is None and time.monotonic() < end, "the server did not start"
            time.sleep(0.1)
        time.sleep(2)
        yield f"127.0.0.1:{json.loads(ports.read_text())['grpc_port']}"
    finally:
        process.terminate()
        process.wait(60)


def grpcurl_command() -> list[str]:
    """How to run it here; empty: not at all."""
    if shutil.which("grpcurl"):
        return ["grpcurl"]
    return ["go", "run", GRPCURL] if shutil.which("go") else []


def grpcurl(address: str, folder: Path) -> str:
    """Lists, describes and calls every method; returns why not, or nothing."""
    del folder
    tool = grpcurl_command()
    if not tool:
        return f"not checked: needs grpcurl or Go: go install {GRPCURL}"

    def said(*words: str, good: bool = True) -> str:
        done = subprocess.run(
            [*tool, "-plaintext", *words], capture_output=True, text=True, check=False
        )
        if (done.returncode == 0) != good:
            raise AssertionError(f"grpcurl {' '.join(words)}: {done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def call(method: str, request: dict[str, Any]) -> Any:
        answer = said("-d", json.dumps(request), address, f"tensorflow.serving.{method}")
        return snake_case(json.loads(answer))

    assert tuple(said(address, "list").split()) == SERVICES
    for service in SERVICES:
        for method in said(address, "list", service).split():
            assert " is a method:" in said(address, "describe", method)
    answer = call("PredictionService/Predict", PREDICT)
    assert answer["outputs"]["y"]["float_val"] == [3, 4]
    spec = {"model_spec": {"name": "m"}}
    metadata = call(
        "PredictionService/GetModelMetadata", spec | {"metadata_field": "signature_def"}
    )
    assert "serving_default" in metadata["metadata"]["signature_def"]["signature_def"]
    status = call("ModelService/GetModelStatus", spec)
    assert status["model_version_status"][0]["state"] == "AVAILABLE"
    for name in ("Classify", "Regress", "MultiInference"):
        method = f"tensorflow.serving.PredictionService/{name}"
        assert "InvalidArgument" in said("-d", json.dumps(spec), address, method, good=False) or (
            name == "MultiInference"
        )
    assert "SERVING" in said(address, "grpc.health.v1.Health/Check")
    return ""


def node(address: str, folder: Path) -> str:
    """Calls every method with stubs made of what reflection says; returns why not, or nothing."""
    tool = grpcurl_command()
    if not tool or shutil.which("npm") is None:
        return "not checked: needs npm, and grpcurl or Go"
    project = folder / "node"
    project.mkdir()
    shutil.copy(HERE / "client.js", project)
    run(["npm", "install", "--silent", "--no-audit", "--no-fund", *NODE], project)
    words = ["-plaintext", "-proto-out-dir", str(project / "protos"), address, "describe"]
    for service in SERVICES[-2:]:
        run([*tool, *words, service], project)
    run(["node", "client.js", address, "protos"], project)
    return ""


def snake_case(value: Any) -> Any:
    """JSON with the fields' own names, whichever of the two spellings it has."""
    if isinstance(value, list):
        return [snake_case(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub("([A-Z])", lambda found: f"_{found[0].lower()}", name): snake_case(item)
        for name, item in value.items()
    }


def run(command: Sequence[str], cwd: Path) -> None:
    """Runs a command; what it said comes with its failure."""
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, env={**os.environ})


if __name__ == "__main__":
    sys.exit(main())
