"""Runs to make pages of."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# Tests are modules without a package; `import run_files` works in all files of this folder.
sys.path.insert(0, str(Path(__file__).parent))

from run_files import FILES, Runs, finding


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path)


@pytest.fixture
def make_finding() -> Callable[..., dict[str, Any]]:
    return finding


@pytest.fixture
def artifacts() -> dict[tuple[str, str], dict[str, Any]]:
    """Files of a whole run, to be changed at will."""
    copied: dict[tuple[str, str], dict[str, Any]] = {
        key: json.loads(json.dumps(value)) for key, value in FILES.items()
    }
    return copied
