"""Files of other columns in one folder: which of them are the table that has the label."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline import files
from pipeline.config import CsvOptions
from pipeline.errors import DataError
from pipeline.ingest import reader
from pipeline.starter import labels
from pipeline.starter.sources import Source, of_files

#: Two files are of one table if they share this part of their columns: some come and go.
_ALIKE = 0.6
#: Files that must be fetched are not opened only to see their columns, if there are more.
_REMOTE = 40
_DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class _Group:
    """Files that have the same columns (in small letters)."""

    columns: frozenset[str]
    paths: tuple[str, ...]
    order: tuple[str, ...]

    def told(self, base: str) -> str:
        """For a person."""
        name = self.paths[0].removeprefix(base).lstrip("/")
        more = f" and {len(self.paths) - 1} more" if len(self.paths) > 1 else ""
        shown = ", ".join(self.order[:6]) + (", …" if len(self.order) > 6 else "")
        return f"{name}{more} ({shown})"


def one_table(source: Source, label: str | None) -> Source:
    """The source with the files of one table alone.

    Args:
        source: all files that were found.
        label: as `--label` says it; the table is the one that has its columns.

    Returns:
        The same, or a part of it with a note that names what was left out.

    Raises:
        DataError: files hold different tables, and nothing tells which is meant.
    """
    paths = [path for item in source.found for path in item.paths]
    if len(paths) < 2 or (len(paths) > _REMOTE and not files.is_local(source.base)):
        return source
    groups = _groups(paths)
    if len(groups) < 2:
        return source
    wanted = labels.columns_of(label) if label else frozenset()
    with_label = [group for group in groups if wanted <= group.columns]
    if not with_label:  # what follows says which columns there are
        return source
    main = max(with_label, key=lambda group: (len(group.columns), len(group.paths)))
    kept = [group for group in with_label if _alike(group, main)]
    left = [group for group in groups if group not in kept]
    if not left:
        return source
    unlike = [group for group in left if group in with_label and not group.columns < main.columns]
    if not wanted or unlike:
        told = "; ".join(group.told(source.base) for group in groups[:5])
        raise DataError(
            f"{source.base}: holds files of different columns: {told}. Name those of one table: "
            "--data 'FOLDER/train*.csv'."
        )
    wished = sorted(path for group in kept for path in group.paths)
    chosen = of_files(source.base, wished)
    if sorted(path for item in chosen.found for path in item.paths) != wished:
        raise DataError(
            f"{source.base}: {left[0].told(source.base)} is not of the table that has the label, "
            f"but no pattern takes {kept[0].told(source.base)} without it. Move it to another "
            "folder, or name the table's files: --data 'FOLDER/train*.csv'."
        )
    return _noted(chosen, left, wanted)


def _noted(chosen: Source, left: Sequence[_Group], wanted: frozenset[str]) -> Source:
    why = [
        f"{group.told(chosen.base)}: "
        + ("lacks the label" if not wanted <= group.columns else "lacks most columns")
        for group in left[:4]
    ]
    more = f"; and {len(left) - 4} more kinds of file" if len(left) > 4 else ""
    return chosen.noted(f"left out, as other tables: {'; '.join(why)}{more}")


def _alike(one: _Group, other: _Group) -> bool:
    both = one.columns & other.columns
    return len(both) >= _ALIKE * len(one.columns | other.columns)


def _groups(paths: Sequence[str]) -> list[_Group]:
    found: dict[frozenset[str], list[str]] = {}
    orders: dict[frozenset[str], list[str]] = {}
    for path in paths:
        names = _columns(path)
        key = frozenset(name.lower() for name in names)
        found.setdefault(key, []).append(path)
        orders.setdefault(key, names)
    # A file that cannot be read is told by what reads it.
    return [_Group(key, tuple(some), tuple(orders[key])) for key, some in found.items() if key]


def _columns(path: str) -> list[str]:
    """Names of a file's columns; none if it cannot be read."""
    try:
        with reader.localized(path) as local:
            if reader.kind_of(path) == "parquet":
                return reader.parquet_scan(path, local)[1]
            return _header(path, local)
    except (DataError, OSError, csv.Error):
        return []


def _header(path: str, local: str) -> list[str]:
    try:
        start = reader.header_line(path, local, CsvOptions())
    except DataError:
        start = reader.header_line(path, local, CsvOptions(encoding="latin-1"))
    first = start.splitlines()[0] if start else ""
    return reader.header_names(first, max(_DELIMITERS, key=first.count))
