"""The loopback service that google-cloud-aiplatform submits to in a rehearsal."""

from __future__ import annotations

import itertools
import json
import os
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pipeline.vertex.lint import names, protos
from pipeline.vertex.twin import storage
from pipeline.vertex.twin.answers import Answer, Tree, error
from pipeline.vertex.twin.engine import JobRun
from pipeline.vertex.twin.job import Machinery, now
from pipeline.vertex.twin.registry import Registry

_RESOURCE = re.compile(r"/v1(?:beta1)?/(?P<parent>projects/[^/]+/locations/[^/]+)/(?P<rest>.+)")

_REFUSALS = {
    401: "Request had invalid authentication credentials.",
    403: "Permission 'aiplatform.{what}.create' denied on resource.",
    429: "Quota exceeded for aiplatform.googleapis.com/{what}.",
    503: "The service is currently unavailable.",
}
_ASKED_FOR = "Refused, as was asked for."


class Service:
    """Jobs, schedules, models, logs and buckets of one project and region, on a port of its own.

    Args:
        machinery: what jobs run with.
        project, region: the only ones there are.
        folder: for models and endpoints.
    """

    def __init__(self, machinery: Machinery, project: str, region: str, folder: str) -> None:
        self._machinery = machinery
        self._parent = f"projects/{project}/locations/{region}"
        self._jobs: dict[str, JobRun] = {}
        self._schedules: dict[str, Tree] = {}
        path = os.path.join(folder, "registry.json")
        self._registry = Registry(path, self._parent, machinery.buckets)
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Service:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for job in self._jobs.values():
            job.cancel()
        self._server.shutdown()
        self._server.server_close()

    def answer(
        self, method: str, path: str, query: dict[str, str], headers: Any, body: bytes
    ) -> Answer:
        """Status and JSON of a request."""
        if path.startswith(("/storage/", "/upload/storage/", "/download/storage/")):
            return storage.answer(self._machinery.buckets, method, path, query, headers, body)
        told: Tree = json.loads(body) if body else {}
        if path == "/v2/entries:list":
            return 200, {"entries": self._log_entries(told.get("filter", ""))}
        found = _RESOURCE.fullmatch(urllib.parse.unquote(path))
        if found is None:
            return error(404, f"no such method: {method} {path}")
        if found["parent"] != self._parent:
            return error(403, f"Permission denied on {found['parent']} (or it may not exist).")
        kind = re.split(r"[/:]", found["rest"])[0]
        if kind == "pipelineJobs":
            return self._job(method, found["rest"], query, told)
        if kind == "schedules":
            return self._schedule(method, found["rest"], query, told)
        if kind in ("models", "endpoints"):
            refused = self._machinery.faults.registry
            if refused and method != "GET":
                return error(refused, _REFUSALS.get(refused, _ASKED_FOR).format(what=kind))
            return self._registry.answer(method, found["rest"], query, told)
        return error(404, f"no such method: {method} {path}")

    # --- jobs ------------------------------------------------------------------------------

    def _job(self, method: str, rest: str, query: dict[str, str], body: Tree) -> Answer:
        name, _, verb = rest.partition(":")
        job_id = name.partition("/")[2]
        if method == "POST" and not job_id:
            return self.create(query.get("pipelineJobId", ""), body)
        if method == "GET" and not job_id:
            return 200, {"pipelineJobs": [job.snapshot() for job in self._jobs.values()]}
        job = self._jobs.get(job_id)
        if job is None:
            return error(404, f"The PipelineJob {job_id} does not exist.")
        if verb == "cancel":
            job.cancel()
            return 200, {}
        return 200, job.snapshot()

    def create(self, job_id: str, body: Tree) -> Answer:
        """Takes a job, unless something is wrong with it, and starts it."""
        refused = self._machinery.faults.refuse()
        if refused:
            return error(refused, _REFUSALS.get(refused, _ASKED_FOR).format(what="pipelineJobs"))
        if not names.JOB_ID.fullmatch(job_id):
            return error(400, f"The PipelineJob id {job_id!r} is not valid.")
        compiled = {
            key: body.get(key) for key in ("displayName", "pipelineSpec", "labels", "runtimeConfig")
        }
        # Fields of the API that the compiled job has not.
        runtime = dict(compiled["runtimeConfig"] or {})
        runtime.pop("failurePolicy", None)
        compiled["runtimeConfig"] = runtime
        wrong = list(protos.check(compiled))
        if wrong:
            return error(400, wrong[0].message)
        if not self._machinery.store.claim(job_id):
            return error(409, f"The PipelineJob {job_id} already exists.")
        job = JobRun({**body, "name": f"{self._parent}/pipelineJobs/{job_id}"}, self._machinery)
        with self._lock:
            self._jobs[job_id] = job
        job.start()
        return 200, job.snapshot()

    # --- schedules -------------------------------------------------------------------------

    def _schedule(self, method: str, rest: str, query: dict[str, str], body: Tree) -> Answer:
        number = rest.partition("/")[2].partition(":")[0]
        with self._lock:
            if method == "POST" and not number:
                name = f"{self._parent}/schedules/{next(self._numbers)}"
                made = {**body, "name": name, "state": "ACTIVE", "createTime": now()}
                self._schedules[name] = made
                return 200, made
            if method == "GET" and not number:
                wanted = query.get("filter", "").partition("=")[2].strip('"')
                return 200, {
                    "schedules": [
                        each
                        for each in self._schedules.values()
                        if not wanted or each["displayName"] == wanted
                    ]
                }
            name = f"{self._parent}/schedules/{number}"
            if name not in self._schedules:
                return error(404, f"The Schedule {number} does not exist.")
            if method == "DELETE":
                del self._schedules[name]
                empty = {"@type": "type.googleapis.com/google.protobuf.Empty"}
                return 200, {"name": f"{name}/operations/1", "done": True, "response": empty}
            return 200, self._schedules[name]

    # --- logs ------------------------------------------------------------------------------

    def _log_entries(self, text: str) -> list[Tree]:
        entries = []
        for number in re.findall(r'job_id="(\d+)"', text):
            path = os.path.join(self._machinery.logs, f"{number}.log")
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as file:
                    entries += [
                        {
                            "textPayload": line.rstrip("\n"),
                            "resource": {"type": "ml_job", "labels": {"job_id": number}},
                        }
                        for line in file
                    ]
        return entries


def _handler(service: Service) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            split = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(split.query))
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                code, found = service.answer(self.command, split.path, query, self.headers, body)
            except Exception as fault:  # noqa: BLE001 - the client is told; the server goes on
                code, found = error(500, f"{type(fault).__name__}: {fault}")
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json; charset=UTF-8")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
            """Says nothing."""

    return Handler
