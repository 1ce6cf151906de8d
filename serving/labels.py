"""Version labels, such as `stable` and `canary`: a labelled version is in use.

TensorFlow Serving has labels in its configuration only (no name is built in), so the registry
keeps the truth in `labels.json` and whoever writes a server's configuration reads it there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from serving.layout import RegistryError

_Labels = dict[Annotated[str, Field(min_length=1)], Annotated[int, Field(ge=0, strict=True)]]
_LABELS: TypeAdapter[_Labels] = TypeAdapter(_Labels)


def parse_labels(text: str | bytes, where: object) -> dict[str, int]:
    """Label -> version number, sorted by label.

    Raises:
        RegistryError: the text is something else. There is no safe guess: what looks unused might
            be serving.
    """
    try:
        return dict(sorted(_LABELS.validate_json(text).items()))
    except ValidationError as error:
        raise RegistryError(
            f'{where} must hold {{"label": version number, …}}. Mend it by hand.'
        ) from error


def labels_to_json(labels: Mapping[str, int]) -> str:
    """The inverse of `parse_labels`.

    Raises:
        RegistryError: a label is empty.
    """
    if not all(labels):
        raise RegistryError("a label must not be empty.")
    return _LABELS.dump_json(dict(sorted(labels.items())), indent=2).decode() + "\n"
