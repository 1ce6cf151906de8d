"""`make image-check`: builds the images for real and runs them, without an engine or a registry.

Needs root, buildah and debootstrap (`apt-get install buildah debootstrap`), Debian's archive and
the package index; 25 GB of disk for the time of the check. The base image is made by debootstrap.
Inside the images run: the unit tests, a small pipeline, two components by the commands that Vertex
AI gives a container, and the model server with the model that the pipeline pushed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASE = "docker.io/library/debian:trixie-slim"
BEAM_SDK = "localhost/beam-sdk"
BOOT = "github.com/apache/beam/sdks/v2/python/container"
#: What the image holds: the tests must not find another copy of it in the checkout.
ROOMS = ("pipeline", "models", "serving")
UNIT_TESTS = ("tests/pipeline", "tests/models", "tests/serving/server")
#: Tests of the checkout itself: of README.md, and one that needs git.
OUTSIDE = (
    "--ignore=tests/pipeline/test_readme.py",
    "--deselect=tests/pipeline/test_local.py::test_the_revision_says_whether_the_tree_is_clean",
)
PRINT_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


class Engine:
    """buildah with a storage of its own, so that it leaves nothing behind and needs no daemon."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "build.log"
        storage = [f"--root={folder}/storage", f"--runroot={folder}/run"]
        self.command = ["nice", "buildah", *storage, f"--storage-driver={self._driver()}"]
        os.environ["BUILDAH_ISOLATION"] = (
            "chroot"  # no runtime, no new namespaces: works nearly anywhere
        )

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


# --- what the build needs --------------------------------------------------------------


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


def pip_settings(folder: Path) -> dict[str, str]:
    """pip's configuration here, a certificate included, as the build's secrets."""
    listed = must([sys.executable, "-m", "pip", "config", "list"], "pip config list")
    values = {}
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        values[name.rpartition(".")[2]] = value.strip("'\"")
    certificates = values.get("cert") or os.environ.get("SSL_CERT_FILE", "")
    known = {key: values[key] for key in ("index-url", "extra-index-url", "proxy") if key in values}
    if certificates:
        known["cert"] = "/run/secrets/ca"
    if not known:
        return {}
    file = folder / "pip.conf"
    file.write_text("[global]\n" + "".join(f"{key} = {value}\n" for key, value in known.items()))
    return {"PIP_CONF": str(file), **({"CA": certificates} if certificates else {})}


def copy_checkout(folder: Path) -> Path:
    """The checkout's tracked and new files; a copy may be changed to time a rebuild."""
    context = folder / "context"
    shutil.rmtree(context, ignore_errors=True)
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    for name in must(command, "git ls-files").split("\0"):
        if name and (ROOT / name).is_file():
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    return context


# --- what is measured and run ----------------------------------------------------------


def build(engine: Engine, context: Path, secrets: dict[str, str]) -> dict[str, float]:
    """Builds all targets, and `pipeline` again after a change of code; returns the seconds."""
    seconds = {}
    for target in ("serving", "pipeline"):
        seconds[target] = engine.build(context, target, **secrets)
        say(f"build of {target}", f"{seconds[target]:.0f} s")
    changed = context / "models" / "network.py"
    changed.write_text(changed.read_text() + f"\n# {time.time()}\n")
    seconds["rebuild"] = engine.build(context, "pipeline", **secrets)
    say("rebuild of pipeline after a change in models/", f"{seconds['rebuild']:.1f} s")
    if make_boot(engine):
        seconds["worker"] = engine.build(context, "worker", BEAM_SDK=BEAM_SDK, **secrets)
        say("build of worker, on pipeline", f"{seconds['worker']:.1f} s")
    return seconds


