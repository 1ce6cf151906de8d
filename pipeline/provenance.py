"""Digests that say what a result was made from: code, schema, data, configuration.

Stock TFX keys its cache on the dotted path of user code, so edited code would reuse old results;
here every node whose outcome depends on our code carries a digest of it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
from importlib import metadata
from pathlib import Path

import pipeline

#: Where `pipeline` and `models` lie side by side: a checkout, or site-packages.
ROOT = Path(str(pipeline.__file__)).parent.parent

#: What an image's build noted of it, beside the code; no checkout has one.
IMAGE_MANIFEST = "image.json"

#: Libraries whose version can change what a model becomes, or how it is judged.
_LIBRARIES = (
    *("tfx", "tensorflow", "keras", "tensorflow-transform", "duckdb"),
    *("tensorflow-data-validation", "tensorflow-model-analysis", "numpy", "pyarrow"),
)


def code_digest(*parts: str) -> str:
    """SHA-256 of parts of our code and of the versions of the libraries that matter.

    Args:
        parts: packages or modules by path from the root, such as `models` or `pipeline/sql.py`.
    """
    digest = hashlib.sha256()
    for part in parts:
        path = ROOT / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(ROOT)}\0".encode())
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    for library in _LIBRARIES:
        digest.update(f"{library}=={metadata.version(library)}\n".encode())
    return digest.hexdigest()


def git_revision() -> str:
    """Commit of the checkout the code runs from, with `+dirty` if it differs.

    In an image it is the one that the build was told; `""` where neither is known.
    """
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((ROOT / IMAGE_MANIFEST).read_text())["revision"])
    try:
        revision = _git("rev-parse", "HEAD")
        return revision + ("+dirty" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(*arguments: str) -> str:
    answer = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, check=True, text=True, timeout=10
    )
    return answer.stdout.strip()
