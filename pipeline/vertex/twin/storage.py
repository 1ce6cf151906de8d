"""Cloud Storage's JSON API over the folders of a rehearsal, as far as its client asks here.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import json
import os
import urllib.parse
from typing import Any

from pipeline.vertex.twin.answers import Answer, error
from pipeline.vertex.twin.bucket import Buckets


def answer(
    buckets: Buckets, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
) -> Answer:
    """Status and JSON (or bytes) for a request below `/storage/v1`, `/upload` or `/download`."""
    upload = path.startswith("/upload/")
    path = path.removeprefix("/upload").removeprefix("/download")
    parts = path.removeprefix("/storage/v1").strip("/").split("/")
    if parts[0] != "b" or len(parts) < 2:
        return error(404, "no such resource")
    bucket = parts[1]
    if not buckets.exists(bucket):
        return error(404, f"The specified bucket does not exist: {bucket}.")
    if len(parts) == 2:
        return 200, {"kind": "storage#bucket", "name": bucket, "location": "TWIN"}
    if upload and method == "POST":
        return _upload(buckets, bucket, query, headers, body)
    if len(parts) == 3 and method == "GET":
        return 200, {"items": _listed(buckets, bucket, query.get("prefix", ""))}
    name = urllib.parse.unquote("/".join(parts[3:]))
    path = os.path.join(buckets.root, bucket, name)
    if not os.path.isfile(path):
        return error(404, f"No such object: {bucket}/{name}")
    if query.get("alt") == "media":
        with open(path, "rb") as file:
            return 200, file.read()
    return 200, _object(buckets, bucket, name)


def _upload(
    buckets: Buckets, bucket: str, query: dict[str, str], headers: Any, body: bytes
) -> Answer:
    """A multipart upload: metadata as JSON, then the content."""
    head = f"Content-Type: {headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + body, policy=email.policy.HTTP)
    described, content = (_bytes(part) for part in message.iter_parts())
    name = json.loads(described)["name"]
    path = os.path.join(buckets.root, bucket, name)
    if query.get("ifGenerationMatch") == "0" and os.path.exists(path):
        return error(412, "At least one of the pre-conditions you specified did not hold.")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return 200, _object(buckets, bucket, name)


def _bytes(part: Any) -> bytes:
    payload: bytes = part.get_payload(decode=True)
    return payload


def _listed(buckets: Buckets, bucket: str, prefix: str) -> list[dict[str, Any]]:
    root = os.path.join(buckets.root, bucket)
    found = []
    for folder, _, files in os.walk(root, followlinks=True):
        for file in files:
            name = os.path.relpath(os.path.join(folder, file), root)
            if name.startswith(prefix):
                found.append(_object(buckets, bucket, name))
    return sorted(found, key=lambda item: str(item["name"]))


def _object(buckets: Buckets, bucket: str, name: str) -> dict[str, Any]:
    path = os.path.join(buckets.root, bucket, name)
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()  # an object's own tag, as there
    return {
        "kind": "storage#object",
        "bucket": bucket,
        "name": name,
        "size": str(os.path.getsize(path)),
        "etag": digest,
        "generation": "1",
    }
