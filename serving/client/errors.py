"""What can go wrong when a model server is asked: the family is split by what the caller can do."""

from __future__ import annotations

from serving.server.errors import HTTP_STATUS, Code

__all__ = ["ClientError", "Code", "DeadlineExceeded", "Refused", "RowError", "Unreachable"]


class ClientError(Exception):
    """A request got no answer; the message says why and what to do."""


class RowError(ClientError):
    """The rows cannot be sent: mend them. The message names row (from 1) and column."""


class Unreachable(ClientError):
    """No server answers at the address; asking again later may succeed."""


class DeadlineExceeded(ClientError):
    """The time allowed was over before an answer came."""


class Refused(ClientError):
    """The server's own refusal; the same request will be refused again.

    Attributes:
        code: the gRPC code. Over REST several codes share an HTTP status; the most usual one
            then stands for all.
        reason: the server's text.
    """

    def __init__(self, code: Code, reason: str, where: str) -> None:
        super().__init__(f"{where} answered {code.name}: {reason}")
        self.code, self.reason = code, reason


_CODES = {status: code for code, status in reversed(HTTP_STATUS.items())} | {
    # 400 stands for three codes and 500 for three others.
    400: Code.INVALID_ARGUMENT,
    500: Code.INTERNAL,
}


def code_of_status(status: int) -> Code:
    """The gRPC code an HTTP status stands for; UNKNOWN if for none."""
    return _CODES.get(status, Code.UNKNOWN)
