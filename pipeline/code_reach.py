"""Which of our modules a node runs: those it is made of, and whatever they import.

A list kept by hand misses the module that somebody imports tomorrow, and then results of the old
code are taken for those of the new. Imports are read from the source, those within functions too.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

from pipeline import provenance

_PACKAGES = ("models", "pipeline", "serving")


def reach(*parts: str) -> tuple[str, ...]:
    """Paths from the root of all modules that parts of our code are made of or import, sorted.

    Args:
        parts: packages or modules by path from the root, such as `models` or `pipeline/sql.py`.
    """
    waiting = [
        file
        for path in (provenance.ROOT / part for part in parts)
        for file in (path.rglob("*.py") if path.is_dir() else [path])
    ]
    found: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file not in found:
            found.add(file)
            waiting += [path for name in _imported(file.read_bytes()) for path in _files(name)]
    return tuple(sorted(path.relative_to(provenance.ROOT).as_posix() for path in found))


@functools.cache
def _imported(source: bytes) -> frozenset[str]:
    """Names that a module imports from our packages: of modules, and of what may be in them."""
    tree = ast.parse(source)
    unseen = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    names = (name for node in ast.walk(tree) if node not in unseen for name in _names(node))
    return frozenset(name for name in names if name.partition(".")[0] in _PACKAGES)


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files(name: str) -> Iterator[Path]:
    """The module of a name, or that it is in, and the packages around it."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        path = provenance.ROOT.joinpath(*parts[:end])
        files = (path.with_suffix(".py"), path / "__init__.py")
        yield from (file for file in files if file.is_file())
