"""What is demanded of a model, and what was found."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field

#: The server of this project; others are named by a path, or by `docker:` and an image.
EMBEDDED = "embedded"
DOCKER = "docker:"

#: The file a verdict is kept in.
FILE = "proof.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a model must stand.

    Attributes:
        server: `embedded`, the path of a tensorflow_model_server, or `docker:` and an image.
        tolerance: largest difference of a probability from the Trainer's.
        latency_p99_ms: budget of one row over gRPC or REST, 99th percentile, milliseconds.
        latency_requests: number of single rows timed on each surface.
        load_seconds_max: from the start of the server's process until it answers.
        size_mb_max: of all files, in 1,000,000 bytes.
    """

    server: str = EMBEDDED
    tolerance: float = 1e-4
    latency_p99_ms: float = 100.0
    latency_requests: int = 200
    load_seconds_max: float = 60.0
    size_mb_max: float = 1000.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was checked.

    Attributes:
        check: what: `files`, `operations`, `size`, `load`, `signatures`, `warm-up`, `latency …`,
            or the surface and signature that was asked, such as `rest serving_default`.
        passed: whether it holds.
        message: what was found, for a person.
        figures: what was measured; units are in the names.
    """

    check: str
    passed: bool
    message: str
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """All findings; the model is proven if every one passed."""

    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return all(finding.passed for finding in self.findings)

    def to_json(self) -> str:
        """The verdict as a JSON text."""
        findings = [dataclasses.asdict(finding) for finding in self.findings]
        return json.dumps({"passed": self.passed, "findings": findings}, indent=2) + "\n"
