"""What a run reads beside its data, schema and configuration: by what it holds, not by its path.

A result is taken again only if all that it was made from is the same. TFX sees inputs and
parameters of a node; a file that is named by a parameter may hold something else by the next run,
so its digest becomes part of the node's cache key, and of what "up to date" means.
"""

from __future__ import annotations

import hashlib
import os

from pipeline import files
from pipeline.config import Config
from pipeline.drift import calibration


def requests_digest(pattern: str | None) -> str:
    """SHA-256 of the logged requests' files, names and content; `""` if none are logged.

    Args:
        pattern: as `drift.request_log`.
    """
    if pattern is None:
        return ""
    digest = hashlib.sha256()
    for path in files.glob(pattern):
        try:
            digest.update(f"{path}\0{files.sha256(path)}\n".encode())
        except FileNotFoundError:
            continue  # a log is rotated while servers write it
        except OSError as error:
            # Its reader says what is wrong; until then it counts by what hinders.
            digest.update(f"{path}\0{error.strerror or error}\n".encode())
    return digest.hexdigest()


def server_digest(server: str) -> str:
    """SHA-256 of the server's program that proves a model; `""` if it is no file here.

    Args:
        server: as `proof.server`.
    """
    return files.sha256(server) if os.path.isfile(server) else ""


def digest(config: Config) -> str:
    """SHA-256 of everything that a run reads so.

    Raises:
        ConfigError: the file of drift thresholds is not one.
    """
    read = (
        calibration.text(config),
        requests_digest(config.drift.request_log),
        server_digest(config.proof.server),
    )
    return hashlib.sha256("\0".join(read).encode()).hexdigest()
