"""What was pushed, how to go back, and where it all comes from, as the page shows it."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass

from pipeline.report.evidence import Evidence


@dataclass(frozen=True)
class Command:
    """A command to type, and who needs it."""

    text: str
    purpose: str


@dataclass(frozen=True)
class PushView:
    """The section.

    Attributes:
        version, folder: what was pushed; None if nothing was.
        present: whether the folder still holds it.
        serving: the newest version there now.
        previous: the version to go back to; None if there is none.
        commands: how to go back.
    """

    version: int | None
    folder: str
    present: bool
    serving: int | None
    previous: int | None
    commands: list[Command]


def push(evidence: Evidence) -> PushView:
    """What was pushed, and the way back."""
    config, result = evidence.config, evidence.result
    base = os.path.join(config.serving.path, config.serving.model_name) if config else ""
    version = result.model_version if result.status in ("pushed", "up_to_date") else None
    numbers = [item.number for item in evidence.versions]
    labels = {item.number: item.labels for item in evidence.versions}
    before = [number for number in numbers if version is not None and number < version]
    previous = max(before, default=None)
    commands = []
    if version in numbers and previous is not None and result.status == "pushed":
        option = ["--config", result.config_file] if result.config_file else []
        for label in labels[version] or ("stable",):
            line = shlex.join(["headrace", "label", label, str(previous), *option])
            commands.append(Command(line, f"for clients that ask for the label {label}"))
        kept = os.path.join(base, f".rolled-back-{version}")
        line = shlex.join(["mv", os.path.join(base, str(version)), kept])
        commands.append(
            Command(line, "for clients that ask for the newest version; its number is not reused")
        )
    return PushView(
        version,
        os.path.join(base, str(version)) if version is not None and base else "",
        version in numbers,
        max(numbers, default=None),
        previous,
        commands,
    )


def origins(evidence: Evidence) -> list[tuple[str, str]]:
    """Digests and revisions: name and value."""
    made = evidence.manifest.model_dump() if evidence.manifest else {}
    made = {**{key: value for key, value in made.items() if value}, **evidence.result.provenance}
    config = evidence.config.digest() if evidence.config else made.get("config_sha256")
    data = evidence.ingested.fingerprint if evidence.ingested else made.get("data_fingerprint")
    found = [
        ("configuration", config),
        ("data", data),
        ("schema", evidence.schema_sha256 or made.get("schema_sha256")),
        ("code", made.get("code_sha256")),
        ("thresholds, requests and server", made.get("inputs_sha256")),
        ("git revision", made.get("git_revision")),
        ("weights", made.get("weights_sha256")),
        ("Headrace", made.get("headrace_version")),
        ("TFX", made.get("tfx_version")),
        ("TensorFlow", made.get("tensorflow_version")),
        ("configuration file", evidence.result.config_file),
        ("log", evidence.result.log),
    ]
    return [(name, str(value)) for name, value in found if value]
