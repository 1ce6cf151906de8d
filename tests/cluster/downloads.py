"""What the cluster checks need from outside, fetched once into `.bootstrap/cluster`.

Flink and Spark come from the package index (`apache-flink-libraries` and `pyspark` carry their
jars), pinned by SHA-256; Beam's job servers from Maven Central, whose checksums Maven verifies.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STORE = ROOT / ".bootstrap" / "cluster"

_PACKAGES = {
    "flink": (
        "apache-flink-libraries==1.19.3",
        "4a58e3a1fb7d83340bc96b6c080624c6d792d69fae5d294b96224775204a9c60",
        "deps/lib/",
    ),
    "spark": (
        "pyspark==3.5.7",
        "80e36514e0c5c126d35a26adf4f405cd4a69de96a8ea8a3c1e9a65fce2fb4eaa",
        "deps/jars/",
    ),
}

#: Engine → Beam's runner, and the class that serves its jobs.
JOB_SERVERS = {
    "flink": ("beam-runners-flink-1.19", "org.apache.beam.runners.flink.FlinkJobServerDriver"),
    "spark": ("beam-runners-spark-3", "org.apache.beam.runners.spark.SparkJobServerDriver"),
}


def java() -> str:
    """The Java to run a cluster with.

    Raises:
        SystemExit: there is none, or it is not 11 to 17.
    """
    home = os.environ.get("JAVA_HOME")
    found = shutil.which("java", path=f"{home}/bin" if home else None)
    if found is None:
        raise SystemExit("no java found: install OpenJDK 17 (or name another by JAVA_HOME)")
    told = subprocess.run([found, "-version"], capture_output=True, text=True, check=True).stderr
    match = re.search(r'version "(\d+)', told)
    if not match or not 11 <= int(match[1]) <= 17:
        raise SystemExit(f"Flink 1.19 and Spark 3.5 want Java 11 to 17; {found} says: {told}")
    return found


def jars(engine: str) -> Path:
    """Folder of the engine's own jars."""
    requirement, digest, inside = _PACKAGES[engine]
    folder = STORE / requirement.replace("==", "-")
    if folder.is_dir():
        return folder
    STORE.mkdir(parents=True, exist_ok=True)
    pinned = STORE / f"{engine}.txt"
    pinned.write_text(f"{requirement} --hash=sha256:{digest}\n", encoding="utf-8")
    print(f"fetching {requirement} …", flush=True)
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:"]
    _run([*pip, "--require-hashes", f"--dest={STORE}", f"--requirement={pinned}"], requirement)
    archive = STORE / f"{folder.name}.tar.gz"
    partial = STORE / f"{folder.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            if inside in member.name and member.name.endswith(".jar"):
                member.name = os.path.basename(member.name)
                tar.extract(member, partial, filter="data")
    archive.unlink()
    partial.rename(folder)
    return folder


def job_server(engine: str) -> Path:
    """Beam's job server for an engine: one jar."""
    jar = STORE / f"{engine}-job-server.jar"
    if jar.exists():
        return jar
    if shutil.which("mvn") is None:
        raise SystemExit("no mvn found: install Maven (apt-get install maven)")
    build = STORE / f"{engine}-job-server"
    build.mkdir(parents=True, exist_ok=True)
    shutil.copy(Path(__file__).with_name("job-server.xml"), build / "pom.xml")
    runner, main = JOB_SERVERS[engine]
    print(f"fetching Beam's job server for {engine} (some minutes) …", flush=True)
    # -C: what does not have the checksum that its repository states is refused.
    maven = ["mvn", "-q", "-B", "-C", f"-Dmaven.repo.local={STORE / 'm2'}", "-f", f"{build}"]
    values = [f"-Dengine={engine}", f"-Drunner={runner}", f"-Dmain={main}"]
    _run([*maven, *values, "package"], "Beam's job server")
    (build / "target" / f"{engine}-job-server.jar").rename(jar)
    shutil.rmtree(build)
    return jar


def _run(command: list[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-12:])
        raise SystemExit(f"{what} could not be fetched; is there a network?\n{last}")
