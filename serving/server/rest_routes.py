"""Which method, model and version a REST request means. Pure text.

POST /v1/models/NAME[/versions/N|/labels/L]:(classify|regress|predict)
GET  /v1/models/NAME[/versions/N|/labels/L][/metadata]
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote

from serving.server.errors import Code, ServingError

STATUS, METADATA = "status", "metadata"

_CHOICE = r"(?:/(?:versions/([0-9]+)|labels/([^/:]+)))?"
_POST = re.compile(
    rf"/v1/models/([^/:]+){_CHOICE}:(classify|regress|predict)", re.IGNORECASE | re.DOTALL
)
_GET = re.compile(rf"/v1/models(?:/([^/:]+))?{_CHOICE}(/metadata)?", re.IGNORECASE | re.DOTALL)
_MAX_VERSION = 2**63 - 1


class Route(NamedTuple):
    """What a request asks for.

    Attributes:
        method: `classify`, `regress`, `predict`, STATUS or METADATA.
        model: its name, decoded.
        version: None: see `label`.
        label: None: the highest version.
    """

    method: str
    model: str
    version: int | None
    label: str | None


def is_api(target: str) -> bool:
    """Whether a path belongs to the API, be it well formed or not."""
    return target[:4].lower() == "/v1/"


def find(http_method: str, target: str) -> Route:
    """The route of a request.

    Args:
        http_method: `GET`, ….
        target: path and query as they came, not decoded: a query is part of the text to match.

    Raises:
        ServingError: INVALID_ARGUMENT, there is none.
    """
    match = None
    if http_method == "POST":
        match = _POST.fullmatch(target)
    elif http_method == "GET":
        match = _GET.fullmatch(target)
    if match is None:
        raise _malformed(http_method, target)
    name, digits, label, suffix = match.groups()
    if http_method == "POST":
        method = suffix
        # Letters of any size match, but only these are methods.
        if method not in ("classify", "regress", "predict"):
            raise _malformed(http_method, target)
    else:
        method = METADATA if suffix == "/metadata" else STATUS
    if name is None:
        raise ServingError(Code.INVALID_ARGUMENT, "Missing model name in request.")
    version = None
    if digits is not None:
        stripped = digits.lstrip("0")[:20]
        version = int(stripped or "0")
        if version > _MAX_VERSION:
            raise ServingError(
                Code.INVALID_ARGUMENT, f"Failed to convert version: {digits} to numeric."
            )
    return Route(method, unquote(name), version, None if label is None else unquote(label))


def _malformed(http_method: str, target: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, f"Malformed request: {http_method} {target}")
