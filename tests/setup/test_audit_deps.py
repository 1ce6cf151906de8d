"""`make audit-deps` says what it found, or that it could not look; never a trace."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    "exit_code, said, code, told",
    [
        (0, "No known vulnerabilities found", 0, "bootstrap/server.lock: No known vulnerabilities"),
        (1, "Found 2 known vulnerabilities in 1 package", 1, "Found 2 known vulnerabilities"),
        (1, "Traceback\\nConnectionError: no route", 2, "could not be asked"),
        (1, "ERROR: absl-py: Dependency not found on PyPI", 2, "(ERROR: absl-py: Dependency"),
    ],
)
def test_what_pip_audit_says_becomes_one_line(tmp_path, exit_code, said, code, told):
    bootstrap = tmp_path / "bootstrap"
    bootstrap.mkdir()
    script = shutil.copy(ROOT / "bootstrap" / "audit_deps.sh", bootstrap)
    (bootstrap / "ensure.sh").write_text(f"printf '{said}\\n' >&2; exit {exit_code}\n")
    done = subprocess.run(["sh", script], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
