"""The client against the embedded server: both protocols give the same answers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.client import Client, ClientError, Refused, RowError, connect

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[3]
MAKE = """
import pathlib, sys
sys.path.insert(0, "tests/serving/server")
import tiny_models
for name, make in (("multi", "multi"), ("types", "types"), ("tf2", "half_plus_two_tf2")):
    getattr(tiny_models, make)(pathlib.Path(sys.argv[1]) / name / "1")
"""


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    folder = tmp_path_factory.mktemp("embedded")
    subprocess.run([sys.executable, "-c", MAKE, folder], cwd=ROOT, check=True)
    config = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}'
        for name in ("multi", "types", "tf2")
    )
    (folder / "models.config").write_text(f"model_config_list {{ {config} }}")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "serving", "--host=127.0.0.1", "--port=auto"),
            *("--rest_api_port=auto", f"--port_file={folder / 'ports'}"),
            f"--model_config_file={folder / 'models.config'}",
        ],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )
    try:
        end = time.monotonic() + 120
        while not (folder / "ports").exists():
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.2)
        found = json.loads((folder / "ports").read_text())
        for model in ("multi", "types", "tf2"):
            wait_until_available(f"http://127.0.0.1:{found['rest_port']}", model)
        yield found
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_until_available(address: str, model: str) -> None:
    end = time.monotonic() + 60
    with connect(address, model=model) as client:
        while True:
            try:
                if client.status()[0].state == "AVAILABLE":
                    return
            except Refused:
                pass
            assert time.monotonic() < end
            time.sleep(0.2)


@pytest.fixture(params=["rest", "grpc"])
def ask(request: pytest.FixtureRequest, ports: dict[str, int]) -> Iterator[Callable[[str], Client]]:
    """Clients by model, over one protocol after the other."""
    scheme = "http" if request.param == "rest" else "grpc"
    made: list[Client] = []

    def connected(model: str) -> Client:
        port = ports[f"{request.param}_port"]
        made.append(connect(f"{scheme}://127.0.0.1:{port}", model=model))
        return made[-1]

    yield connected
    for client in made:
        client.close()


def test_several_inputs_and_outputs(ask: Callable[[str], Client]) -> None:
    rows = [{"a": [1, 2], "b": 3, "s": "foo"}, {"a": [4, 5], "b": "3", "s": "ü".encode()}]
    answer = ask("multi").predict(rows)
    assert list(answer) == [
        {"sum": 6.0, "tag": "foo", "tag_bytes": "foo"},
        {"sum": 12.0, "tag": "ü", "tag_bytes": "ü"},
    ]
    assert answer.version == 1


@pytest.mark.parametrize(
    "signature, value",
    [
        ("float", 1.5),
        ("double", 1e300),
        ("int8", -128),
        ("int32", -5),
        ("int64", 2**62),
        ("uint8", 255),
        ("uint32", 2**32 - 1),
        ("uint64", 2**64 - 1),
        ("bool", True),
        ("string", "é"),
    ],
)
def test_every_type_comes_back_as_it_went(
    ask: Callable[[str], Client], signature: str, value: Any
) -> None:
    answer = ask("types").predict({"v": [value, value]}, signature=signature)
    assert answer.columns == {"v": [value, value]}


def test_the_signature_s_default_stands_for_what_is_missing(ask: Callable[[str], Client]) -> None:
    assert ask("tf2").predict([1.0, None]).columns == {"y": [[2.5], [2.0]]}


def test_what_does_not_fit(ask: Callable[[str], Client]) -> None:
    with pytest.raises(RowError, match=r"row 2, column a: has values of shape \[1\]"):
        ask("multi").predict([{"a": [1, 2], "b": 1, "s": ""}, {"a": [1], "b": 1, "s": ""}])
    with pytest.raises(RowError, match="DT_HALF"):
        ask("types").predict([1.5], signature="half")
    with pytest.raises(ClientError, match="no signature 'nope'"):
        ask("types").predict([1.5], signature="nope")
