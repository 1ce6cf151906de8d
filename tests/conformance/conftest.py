"""Options, set-ups and the count of the conformance suite.

    pytest tests/conformance                                          the embedded server
    pytest tests/conformance --server-binary=/usr/bin/tensorflow_model_server
    pytest tests/conformance --target="grpc=host:8500 rest=host:8501"   one that runs already

A server that runs already must serve half_plus_two as `default`, version 123; cases with another
set-up are skipped on it. `--models=FOLDER` takes the models from a copy of the stock testdata.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

_HERE = Path(__file__).parent
# The models' module and this folder's: tests are modules without a package.
sys.path[:0] = [str(_HERE), str(_HERE.parent / "serving" / "server")]

import servers  # noqa: E402

#: Names under which the suite's main server has models.
MAIN = {
    "default": "half_plus_two", "half_plus_two": "half_plus_two", "a b/c": "half_plus_two",
    "half_plus_three": "half_plus_three", "tf2": "half_plus_two_tf2", "multi": "multi",
    "types": "types", "scalar": "scalar", "cls": "classifier", "slow": "slow",
    "counter": "counter", "matrix": "matrix", "m": "versions",
}  # fmt: skip
_STOCK = {
    "half_plus_two": "saved_model_half_plus_two_cpu",
    "half_plus_three": "saved_model_half_plus_three",
    "half_plus_two_tf2": "saved_model_half_plus_two_tf2_cpu",
    "counter": "saved_model_counter",
    "versions": "saved_model_half_plus_two_2_versions",
}
_counts = {"passed": 0, "failed": 0, "skipped": 0}


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--target", help='a server that runs: "grpc=host:port rest=host:port"')
    group.addoption("--server-binary", help="a server that takes tensorflow_model_server's flags")
    group.addoption("--models", help="folder with the stock testdata to use instead of own models")


def pytest_configure(config: pytest.Config) -> None:
    for line in (
        "P0: must match",
        "P1: should match",
        "P2: nice to have",
        "embedded: holds only for the embedded server",
        "stock: holds only for the stock server",
    ):
        config.addinivalue_line("markers", line)


def option(config: pytest.Config, name: str) -> str | None:
    value: str | None = config.getoption(name, default=None)
    return value


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    stock = bool(option(config, "--target") or option(config, "--server-binary"))
    other = "embedded" if stock else "stock"
    for item in items:
        if item.path.is_relative_to(_HERE) and item.get_closest_marker(other):
            item.add_marker(pytest.mark.skip(reason=f"holds only for the {other} server"))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if "tests/conformance" not in report.nodeid.replace(os.sep, "/"):
        return
    if report.skipped:
        _counts["skipped"] += 1
    elif report.failed:
        _counts["failed"] += 1
    elif report.when == "call":
        _counts["passed"] += 1


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if any(_counts.values()):
        line = ", ".join(f"{count} {name}" for name, count in _counts.items())
        terminalreporter.write_line(f"conformance: {line}")


@pytest.fixture(scope="session")
def stock_models(request: pytest.FixtureRequest) -> Path | None:
    """A copy of the stock testdata, if the caller has one."""
    folder = option(request.config, "--models") or os.environ.get("HEADRACE_CONFORMANCE_MODELS")
    return Path(folder) if folder else None


@pytest.fixture(scope="session")
def models(stock_models: Path | None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base paths: <name>/<version>; the names are those of `tiny_models`."""
    import tiny_models as make

    root = tmp_path_factory.mktemp("conformance-models")
    make.half_plus(root / "half_plus_two" / "00000123")
    make.half_plus(root / "half_plus_three" / "00000123", 3.0)
    shutil.copytree(root / "half_plus_two" / "00000123", root / "versions" / "00000123")
    shutil.copytree(root / "half_plus_two" / "00000123", root / "versions" / "00000124")
    for name in (
        "half_plus_two_tf2", "multi", "types", "scalar", "classifier", "slow", "counter", "matrix",
    ):  # fmt: skip
        getattr(make, name)(root / name / "00000123")
    if stock_models is not None:
        for name, folder in _STOCK.items():
            source = next(stock_models.rglob(folder), None)
            if source is not None:
                shutil.rmtree(root / name)
                shutil.copytree(source, root / name, copy_function=shutil.copyfile)
    return root


@pytest.fixture(scope="session")
def launcher(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> servers.Launcher:
    """Starts servers; skips where the server is not ours to start."""
    if option(request.config, "--target"):
        pytest.skip("needs a server of its own")
    folder = tmp_path_factory.mktemp("conformance-servers")
    return servers.Launcher(option(request.config, "--server-binary"), folder)


@pytest.fixture(scope="session")
def main(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server with all models; of a target, only `default` can be relied on."""
    target = option(request.config, "--target")
    if target:
        parts = dict(part.split("=", 1) for part in target.split())
        rest = f"http://{parts['rest']}" if "rest" in parts else ""
        server = servers.Server("R", parts["grpc"], rest)
    else:
        server = _start_main(request)
    yield server
    server.close()


def _start_main(request: pytest.FixtureRequest) -> servers.Server:
    launcher = request.getfixturevalue("launcher")
    models = request.getfixturevalue("models")
    folder = request.getfixturevalue("tmp_path_factory").mktemp("conformance-main")
    configs = [
        servers.model_config(name, models / path, "all {}" if name == "m" else "")
        for name, path in MAIN.items()
    ]
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }\n")
    server = launcher.start(
        f"--model_config_file={servers.write_config(folder / 'models.config', configs)}",
        f"--monitoring_config_file={monitoring}",
    )
    for name in MAIN:
        server.wait(name, 123)
    server.wait("m", 124)
    configs[-1].version_labels["stable"] = 123
    server.reload(configs)
    return server


@pytest.fixture
def serving(
    main: servers.Server, request: pytest.FixtureRequest
) -> Callable[[str], servers.Server]:
    """The main server, for a case that asks for one of its models."""

    def serving(model: str) -> servers.Server:
        if model != "default" and option(request.config, "--target"):
            pytest.skip(f"needs the model {model}")
        return main

    return serving


@pytest.fixture(scope="session")
def dynamic(
    launcher: servers.Launcher, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[servers.Server]:
    """A server without models at first: each case adds its own by `add`."""
    folder = tmp_path_factory.mktemp("conformance-dynamic")
    empty = folder / "models.config"
    empty.write_text("model_config_list {}\n")
    monitoring = folder / "monitoring.config"
    monitoring.write_text("prometheus_config { enable: true }\n")
    server = launcher.start(
        f"--model_config_file={empty}",
        f"--monitoring_config_file={monitoring}",
        "--file_system_poll_wait_seconds=1",
        "--max_num_load_retries=0",
        "--num_load_threads=2",
    )
    yield server
    server.close()


@pytest.fixture
def add(dynamic: servers.Server) -> Iterator[Callable[..., None]]:
    """Adds or replaces models of the dynamic server, for one test."""
    mine: dict[str, Any] = {}

    def add(*configs: Any, timeout: float = 30) -> None:
        mine.update({config.name: config for config in configs})
        dynamic.reload([*dynamic.base, *mine.values()], timeout)

    yield add
    dynamic.reload(dynamic.base)


def push(source: Path, base: Path, version: int | str) -> Path:
    """Makes a version appear at once, as a careful pusher does."""
    base.mkdir(parents=True, exist_ok=True)
    staging = base / f"staging-{version}"
    shutil.copytree(source, staging)
    staging.rename(base / str(version))
    return base / str(version)
