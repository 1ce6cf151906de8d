"""`make image-check`: builds the images for real and runs them, without an engine or a registry.

Needs root, buildah and debootstrap (`apt-get install buildah debootstrap`), Debian's archive and
the package index; 25 GB of disk for the time of the check. The base image is made by debootstrap.
Inside the images run: the unit tests, a small pipeline, two components by the commands that Vertex
AI gives a container, all tasks of a rehearsal, and the model server with the model that was pushed,
as nobody and with a root that cannot be written.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from buildah import BEAM_SDK, ROOT, Engine, make_base, make_boot, must, say, tag

#: What the image holds: the tests must not find another copy of it in the checkout.
ROOMS = ("pipeline", "models", "serving")
UNIT_TESTS = ("tests/pipeline", "tests/models", "tests/serving/server")
#: Tests of the checkout itself: of README.md, and one that needs git.
OUTSIDE = (
    "--ignore=tests/pipeline/test_readme.py",
    "--deselect=tests/pipeline/test_local.py::test_the_revision_says_whether_the_tree_is_clean",
)
PRINT_VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"
HEADRACE = str(ROOT / ".venv" / "bin" / "headrace")
ENTER = str(ROOT / "pipeline" / "vertex" / "twin" / "enter.sh")
NOBODY = "10001:10001"
ROWS = ROOT / "data" / "nyc_yellow" / "yellow_tripdata_sample_2020-12.parquet"
STEPS = ("build", "look", "unit", "run", "vertex", "rehearse", "serving")

_VERTEX = """
[vertex]
project = "my-project"
region = "europe-west4"
root = "gs://my-bucket/pipelines"
data_path = "gs://my-bucket/data"
serving_path = "gs://my-bucket/serving"
image = "registry.example/headrace/pipeline:1"
image_manifest = "{manifest}"
"""


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
    for target in ("pipeline", "serving"):
        seconds[target] = engine.build(context, target, **secrets)
        say(f"build of {target}", f"{seconds[target]:.0f} s")
    changed = context / "models" / "network.py"
    code = changed.read_text()
    changed.write_text(code + f"\n# {time.time()}\n")
    seconds["rebuild"] = engine.build(context, "pipeline", **secrets)
    say("rebuild of pipeline after a change in models/", f"{seconds['rebuild']:.1f} s")
    changed.write_text(code)
    seconds["unchanged"] = engine.build(context, "pipeline", **secrets)
    say("rebuild of pipeline with nothing changed", f"{seconds['unchanged']:.1f} s")
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
        if target != "serving":
            check_manifest(engine, mounted)
        engine("umount", container)
    assert target == "worker" or config["User"] == "10001:10001"
    say(f"size of {target}", f"{sizes['.'] / 1000:.2f} GB")
    say("  of it code", f"{sizes['opt/headrace/code']} MB")
    say("  largest packages, MB", ", ".join(f"{name} {size}" for size, name in bulk))
    return {"megabytes": sizes, "bulk": bulk, "layers": len(about["rootfs"]["diff_ids"])}


def check_manifest(engine: Engine, mounted: Path) -> None:
    """What an image says of itself is so, and lies beside the build too."""
    text = (mounted / "opt/headrace/code/image.json").read_text()
    assert text == (engine.folder / "context/build/pipeline.manifest.json").read_text()
    manifest = json.loads(text)
    lock = (ROOT / "bootstrap/pipeline.lock").read_bytes()
    assert manifest["lock_sha256"] == hashlib.sha256(lock).hexdigest()
    for name, version in manifest["packages"].items():
        assert name == "headrace" or f"\n{name}=={version} " in lock.decode(), (name, version)
    python = manifest["python"].rpartition(".")[0]
    assert (mounted / f"opt/headrace/venv/lib/python{python}/site-packages").is_dir()
    say("  manifest", f"Python {manifest['python']}, {len(manifest['packages'])} packages")


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


def prepare(engine: Engine, context: Path) -> Path:
    """The checkout for use beside an image: no code of its own, and small configurations."""
    for room in ROOMS:  # the image's own code is what is tested; some tests read other files there
        for path in (context / room).rglob("*.py"):
            path.unlink()
    work = engine.folder / "work"
    work.mkdir(exist_ok=True)
    work.chmod(0o777)
    small = (context / "headrace.toml").read_text().replace("train_spans = 12", "train_spans = 2")
    (context / "small.toml").write_text(
        small.replace('output = "runs"', 'output = "/work/runs"').replace(
            'path = "runs/serving"', 'path = "/work/serving"'
        )
    )
    vertex = _VERTEX.format(manifest=context / "build/pipeline.manifest.json")
    for name, section in (("vertex", vertex), ("rehearse", re.sub("image_m.*", "", vertex))):
        output = small.replace('output = "runs"', f'output = "{engine.folder}/rehearsal"')
        (context / f"{name}.toml").write_text(output + section)
    return work


def test_units(engine: Engine, context: Path, secrets: dict[str, str]) -> None:
    """The unit tests, with the image's packages and code."""
    volumes = {context: "/checkout:ro", prepare(engine, context): "/work:rw"}
    with engine.container("pipeline") as container:
        volumes[development_packages(engine, container, secrets)] = "/development:ro"
        quiet = ["env", "PYTHONPATH=/development", "HOME=/work", "TF_CPP_MIN_LOG_LEVEL=2"]
        command = ["python", "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        words = " ".join([*quiet, *command, *UNIT_TESTS, *OUTSIDE])
        shell = f"cd /checkout && exec {words} -m 'not slow'"
        log = engine.folder / "unit.log"  # to be watched: they take minutes
        with log.open("w") as file:
            command = engine.run(container, volumes, "sh", "-c", shell)
            done = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT, check=False)
        printed = log.read_text(errors="replace")
        if done.returncode:
            raise SystemExit(f"{printed[-6000:]}\nthe unit tests failed")
        say("unit tests in pipeline", printed.splitlines()[-1])