def look(engine: Engine, target: str) -> dict[str, Any]:
    """Size, labels and what must not be in an image."""
    about = json.loads(engine("inspect", "--type", "image", tag(target)))["Docker"]
    config = about["config"]
    labels = {name.rpartition(".")[2]: text for name, text in config["Labels"].items()}
    assert {"title", "description", "version", "revision"} <= set(labels), labels
    with engine.container(target) as container:
        mounted = Path(engine("mount", container))
        sizes = {
            str(path.relative_to(mounted)): int(must(["du", "-sm", str(path)], "du").split()[0])
            for path in (mounted, mounted / "opt/headrace/venv", mounted / "opt/headrace/code")
        }
        packages = next(mounted.glob("opt/headrace/venv/lib/python3*/site-packages"))
        parts = [
            line.split("\t")
            for line in must(["du", "-sm", *map(str, packages.iterdir())], "du").splitlines()
        ]
        bulk = sorted(((int(size), Path(path).name) for size, path in parts), reverse=True)[:6]
        for path in ("usr/bin/g++", "opt/headrace/venv/bin/pip", "build", "run/secrets"):
            assert not (mounted / path).exists(), path
        assert not (mounted / "opt/headrace/code/data").exists()
        sources = list(packages.rglob("*.py"))
        compiled = sum((path.parent / "__pycache__").is_dir() for path in sources)
        assert compiled > 0.99 * len(sources), f"{compiled} of {len(sources)} compiled"
        assert (packages / "tfx").exists() == (target != "serving")
        engine("umount", container)
    assert target == "worker" or config["User"] == "10001:10001"
    say(f"size of {target}", f"{sizes['.'] / 1000:.2f} GB")
    say("  of it code", f"{sizes['opt/headrace/code']} MB")
    say("  largest packages, MB", ", ".join(f"{name} {size}" for size, name in bulk))
    return {"megabytes": sizes, "bulk": bulk, "layers": len(about["rootfs"]["diff_ids"])}


def development_packages(engine: Engine, container: str, secrets: dict[str, str]) -> Path:
    """What the lock has beyond the image (pytest, …), in a folder to be mounted."""
    folder = engine.folder / "development"
    if folder.exists():
        return folder
    entries = re.split(r"\n(?=\S)", (ROOT / "bootstrap/requirements.lock").read_text())
    image = (ROOT / "bootstrap/pipeline.lock").read_text()
    inside = set(re.findall(r"^(\S+)==", image, re.MULTILINE))
    rest = [e for e in entries if re.match(r"[a-z0-9]", e) and e.partition("==")[0] not in inside]
    file = engine.folder / "development.lock"
    file.write_text("\n".join(rest) + "\n")
    version = must(engine.run(container, {}, "python", "-c", PRINT_VERSION), "python").strip()
    uv = shutil.which("uv") or str(ROOT / ".bootstrap/tools/bin/uv")
    environment = {**os.environ, **({"SSL_CERT_FILE": secrets["CA"]} if "CA" in secrets else {})}
    command = [uv, "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target"]
    command += [str(folder), "--python-version", version, "--requirement", str(file)]
    subprocess.run(command, check=True, env=environment)
    return folder


