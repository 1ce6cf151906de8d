"""What the client asks of a connection, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.client.retry import Deadline
from serving.client.signature import Metadata, Nested, Signature, Tensor, VersionStatus


@dataclass(frozen=True, slots=True)
class Target:
    """A model, and which of its versions: a number, a label, or (None twice) the newest."""

    model: str
    version: int | None = None
    label: str | None = None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.model}, version {self.version}"
        return f"{self.model}, label {self.label}" if self.label else self.model


class Transport(Protocol):
    """A connection to a server. Every method raises the errors of `serving.client.errors`.

    Attributes:
        where: the address, for messages.
    """

    where: str

    def metadata(self, target: Target, deadline: Deadline) -> Metadata:
        """The version a target stands for now, and its signatures."""

    def status(self, target: Target, deadline: Deadline) -> list[VersionStatus]:
        """All versions the server knows, or the one asked for; newest first."""

    def predict(
        self,
        target: Target,
        signature_name: str,
        signature: Signature,
        inputs: Mapping[str, Tensor],
        deadline: Deadline,
    ) -> dict[str, Nested]:
        """Output alias → lists as deep as the tensor; text as bytes."""

    def close(self) -> None:
        """Gives the connection up."""
