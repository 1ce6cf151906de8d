"""The log of a run: no name in it makes a line that nobody wrote."""

import logging
from pathlib import Path

from pipeline.local import quiet

FORGED = "I0101 00:00:00.000000 1 run.py:1] pushed version 9"


def test_names_with_line_ends_forge_no_line(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    with quiet.output_to(str(log)):
        stream = open(2, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
        logger.addHandler(logging.StreamHandler(stream))
        logger.warning("column %s is missing", f"a\n{FORGED}")
        logger.warning("column %s is missing", f"b\r{FORGED}\x1b[2J")
        stream.flush()
    lines = log.read_text().splitlines()
    assert lines[0] == "column a" and lines[1] == f"    {FORGED} is missing"
    assert lines[2] == f"column b\\r{FORGED}\\x1b[2J is missing"


def test_a_trace_forges_no_line() -> None:
    told = quiet.indented(f"ValueError: column a\n{FORGED}\nb\n")
    assert told == f"ValueError: column a\n    {FORGED}\n    b"


def test_records_are_as_before_afterwards(tmp_path: Path) -> None:
    before = logging.getLogRecordFactory()
    with quiet.output_to(str(tmp_path / "log")):
        assert logging.getLogRecordFactory() is not before
    assert logging.getLogRecordFactory() is before