def test_run(engine: Engine, context: Path) -> None:
    """A small run in the image; no network is needed."""
    work = prepare(engine, context)
    for folder in ("runs", "serving"):
        shutil.rmtree(work / folder, ignore_errors=True)
    command = "headrace run --config /checkout/small.toml --span 2019-12 --json".split()
    begun = time.monotonic()
    with engine.container("pipeline") as container:
        volumes = {context: "/checkout:ro", work: "/work:rw"}
        printed = must(engine.run(container, volumes, *command), "headrace run")
    result = json.loads(printed.strip().splitlines()[-1])
    assert result["status"] == "pushed", result
    say("headrace run in pipeline", f"{result['status']}, {time.monotonic() - begun:.0f} s")


def test_vertex(engine: Engine, context: Path) -> None:
    """Two components by the very commands of a compiled job, each in a process of its own."""
    work = prepare(engine, context)
    shutil.rmtree(work / "vertex", ignore_errors=True)
    script = "/checkout/tests/image/as_vertex.py"
    command = ["python", script, "/checkout/small.toml", "2019-12", "/work/vertex"]
    begun = time.monotonic()
    with engine.container("pipeline") as container:
        volumes = {context: "/checkout:ro", work: "/work:rw"}
        printed = must(engine.run(container, volumes, *command), "Vertex's commands")
    for line in printed.splitlines():
        if line.startswith("as Vertex would: "):
            say(line)
    say("two components as Vertex runs them", f"{time.monotonic() - begun:.0f} s")