def test_pipeline(engine: Engine, context: Path, secrets: dict[str, str]) -> None:
    """Unit tests, a small run and Vertex's commands in the image `pipeline`; no network needed."""
    for room in ROOMS:  # the image's own copies are what is tested
        shutil.rmtree(context / room)
    work = fresh(engine.folder / "work")
    (context / "small.toml").write_text(
        (context / "headrace.toml")
        .read_text()
        .replace("train_spans = 12", "train_spans = 2")
        .replace('output = "runs"', 'output = "/work/runs"')
        .replace('path = "runs/serving"', 'path = "/work/serving"')
    )
    volumes = {context: "/checkout:ro", work: "/work:rw"}
    with engine.container("pipeline") as container:
        volumes[development_packages(engine, container, secrets)] = "/development:ro"
        quiet = ["env", "PYTHONPATH=/development", "HOME=/work", "TF_CPP_MIN_LOG_LEVEL=2"]
        command = ["python", "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        words = " ".join([*quiet, *command, *UNIT_TESTS, *OUTSIDE])
        shell = f"cd /checkout && exec {words} -m 'not slow'"
        printed = must(engine.run(container, volumes, "sh", "-c", shell), "the unit tests")
        say("unit tests in pipeline", f"{printed.splitlines()[-1]}")

        begun = time.monotonic()
        command = [
            "headrace",
            "run",
            "--config",
            "/checkout/small.toml",
            "--span",
            "2019-12",
            "--json",
        ]
        printed = must(engine.run(container, volumes, *command), "headrace run")
        result = json.loads(printed.strip().splitlines()[-1])
        assert result["status"] == "pushed", result
        say("headrace run in pipeline", f"{result['status']}, {time.monotonic() - begun:.0f} s")

        begun = time.monotonic()
        script = "/checkout/tests/image/as_vertex.py"
        command = ["python", script, "/checkout/small.toml", "2019-12", "/work/vertex"]
        printed = must(engine.run(container, volumes, *command), "Vertex's commands")
        for line in printed.splitlines():
            if line.startswith("as Vertex would: "):
                say(line)
        say("two components as Vertex runs them", f"{time.monotonic() - begun:.0f} s")


def fresh(folder: Path) -> Path:
    """An empty folder that the image's user may write."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_serving(engine: Engine) -> None:
    """The image `serving` with the model that was pushed: health check, an answer, the end."""
    models = engine.folder / "work" / "serving"
    config = json.loads(engine("inspect", "--type", "image", tag("serving")))["Docker"]["config"]
    check = config["Healthcheck"]["Test"][1:]
    rest, grpc = free_port(), free_port()
    with engine.container("serving") as container:
        # `buildah run` starts no entry point: it is for builds.
        flags = [f"--port={grpc}", f"--rest_api_port={rest}"]
        environment = ["env", "MODEL_NAME=nyc_yellow"]
        command = engine.run(
            container, {models: "/models:ro"}, *environment, *config["Entrypoint"], *flags
        )
        begun = time.monotonic()
        log = engine.folder / "serving.log"
        with log.open("wb") as file:
            server = subprocess.Popen(
                command, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            probe = [word.replace('"$MODEL_NAME"', f"nyc_yellow {rest}") for word in check]
            wait(lambda: not run(engine.run(container, {}, *probe)), server, log)
            say("serving is healthy after", f"{time.monotonic() - begun:.1f} s")
            row = {"instances": [example()]}
            address = f"http://127.0.0.1:{rest}/v1/models/nyc_yellow:predict"
            request = urllib.request.Request(address, json.dumps(row).encode())
            answer = json.load(urllib.request.urlopen(request, timeout=30))
            say("serving answers", json.dumps(answer["predictions"][0]))
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


def example() -> dict[str, Any]:
    """A row of the default data."""
    numbers = {
        "passenger_count": 1, "trip_distance": 2.1, "fare_amount": 9.5, "extra": 0.5,
        "mta_tax": 0.5, "tolls_amount": 0.0, "improvement_surcharge": 0.3,
        "congestion_surcharge": 2.5,
    }  # fmt: skip
    whole = {
        "vendor_id": 2, "rate_code_id": 1, "pickup_location_id": 161,
        "dropoff_location_id": 237, "payment_type": 1, "pickup_datetime": 1575200000,
        "dropoff_datetime": 1575200600,
    }  # fmt: skip
    return {**numbers, **whole, "store_and_fwd_flag": "N"}


def run(command: Sequence[str]) -> int:
    """Exit code of a command."""
    return subprocess.run(command, capture_output=True, check=False).returncode


def wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Until something holds; the process must go on living meanwhile."""
    for _ in range(120):
        if process.poll() is not None:
            raise SystemExit(f"{log.read_text(errors='replace')[-4000:]}\nthe server ended")
        if ready():
            return
        time.sleep(0.5)
    raise SystemExit(f"{log.read_text(errors='replace')[-4000:]}\nthe server did not get ready")


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


def main() -> None:
    """Builds, looks, runs; any failure ends it with what was printed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "image-check")
    parser.add_argument("--keep", action="store_true", help="keep images for a quicker next time")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid():
        raise SystemExit("image-check needs root, and: apt-get install buildah debootstrap")
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder)
    say("storage", engine.command[-1])
    try:
        make_base(engine)
        secrets = pip_settings(folder)
        context = copy_checkout(folder)
        figures: dict[str, Any] = {"seconds": build(engine, context, secrets)}
        figures["images"] = {target: look(engine, target) for target in ("serving", "pipeline")}
        test_pipeline(engine, context, secrets)
        test_serving(engine)
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
        print("image-check: all well")
    finally:
        if not arguments.keep:
            for words in (["rm", "--all"], ["rmi", "--all", "--force"]):
                subprocess.run([*engine.command, *words], capture_output=True, check=False)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
