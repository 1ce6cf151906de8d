"""Seconds that `headrace init` takes on wide tables and on many files, each in a cold process.

    python benchmarks/init.py [--cases 61 500]

Makes the data in a temporary folder. Wall seconds tell little where other work runs on the machine;
the processor's seconds of the process, all threads together, stand beside them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

#: Name → rows, columns, files.
CASES = {
    "61": (200_000, 61, 1),
    "500": (20_000, 500, 1),
    "2500": (2_000, 2_500, 1),
    "files": (50, 8, 2_000),
}


def table(rows: int, columns: int, seed: int) -> pa.Table:
    """Numbers, codes, short texts and ids, and a label `churn` that follows the first column."""
    draw = np.random.default_rng(seed)
    first = draw.normal(size=rows)
    made: dict[str, np.ndarray] = {"n0": first.round(3)}
    for at in range(1, columns - 1):
        if at % 6 < 3:
            made[f"n{at}"] = draw.normal(size=rows).round(3)
        elif at % 6 == 3:
            made[f"i{at}"] = draw.integers(0, 1000, rows)
        elif at % 6 == 4:
            made[f"c{at}"] = np.array(list("abcdefgh"))[draw.integers(0, 8, rows)]
        else:
            made[f"t{at}"] = np.array([f"{n:08x}" for n in draw.integers(0, 20_000, rows)])
    made["churn"] = (first + draw.normal(size=rows) > 0).astype(int)
    return pa.table(made)


def measure(folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of `headrace init` on a folder's files.

    Raises:
        CalledProcessError: it failed.
    """
    command = [sys.executable, "-m", "pipeline.cli.main", "init", "--data", str(folder / "data")]
    command += ["--label", "churn", "--config", str(folder / "headrace.toml")]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - started, busy


def main() -> None:
    """Measures the cases asked for and prints a line each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=sorted(CASES), default=sorted(CASES))
    for case in parser.parse_args().cases:
        rows, columns, files = CASES[case]
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "data").mkdir()
            for at in range(files):
                made = table(rows, columns, at)
                csv.write_csv(made, folder / "data" / f"part-{at:05d}.csv")
            wall, busy = measure(folder)
        told = f"{rows:,} rows x {columns:,} columns x {files:,} file(s)"
        print(f"{told:44} {wall:6.1f} s, processor {busy:6.1f} s", flush=True)


if __name__ == "__main__":
    main()
