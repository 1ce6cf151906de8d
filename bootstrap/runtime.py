"""A newer C runtime beside the environment, for a Linux whose own is older than two wheels need.

ml-metadata and tensorflow-data-validation 1.21 need glibc 2.38 and libstdc++ of GCC 13. On Debian
12 or Ubuntu 22.04 the packages that hold them come from the next release of the same distribution,
from the mirror and with the signing keys that the system's own apt is set up with. They are
unpacked into `.venv/runtime`, and the environment's Python, a copy, is told to use that loader.
Nothing outside the project folder changes, wheels stay as they are, and child processes (a shell,
a compiler) go on using the system's own loader.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from bootstrap.console import Console, Failure

PACKAGES = ("libc6", "libstdc++6", "libgcc-s1")
LOADER = "ld-linux-x86-64.so.2"

#: Old release → the release whose runtime is taken.
NEWER = {
    **dict.fromkeys(("buster", "bullseye", "bookworm", "oldoldstable", "oldstable"), "trixie"),
    **dict.fromkeys(("focal", "jammy", "kinetic", "lunar", "mantic"), "noble"),
}

#: Libraries that the patched Python loads first, from the new runtime. An extension with a RUNPATH
#: of its own does not see the executable's RPATH, and would find the system's older ones; those
#: already loaded are taken by name. libresolv and librt share private symbols with libc, so they
#: must be of one version with it.
PRELOADED = (
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libstdc++.so.6",
    "libutil.so.1",
)

#: Optional parts of Python that link to libraries of the system.
LINKED_MODULES = ("bz2", "ctypes", "lzma", "readline", "sqlite3", "ssl", "zlib")


@dataclass(frozen=True)
class Source:
    """One package source of apt.

    Attributes:
        signed_by: the value of Signed-By (a path, a fingerprint, or a key with its line
            breaks), or None where apt's general key ring is used.
    """

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str | None = None

    def deb822(self) -> str:
        """The source as the text of a `.sources` file."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {self.suite}",
            f"Components: {' '.join(self.components)}",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


def parse_list(text: str) -> list[Source]:
    """Sources in the one-line format (`sources.list`)."""
    found = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line)
        if match:
            options = dict(word.split("=", 1) for word in (match[1] or "").split() if "=" in word)
            found.append(
                Source(match[2], match[3], tuple(match[4].split()), options.get("signed-by"))
            )
    return found


