"""The error family: split by what the person at the terminal can do about it.

Every message is written for that person: what is wrong, where (file, column, row or key), and
the remedy. The command line prints the message alone; the trace goes to the run's log.
"""

from __future__ import annotations

from dataclasses import dataclass


class HeadraceError(Exception):
    """Something a person can mend. `exit_code` is what the command line ends with."""

    exit_code = 1


class DataError(HeadraceError):
    """The data cannot be read as the configuration says."""


class RunError(HeadraceError):
    """A run cannot start or go on: a lock, a disk, the metadata store, a failed node."""


@dataclass(frozen=True)
class Fault:
    """One broken rule of a configuration.

    Attributes:
        key: full path of the key, such as `window.train_spans`.
        value: what was found, shortened.
        rule: the rule it breaks.
        remedy: what to do.
    """

    key: str
    value: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        found = f" (found {self.value})" if self.value else ""
        return f"{self.key}: {self.rule}{found}. {self.remedy}"


class ConfigError(HeadraceError):
    """One or more faults in a configuration; all of them, not the first."""

    exit_code = 2

    def __init__(self, source: str, faults: list[Fault]) -> None:
        self.source, self.faults = source, faults
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__("\n".join([f"{source}: {count}", *(f"  {fault}" for fault in faults)]))


def shorten(value: object, limit: int = 80) -> str:
    """`repr` of a value from data or configuration, bounded so that a message stays one line."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
