"""No name makes a line of the log that the server did not write."""

import io
import logging

import pytest

from serving.printable import Formatter, printable


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Formatter("%(asctime)s %(levelname).1s %(message)s"))
    logger = logging.Logger("test")  # noqa: LOG001 - of this test alone
    logger.addHandler(handler)
    return logger, stream


FORGED = "2026-01-01 00:00:00,000 I {name: m version: 9} is AVAILABLE"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029"])
def test_a_name_with_a_line_end_stays_in_its_line(
    log: tuple[logging.Logger, io.StringIO], end: str
) -> None:
    logger, stream = log
    logger.warning("model %s is not there", f"a{end}{FORGED}")
    text = stream.getvalue()
    assert len(text.splitlines()) == 1 and FORGED in text


def test_the_trace_of_an_error_is_indented(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, stream = log
    try:
        raise ValueError(f"bad name a\n{FORGED}\x1b[2J")
    except ValueError:
        logger.exception("predict of model %s", "m")
    first, *rest = stream.getvalue().splitlines()
    assert first.endswith(" E predict of model m")
    assert len(rest) > 3 and all(line.startswith("    ") for line in rest)
    assert "\x1b" not in stream.getvalue()


def test_control_characters_are_written_out() -> None:
    assert printable("a\x1b[31m\x00\x9b\u202eb\ud800é✔") == "a\\x1b[31m\\x00\\x9b\\u202eb\\ud800é✔"
