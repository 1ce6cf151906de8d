"""What an image holds, and whether that is what the job was compiled with.

The image's build writes a manifest, `python -m pipeline.vertex.lint.image > image.json`, and keeps
a copy outside of the image for `vertex.image_manifest`. Beam pickles and TFX's executors want the
same Python on both sides, and a digest of code in the job is true only of that code.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from pipeline import files, provenance
from pipeline.errors import ConfigError, Fault
from pipeline.vertex.lint.finding import Finding

_LOCK = provenance.ROOT / "bootstrap" / "requirements.lock"

_REBUILD = "Build the image anew from this checkout (`make image`), and name it in vertex.image."


def describe() -> dict[str, str]:
    """What this installation holds; without a checkout the lock is not known."""
    found = {
        "python": platform.python_version(),
        "tfx": metadata.version("tfx"),
        "code_sha256": provenance.code_digest("models", "pipeline", "serving"),
    }
    if _LOCK.is_file():
        found["lock_sha256"] = files.sha256(str(_LOCK))
    return found


def read(path: str) -> dict[str, Any]:
    """An image's manifest.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        with files.open_file(path, "rb") as file:
            manifest = json.loads(file.read())
        if not isinstance(manifest, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError) as error:
        fault = Fault(
            "vertex.image_manifest", path, f"cannot be read ({error})", "Build the image."
        )
        raise ConfigError("[vertex]", [fault]) from error
    return manifest


def check(job: dict[str, Any], manifest: dict[str, Any] | None) -> Iterator[Finding]:
    """Compares an image with the submitter; without a manifest only what the job itself says."""
    here = describe()
    label = job.get("labels", {}).get("tfx_py_version")
    minor = "-".join(here["python"].split(".")[:2])
    if label is not None and label != minor:
        yield Finding(
            "python",
            "",
            f"it was compiled with Python {label.replace('-', '.')}, and this is {here['python']}",
            "Compile it with this Python.",
        )
    if manifest is None:
        return
    there = str(manifest.get("python", ""))
    if there.split(".")[:2] != here["python"].split(".")[:2]:
        yield Finding(
            "image-python",
            "",
            f"the image has Python {there or 'of unknown version'}, and this is {here['python']}",
            "Submit from the same Python as the image's, or build the image on this one.",
        )
    for key, what in (
        ("tfx", "TFX"),
        ("lock_sha256", "the lock file"),
        ("code_sha256", "the code"),
    ):
        if key in manifest and key in here and manifest[key] != here[key]:
            yield Finding(
                f"image-{key.split('_')[0]}", "", f"{what} differs between image and here", _REBUILD
            )


if __name__ == "__main__":
    print(json.dumps(describe(), indent=2, sort_keys=True))
