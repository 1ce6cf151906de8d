"""The root file system of an image that was built: where the commands of its containers run.

No engine is needed once the root is there (`buildah mount`, `podman image mount`, or what `docker
export` writes, unpacked): `enter.sh` beside this file changes into it, in a namespace of its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline import provenance
from pipeline.errors import RunError

#: Where an image keeps its manifest: beside the code.
MANIFEST = f"opt/headrace/code/{provenance.IMAGE_MANIFEST}"

_ENTER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "enter.sh")


@dataclass(frozen=True)
class ImageRoot:
    """A root and what its commands see of this machine.

    Attributes:
        folder: the root.
        path: PATH in a container of the image.
        see: folder of this machine → where commands see it.
    """

    folder: str
    path: str
    see: Mapping[str, str] = field(default_factory=dict)

    def command(self, command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
        """The words that run a command in it, with this environment and the image's own alone."""
        namespace = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
        seen = [word for item in self.see.items() for word in ("--see", ":".join(item))]
        told = {"PATH": self.path, "LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1", **environment}
        variables = [f"{name}={value}" for name, value in told.items()]
        return [
            *namespace,
            "sh",
            _ENTER,
            self.folder,
            *seen,
            "--",
            "env",
            "-i",
            *variables,
            *command,
        ]


def load(folder: str, see: Mapping[str, str]) -> ImageRoot:
    """A root whose code is this installation's.

    Raises:
        RunError: it holds no image of this project, or one of other code; or this machine cannot
            enter it.
    """
    try:
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest: dict[str, Any] = json.load(file)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{folder}: holds no image of the target `pipeline` ({MANIFEST}: "
            f"{getattr(error, 'strerror', None) or error}). Build one with `make image`, and name "
            "the folder that `buildah mount` or `podman image mount` prints."
        ) from error
    if manifest["code_sha256"] != provenance.code_digest("models", "pipeline", "serving"):
        raise RunError(
            f"{folder}: the image's code is not the code here, so its tasks are not those that "
            "would be sent. Build it anew with `make image`."
        )
    if shutil.which("unshare") is None:
        raise RunError("an image's root is entered with `unshare`: apt-get install util-linux.")
    return ImageRoot(os.path.realpath(folder), manifest["path"], dict(see))