def test_rehearsal(engine: Engine, context: Path) -> None:
    """A job compiled and sent from this environment, its tasks run in the image's root."""
    prepare(engine, context)
    python = must([str(ROOT / ".venv/bin/python"), "-c", PRINT_VERSION], "python").strip()
    done = subprocess.run(
        [HEADRACE, "vertex", "lint", "--config", str(context / "vertex.toml"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    findings = json.loads(done.stdout.strip().splitlines()[-1])["findings"]
    with engine.mounted("pipeline") as root:
        manifest = json.loads((root / "opt/headrace/code/image.json").read_text())
        same = manifest["python"].startswith(f"{python}.")
        assert [each["check"] for each in findings] == [] if same else ["image-python"], findings
        say("lint of image against this environment", f"{[f['message'] for f in findings]}")
        command = [HEADRACE, "vertex", "rehearse", "--config", str(context / "rehearse.toml")]
        command += ["--span", "2019-12", "--fresh", "--json", "--image-root", str(root)]
        begun = time.monotonic()
        result = json.loads(must(command, "the rehearsal").strip().splitlines()[-1])
    assert result["status"] == "pushed", result
    say("rehearsal with tasks in pipeline's root", f"pushed, {time.monotonic() - begun:.0f} s")


def test_serving(engine: Engine) -> None:
    """The image `serving` with the model that was pushed, under the rules of a strict cluster.

    The user is the image's, nobody; the root cannot be written. Health check, answers over REST and
    gRPC, and an orderly end.
    """
    models = engine.folder / "work" / "serving"
    config = json.loads(engine("inspect", "--type", "image", tag("serving")))["Docker"]["config"]
    rest, grpc = free_port(), free_port()
    check = [
        word.replace('"$MODEL_NAME"', f"nyc_yellow {rest}")
        for word in config["Healthcheck"]["Test"]
    ]
    with engine.mounted("serving") as root:
        enter = ["unshare", "--mount", "sh", ENTER, str(root), "--see", f"{models}:/models"]
        enter += ["--user", config["User"], "--read-only", "--"]
        enter += ["env", "-i", *config["Env"], "MODEL_NAME=nyc_yellow", "HOME=/home/headrace"]
        assert run([*enter, "touch", "/home/headrace/file"]), "the root can be written"
        begun = time.monotonic()
        log = engine.folder / "serving.log"
        flags = [f"--port={grpc}", f"--rest_api_port={rest}"]
        with log.open("wb") as file:
            server = subprocess.Popen(
                [*enter, *config["Entrypoint"], *flags], stdout=file, stderr=subprocess.STDOUT
            )
        try:
            wait(lambda: not run([*enter, *check[1:]]), server, log)
            say("serving is healthy after", f"{time.monotonic() - begun:.1f} s")
            ids = re.findall(
                r"^[UG]id:\s(\d+)", Path(f"/proc/{server.pid}/status").read_text(), re.MULTILINE
            )
            assert ":".join(ids) == NOBODY, ids
            answers = {
                "REST": predictions("--rest", "--address", f"http://127.0.0.1:{rest}"),
                "gRPC": predictions("--grpc", "--address", f"grpc://127.0.0.1:{grpc}"),
            }
            for way, answer in answers.items():
                say(f"serving answers over {way}", ", ".join(f"{each:.6f}" for each in answer))
            differ = max(abs(a - b) for a, b in zip(*answers.values(), strict=True))
            assert differ < 1e-6, answers  # REST rounds to float32's own digits
        finally:
            server.send_signal(signal.SIGTERM)
            code = server.wait(30)
        assert code == 0, f"{log.read_text(errors='replace')[-4000:]}\nthe server ended with {code}"
        say("serving ended when told to", f"exit code {code}")


def predictions(*options: str) -> list[float]:
    """What a server says of the first rows of the newest span."""
    command = [HEADRACE, "predict", "--input", str(ROWS), "--limit", "3", "--json", *options]
    told = json.loads(must(command, "headrace predict"))
    return [each["probability"] for each in told["predictions"]]


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
    parser.add_argument(
        "--only", choices=STEPS, nargs="*", default=STEPS, help="with what was kept"
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    arguments = parser.parse_args()
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid():
        raise SystemExit("image-check needs root, and: apt-get install buildah debootstrap")
    folder: Path = arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    engine = Engine(folder)
    say("storage", engine.command[-1])
    figures: dict[str, Any] = {}

    def build_all() -> None:
        make_base(engine)
        figures["seconds"] = build(engine, copy_checkout(folder), secrets)

    def look_at_all() -> None:
        figures["images"] = {target: look(engine, target) for target in ("serving", "pipeline")}

    context = folder / "context"
    steps: dict[str, Callable[[], None]] = {
        "build": build_all,
        "look": look_at_all,
        "unit": lambda: test_units(engine, context, secrets),
        "run": lambda: test_run(engine, context),
        "vertex": lambda: test_vertex(engine, context),
        "rehearse": lambda: test_rehearsal(engine, context),
        "serving": lambda: test_serving(engine),
    }
    try:
        secrets = pip_settings(folder)
        for name in STEPS:
            if name in arguments.only:
                steps[name]()
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
        print(f"image-check: all well ({', '.join(n for n in STEPS if n in arguments.only)})")
    finally:
        if not arguments.keep:
            for words in (["rm", "--all"], ["rmi", "--all", "--force"]):
                subprocess.run([*engine.command, *words], capture_output=True, check=False)
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
