"""One fault of a compiled job."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A fault, where it is, and what to do.

    Attributes:
        check: name of the check that found it.
        node: task, component or executor; `""` for the job as a whole.
        message: what is wrong.
        remedy: what to do.
    """

    check: str
    node: str
    message: str
    remedy: str

    def __str__(self) -> str:
        where = f"{self.node}: " if self.node else ""
        return f"{where}{self.message}. {self.remedy}"
