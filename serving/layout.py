"""The names in a model's folder, `<base>/<model_name>/<number>/`, and the rules for numbers.

Everything here is a pure function of names and numbers, so that the local registry and the
pipeline's remote one (object stores) cannot disagree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: At the top of a version's folder. TensorFlow Serving ignores files it does not know.
MANIFEST = "headrace_manifest.json"
#: Beside the versions. Servers ignore every name that is not a whole number, so all of these do.
LABELS = "labels.json"
HIGH_WATER = ".highest-version"
LOCK = ".lock"
STAGING_PREFIX = ".staging-"
TRASH_PREFIX = ".trash-"
TEMPORARY_PREFIX = ".temporary-"
LEFTOVER_PREFIXES = (STAGING_PREFIX, TRASH_PREFIX, TEMPORARY_PREFIX)

#: A SavedModel is loadable exactly when it has one of these.
SAVED_MODEL_FILES = ("saved_model.pb", "saved_model.pbtxt")

_INT64_MAX = 2**63 - 1
# What absl::SimpleAtoi accepts, which is what TensorFlow Serving parses folder names with:
# surrounding white space and a sign are allowed. Python's int() accepts more (underscores,
# digits of other scripts).
_NUMBER = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]+[ \t\n\v\f\r]*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RegistryError(Exception):
    """The registry cannot do what was asked; the message says why and what to do."""


class RegistryBusyError(RegistryError):
    """Another process holds the registry's lock; trying again later may succeed."""


def check_model_name(name: str) -> str:
    """Returns `name` if it can be a folder's name and a model's name in a URL.

    Raises:
        RegistryError: it cannot.
    """
    if not _MODEL_NAME.fullmatch(name):
        raise RegistryError(
            f"model name {name!r} must start with a letter or digit and hold only "
            "letters, digits, '.', '_' and '-'. Choose another name."
        )
    return name


def parse_version(name: str) -> int | None:
    """The version number a folder's name stands for (>= 0), or None if it is not a version.

    Examples:
        >>> parse_version("00000123"), parse_version("12.tmp"), parse_version("-3")
        (123, None, None)
    """
    if not _NUMBER.fullmatch(name):
        return None
    number = int(name)
    return number if 0 <= number <= _INT64_MAX else None


def index_versions(names: Iterable[str]) -> dict[int, str]:
    """Version number -> folder name, ascending.

    Of two names for one number the later in lexicographic order wins, as in TensorFlow Serving.
    """
    found: dict[int, str] = {}
    for name in sorted(names):
        number = parse_version(name)
        if number is not None:
            found[number] = name
    return dict(sorted(found.items()))


def next_version(names: Iterable[str], high_water: int) -> int:
    """The number of the next version: one more than any seen or ever given out; at least 1.

    Args:
        names: of everything in the model's folder.
        high_water: the highest number ever given out, 0 if none.

    Raises:
        RegistryError: a folder holds the largest number there is (2^63 - 1).
    """
    highest = max([0, high_water, *index_versions(names)])
    if highest >= _INT64_MAX:
        raise RegistryError(
            f"version {highest} is the largest number a server can read; no later one exists. "
            "Remove or rename that folder and the file " + HIGH_WATER + "."
        )
    return highest + 1


def parse_high_water(text: str) -> int:
    """The number in a high-water mark file; 0 if it is empty or damaged.

    Damage costs nothing but the memory of deleted versions: folders present still count.
    """
    return parse_version(text) or 0


def expired_versions(numbers: Iterable[int], in_use: Iterable[int], keep_last: int) -> list[int]:
    """Versions that retention may delete, oldest first.

    Args:
        numbers: all versions present.
        in_use: labelled versions; never returned.
        keep_last: how many of the highest numbers to keep, at least 1, so that the newest version
            is never returned. Labelled versions do not count against it.

    Raises:
        RegistryError: `keep_last` is below 1.
    """
    if keep_last < 1:
        raise RegistryError(f"keep_last must be at least 1, got {keep_last}")
    labelled = set(in_use)
    return [number for number in sorted(numbers)[:-keep_last] if number not in labelled]
