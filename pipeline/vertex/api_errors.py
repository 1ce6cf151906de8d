"""What Google's API answers, as sentences with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import google.auth.exceptions
import requests
from google.api_core import exceptions

from pipeline.errors import RunError
from pipeline.vertex.config import VertexConfig


class ApiError(RunError):
    """The API refused; `code` is its HTTP status, 0 where it was not reached."""

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code


@contextmanager
def explained(
    doing: str, vertex: VertexConfig, remedies: Mapping[int, str] | None = None
) -> Iterator[None]:
    """Turns what Google's libraries raise into `ApiError`.

    Args:
        doing: what was tried, as the end of a sentence: "submit the job x".
        vertex: names project, region and account in the remedy.
        remedies: HTTP status → remedy, where it is another than for jobs.
    """
    try:
        yield
    except google.auth.exceptions.DefaultCredentialsError as error:
        raise ApiError(
            f"cannot {doing}: there are no Google credentials here. Run `gcloud auth "
            "application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a key file."
        ) from error
    except google.auth.exceptions.RefreshError as error:
        raise ApiError(
            f"cannot {doing}: the Google credentials have expired or were revoked ({error}). Run "
            "`gcloud auth application-default login` again."
        ) from error
    except (
        google.auth.exceptions.TransportError,
        requests.ConnectionError,
        requests.Timeout,
        exceptions.RetryError,
        ConnectionError,
    ) as error:
        # What is asked for again and again in vain was answered, if with a refusal.
        if isinstance(refusal := getattr(error, "cause", None), exceptions.GoogleAPICallError):
            raise _refused(refusal, doing, vertex, remedies) from error
        raise ApiError(
            f"cannot {doing}: no answer from Google's API in {vertex.region} ({_first(error)}). "
            "Check the network, a proxy (HTTPS_PROXY), and that the region's name is right."
        ) from error
    except exceptions.GoogleAPICallError as error:
        raise _refused(error, doing, vertex, remedies) from error


def _refused(
    error: exceptions.GoogleAPICallError,
    doing: str,
    vertex: VertexConfig,
    remedies: Mapping[int, str] | None,
) -> ApiError:
    code = int(error.code or 0)
    message = " ".join((error.message or str(error)).split())[:400].rstrip(".")
    remedy = (remedies or {}).get(code) or _remedy(code, message, doing, vertex)
    return ApiError(f"cannot {doing}: {code} {message}. {remedy}", code)


def _first(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _remedy(code: int, message: str, doing: str, vertex: VertexConfig) -> str:
    account = vertex.service_account or "the Compute Engine default account"
    if code == 400:
        return (
            "The job is not what Vertex expects: `headrace vertex lint` names the node; "
            "if it finds nothing, check [vertex] (network, service_account, labels)."
        )
    if code == 401:
        return "Run `gcloud auth application-default login`."
    if code == 403 and "has not been used" in message:
        return (
            "Enable the API: `gcloud services enable aiplatform.googleapis.com "
            f"storage.googleapis.com --project {vertex.project}`."
        )
    if code == 403:
        return (
            f"You need roles/aiplatform.user on {vertex.project}, roles/storage.objectUser on the "
            f"bucket of {vertex.root}, and roles/iam.serviceAccountUser on {account}."
        )
    if code == 404 and "bucket" in (message + doing).lower():
        return (
            f"Create the bucket: `gcloud storage buckets create gs://{vertex.root.split('/')[2]} "
            f"--project {vertex.project} --location {vertex.region} "
            "--uniform-bucket-level-access`."
        )
    if code == 404:
        return (
            f"Check vertex.project ({vertex.project}) and vertex.region ({vertex.region}), and the "
            "name; `gcloud ai pipeline-jobs list` shows what there is."
        )
    if code == 409:
        return "That name is taken. Leave --job-id out, or give another."
    if code == 429:
        return (
            f"A quota of {vertex.project} in {vertex.region} is used up. Wait until other jobs "
            "have ended and submit again, or ask for more under IAM & Admin, Quotas."
        )
    return "This is the service's own fault. Wait a minute and do it again."
