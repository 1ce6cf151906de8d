"""What can go wrong while serving: one error class, the gRPC codes, and their HTTP statuses.

Needs nothing but the standard library, so that clients without gRPC can use it.
"""

from __future__ import annotations

import enum

#: Texts longer than this are cut on the way out: an error may quote what a client sent.
MAX_MESSAGE_CHARACTERS = 1024
_CUT = "...TRUNCATED"


class Code(enum.IntEnum):
    """The status codes of gRPC, which TensorFlow Serving's status messages use as well."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


HTTP_STATUS = {
    Code.OK: 200,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.DATA_LOSS: 500,
    Code.UNAUTHENTICATED: 401,
}


class ServingError(Exception):
    """A request or a load failed.

    Attributes:
        code: what kind of failure, for programs.
        message: what happened, for people and for clients that look for a phrase.
    """

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.name}: {self.message}"


def http_status(code: Code) -> int:
    """The HTTP status that the REST interface answers a code with."""
    return HTTP_STATUS[code]


def cut(message: str) -> str:
    """`message`, at most 1024 characters of it; one that was cut says so at its end."""
    if len(message) <= MAX_MESSAGE_CHARACTERS:
        return message
    return message[:MAX_MESSAGE_CHARACTERS] + _CUT
