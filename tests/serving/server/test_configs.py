"""The stock server's configuration files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.server import configs
from serving.server.batching import BatchingParameters
from serving.server.discovery import Policy
from serving.server.errors import Code, ServingError


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "config.txt"
        path.write_text(text)
        return str(path)

    return write


def test_batching_parameters(written: Callable[[str], str]) -> None:
    path = written("""
        # as in the stock documentation
        max_batch_size { value: 128 }
        batch_timeout_micros { value: 0 }
        max_enqueued_batches { value: 1000000 }
        num_batch_threads { value: 8 }
        thread_pool_name { value: "pool" }
        allowed_batch_sizes: 64
        allowed_batch_sizes: 128
        pad_variable_length_inputs: true
    """)
    assert configs.read_batching(path, 2) == BatchingParameters(
        max_batch_size=128,
        max_enqueued_batches=1_000_000,
        num_batch_threads=8,
        allowed_batch_sizes=(64, 128),
        pad_variable_length_inputs=True,
    )


def test_unset_batching_parameters_have_the_stock_defaults(written: Callable[[str], str]) -> None:
    read = configs.read_batching(written(""), 3)
    assert read == BatchingParameters(num_batch_threads=3)
    assert (read.max_batch_size, read.batch_timeout_micros, read.max_enqueued_batches) == (
        1000,
        0,
        10,
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ('prometheus_config { enable: true path: "/metrics" }', "/metrics"),
        ("prometheus_config: { enable: true }", "/monitoring/prometheus/metrics"),
        ('prometheus_config { path: "/metrics" }', None),
        ("", None),
    ],
)
def test_monitoring(written: Callable[[str], str], text: str, expected: str | None) -> None:
    assert configs.read_monitoring(written(text)) == expected


def test_tls(written: Callable[[str], str]) -> None:
    read = configs.read_tls(written('server_key: "k" server_cert: "c" client_verify: true'))
    assert read == configs.TlsConfig("k", "c", "", True)


@pytest.mark.parametrize(
    "read",
    [
        lambda path: configs.read_batching(path, 1),
        configs.read_monitoring,
        configs.read_models,
    ],
)
def test_text_that_does_not_parse_is_named(
    written: Callable[[str], str], read: Callable[[str], object]
) -> None:
    with pytest.raises(ServingError, match="Error parsing text-format") as error:
        read(written("improbable { value: 1"))
    assert error.value.code is Code.INVALID_ARGUMENT


def test_missing_file_is_named() -> None:
    with pytest.raises(ServingError, match="/no/such/file"):
        configs.read_monitoring("/no/such/file")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("", Policy(latest=1)),
        ("latest {}", Policy(latest=1)),
        ("latest { num_versions: 2 }", Policy(latest=2)),
        ("all {}", Policy(latest=None)),
        ("specific { versions: 1 versions: 9 }", Policy(None, frozenset({1, 9}))),
    ],
)
def test_version_policies(written: Callable[[str], str], text: str, expected: Policy) -> None:
    config = configs.read_models(
        written(f"""model_config_list {{ config {{
            name: "m" base_path: "/models/m" model_platform: "tensorflow"
            model_version_policy {{ {text} }}
        }} }}""")
    )
    source = configs.source(config.model_config_list.config[0])
    assert (source.name, source.base_path, source.policy) == ("m", "/models/m", expected)
