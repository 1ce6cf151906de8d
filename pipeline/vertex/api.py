"""Vertex AI's API through google-cloud-aiplatform, or the emulator that a rehearsal starts.

The emulator is named by `HEADRACE_VERTEX_EMULATOR_HOST`, as Google's storage client does with
`STORAGE_EMULATOR_HOST`: the processes of a rehearsal must find it, and no configuration should ever
name it. With it nothing needs credentials.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from typing import Any

from google.api_core.retry import Retry
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform, storage
from google.cloud.exceptions import PreconditionFailed

from pipeline import files
from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.vertex.api_errors import explained
from pipeline.vertex.config import VertexConfig

EMULATOR = "HEADRACE_VERTEX_EMULATOR_HOST"

#: The folder that tasks of a rehearsal see in place of `gs://`.
BUCKETS = "HEADRACE_VERTEX_EMULATOR_BUCKETS"

_LOGGING = "https://logging.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"

#: Without a network the storage client would try for two minutes.
_PATIENCE = Retry(timeout=15.0)


def emulator() -> str | None:
    """Address of the emulator, such as `http://127.0.0.1:8123`; None for Google's own API."""
    return os.environ.get(EMULATOR) or None


def address_of(path: str) -> str:
    """A path as Google's services are told it: `gs://…`, also where a rehearsal made it a folder's.

    Raises:
        RunError: it is in no bucket.
    """
    folder = os.environ.get(BUCKETS)
    if folder and path.startswith(f"{folder}/"):
        path = f"gs://{path[len(folder) + 1 :]}"
    if not path.startswith("gs://"):
        raise RunError(
            f"{path}: is in no bucket, so Vertex AI cannot read it. Set vertex.serving_path (or "
            'serving.path) to "gs://…", or take [vertex.registry] out.'
        )
    return path


def connect(vertex: VertexConfig) -> None:
    """Tells google-cloud-aiplatform project, region and, in a rehearsal, the emulator.

    Raises:
        ApiError: there are no credentials.
    """
    with explained(f"connect to {vertex.project}", vertex):
        address = emulator()
        aiplatform.init(
            project=vertex.project,
            location=vertex.region,
            encryption_spec_key_name=vertex.encryption_key or None,
            credentials=credentials(),
            **({"api_endpoint": address, "api_transport": "rest"} if address else {}),
        )


def credentials() -> Any:
    """The caller's credentials; none in a rehearsal."""
    if emulator():
        return AnonymousCredentials()
    import google.auth

    found, _ = google.auth.default(scopes=[_SCOPE])
    return found


def upload_schema(config: Config, uri: str) -> bool:
    """Copies the reviewed schema into the bucket.

    Args:
        config: as it is written: names the local file.
        uri: where to; its name holds the digest of what the schema says.

    Returns:
        Whether it was not there before, byte for byte: somebody may have edited the copy.

    Raises:
        ApiError: the bucket refuses, or cannot be reached.
    """
    bucket, _, name = uri.removeprefix("gs://").partition("/")
    with explained(f"upload the schema to bucket {bucket}", config.vertex):
        client = storage.Client(project=config.vertex.project, credentials=credentials())
        with files.open_file(config.data.schema_file, "rb") as file:
            content = file.read()
        blob = client.bucket(bucket).blob(name)
        upload = functools.partial(
            blob.upload_from_string, content, "text/plain", timeout=10, retry=_PATIENCE
        )
        try:
            upload(if_generation_match=0)
        except PreconditionFailed:
            if blob.download_as_bytes(timeout=10, retry=_PATIENCE) == content:
                return False
            upload()
    return True


def log_entries(vertex: VertexConfig, job_ids: list[str]) -> Iterator[dict[str, Any]]:
    """Log entries of the machines that ran tasks, oldest first.

    https://cloud.google.com/logging/docs/reference/v2/rest/v2/entries/list

    Args:
        vertex: names the project.
        job_ids: numbers of the tasks' custom jobs.
    """
    from google.auth.transport.requests import AuthorizedSession

    which = " OR ".join(f'resource.labels.job_id="{number}"' for number in job_ids)
    body: dict[str, Any] = {
        "resourceNames": [f"projects/{vertex.project}"],
        "filter": f'resource.type="ml_job" AND ({which})',
        "orderBy": "timestamp asc",
        "pageSize": 1000,
    }
    with explained("read the logs", vertex):
        session = AuthorizedSession(credentials())
    while True:
        with explained("read the logs", vertex):
            answer = session.post(
                f"{emulator() or _LOGGING}/v2/entries:list", json=body, timeout=30
            )
            if answer.status_code != 200:
                from google.api_core.exceptions import from_http_response

                raise from_http_response(answer)
            page = answer.json()
        yield from page.get("entries", [])
        if not page.get("nextPageToken"):
            return
        body["pageToken"] = page["nextPageToken"]
