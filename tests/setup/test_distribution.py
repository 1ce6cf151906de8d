"""What setup.py ships and what the lock pins."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "bootstrap" / "requirements.lock").read_text()


@pytest.fixture(scope="module")
def distribution():
    """The arguments that setup.py hands to setuptools."""
    seen = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(setuptools, "setup", lambda **arguments: seen.update(arguments))
        runpy.run_path(str(ROOT / "setup.py"))
    return seen


@pytest.mark.parametrize("room", ["pipeline", "models", "serving"])
def test_every_folder_with_code_is_a_package_and_ships(distribution, room):
    folders = {path.parent for path in (ROOT / room).rglob("*.py")}
    packages = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert packages <= set(distribution["packages"])


def test_nothing_else_ships(distribution):
    assert {name.split(".")[0] for name in distribution["packages"]} <= {
        "pipeline",
        "models",
        "serving",
    }


def test_every_requirement_is_locked_at_a_version_it_allows(distribution):
    extras = distribution["extras_require"].values()
    wanted = [*distribution["install_requires"], *(line for extra in extras for line in extra)]
    locked = dict(re.findall(r"(?m)^([\w.-]+)==([^\s;\\]+)", LOCK))
    for requirement in map(Requirement, wanted):
        version = locked[requirement.name]
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def test_the_lock_names_no_host_and_no_place_and_hashes_everything():
    assert not re.search(r"https?:|file:|--index|--find-links| @ ", LOCK)
    assert not re.search(r"(?m)(^|\s)/\w", LOCK)
    entries = re.split(r"(?m)^(?=[A-Za-z0-9])", LOCK)[1:]
    assert len(entries) > 200
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
