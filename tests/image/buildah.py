"""buildah without a registry: a storage of its own, and the images that a build starts from."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:trixie-slim"
BEAM_SDK = "localhost/beam-sdk"
BOOT = "github.com/apache/beam/sdks/v2/python/container"


class Engine:
    """buildah with a storage of its own, so that it leaves nothing behind and needs no daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "build.log"
        storage = [f"--root={folder}/storage", f"--runroot={folder}/run"]
        self.command = ["buildah", *storage, f"--storage-driver={self._driver()}"]
        # No runtime and no new namespaces: it works nearly anywhere.
        os.environ["BUILDAH_ISOLATION"] = "chroot"

    def _driver(self) -> str:
        """overlay where the kernel lets us, else vfs, which copies all files for each layer."""
        paths = {name: self.folder / "probe" / name for name in ("lower", "upper", "work", "seen")}
        for path in paths.values():
            path.mkdir(parents=True, exist_ok=True)
        options = f"lowerdir={paths['lower']},upperdir={paths['upper']},workdir={paths['work']}"
        command = ["mount", "-t", "overlay", "overlay", "-o", options, str(paths["seen"])]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return "vfs"
        subprocess.run(["umount", str(paths["seen"])], check=True)
        return "overlay"

    def __call__(self, *words: str | Path) -> str:
        """Runs a buildah command; returns what it printed."""
        command = [*self.command, *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def build(self, context: Path, target: str, **variables: str) -> float:
        """Builds a target as `make image` does; returns the seconds it took."""
        environment = {**os.environ, "ENGINE": " ".join(self.command), **variables}
        script = str(context / "bootstrap" / "build_image.sh")
        command = ["sh", script, target, tag(target), "--pull-never", "--network", "host"]
        begun = time.monotonic()
        with self.log.open("ab") as log:
            done = subprocess.run(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT, check=False
            )
        if done.returncode:
            tail = self.log.read_text(errors="replace").splitlines()[-30:]
            raise SystemExit("\n".join([*tail, f"the build of {target} failed (all: {self.log})"]))
        return time.monotonic() - begun

    @contextmanager
    def container(self, target: str) -> Iterator[str]:
        """A container of a target's image."""
        name = self("from", "--pull-never", tag(target))
        try:
            yield name
        finally:
            self("rm", name)

    @contextmanager
    def mounted(self, target: str) -> Iterator[Path]:
        """The root file system of a target's image."""
        with self.container(target) as container:
            yield Path(self("mount", container))

    def run(self, container: str, volumes: dict[Path, str], *command: str) -> list[str]:
        """The words that run a command in a container, as the image's own user."""
        mounts = [word for path, inside in volumes.items() for word in ("-v", f"{path}:{inside}")]
        return [*self.command, "run", *mounts, container, "--", *command]


def tag(target: str) -> str:
    """Name of a target's image."""
    return f"localhost/headrace-{target}:check"


def say(what: str, figure: object = "") -> None:
    """One line of the report."""
    print(f"{what:<52}{figure}", flush=True)


def must(command: Sequence[str], doing: str) -> str:
    """Runs a command that must succeed; returns what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{done.stdout[-6000:]}{done.stderr[-6000:]}\n{doing} failed")
    return done.stdout


def make_base(engine: Engine) -> None:
    """An image that stands for debian:trixie-slim, where the registry's is not to be had."""
    if BASE in engine("images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    root = engine.folder / "debian"
    must(["debootstrap", "--variant=minbase", "trixie", str(root)], "debootstrap")
    # As in the registry's image: what apt downloads is not kept.
    (root / "etc/apt/apt.conf.d/docker-clean").write_text(
        'APT::Update::Post-Invoke { "rm -f /var/cache/apt/*.bin || true"; };\n'
        'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };\n'
        'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";\n'
    )
    shutil.rmtree(root / "var/cache/apt")
    shutil.rmtree(root / "var/lib/apt/lists")
    commit_folder(engine, root, BASE)
    shutil.rmtree(root)


def commit_folder(engine: Engine, folder: Path, name: str) -> None:
    """An image of nothing but a folder's files."""
    container = engine("from", "scratch")
    engine("copy", "-q", container, folder, "/")
    engine("commit", "-q", "--rm", container, name)


def make_boot(engine: Engine) -> bool:
    """An image with Beam's boot program, built from Beam's Go module; False without Go."""
    if shutil.which("go") is None:
        return False
    version = re.search(
        r"^apache-beam==(\S+)", (ROOT / "bootstrap/pipeline.lock").read_text(), re.MULTILINE
    )
    assert version
    folder = engine.folder / "beam"
    where = folder / "opt/apache/beam"
    where.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "GOBIN": str(where), "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    command = ["nice", "go", "install", f"{BOOT}@v{version[1]}"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    (where / "container").rename(where / "boot")
    commit_folder(engine, folder, BEAM_SDK)
    shutil.rmtree(folder)
    return True
