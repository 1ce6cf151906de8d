"""What an image holds, and whether that is what the job was compiled with.

The image's build writes a manifest into the image, beside the code, and a copy beside the build,
`build/pipeline.manifest.json`, for `vertex.image_manifest`. Beam pickles and TFX's executors want
the same Python on both sides, and a digest of code in the job is true only of that code.
"""

from __future__ import annotations

import json
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

from pipeline import files, provenance
from pipeline.errors import ConfigError, Fault
from pipeline.vertex.lint.finding import Finding

#: The part of the lock that an image is made from; tools of development are not in it.
_LOCK = "bootstrap/pipeline.lock"

_REBUILD = "Build the image anew from this checkout (`make image`), and name it in vertex.image."

_MOST_NAMED = 5


def describe() -> dict[str, Any]:
    """What this installation holds: versions of Python and packages, digests of lock and code.

    Installed without checkout or image there is no lock, and no `lock_sha256`.
    """
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "tfx": metadata.version("tfx"),
        "code_sha256": provenance.code_digest("models", "pipeline", "serving"),
        "packages": _packages(),
    }
    lock = provenance.ROOT / _LOCK
    if lock.is_file():
        found["lock_sha256"] = files.sha256(str(lock))
    return found


def _packages() -> dict[str, str]:
    """Distribution → version, names as a lock writes them."""
    installed = {each.metadata["Name"]: each.version for each in metadata.distributions()}
    return {re.sub(r"[-_.]+", "-", name).lower(): installed[name] for name in sorted(installed)}


def written(revision: str) -> dict[str, Any]:
    """The manifest of the image that this runs in.

    Args:
        revision: commit that it is built from.
    """
    return {**describe(), "revision": revision, "path": os.environ["PATH"]}


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
            message = f"{what} differs between image and here"
            if key == "lock_sha256":
                message += _differences(manifest.get("packages", {}), here["packages"])
            yield Finding(f"image-{key.split('_')[0]}", "", message, _REBUILD)


def _differences(there: dict[str, str], here: dict[str, str]) -> str:
    """Packages of an image that are here in another version, or not at all."""
    found = [
        f"{name} {version} there, {here.get(name, 'none')} here"
        for name, version in sorted(there.items())
        if here.get(name) != version
    ]
    more = [f"{len(found) - _MOST_NAMED} more"] if len(found) > _MOST_NAMED else []
    return f" ({'; '.join([*found[:_MOST_NAMED], *more])})" if found else ""


if __name__ == "__main__":
    print(json.dumps(written(sys.argv[1]), indent=2, sort_keys=True))
