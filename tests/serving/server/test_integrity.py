"""Versions that are not what was pushed, pipes among files, lines that forge a log's."""

import logging
import os
import shutil
from pathlib import Path

import pytest

from serving.layout import MANIFEST, RegistryError
from serving.manifest import Provenance
from serving.printable import Formatter, printable
from serving.registry import Registry
from serving.server import saved_model
from serving.server.errors import Code, ServingError
from serving.server.integrity import check_kinds, check_manifest


@pytest.fixture
def pushed(tiny: Path, tmp_path: Path) -> Registry:
    registry = Registry(tmp_path, "m")
    registry.push(tiny / "half_plus_two" / "1", Provenance())
    return registry


def test_what_was_pushed_is_loaded_with_what_may_be_added(pushed: Registry) -> None:
    version = pushed.folder / "1"
    check_manifest(str(version))
    (version / "assets.extra").mkdir(exist_ok=True)
    (version / "assets.extra" / "tf_serving_warmup_requests").write_bytes(b"")
    (version / "batching_params.pbtxt").write_text("")
    (version / ".nfs000001").write_text("")
    check_manifest(str(version))
    assert pushed.changed() == {}


@pytest.mark.parametrize("change, said", [
    (lambda v: (v / "saved_model.pb").write_bytes(b"x" * 10), "saved_model.pb: changed"),
    (lambda v: (v / "saved_model.pb").unlink(), "saved_model.pb: missing"),
    (lambda v: (v / "more.pb").write_bytes(b"x"), "more.pb: extra"),
    (lambda v: (v / MANIFEST).write_text("{}"), "is not a manifest"),
])  # fmt: skip
def test_what_was_changed_is_refused(pushed: Registry, change: object, said: str) -> None:
    version = pushed.folder / "1"
    change(version)  # type: ignore[operator]
    with pytest.raises(ServingError) as raised:
        check_manifest(str(version))
    assert raised.value.code is Code.DATA_LOSS
    assert said in raised.value.message and "--verify_manifest=false" in raised.value.message
    assert said in pushed.changed()[1][0]


def test_same_size_other_content(pushed: Registry) -> None:
    file = pushed.folder / "1" / "saved_model.pb"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(ServingError, match="same size, other content"):
        check_manifest(str(pushed.folder / "1"))


def test_without_a_manifest_nothing_is_checked(tiny: Path) -> None:
    check_manifest(str(tiny / "half_plus_two" / "1"))


@pytest.mark.parametrize("name", ["saved_model.pb", "variables/variables.index", "assets/a"])
def test_a_pipe_is_refused_at_once(tmp_path: Path, tiny: Path, name: str) -> None:
    version = tmp_path / "1"
    shutil.copytree(tiny / "half_plus_two" / "1", version)
    (version / name).parent.mkdir(exist_ok=True)
    (version / name).unlink(missing_ok=True)
    os.mkfifo(version / name)
    with pytest.raises(ServingError, match="is a pipe, a socket or a device") as raised:
        saved_model.load("m", 1, str(version))
    assert raised.value.code is Code.FAILED_PRECONDITION
    with pytest.raises(RegistryError, match=r"is a pipe|holds no saved_model"):
        Registry(tmp_path / "base", "m").push(version, Provenance())


def test_links_count_as_what_they_point_to(tmp_path: Path) -> None:
    (tmp_path / "zero").symlink_to("/dev/zero")
    with pytest.raises(ServingError, match="zero is a pipe"):
        check_kinds(str(tmp_path))
    (tmp_path / "zero").unlink()
    (tmp_path / "nothing").symlink_to("absent")
    check_kinds(str(tmp_path))
    check_kinds("gs://bucket/model")


def test_names_cannot_forge_lines() -> None:
    forged = "m\n2026-01-01 00:00:00,000 I all is well\r\x1b[31m\x85\u2028\u202e"
    assert printable(forged) == (
        "m\\n2026-01-01 00:00:00,000 I all is well\\r\\x1b[31m\\x85\\u2028\\u202e"
    )
    assert printable("Zürich → 東京") == "Zürich → 東京"
    formatter = Formatter("%(levelname).1s %(message)s")
    record = logging.LogRecord("a", logging.INFO, "", 0, "model %s", (forged,), None)
    assert formatter.format(record).splitlines() == [f"I model {printable(forged)}"]
    record = logging.LogRecord("a", logging.INFO, "", 0, "%s", ("n" * 10_000_000,), None)
    assert len(formatter.format(record)) < 5000
    try:
        raise ValueError(forged)
    except ValueError as error:
        info = (type(error), error, error.__traceback__)
        record = logging.LogRecord("a", logging.ERROR, "", 0, "failed", (), info)
    first, *rest = formatter.format(record).split("\n")
    assert first == "E failed" and all(line.startswith("    ") for line in rest)
