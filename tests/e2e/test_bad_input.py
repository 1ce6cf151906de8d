"""Bad input, as a user meets it: the real command, a clear message, its exit code, nothing pushed.

Cases that are seen before TensorFlow is loaded take half a second each; the others train nothing.
"""

from __future__ import annotations

import ctypes
import gzip
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.local.result import RunResult

pytestmark = pytest.mark.e2e

Break = Callable[..., None]


def _data(project, name: str) -> Path:
    return project.span(name)


def _edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


CSV_CASES: dict[str, tuple[Break, int, list[str]]] = {
    "empty file": (
        lambda p: p.span("2019-12").write_bytes(b""),
        1,
        ["2019-12.csv", "empty", "Copy it again"],
    ),
    "cut in the middle of a row": (
        lambda p: _edit(p.span("2019-11"), lambda b: b[: b.rindex(b"\n", 0, 40_000) + 30]),
        1,
        ["2019-11.csv", "line", "cut off"],
    ),
    "wrong delimiter": (
        lambda p: p.configure(lambda t: t + '\n[data.csv]\ndelimiter = ";"\n'),
        1,
        [".csv", "delimiter", "','"],
    ),
    "latin-1 bytes": (
        lambda p: _edit(p.span("2019-12"), lambda b: b.replace(b",N,", b",\xd1,", 5)),
        1,
        ["2019-12.csv", "line", "not UTF-8", "data.csv.encoding"],
    ),
    "missing column": (
        lambda p: p.write("SELECT * EXCLUDE (fare_amount) FROM trips", "2019-12", "FORMAT csv"),
        1,
        ["2019-12.csv", "fare_amount", "[data.rename]"],
    ),
    "renamed column": (
        lambda p: p.write(
            "SELECT * RENAME (fare_amount AS fare_amout) FROM trips", "2019-12", "FORMAT csv"
        ),
        1,
        ["2019-12.csv", "fare_amount", "'fare_amout'"],
    ),
    "not compressed though named so": (
        lambda p: (
            p.span("2019-12").rename(p.path / "data" / "2019-12.csv.gz"),
            p.configure(lambda t: t.replace("{span:%Y-%m}.csv", "{span:%Y-%m}.csv*")),
        ),
        1,
        ["2019-12.csv.gz", "decompressed"],
    ),
    "cut gzip": (
        lambda p: (
            (p.path / "data" / "2019-12.csv.gz").write_bytes(
                gzip.compress(p.span("2019-12").read_bytes())[:-2000]
            ),
            (p.path / "data" / "2019-12.csv").unlink(),
            p.configure(lambda t: t.replace("{span:%Y-%m}.csv", "{span:%Y-%m}.csv*")),
        ),
        1,
        ["2019-12.csv.gz", "cut off"],
    ),
}

