"""A sample of the requests that were answered, as PredictionLog records in TFRecord files.

The stock open-source server has the format but no writer. The files, one folder per model, hold at
most as many records as a warm-up may have, so any of them can become the
`assets.extra/tf_serving_warmup_requests` of a version as it is; the examples and tensors in them
can be compared with what the model was trained on.

Logging never delays an answer: records wait in a bounded queue for one thread that writes, and
what does not fit is dropped and counted.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from serving.server.errors import Code
from serving.server.metrics import Metrics
from serving.server.request_log_files import LogFile, make_room, remove_unfinished

#: A request or response, or what makes one; called only for a sampled request.
Message = Any | Callable[[], Any]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds memory, files and the disk.

    Attributes:
        queued_records: that wait for the writer; more are dropped.
        queued_bytes: of these records.
        file_records: of a file; a warm-up has at most 1000.
        file_bytes: of a file.
        file_seconds: that a file waits for further records before it appears.
        folder_bytes: of a model's files; the oldest make way for new ones.
    """

    queued_records: int = 1000
    queued_bytes: int = 64 << 20
    file_records: int = 1000
    file_bytes: int = 64 << 20
    file_seconds: float = 300.0
    folder_bytes: int = 1 << 30


class RequestLog:
    """Writes a part of the requests to files. Thread-safe; its methods do not block."""

    def __init__(
        self,
        directory: str,
        sampling_rate: float,
        *,
        metrics: Metrics,
        rates: Callable[[], Mapping[str, float]] | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Starts the writing thread.

        Args:
            directory: for a folder per model; made if absent.
            sampling_rate: part of the requests to log, in [0, 1].
            metrics: counts what is written and dropped.
            rates: rates of single models, which win over `sampling_rate`.
            limits: see there.

        Raises:
            OSError: the directory cannot be made.
        """
        os.makedirs(directory, exist_ok=True)
        self._directory = directory
        self._rate = sampling_rate
        self._rates = rates
        self._metrics = metrics
        self._limits = limits or Limits()
        self._queue: queue.Queue[_Entry | None] = queue.Queue(self._limits.queued_records)
        self._queued_bytes = 0
        self._lock = threading.Lock()
        self._closed = False
        self._files: dict[str, LogFile] = {}
        self._unfinished()
        self._thread = threading.Thread(target=self._write, name="request-log", daemon=True)
        self._thread.start()

    def predict(
        self, model: str, version: int, request: Message, response: Message, size: int | None = None
    ) -> None:
        """Logs a Predict, if it is in the sample.

        Args:
            model: its name.
            version: that answered.
            request: the PredictRequest or what makes it.
            response: the PredictResponse or what makes it.
            size: of both together, in bytes, if they are not protos.
        """
        self._add("predict_log", model, version, request, response, size)

    def classify(self, model: str, version: int, request: Message, response: Message) -> None:
        """Logs a Classify; arguments as of `predict`."""
        self._add("classify_log", model, version, request, response, None)

    def regress(self, model: str, version: int, request: Message, response: Message) -> None:
        """Logs a Regress; arguments as of `predict`."""
        self._add("regress_log", model, version, request, response, None)

    def multi_inference(
        self, model: str, version: int, request: Message, response: Message
    ) -> None:
        """Logs a MultiInference; arguments as of `predict`."""
        self._add("multi_inference_log", model, version, request, response, None)

    def close(self) -> None:
        """Writes what waits; the last files appear. Later requests are not logged."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._queue.put(None)
        self._thread.join()

    def _add(
        self,
        kind: str,
        model: str,
        version: int,
        request: Message,
        response: Message,
        size: int | None,
    ) -> None:
        rate = self._rate if self._rates is None else self._rates().get(model, self._rate)
        if self._closed or random.random() >= rate:
            return
        if size is None:
            size = sum(0 if callable(m) else m.ByteSize() for m in (request, response))
        entry = _Entry(kind, model, version, request, response, size, rate, time.time())
        try:
            with self._lock:
                if self._queued_bytes + size > self._limits.queued_bytes:
                    raise queue.Full
                self._queue.put_nowait(entry)
                self._queued_bytes += size
        except queue.Full:
            self._metrics.logged(model, Code.RESOURCE_EXHAUSTED)

    def _write(self) -> None:
        while True:
            try:
                entry = self._queue.get(timeout=self._wait())
            except queue.Empty:
                self._finish_old()
                continue
            if entry is None:
                break
            with self._lock:
                self._queued_bytes -= entry.size
            self._write_one(entry)
            self._finish_old()
        for name in list(self._files):
            self._finish(name)

    def _wait(self) -> float | None:
        """Seconds until the next file is due."""
        if not self._files:
            return None
        oldest = min(file.started for file in self._files.values())
        return max(0.01, oldest + self._limits.file_seconds - time.monotonic())

    def _write_one(self, entry: _Entry) -> None:
        try:
            record = entry.record()
            file = self._files.get(entry.model)
            if file is None:
                file = self._files[entry.model] = LogFile(self._folder(entry.model))
            file.write(record)
            if file.records >= self._limits.file_records or file.size >= self._limits.file_bytes:
                self._finish(entry.model)
        except Exception:  # noqa: BLE001 - the disk may be full; answering goes on
            _LOG.exception("cannot log a request of model %s to %s", entry.model, self._directory)
            self._metrics.logged(entry.model, Code.INTERNAL)
            if (broken := self._files.pop(entry.model, None)) is not None:
                broken.abandon()
                self._metrics.log_files_lost(1)
        else:
            self._metrics.logged(entry.model, Code.OK)

    def _unfinished(self) -> None:
        """Removes and counts what servers before this one left half written."""
        for name in os.listdir(self._directory):
            folder = os.path.join(self._directory, name)
            if os.path.isdir(folder):
                try:
                    count = remove_unfinished(folder, 2 * self._limits.file_seconds)
                except OSError as error:
                    _LOG.warning("cannot look for unfinished files in %s: %s", folder, error)
                    continue
                self._metrics.log_files_lost(count)

    def _finish_old(self) -> None:
        due = time.monotonic() - self._limits.file_seconds
        for name in [name for name, file in self._files.items() if file.started <= due]:
            self._finish(name)

    def _finish(self, model: str) -> None:
        file = self._files.pop(model)
        try:
            file.finish()
            folder = self._folder(model)
            self._metrics.log_files_lost(remove_unfinished(folder, 2 * self._limits.file_seconds))
            make_room(folder, self._limits.folder_bytes)
        except Exception:  # noqa: BLE001 - as above
            _LOG.exception("cannot finish a file of logged requests of model %s", model)
            file.abandon()
            self._metrics.log_files_lost(1)

    def _folder(self, model: str) -> str:
        # A model may be called anything, `..` too.
        name = quote(model, safe=" ")
        return os.path.join(self._directory, name.replace(".", "%2E") if name[:1] == "." else name)


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: str
    model: str
    version: int
    request: Message
    response: Message
    size: int
    rate: float
    time: float

    def record(self) -> bytes:
        """The serialized PredictionLog."""
        from tensorflow_serving.apis import prediction_log_pb2

        made = prediction_log_pb2.PredictionLog()
        about = made.log_metadata
        about.model_spec.name = self.model
        about.model_spec.version.value = self.version
        about.sampling_config.sampling_rate = self.rate
        about.timestamp_secs = int(self.time)
        log = getattr(made, self.kind)
        log.request.CopyFrom(self.request() if callable(self.request) else self.request)
        log.response.CopyFrom(self.response() if callable(self.response) else self.response)
        spec = getattr(log.request, "model_spec", None)
        if spec is not None:
            about.model_spec.signature_name = spec.signature_name
        return bytes(made.SerializeToString())
