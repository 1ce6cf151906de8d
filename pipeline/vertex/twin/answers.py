"""What Google's APIs answer in the same form everywhere: errors, and operations that are done."""

from __future__ import annotations

import itertools
from typing import Any

Tree = dict[str, Any]

#: HTTP status and JSON, or bytes.
Answer = tuple[int, Any]

_TYPES = "type.googleapis.com/google.cloud.aiplatform.v1."

#: The name that errors carry beside the number.
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}

_numbers = itertools.count(1)


def error(code: int, message: str) -> Answer:
    """An error."""
    status = _STATUS.get(code, "UNKNOWN")
    return code, {"error": {"code": code, "message": message, "status": status}}


def operation(parent: str, kind: str, response: Tree) -> Tree:
    """A long-running operation that has ended well; `kind` is the message that it made."""
    return {
        "name": f"{parent}/operations/{next(_numbers)}",
        "done": True,
        "response": {"@type": f"{_TYPES}{kind}", **response},
    }
