"""Which files are the data, and what of their names is a span: PATH → folder and pattern."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, replace

from pipeline import files, spans
from pipeline.errors import DataError
from pipeline.ingest import hive, reader
from pipeline.starter import span_names

_FOLDERS_DEEP = 12


@dataclass(frozen=True)
class Source:
    """The data, as `[data]` will say it.

    Attributes:
        base: absolute folder, or URI.
        pattern: `data.pattern`.
        found: spans oldest first; a single one called `all` where there are none.
        why: how the pattern came about, for a person.
        notes: what a person should know of it.
    """

    base: str
    pattern: str
    found: list[spans.SpanFiles]
    why: str
    notes: tuple[str, ...] = ()

    @property
    def has_spans(self) -> bool:
        """Whether files belong to periods."""
        return spans.SpanPattern.parse(self.pattern).format is not None

    @property
    def unit(self) -> str:
        """Period of a span; `""` where they are numbers or there are none."""
        return spans.SpanPattern.parse(self.pattern).unit

    def noted(self, note: str) -> Source:
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))

    def path_columns(self, path: str) -> dict[str, str | None]:
        """Keys of a file's folders below `base`, as `region=eu`, that are not its span."""
        inside = path.removeprefix(self.base)
        used = spans.SpanPattern.parse(self.pattern).keys()
        return {key: value for key, value in hive.keys(inside).items() if key not in used}


def find(path: str) -> Source:
    """Looks for data files.

    Args:
        path: a file, a folder, or a glob pattern.

    Raises:
        DataError: nothing there that could be read, or names that a pattern cannot say.
    """
    if files.is_local(path):
        path = os.path.abspath(os.path.expanduser(path))
    return of_files(_folder(path), _files(path))


def of_files(base: str, paths: list[str]) -> Source:
    """The source that holds these files and no others.

    Args:
        base: the folder that holds them.
        paths: of the files, sorted.

    Raises:
        DataError: their names are such that a pattern cannot say them.
    """
    base = os.path.dirname(paths[0]) if len(paths) == 1 else base
    names = [found.removeprefix(base).lstrip("/") for found in paths]
    odd = next((name for name in names if re.search(r"[{}*]", name)), None)
    if odd:
        raise DataError(
            f"{odd!r}: a name with {{ }} or * cannot be told from a pattern; rename it."
        )
    if len(names) == 1:
        return _source(base, names[0], "one file: one table, without spans")
    made = span_names.find(base, names)
    if made is not None:
        return Source(base, made.pattern, made.found, made.why, made.notes)
    pattern = span_names.wildcard(names)
    return _source(
        base,
        pattern,
        f"{len(names)} files without a date in their names: one table",
        span_names.not_spans(names),
    )


def _files(path: str) -> list[str]:
    if files.is_dir(path):
        levels = range(1, _FOLDERS_DEEP + 1)
        inside = [files.glob(os.path.join(files.escape(path), *"*" * n)) for n in levels]
        candidates = [found for level in inside for found in level]
        where = f"{path}: the folder holds nothing"
    else:
        candidates = [path] if files.exists(path) else files.glob(path)
        where = f"{path}: there is no such file or folder, and no match"
    base = _folder(path)
    usable = [
        found
        for found in candidates
        if not files.is_dir(found) and not _hidden(found.removeprefix(base)) and _is_data(found)
    ]
    if not usable:
        if len(candidates) == 1 and candidates == [path]:
            reader.kind_of(path)  # says which names are known
        raise DataError(
            f"{where} that could be read. Known endings: .csv .tsv .txt, also with .gz or .zst, "
            "and .parquet .pq."
        )
    kinds = Counter(reader.kind_of(found) for found in usable)
    if len(kinds) > 1:
        told = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise DataError(
            f"{path}: holds {told} files. Name those of one kind: --data 'FOLDER/*.csv'."
        )
    return sorted(usable)


def _hidden(name: str) -> bool:
    """Files that writers leave beside their data: _SUCCESS, .crc, README.txt."""
    parts = name.strip("/").split("/")
    return any(part.startswith((".", "_")) for part in parts) or parts[-1].lower().startswith(
        ("readme", "license", "licence")
    )


def _is_data(path: str) -> bool:
    try:
        reader.kind_of(path)
    except DataError:
        return False
    return True


def _folder(path: str) -> str:
    """The folder, or the part of a glob pattern that names one."""
    if files.is_dir(path):
        return path.rstrip("/")
    return os.path.dirname(re.split(r"[*?\[]", path)[0])


def _source(base: str, pattern: str, why: str, notes: tuple[str, ...] = ()) -> Source:
    parsed = spans.SpanPattern.parse(pattern)
    return Source(base, pattern, spans.discover(base or "/", parsed), why, notes)
