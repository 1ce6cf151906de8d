"""What a run came to: the object that `headrace run --json` prints, kept as `result.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["pushed", "up_to_date", "not_blessed", "blocked", "failed"]

EXIT_CODES: dict[Status, int] = {
    "pushed": 0,
    "up_to_date": 0,
    "failed": 1,
    "blocked": 3,
    "not_blessed": 4,
}


@dataclass
class RunResult:
    """The outcome of a run.

    Attributes:
        status: see `EXIT_CODES`.
        run_id: of the run; also the name of its folder in the history.
        span: newest span.
        window: span labels by split.
        model_version: version pushed, or found up to date.
        metrics: of the candidate over all rows of the eval split.
        champion_metrics: of the champion on the same rows; empty if there is none.
        gates: every gate with `passed` and what it found.
        rows: rows by split.
        quarantined: refused rows by reason.
        seconds: by component.
        wall_seconds: of the whole command, imports included.
        cached: components whose earlier result was reused.
        message: the error, or why nothing was pushed, for a person.
        notes: what a person should know of the run beside its outcome, a sentence each.
        log: the run's log file.
        report: the run's page; `""` if it could not be written.
        config_file: the configuration was read from.
        provenance: digests of what the run was made from, and the revision of the code.
        exit_code: of the command.
    """

    status: Status
    run_id: str
    span: str = ""
    window: dict[str, list[str]] = field(default_factory=dict)
    model_version: int | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    champion_metrics: dict[str, float] = field(default_factory=dict)
    gates: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    quarantined: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    wall_seconds: float = 0.0
    cached: list[str] = field(default_factory=list)
    message: str = ""
    notes: list[str] = field(default_factory=list)
    log: str = ""
    report: str = ""
    config_file: str = ""
    provenance: dict[str, str] = field(default_factory=dict)
    exit_code: int = 1

    def to_json(self) -> str:
        """One JSON object on one line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> RunResult:
        """The inverse of `to_json`; keys of later versions are dropped."""
        known = {item.name for item in dataclasses.fields(cls)}
        return cls(**{key: value for key, value in json.loads(text).items() if key in known})
