"""What a model says of itself: signatures with the type, shape and default of each tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from serving.client.errors import ClientError

Value = float | int | str | bytes | bool
#: A row's value in one column: a scalar, or lists of them.
Nested = Any


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Attributes:
        dtype: as `DT_FLOAT`.
        shape: -1 for what may vary; None: any rank.
        default: what the server takes where the input is left out; None: it must be sent.
    """

    dtype: str
    shape: tuple[int, ...] | None
    default: Value | None = None

    def __str__(self) -> str:
        name = self.dtype.removeprefix("DT_").lower()
        return f"{name} {'?' if self.shape is None else list(self.shape)}"


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call a model: input and output alias → tensor."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True)
class Metadata:
    """A model's version, as the server describes it.

    Attributes:
        model: its name.
        version: the number that the name, label or number asked for stands for now.
        signatures: name → signature.
    """

    model: str
    version: int
    signatures: Mapping[str, Signature]

    def signature(self, name: str) -> Signature:
        """The signature with this name.

        Raises:
            ClientError: there is none; names those there are.
        """
        if name not in self.signatures:
            raise ClientError(
                f"model {self.model}, version {self.version}, has no signature {name!r}. "
                f"It has: {', '.join(sorted(self.signatures)) or 'none'}."
            )
        return self.signatures[name]


@dataclass(frozen=True, slots=True)
class VersionStatus:
    """What a server says of one version.

    Attributes:
        version: the number.
        state: START, LOADING, AVAILABLE, UNLOADING or END.
        code: name of the status code, OK unless it failed.
        message: why it failed, or empty.
    """

    version: int
    state: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """Values on their way out.

    Attributes:
        dtype: as `DT_FLOAT`.
        shape: sizes.
        values: one by one, row-major; text as str or bytes.
    """

    dtype: str
    shape: tuple[int, ...]
    values: list[Any]


def nest(values: list[Any], shape: tuple[int, ...]) -> Nested:
    """Lists within lists, of these sizes; a bare value for no sizes."""
    if not shape:
        return values[0]
    for axis in range(len(shape) - 1, 0, -1):
        size, count = shape[axis], math.prod(shape[:axis])
        values = [values[index * size : (index + 1) * size] for index in range(count)]
    return values
