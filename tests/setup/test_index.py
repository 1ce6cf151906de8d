"""pip's configuration, said again to uv; causes found in a log."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap import index
from bootstrap.console import explain


def test_the_environment_wins_over_the_file():
    config = index.parse_pip_config(
        ":env:.timeout='180'\n"
        "global.index-url='https://file.example/simple'\n"
        "install.index-url='https://install.example/simple'\n"
        "global.extra-index-url='\\nhttps://a.example\\nhttps://b.example'\n"
        "freeze.timeout='1'\n"
        "a warning that is no setting\n"
    )
    assert config["index-url"] == "https://install.example/simple"
    assert config["extra-index-url"] == "https://a.example https://b.example"
    assert config["timeout"] == "180"


def test_uv_is_told_what_pip_knows_unless_the_user_told_it():
    config = {"index-url": "https://i.example", "cert": "/ca.pem", "find-links": "/a /b"}
    settings = index.uv_settings(config, {"UV_DEFAULT_INDEX": "https://mine.example"})
    assert "UV_DEFAULT_INDEX" not in settings
    assert settings["SSL_CERT_FILE"] == "/ca.pem"
    assert settings["UV_FIND_LINKS"] == "/a,/b"
    assert "UV_DEFAULT_INDEX" not in index.uv_settings({}, {})


@pytest.mark.parametrize(
    "output, part",
    [
        ("error: No space left on device (os error 28)", "the disk is full"),
        ("Failed: [Errno -3] Temporary failure in name resolution", "could not be reached"),
        ("error sending request for url (https://x)\n  dns error", "could not be reached"),
        ("ERROR: Could not find a version (from versions: none)", "could not be reached"),
        ("SSLError(certificate verify failed)", "certificate"),
        ("Hash mismatch for `x`", "is not the one that was locked"),
        ("something\nelse entirely\n\n", "else entirely"),
        ("", "printed nothing"),
    ],
)
def test_a_failure_is_one_line_with_cause_and_log(output, part):
    line = explain("installing packages", output, Path("/the/log"))
    assert part in line
    assert line.startswith("installing packages failed: ")
    assert "/the/log" in line
    assert "\n" not in line
