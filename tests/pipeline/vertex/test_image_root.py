"""Commands in an image's root: they see it and what they are shown, and leave it as it was."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipeline import provenance
from pipeline.errors import RunError
from pipeline.vertex.twin import image_root
from pipeline.vertex.twin.image_root import ImageRoot
from pipeline.vertex.twin.processes import Processes

_PROGRAMS = ("sh", "env", "cat")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a shell, and nothing else."""
    folder = tmp_path_factory.mktemp("root")
    for name in ("bin", "tmp", "dev", "proc", "sys", "etc"):
        (folder / name).mkdir()
    for program in _PROGRAMS:
        path = shutil.which(program)
        assert path
        shutil.copy(path, folder / "bin" / program)
        listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=True).stdout
        for library in re.findall(r"(/\S+) \(0x", listed):
            (folder / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, folder / library[1:])
    probe = ImageRoot(str(folder), "/bin").command(["sh", "-c", ":"], {})
    done = subprocess.run(probe, capture_output=True, text=True, check=False)
    if "unshare" in done.stderr or "Operation not permitted" in done.stderr:
        pytest.skip("this machine lets nobody make a mount namespace")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_command_sees_its_root_and_what_it_is_shown(root: Path, tmp_path: Path) -> None:
    shown, hidden = tmp_path / "shown", tmp_path / "hidden"
    for folder in (shown, hidden):
        folder.mkdir()
        (folder / "file").write_text("here")
    image = ImageRoot(str(root), "/bin", {str(shown): str(shown), str(hidden): "/elsewhere"})
    script = (
        f"cat {shown}/file /elsewhere/file; echo new > {shown}/new; echo $A $B; cat {hidden}/file"
    )
    log = tmp_path / "log"
    with Processes(str(tmp_path / "worker.log"), image) as processes:
        code = processes.run(["sh", "-c", script], str(log), {"A": "told"})
    assert code == 1
    assert log.read_text().startswith("hereheretold\n")
    assert f"{hidden}/file: No such file or directory" in log.read_text()
    assert (shown / "new").read_text() == "new\n"


def test_the_root_is_left_as_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THIS_MACHINE", "yes")
    before = sorted(root.rglob("*"))
    image = ImageRoot(str(root), "/bin", {str(tmp_path): str(tmp_path)})
    script = "echo x > /file && echo y > /bin/cat && cat < /file; env"
    done = subprocess.run(
        image.command(["sh", "-c", script], {"A": "told"}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OF_THIS_MACHINE" not in done.stdout
    assert {"A=told", "PATH=/bin"} <= set(done.stdout.splitlines()), done.stderr
    assert sorted(root.rglob("*")) == before
    assert (root / "bin" / "cat").stat().st_size > 100


def test_a_folder_that_is_no_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"holds no image .*make image.*buildah mount"):
        image_root.load(str(tmp_path), {})


def test_an_image_of_other_code_is_refused(tmp_path: Path) -> None:
    manifest = tmp_path / image_root.MANIFEST
    manifest.parent.mkdir(parents=True)
    code = provenance.code_digest("models", "pipeline", "serving")
    manifest.write_text(json.dumps({"code_sha256": code, "path": "/bin"}))
    assert image_root.load(str(tmp_path), {}).path == "/bin"
    manifest.write_text(json.dumps({"code_sha256": "0", "path": "/bin"}))
    with pytest.raises(RunError, match="the image's code is not the code here"):
        image_root.load(str(tmp_path), {})
