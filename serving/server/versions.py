"""The versions of a model, their states, and which step comes next. Pure: no threads, no files.

START ──► LOADING ──► AVAILABLE ──► UNLOADING ──► END
  │          └── error, or no longer wanted ──────►┘
  └────────────── no longer wanted ───────────────►┘
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from serving.server.errors import Code

if TYPE_CHECKING:
    from serving.server.saved_model import LoadedModel

START = "START"
LOADING = "LOADING"
AVAILABLE = "AVAILABLE"
UNLOADING = "UNLOADING"
END = "END"


class VersionStatus(NamedTuple):
    """What a status listing says of a version.

    Attributes:
        version: the number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        code: OK, or why the last load failed.
        message: "" or the reason.
    """

    version: int
    state: str
    code: Code
    message: str


class Entry:
    """One version of one model, from when it was first wanted until it ended.

    Attributes:
        name: of the model.
        version: the number.
        path: of the folder.
        aspired: whether it should be served.
        state: see above.
        code: OK, or why the last load failed.
        message: "" or the reason.
        servable: what answers; set from AVAILABLE until it is unloaded.
        pins: requests that use it.
        failures: attempts to load it that failed in a row.
        next_attempt: when to try again, on the clock `time.monotonic`; None: no retry is due.
        fingerprint: of the folder at the last attempt.
    """

    __slots__ = (
        "aspired", "code", "failures", "fingerprint", "message", "name", "next_attempt",
        "path", "pins", "servable", "state", "version",
    )  # fmt: skip

    def __init__(self, name: str, version: int, path: str) -> None:
        self.name = name
        self.version = version
        self.path = path
        self.aspired = True
        self.state = START
        self.code = Code.OK
        self.message = ""
        self.servable: LoadedModel | None = None
        self.pins = 0
        self.failures = 0
        self.next_attempt: float | None = None
        self.fingerprint: object = None

    def __str__(self) -> str:
        return f"{{name: {self.name} version: {self.version}}}"

    def status(self) -> VersionStatus:
        """For a listing."""
        return VersionStatus(self.version, self.state, self.code, self.message)

    def fresh(self) -> Entry:
        """The same version, wanted anew."""
        return Entry(self.name, self.version, self.path)


def next_step(entries: Iterable[Entry]) -> tuple[str, Entry] | None:
    """What to do next so that the aspired versions of a model get served without a gap.

    The stock server's availability-preserving policy: unload the lowest version that is not
    aspired as soon as an aspired one answers (or none is aspired, or another one is left over);
    until then load the highest aspired version that was not tried yet.

    Returns:
        (UNLOADING or LOADING, the version), or None if there is nothing to do.
    """
    aspired = [entry for entry in entries if entry.aspired]
    leftover = [e for e in entries if not e.aspired and e.state == AVAILABLE]
    answers = any(entry.state == AVAILABLE for entry in aspired)
    if leftover and (answers or not aspired or len(leftover) > 1):
        return UNLOADING, min(leftover, key=_version)
    untried = [entry for entry in aspired if entry.state == START]
    if untried:
        return LOADING, max(untried, key=_version)
    return None


def _version(entry: Entry) -> int:
    return entry.version