def parse_deb822(text: str) -> list[Source]:
    """Sources in the stanza format (`*.sources`)."""
    found = []
    text = re.sub(r"(?m)^#.*\n?", "", text)
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        key = ""
        for line in stanza.splitlines():
            if line[:1] in (" ", "\t"):
                if key:
                    fields[key] += "\n" + line
            elif ":" in line:
                key, value = line.split(":", 1)
                key = key.strip().lower()
                fields[key] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled") == "no":
            continue
        found += [
            Source(
                uri,
                suite,
                tuple(fields.get("components", "").split()),
                fields.get("signed-by") or None,
            )
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return found


def newer_sources(sources: list[Source]) -> list[Source]:
    """The distribution's own archives, turned to the newer release; the likeliest first."""
    chosen = [
        Source(source.uri, NEWER[source.suite], ("main",), source.signed_by)
        for source in sources
        if source.suite in NEWER and "main" in source.components
    ]
    # Other vendors name their suites after the release too; the archive itself is called so.
    chosen.sort(key=lambda s: not re.search(r"/(debian|ubuntu)/?$|^mirror", s.uri))
    return list(dict.fromkeys(chosen))


def system_sources(folder: Path = Path("/etc/apt")) -> list[Source]:
    """What the system's apt is set up with."""
    found: list[Source] = []
    for path in [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*"))]:
        try:
            text = path.read_text(errors="replace")
        except OSError:
            continue
        if path.suffix == ".sources":
            found += parse_deb822(text)
        elif path.suffix == ".list":
            found += parse_list(text)
    return found


def obstacle(glibc: tuple[int, int]) -> str | None:
    """Why the runtime can't be fetched here, with the remedy; None when it can be tried."""
    have = f"glibc here is {glibc[0]}.{glibc[1]}, ml-metadata and TFDV 1.21 need 2.39 or later"
    use = "use Debian 13, Ubuntu 24.04 or later, or a container of one of them"
    missing = [name for name in ("apt-get", "apt-config", "dpkg-deb") if not shutil.which(name)]
    if missing:
        return f"{have}, and without {missing[0]} no newer one can be fetched: {use}"
    if not newer_sources(system_sources()):
        return f"{have}, and apt here has no Debian or Ubuntu archive to fetch one from: {use}"
    return None


def apt_config(folder: Path, acquire: str) -> str:
    """An apt configuration that stays inside `folder`.

    Args:
        folder: holds lists, cache and state.
        acquire: the system's own `Acquire` settings (proxies, certificates), which are kept.
            Everything else of the system's, hooks above all, is left out.
    """
    return (
        acquire
        + f"""
Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{folder}/sources";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
APT::Architecture "amd64";
APT::Architectures "amd64";
APT::Sandbox::User "";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::AllowInsecureRepositories "false";
"""
    )


def fetch(folder: Path, console: Console) -> None:
    """Downloads the packages into `folder`, once; apt checks signature and hashes.

    The folder appears whole or not at all.

    Raises:
        Failure: no source of this system has them, or none could be verified.
    """
    if folder.is_dir() and _sums(folder) == _read(folder / "SHA256"):
        return
    partial = folder.with_name(folder.name + ".partial")
    for path in (folder, partial):
        shutil.rmtree(path, ignore_errors=True)
    _, acquire = console.attempt(["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"])
    for source in newer_sources(system_sources()):
        shutil.rmtree(partial, ignore_errors=True)
        for name in ("sources", "state/lists/partial", "cache/archives/partial", "debs"):
            (partial / name).mkdir(parents=True)
        (partial / "status").touch()
        (partial / "sources" / "newer.sources").write_text(source.deb822())
        (partial / "apt.conf").write_text(apt_config(partial, acquire))
        env = {"APT_CONFIG": str(partial / "apt.conf"), "LC_ALL": "C"}
        updated, output = console.attempt(["apt-get", "update"], env)
        if updated:
            updated, output = console.attempt(
                ["apt-get", "download", *PACKAGES], env, cwd=partial / "debs"
            )
        if updated:
            debs = partial / "debs"
            (debs / "SHA256").write_text(_sums(debs))
            debs.rename(folder)
            shutil.rmtree(partial, ignore_errors=True)
            return
    if re.search(r"NO_PUBKEY|not signed|signature|keyring", output):
        raise Failure(
            "the newer C runtime's signature could not be checked; bring the keys up to date: "
            "apt-get install --only-upgrade debian-archive-keyring (or ubuntu-keyring) "
            f"(details: {console.log_path})"
        )
    raise Failure(
        f"fetching the newer C runtime failed: {_complaint(output)}; connect to the network, or "
        f"mend apt's sources, and run this again (details: {console.log_path})"
    )


def _complaint(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.startswith(("E:", "W:"))]
    return lines[-1][:160] if lines else "apt-get said nothing"


def _sums(folder: Path) -> str:
    return "".join(
        f"{hashlib.sha256(deb.read_bytes()).hexdigest()}  {deb.name}\n"
        for deb in sorted(folder.glob("*.deb"))
    )


def _read(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None


def unpack(debs: Path, target: Path, console: Console) -> None:
    """Puts the shared libraries of the packages into the folder `target`, flat.

    Raises:
        Failure: a package can't be unpacked, or holds no loader.
    """
    scratch = target.with_name(target.name + ".unpacked")
    for deb in sorted(debs.glob("*.deb")):
        console.run(["dpkg-deb", "-x", deb, scratch], "unpacking the newer C runtime")
    loader = next((p for p in scratch.rglob(LOADER) if p.parent.name == "x86_64-linux-gnu"), None)
    if loader is None:
        raise Failure(f"the newer C runtime holds no {LOADER} (details: {console.log_path})")
    target.mkdir()
    for path in sorted(loader.parent.glob("*.so*")):
        shutil.copy2(path, target / path.name, follow_symlinks=path.resolve().exists())
    shutil.rmtree(scratch)


def adopt(venv: Path, runtime: Path, base: Path, patchelf: Path, console: Console) -> None:
    """Makes the environment's Python, a copy of `base`, run on `runtime`.

    Raises:
        Failure: it could not be patched, or does not start afterwards.
    """
    doing = "moving the environment's Python to the newer C runtime"
    names = sorted((venv / "bin").glob("python*"), key=lambda path: -len(path.name))
    real, others = names[0], names[1:]
    old = console.run([patchelf, "--print-rpath", base], doing).strip()
    needed = console.run([patchelf, "--print-needed", base], doing).split()
    paths = rpath(runtime, old, base, sysconfig.get_config_var("LIBDIR") or "")
    command: list[str | Path] = [patchelf, "--set-interpreter", runtime / LOADER]
    command += ["--force-rpath", "--set-rpath", ":".join(paths)]
    for name in needed:
        if "$ORIGIN" in name:  # how relocatable builds find their libpython
            command += ["--replace-needed", name, _from(base, name)]
    for name in PRELOADED:
        if name not in needed and (runtime / name).exists():
            command += ["--add-needed", name]
    # Patched beside and renamed: an interrupted patchelf leaves no half-written Python.
    patched = real.with_name("patched")
    shutil.copy2(real, patched)
    console.run([*command, patched], doing)
    patched.replace(real)
    for other in others:  # `python` and `python3` are copies too
        other.unlink()
        other.symlink_to(real.name)
    # What the base Python can import, the patched one must: these link to the system's libraries.
    for name in LINKED_MODULES:
        if console.attempt([base, "-c", f"import {name}"])[0]:
            console.run([venv / "bin" / "python", "-c", f"import {name}"], doing)


def rpath(runtime: Path, old: str, base: Path, library_dir: str) -> list[str]:
    """Where the patched Python looks for libraries: the runtime, then where `base` looked.

    The system's own library folders are left out: the loader searches them anyway, last, and
    named here they could bring in another libpython.
    """
    paths = [str(runtime)]
    for entry in [*old.split(":"), library_dir]:
        absolute = _from(base, entry) if entry else ""
        system = re.match(r"(/usr)?/lib(64)?(/|$)", absolute)
        if absolute and not system and absolute not in paths:
            paths.append(absolute)
    return paths


def _from(base: Path, entry: str) -> str:
    """An entry with `$ORIGIN` made absolute, as seen from the base Python."""
    origin = str(base.parent)
    return os.path.normpath(entry.replace("${ORIGIN}", origin).replace("$ORIGIN", origin))
