"""The command line of the server."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving.server import flags
from serving.server.flags import ANY_FREE, FlagError, Options

ROOT = Path(__file__).parents[3]


def parsed(*arguments: str) -> Options:
    return flags.parse(arguments).options


def test_stock_command_line_is_understood() -> None:
    options = parsed(
        "--port=8500",
        "--rest_api_port=8501",
        "--model_name=m",
        "--model_base_path=/models/m",
        "--enable_batching",
        "--enable_model_warmup=false",
        "--max_num_load_retries=0",
        "--file_system_poll_wait_seconds=2",
    )
    assert (options.port, options.rest_api_port) == (8500, 8501)
    assert options.model_base_path == "/models/m"
    assert options.enable_batching is True
    assert options.enable_model_warmup is False
    assert options.max_num_load_retries == 0
    assert options.file_system_poll_wait_seconds == 2.0


def test_value_may_follow_its_flag() -> None:
    options = parsed("--model_name", "m", "--enable_batching", "--port", "1")
    assert (options.model_name, options.enable_batching, options.port) == ("m", True, 1)


def test_switch_takes_a_value_that_is_one() -> None:
    assert parsed("--enable_model_warmup", "false").enable_model_warmup is False


def test_any_free_port() -> None:
    assert parsed("--port=auto", "--rest_api_port=auto").rest_api_port == ANY_FREE


def test_unsupported_stock_flag_is_named() -> None:
    read = flags.parse(["--per_process_gpu_memory_fraction=0.5", "--port=1", "--enable_profiler"])
    assert read.options.port == 1
    assert [warning.split()[0] for warning in read.warnings] == [
        "--per_process_gpu_memory_fraction",
        "--enable_profiler",
    ]


@pytest.mark.parametrize(
    "argument, text",
    [
        ("--modle_name=x", "Did you mean --model_name?"),
        ("--port=many", "--port must be a whole number, got 'many'"),
        ("--port=70000", "0 to 65535"),
        ("--enable_batching=perhaps", "true or false"),
        ("model", "is no flag"),
        ("--model_name", "needs a value"),
    ],
)
def test_mistake_is_named(argument: str, text: str) -> None:
    with pytest.raises(FlagError, match=text.replace("?", r"\?")):
        flags.parse([argument])


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "serving", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )


def test_help_and_usage_do_not_wait_for_tensorflow() -> None:
    helped, mistaken, version = run("--help"), run("--nonsense"), run("--version")
    assert helped.returncode == 0
    assert "--model_config_file_poll_wait_seconds" in helped.stdout
    assert mistaken.returncode == 2
    assert "unknown flag --nonsense" in mistaken.stderr
    assert [line.split(":")[0] for line in version.stdout.splitlines()] == [
        "TensorFlow ModelServer",
        "TensorFlow Library",
    ]
    for done in (helped, mistaken, version):
        assert " tensorflow\n" not in done.stderr
