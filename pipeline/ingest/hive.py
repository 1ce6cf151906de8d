"""Columns that stand in a file's path: `region=eu/part-0.parquet`, as Hive, Spark and Athena write.

A key counts only where the configuration asks for it, and only if the file has no such column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import unquote

#: What Hive and Spark write in place of a missing value.
_MISSING = ("", "__HIVE_DEFAULT_PARTITION__")


def keys(path: str) -> dict[str, str | None]:
    """The keys in the folders of a path; of two equal ones the deeper.

    Args:
        path: of a file, local or a URI.

    Returns:
        Key → value, both decoded (Spark writes a blank as `%20`); None where it is missing.
    """
    found: dict[str, str | None] = {}
    for folder in path.split("/")[:-1]:
        key, equals, value = folder.partition("=")
        if equals and key:
            found[unquote(key)] = None if value in _MISSING else unquote(value)
    return found


def columns(
    path: str, asked: Iterable[str], there: Iterable[str], rename: Mapping[str, str]
) -> dict[str, str | None]:
    """What a path adds to its file's columns.

    Args:
        path: of the file.
        asked: keys that are columns, as `data.path_columns` names them.
        there: columns of the file, which win.
        rename: key in the path → name in the configuration.
    """
    # SQL does not tell capitals from small letters.
    taken = {name.lower() for name in there}
    said = {rename.get(key, key): value for key, value in keys(path).items()}
    return {name: said[name] for name in asked if name in said and name.lower() not in taken}
