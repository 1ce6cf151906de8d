"""Which pip there is, and the package index it is configured with, said again to uv.

uv does not read pip's configuration. A mirror, a proxy or a certificate set there is why pip
works on a machine at all, so uv is told the same.
"""

from __future__ import annotations

import ast
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from bootstrap.console import Console, Failure

#: pip's setting → the environment variables that say it to uv.
SAME_FOR_UV = {
    "index-url": ("UV_DEFAULT_INDEX",),
    "extra-index-url": ("UV_INDEX",),
    "find-links": ("UV_FIND_LINKS",),
    "no-index": ("UV_NO_INDEX",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "cert": ("SSL_CERT_FILE",),
    "proxy": ("HTTPS_PROXY", "HTTP_PROXY"),
}

#: The part of pip's configuration that wins, last.
PRECEDENCE = ("global", "install", ":env:")

QUICK = ("--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "20")

#: Prints the folder in which Python keeps the wheel of the pip it would install.
_BUNDLED = """
import ensurepip, glob, os, sysconfig
folders = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled")]
folders.append(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/usr/share/python-wheels")
print(next(w for f in folders for w in sorted(glob.glob(os.path.join(f, "pip-*.whl")))[-1:]))
"""


def find_pip(base: Path, version: tuple[int, ...], console: Console) -> list[str]:
    """The command that runs pip: the Python's own, or the one bundled inside Python.

    Raises:
        Failure: this Python has neither (Debian and Ubuntu package them apart).
    """
    if console.attempt([base, "-m", "pip", "--version"])[0]:
        return [str(base), "-m", "pip"]
    bundled, output = console.attempt([base, "-c", _BUNDLED])
    if bundled:
        return [str(base), f"{output.strip()}/pip"]
    raise Failure(
        f"{base} has no pip: apt-get install python{version[0]}.{version[1]}-venv "
        "(dnf install python3-pip)"
    )


def parse_pip_config(text: str) -> dict[str, str]:
    """`pip config list` → the value in force of each setting, list values space-separated."""
    levels: dict[str, dict[str, str]] = {level: {} for level in PRECEDENCE}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        level, _, key = name.strip().rpartition(".")
        if equals and level in levels:
            try:
                levels[level][key] = " ".join(str(ast.literal_eval(value)).split())
            except (SyntaxError, ValueError):
                continue
    return {key: value for level in PRECEDENCE for key, value in levels[level].items()}


def uv_settings(pip_config: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """Environment variables for uv; what the user already says to uv is left alone."""
    settings = {
        "UV_COMPILE_BYTECODE_TIMEOUT": "600",
        "UV_HTTP_TIMEOUT": "60",
        "UV_NO_PROGRESS": "1",
        "UV_PYTHON_DOWNLOADS": "never",
    }
    for key, names in SAME_FOR_UV.items():
        value = pip_config.get(key)
        if value:
            if key == "find-links":  # pip allows spaces between, uv wants commas
                value = ",".join(value.split())
            settings.update(dict.fromkeys(names, value))
    return {name: value for name, value in settings.items() if not environ.get(name)}


def settings_for_uv(pip: list[str]) -> dict[str, str]:
    """What uv must know of pip's configuration here. Not logged: it may hold a password."""
    listed = subprocess.run(
        [*pip, "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    return uv_settings(parse_pip_config(listed), os.environ)
