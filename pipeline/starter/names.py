"""Column names that may be inputs of a model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from pipeline.ingest.plan import QUARANTINE_COLUMNS
from pipeline.starter.sources import Source

#: Names that ingestion needs for itself.
_RESERVED = frozenset(QUARANTINE_COLUMNS)


def plain_names(names: Sequence[str]) -> dict[str, str]:
    """Column in the files → a name that may be a model's input; good names stay as they are."""
    taken = {name.lower() for name in names if _is_plain(name)}
    made = {}
    for name in names:
        if _is_plain(name):
            made[name] = name
            continue
        ascii_ = name.translate(_UMLAUTS)
        plain = re.sub(r"\W+", "_", ascii_, flags=re.ASCII).strip("_").lower() or "column"
        if plain[0].isdigit():
            plain = f"c_{plain}"
        if plain.lower() in _RESERVED:
            plain = f"c_{plain}"
        made[name] = free(plain, taken)
        taken.add(made[name].lower())
    return made


_UMLAUTS = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "é": "e"}
    | {"è": "e", "ê": "e", "á": "a", "à": "a", "â": "a", "ó": "o", "ô": "o", "í": "i", "ú": "u"}
    | {"ñ": "n", "ç": "c", "å": "a", "ø": "o", "æ": "ae"}
)


def _is_plain(name: str) -> bool:
    return (
        bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name))
        and not name.startswith("__")
        and name.lower() not in _RESERVED
    )


def free(name: str, taken: set[str]) -> str:
    """The name, or it with a number that nobody has."""
    lower = {other.lower() for other in taken}
    candidates = [name, *(f"{name}_{number}" for number in range(2, 10_000))]
    return next(candidate for candidate in candidates if candidate.lower() not in lower)


def slug_of(source: Source, target: str) -> str:
    """A name for pipeline and model: of the configuration file, the data file, or its folder."""
    stem = os.path.splitext(os.path.basename(target))[0]
    literal = re.split(r"[{*]", os.path.basename(source.pattern))[0]
    file = re.sub(r"\.(csv|tsv|txt|parquet|pq|gz|zst)\b.*$", "", literal)
    folders = [part for part in source.base.split("/") if part not in ("", "data")]
    words = [stem if stem != "headrace" else "", file, folders[-1] if folders else "", "model"]
    for word in words:
        slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
        slug = re.sub(r"^[^a-z]+", "", slug)[:60].strip("-")
        if len(slug) > 1:
            return slug
    return "model"
