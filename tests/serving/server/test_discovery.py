"""Which folders are versions, and which of them a policy picks."""

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from serving.server.discovery import Policy, Source, Watcher, fingerprint, scan
from serving.server.errors import Code, ServingError

FOUND = {1: "a", 2: "b", 3: "c"}


@pytest.mark.parametrize(
    "policy, expected",
    [
        (Policy(), [3]),
        (Policy(latest=2), [2, 3]),
        (Policy(latest=9), [1, 2, 3]),
        (Policy(latest=None), [1, 2, 3]),
        (Policy(latest=None, specific=frozenset({1, 9})), [1]),
        (Policy(latest=None, specific=frozenset()), []),
    ],
)
def test_policies(policy: Policy, expected: list[int]) -> None:
    assert sorted(policy.choose(FOUND)) == expected


def test_only_whole_numbers_are_versions(tmp_path: Path) -> None:
    for name in ("00000123", "7", "2.tmp", "tmp-2", ".staging-9", "abc", "-4", "1e3"):
        (tmp_path / name).mkdir()
    (tmp_path / "8").write_text("a file counts as well, and fails to load")
    assert scan(Source("m", str(tmp_path), Policy(latest=None))) == {
        7: str(tmp_path / "7"),
        8: str(tmp_path / "8"),
        123: str(tmp_path / "00000123"),
    }


def test_missing_base_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="nowhere") as caught:
        scan(Source("m", str(tmp_path / "nowhere")))
    assert caught.value.code is Code.NOT_FOUND


def test_missing_base_path_freezes_neither_its_model_nor_others(tmp_path: Path) -> None:
    said: dict[str, list[int]] = {}

    def aspire(name: str, versions: Mapping[int, str]) -> None:
        said[name] = sorted(versions)

    for name in ("a", "b"):
        (tmp_path / name / "1").mkdir(parents=True)
    watcher = Watcher(aspire, lambda: None, 60)
    watcher.watch([Source(name, str(tmp_path / name)) for name in ("a", "b")])
    assert said == {"a": [1], "b": [1]}
    (tmp_path / "a").rename(tmp_path / "gone")
    (tmp_path / "b" / "2").mkdir()
    watcher.scan_all()
    assert said == {"a": [1], "b": [2]}
    assert "Could not find base path" in watcher.problem("a")
    assert watcher.problem("b") == ""


def test_model_that_is_watched_no_more_has_no_versions(tmp_path: Path) -> None:
    said: dict[str, Mapping[int, str]] = {}
    (tmp_path / "1").mkdir()
    watcher = Watcher(said.__setitem__, lambda: None, 60)
    watcher.watch([Source("m", str(tmp_path))])
    watcher.watch([])
    assert said == {"m": {}}


def test_negative_poll_never_scans(tmp_path: Path) -> None:
    said: dict[str, Mapping[int, str]] = {}
    (tmp_path / "1").mkdir()
    watcher = Watcher(said.__setitem__, lambda: None, -1)
    watcher.watch([Source("m", str(tmp_path))])
    assert said == {}


def test_fingerprint_changes_with_the_files(tmp_path: Path) -> None:
    seen = [fingerprint(str(tmp_path))]
    (tmp_path / "variables").mkdir()
    (tmp_path / "variables" / "data").write_text("one")
    seen.append(fingerprint(str(tmp_path)))
    time.sleep(0.01)
    (tmp_path / "variables" / "data").write_text("two")
    seen.append(fingerprint(str(tmp_path)))
    assert len(set(seen)) == 3
    assert fingerprint(str(tmp_path)) == seen[-1]
