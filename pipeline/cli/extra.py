"""Libraries that only an extra installs: looked for before anything is loaded."""

from __future__ import annotations

import importlib.util

from pipeline.errors import HeadraceError


def require(extra: str, *modules: str) -> None:
    """Says what to install, if a module is not there.

    Where a namespace (`google.cloud`) is shared with other libraries, Python says only that a name
    cannot be imported from it.

    Raises:
        HeadraceError: one of them is missing; names the first.
    """
    for name in modules:
        try:
            found = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found = False
        if not found:
            raise HeadraceError(f"{name} is not installed: pip install 'headrace[{extra}]'")
