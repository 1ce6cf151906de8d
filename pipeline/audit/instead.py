"""Another function or class under a module's name, for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def instead(module: Any, name: str, stand_in: Any) -> Iterator[None]:
    """Puts `stand_in` in the place of `module.name`, and the original back."""
    original = getattr(module, name)
    setattr(module, name, stand_in)
    try:
        yield
    finally:
        setattr(module, name, original)
