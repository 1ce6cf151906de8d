"""Faults of files: what copies, transfers and exports do to them."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from pipeline import sql
from pipeline.audit.fault import Fault, NotApplicableError
from pipeline.audit.scene import Scene


def _csv(scene: Scene, change: Callable[[bytes], bytes]) -> None:
    """Saves the newest span as CSV instead, its bytes changed."""
    source, target = scene.file(scene.newest), scene.file(scene.newest, ".csv")
    with scene.opened() as connection:
        connection.execute(f"COPY rows TO {sql.text(str(target))} (FORMAT csv, HEADER)")
    source.unlink()
    target.write_bytes(change(target.read_bytes()))


def _half_row(scene: Scene) -> None:
    def cut(content: bytes) -> bytes:
        end = content.rindex(b"\n", 0, len(content) // 2)
        # After the first field of a row: too few columns, whatever the columns are.
        return content[: content.index(b",", end) + 1]

    _csv(scene, cut)


def _other_encoding(scene: Scene) -> None:
    _csv(scene, lambda content: content.decode().encode("utf-16"))


def _truncated(scene: Scene) -> None:
    file = scene.file(scene.newest)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _empty(scene: Scene) -> None:
    scene.file(scene.newest).write_bytes(b"")


def _gap(scene: Scene) -> None:
    if len(scene.spans) < 4:
        raise NotApplicableError("four spans")
    scene.file(scene.spans[-3]).unlink()


def _copied(scene: Scene) -> None:
    shutil.copy(scene.file(scene.before()), scene.file(scene.newest))


FILE_FAULTS = (
    Fault(
        "truncated-shard",
        "The newest span's Parquet file was cut off in the middle.",
        ("ingestion",),
        spoil=_truncated,
    ),
    Fault("empty-file", "The newest span's file is empty.", ("ingestion",), spoil=_empty),
    Fault(
        "half-a-row",
        "A CSV file ends in the middle of a row.",
        ("ingestion",),
        spoil=_half_row,
    ),
    Fault(
        "other-encoding",
        "A CSV file came in UTF-16.",
        ("ingestion",),
        spoil=_other_encoding,
    ),
    Fault(
        "span-missing",
        "One span in the middle of the window is not there.",
        ("ingestion",),
        spoil=_gap,
    ),
    Fault(
        "span-copied",
        "The newest span is a copy of the one before, under a new name.",
        ("ingestion",),
        spoil=_copied,
    ),
)
