"""The manifest inside a pushed version: what it is made of and where it comes from."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.layout import MANIFEST, RegistryError

# Of the stock server: read from a version's folder, and written there by whoever runs the server.
_ADDED = ("assets.extra/tf_serving_warmup_requests", "batching_params.pbtxt")


class _Record(BaseModel):
    # Unknown keys are kept: an older Headrace can list versions that a newer one has pushed.
    # NaN (a metric undefined on its rows) as a string: JSON has no NaN, and null is no float.
    model_config = ConfigDict(frozen=True, extra="allow", ser_json_inf_nan="strings")


class FileEntry(_Record):
    """One file of a version.

    Attributes:
        sha256: of the content, 64 hexadecimal digits.
        bytes: size.
    """

    sha256: str
    bytes: int


#: Path relative to a version's folder, with `/` -> file.
Files = Mapping[str, FileEntry]


class Provenance(_Record):
    """Where a model comes from, as far as its maker knows.

    Attributes:
        run_id: the pipeline run that made it.
        span: newest span, the one it was evaluated on.
        window: all spans, oldest first.
        data_fingerprint: of the input files.
        dealt: how rows were parted into training and evaluation: `by` spans, time or rows.
        rows: split name -> number of rows.
        schema_sha256, config_sha256, code_sha256: digests of the schema file, of the deciding
            part of the configuration and of our Python code.
        inputs_sha256: digest of what else was read: drift thresholds, logged requests, the program
            that proved the model.
        git_revision: commit of the code, if it was in a clean or known work tree.
        weights_sha256: of the values of all variables and assets, whatever their order on disk.
        metrics: the model's own metrics, name -> value.
        champion_metrics: those of the model it was compared with; empty on the first run.
        headrace_version, tfx_version, tensorflow_version: of the software that made it.
    """

    run_id: str | None = None
    span: str | None = None
    window: tuple[str, ...] = ()
    data_fingerprint: str | None = None
    dealt: dict[str, Any] | None = None
    rows: dict[str, int] = {}
    schema_sha256: str | None = None
    config_sha256: str | None = None
    code_sha256: str | None = None
    inputs_sha256: str | None = None
    git_revision: str | None = None
    weights_sha256: str | None = None
    metrics: dict[str, float] = {}
    champion_metrics: dict[str, float] = {}
    headrace_version: str | None = None
    tfx_version: str | None = None
    tensorflow_version: str | None = None


class Manifest(Provenance):
    """A pushed version: its provenance and its content.

    Attributes:
        version: the number.
        model_name: the name clients ask for.
        created: when it was pushed (UTC).
        model_sha256: `model_digest(files)`.
        files: all but the manifest itself.
    """

    version: int
    model_name: str
    created: datetime
    model_sha256: str
    files: dict[str, FileEntry]

    @classmethod
    def of(
        cls,
        version: int,
        model_name: str,
        files: Files,
        provenance: Provenance,
    ) -> Manifest:
        """The manifest of a version that is being pushed now."""
        pushed = {
            "version": version,
            "model_name": model_name,
            "created": datetime.now(UTC),
            "model_sha256": model_digest(files),
            "files": files,
        }
        # In this order: a key nobody foresaw must not pass for one of ours.
        return cls.model_validate({**provenance.model_dump(), **pushed})

    def to_json(self) -> str:
        """Indented JSON, for people too."""
        return self.model_dump_json(indent=2) + "\n"


def parse_manifest(text: str | bytes, where: object) -> Manifest:
    """The inverse of `Manifest.to_json`; keys it does not know are kept.

    Raises:
        RegistryError: the text is not a manifest; names `where` and the first fault.
    """
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, fault["loc"])) or "file"
        raise RegistryError(f"{where} is not a manifest: {key}: {fault['msg']}") from error


def walk_folder(folder: Path) -> Iterator[Path]:
    """Every file and folder below `folder`, a folder before what it holds; links are followed.

    Raises:
        OSError: a folder cannot be read (Path.rglob would skip it without a word).
    """

    def fail(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=fail, followlinks=True):
        for name in sorted(folders + names):
            yield Path(root, name)


def hash_folder(folder: Path) -> Files:
    """Every file below `folder` by its relative path, without a manifest at the top.

    Raises:
        OSError: a file or folder cannot be read.
    """
    entries: dict[str, FileEntry] = {}
    for path in walk_folder(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_dir() or name == MANIFEST:
            continue
        if path.exists() and not path.is_file():  # reading it might never end
            raise OSError(errno.EINVAL, "is a pipe, a socket or a device, not a file", str(path))
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            entries[name] = FileEntry(sha256=digest, bytes=os.fstat(file.fileno()).st_size)
    return dict(sorted(entries.items()))


def model_digest(files: Files) -> str:
    """SHA-256 over names and contents, 64 hexadecimal digits.

    It is the digest of what `sha256sum` prints for the files in path order, so a shell can check
    it without Headrace.
    """
    lines = "".join(f"{files[name].sha256}  {name}\n" for name in sorted(files))
    return hashlib.sha256(lines.encode()).hexdigest()


def compare_files(expected: Files, found: Files) -> list[str]:
    """One line for each file that is missing, changed or extra; empty if all is well."""
    problems = [f"{name}: missing" for name in sorted(expected.keys() - found.keys())]
    for name in sorted(expected.keys() & found.keys()):
        want, have = expected[name], found[name]
        if want.bytes != have.bytes:
            problems.append(f"{name}: changed ({have.bytes} bytes, manifest says {want.bytes})")
        elif want.sha256 != have.sha256:
            problems.append(f"{name}: changed (same size, other content)")
    return problems + [f"{name}: extra" for name in sorted(found.keys() - expected.keys())]


def changed_files(expected: Files, found: Files) -> list[str]:
    """As `compare_files`, without files that may be put into a version after its push.

    Those are requests to warm up with, batching parameters, and what names beginning with a dot
    hide (a file system's own, say); no model reads them.
    """
    added = {
        name: entry
        for name, entry in found.items()
        if name in expected or not (name in _ADDED or name.rpartition("/")[2].startswith("."))
    }
    return compare_files(expected, added)


def is_same_model(pushed: Manifest, model_sha256: str, candidate: Provenance) -> bool:
    """Whether pushing the candidate would only repeat `pushed` under a new number.

    Two exports of one model differ in saved_model.pb (function names carry counters) and in
    fingerprint.pb, so equal bytes are sufficient but not necessary. Equal weights alone are not
    sufficient: an edited signature leaves the weights as they were. Equal weights made by the same
    code, configuration and schema are the same model; each of the four must be known.
    """
    if pushed.model_sha256 == model_sha256:
        return True
    keys = ("weights_sha256", "code_sha256", "config_sha256", "schema_sha256")
    return all(
        getattr(candidate, key) is not None and getattr(candidate, key) == getattr(pushed, key)
        for key in keys
    )