PARQUET_CASES: dict[str, tuple[Break, int, list[str]]] = {
    "truncated Parquet": (
        lambda p: _edit(p.span("2019-11"), lambda b: b[: len(b) // 2]),
        1,
        ["2019-11.parquet", "truncated"],
    ),
    "label names an unknown column": (
        lambda p: p.configure(lambda t: t.replace('"tip_amount >', '"tip_amont >')),
        2,
        ["label.expression", "tip_amont", "Did you mean 'tip_amount'"],
    ),
    "label does not parse": (
        lambda p: p.configure(lambda t: t.replace('"tip_amount >', '"tip_amount > >')),
        2,
        ["label.expression", "is not SQL"],
    ),
    "duplicate span files": (
        lambda p: shutil.copy(p.span("2019-11"), p.path / "data" / "2019-12.parquet"),
        1,
        ["2019-12.parquet", "same bytes as", "2019-11.parquet"],
    ),
    "no span at all": (
        lambda p: [file.unlink() for file in (p.path / "data").iterdir()],
        1,
        ["no span found", "data.pattern"],
    ),
    "no data folder": (
        lambda p: shutil.rmtree(p.path / "data"),
        1,
        ["data.path", "no folder"],
    ),
    "gap in the window": (
        lambda p: p.span("2019-11").unlink(),
        1,
        ["gap", "2019-10", "2019-12", "window.gap"],
    ),
    "directory where a file should be": (
        lambda p: (p.span("2019-12").unlink(), (p.path / "data" / "2019-12.parquet").mkdir()),
        1,
        ["2019-12.parquet", "is a folder"],
    ),
    "five faults in the configuration": (
        lambda p: p.configure(
            lambda t: (
                t.replace("train_spans = 2", "train_spans = 0\ngpa = 1")
                .replace('name = "trips"', 'name = "My Trips"', 1)
                .replace('kind = "high_cardinality"', 'kind = "high"')
                .replace("auc_min = 0.6", "auc_min = 6")
            )
        ),
        2,
        [
            "5 faults",
            "window.train_spans",
            "window.gpa",
            "Did you mean 'gap'",
            "name: must match",
            "features.pickup_location_id.kind",
            "evaluation.bars.auc_min",
        ],
    ),
    "schema that is not text proto": (
        lambda p: (p.path / "schema.pbtxt").write_text("feature { name = 3"),
        2,
        ["schema.pbtxt", "not a schema", "Restore it"],
    ),
    "corrupted metadata database": (
        lambda p: (
            (p.path / "runs").mkdir(),
            (p.path / "runs" / "metadata.db").write_bytes(b"not sqlite" * 1000),
        ),
        1,
        ["metadata.db", "damaged", "move it away"],
    ),
    "output is a file": (
        lambda p: (p.path / "runs").write_text(""),
        1,
        ["cannot write to", "runs"],
    ),
}


def _assert_refused(project, code: int, fragments: list[str]) -> RunResult:
    versions = project.versions()
    outcome = project.run()
    assert outcome.code == code, outcome.out + outcome.err
    message = outcome.result["message"]
    for fragment in fragments:
        assert fragment in message, message
    assert "Traceback" not in outcome.out + outcome.err
    assert project.versions() == versions
    return RunResult.from_json(outcome.out.strip().splitlines()[-1])


@pytest.mark.parametrize("case", CSV_CASES)
def test_bad_csv(csv_project, case: str) -> None:
    change, code, fragments = CSV_CASES[case]
    change(csv_project)
    _assert_refused(csv_project, code, fragments)


@pytest.mark.parametrize("case", PARQUET_CASES)
def test_bad_parquet_or_configuration(project, case: str) -> None:
    change, code, fragments = PARQUET_CASES[case]
    change(project)
    _assert_refused(project, code, fragments)


def _without_override() -> None:
    """In a child: root without the right to ignore permissions (CAP_DAC_OVERRIDE and the like)."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (1, 2):
        libc.prctl(24, capability, 0, 0, 0)


def _restricted(project) -> dict[str, str]:
    done = subprocess.run(
        project.command("run", "--json"),
        cwd=project.path,
        env=project.env(),
        capture_output=True,
        text=True,
        preexec_fn=_without_override if os.geteuid() == 0 else None,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    result: dict[str, str] = json.loads(done.stdout)
    return result


def test_a_file_without_read_permission(project) -> None:
    project.span("2019-11").chmod(0)
    message = _restricted(project)["message"]
    assert "2019-11.parquet" in message and "chmod u+r" in message


def test_a_read_only_output_folder(project) -> None:
    (project.path / "runs").mkdir()
    (project.path / "runs").chmod(0o500)
    message = _restricted(project)["message"]
    assert "cannot write to" in message and "runs" in message and "permissions" in message


def test_two_runs_at_once_the_second_says_who_holds_the_folder(project) -> None:
    first = subprocess.Popen(
        project.command("run", "--json"),
        cwd=project.path,
        env=project.env(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        lock = project.path / "runs" / ".lock"
        while not (lock.exists() and lock.read_text()):
            assert first.poll() is None
        second = project.run()
        assert second.code == 1
        message = second.result["message"]
        assert f"process {first.pid}" in message and "--wait" in message
    finally:
        first.kill()
        first.wait()
