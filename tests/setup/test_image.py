"""The Dockerfile, the locks, Python and Beam say the same; nothing is left to a built image."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bootstrap import environment, image

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def entries(name: str) -> dict[str, str]:
    """What a lock says of each package (and marker): version and hashes."""
    text = re.sub(r"^ *#.*\n", "", (ROOT / "bootstrap" / name).read_text(), flags=re.MULTILINE)
    found = {}
    for entry in re.split(r"\n(?=\S)", text.strip()):
        head, *hashes = entry.split("\n")
        requirement, _, marker = head.rstrip(" \\").partition(" ; ")
        found[requirement] = "\n".join(hashes)
        assert marker == "" or " " in marker
    return found


@pytest.mark.parametrize("lock", sorted(environment.IMAGE_LOCKS))
def test_an_images_lock_is_a_part_of_the_whole(lock):
    whole, part = entries("requirements.lock"), entries(Path(lock).name)
    assert part
    assert set(part) <= set(whole), "run make lock"
    assert {name: whole[name] for name in part} == part


def test_the_server_needs_no_training_library():
    names = {name.partition("==")[0] for name in entries("server.lock")}
    assert {"tensorflow", "grpcio", "starlette"} <= names
    assert not names & {"tfx", "apache-beam", "tensorflow-transform", "tfx-bsl", "ml-metadata"}


def test_both_locks_are_installed_by_the_dockerfile():
    installed = re.findall(r"bootstrap\.image (bootstrap/\S+\.lock)", DOCKERFILE)
    assert sorted(installed) == sorted(environment.IMAGE_LOCKS)


def test_beams_boot_program_is_of_the_locked_beam_and_the_images_python():
    (beam,) = (e.partition("==")[2] for e in entries("pipeline.lock") if "apache-beam==" in e)
    sdk = re.search(r"^ARG BEAM_SDK=apache/beam_python(\S+)_sdk:(\S+)$", DOCKERFILE, re.MULTILINE)
    assert sdk
    assert sdk[2] == beam
    # Debian 13 has Python 3.13, one of those that the lock is for.
    assert re.search(r"^ARG BASE=debian:trixie-slim$", DOCKERFILE, re.MULTILINE)
    assert sdk[1] == "3.13"


def stages() -> dict[str, tuple[str, str]]:
    """Stage → what it is made from, and its text."""
    found = {}
    for stage in re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]:
        parent, _, name = stage.split("\n")[0].split()
        found[name] = parent, stage
    return found


def test_last_stages_have_neither_root_nor_tools():
    for name in ("serving", "pipeline"):
        parent, stage = stages()[name]
        assert parent == f"{'server' if name == 'serving' else name}-base"
        assert stages()[parent][0] == "base"
        assert "USER 10001:10001" in stage
        assert "apt-get" not in stage + stages()[parent][1]
        assert "HEALTHCHECK" in stage
        assert "org.opencontainers.image.revision" in stage


def test_code_comes_after_packages():
    """A change of code must not install or copy packages again."""
    for name in ("serving", "pipeline"):
        parent, stage = stages()[name]
        assert "/opt/headrace/code" in stage and "venv /opt" not in stage
        assert "/opt/headrace/code" not in stages()[parent][1]
        assert "cp -a /mnt/venv" in stages()[parent][1]
    assert "COPY . " not in DOCKERFILE


def test_packages_are_copied_anew_whenever_they_are_new():
    """What a mounted stage holds is no part of the key of some engines' caches."""
    for packages, base in (
        ("server-packages", "server-base"),
        ("pipeline-packages", "pipeline-base"),
    ):
        stage = stages()[base][1]
        copied = stage.index(f"COPY --from={packages} /opt/headrace/built /opt/headrace/")
        assert copied < stage.index(f"from={packages},")


def test_what_only_builders_and_debuggers_need_is_left_out(tmp_path):
    kept = ("tensorflow/python/a.py", "numpy/testing/a.py", "numpy.libs/a.so", "sklearn/tests/a.py")
    gone = ("tensorflow/include/a.h", "numpy/lib/tests/a.py", "numpy/tests/a.py", "clang/a.so")
    for name in (*kept, *gone):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    with_symbols = tmp_path / "tensorflow" / "python" / "b.so"
    subprocess.run(
        ["cc", "-shared", "-g", "-xc", "-", "-o", str(with_symbols)], input=b"int a;", check=True
    )
    size = with_symbols.stat().st_size
    image.trim(tmp_path)
    assert [name for name in (*kept, *gone) if (tmp_path / name).exists()] == list(kept)
    assert 0 < with_symbols.stat().st_size < size


@pytest.mark.parametrize(
    "copied", re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
)
def test_what_is_copied_exists_and_is_not_ignored(copied):
    rules = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert "*" in rules
    for path in copied.split():
        assert (ROOT / path).exists()
        assert any(Path(path).match(rule) for rule in allowed), path


def test_without_an_engine_the_message_says_what_to_install(tmp_path):
    for name in ("sh", "dirname"):
        (tmp_path / name).symlink_to(f"/bin/{name}" if name == "sh" else "/usr/bin/dirname")
    done = subprocess.run(
        ["/bin/sh", str(ROOT / "bootstrap" / "build_image.sh"), "pipeline", "x"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no container engine works here" in done.stderr
    assert "apt-get install buildah" in done.stderr


def test_the_manifest_is_left_beside_the_build(tmp_path):
    """An engine of a few lines: what `run` prints is what the image holds."""
    for name in ("docker", "buildah"):
        engine = tmp_path / "bin" / name
        engine.parent.mkdir(exist_ok=True)
        engine.write_text('#!/bin/sh\ncase $1 in run) echo "$@" ;; from) echo made-1 ;; esac\n')
        engine.chmod(0o755)
        checkout = tmp_path / name
        (checkout / "bootstrap").mkdir(parents=True)
        script = shutil.copy(ROOT / "bootstrap" / "build_image.sh", checkout / "bootstrap")
        environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "ENGINE": name}
        command = ["sh", script, "pipeline", "registry/x:1"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        manifest = checkout / "build" / "pipeline.manifest.json"
        assert "cat /opt/headrace/code/image.json" in manifest.read_text()
        assert ("registry/x:1" if name == "docker" else "made-1") in manifest.read_text()
        assert "build/pipeline.manifest.json is for vertex.image_manifest" in done.stdout
        engine.write_text('#!/bin/sh\ntest "$1" != run\n')
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "registry/x:1 is built, but its manifest could not be read" in done.stderr
        assert not manifest.exists()


def test_the_engine_gets_target_tag_and_secrets_but_no_secret_in_the_image(tmp_path):
    engine = tmp_path / "docker"
    engine.write_text('#!/bin/sh\necho "$@"\n')
    engine.chmod(0o755)
    done = subprocess.run(
        ["sh", str(ROOT / "bootstrap" / "build_image.sh"), "serving", "registry/x:1"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PIP_CONF": "/etc/pip.conf", "CA": "/ca.pem"},
        capture_output=True,
        text=True,
        check=True,
    )
    said = done.stdout.splitlines()[-1]
    assert said.startswith("build --secret id=pip,src=/etc/pip.conf --secret id=ca,src=/ca.pem")
    assert "--target serving" in said
    assert "--tag registry/x:1 ." in said
    assert not re.search(r"ARG .*(TOKEN|PASSWORD|INDEX)", DOCKERFILE)
