"""The file of drift thresholds beside the schema: `drift.json`, reviewed and committed like it."""

from __future__ import annotations

import os

from pydantic import ValidationError

from pipeline import files
from pipeline.config import Config
from pipeline.drift.report import FILE, Calibration
from pipeline.errors import ConfigError, DataError, Fault


def path(config: Config) -> str:
    """Where a configuration's thresholds are."""
    return os.path.join(os.path.dirname(config.data.schema_file), FILE)


def text(config: Config) -> str:
    """The file's text; `""` if there is none.

    Raises:
        ConfigError: it is not what `headrace drift calibrate` writes.
    """
    where = path(config)
    if not files.exists(where):
        return ""
    with files.open_file(where, "rb") as file:
        content: bytes = file.read()
    try:
        Calibration.model_validate_json(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "the file"
        fault = Fault(
            key,
            "",
            first["msg"].lower(),
            "Restore it from version control, or write it anew: headrace drift calibrate",
        )
        raise ConfigError(where, [fault]) from error
    return content.decode("utf-8")


def write(config: Config, measured: Calibration) -> str:
    """Writes the thresholds, sorted, so that a review reads well; the path.

    Raises:
        DataError: the file cannot be written.
    """
    where = path(config)
    try:
        if files.is_local(where):
            os.makedirs(os.path.dirname(where) or ".", exist_ok=True)
        files.write_atomically(where, (measured.model_dump_json(indent=1) + "\n").encode())
    except OSError as error:
        raise DataError(f"{where}: cannot be written ({error.strerror}).") from error
    return where
