"""Counters and latencies in Prometheus' text format, under the stock server's names.

The stock families (`:tensorflow:serving:…`) have exactly the stock labels, so that dashboards,
alerts and sums over them go on working. What the stock server does not tell, above all which
version answered, stands in families of their own (`:headrace:serving:…`).
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from serving.server.errors import Code
from serving.server.versions import VersionStatus

if TYPE_CHECKING:
    from serving.server.contract import Broken

#: Upper bounds, in microseconds.
LATENCY_BUCKETS = tuple(10 * 1.8**exponent for exponent in range(33))

_STOCK, _OWN = ":tensorflow:serving:", ":headrace:serving:"
# Each series is kept for ever, so there must not be any number of them, nor of any length.
_MAX_SERIES = 2000
_MAX_LABEL = 200
# Names that no model has are chosen by clients: so many are told, of so many characters at most.
_MAX_STRANGE, _MAX_STRANGE_LABEL = 100, 64
_OTHER = "(other)"

#: Why a server refuses what it could answer: its own limits, each with a flag.
REFUSALS = (
    "calls", "slow_client", "message", "filled", "inflight", "reload", "stopping",
    "rest_connections", "rest_bad_request", "rest_header_bytes", "rest_header_time",
    "rest_body_bytes", "rest_body_total", "rest_body_time", "rest_inflated_bytes",
    "rest_inflate_time", "rest_gzip_members", "rest_unread_bytes", "rest_read_time",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Family:
    name: str
    labels: tuple[str, ...]
    kind: str = "counter"


_REQUESTS = _Family(f"{_STOCK}request_count", ("model_name", "status"))
_LATENCY = _Family(f"{_STOCK}request_latency", ("model_name", "API", "entrypoint"), "histogram")
_RUNTIME = _Family(f"{_STOCK}runtime_latency", ("model_name", "API", "runtime"), "histogram")
_EXAMPLES = _Family(f"{_STOCK}request_example_counts", ("model",), "histogram")
_EXAMPLES_TOTAL = _Family(f"{_STOCK}request_example_count_total", ("model",))
_WARMUPS = _Family(f"{_STOCK}model_warmup_latency", ("model_path", "status"), "histogram")
_WARMUP_RECORDS = _Family(f"{_STOCK}model_warmup_records_read", ("model_path", "status"))
_LOGGED = _Family(f"{_STOCK}request_log_count", ("model_name", "status_code"))
_LOG_LOST = _Family(f"{_OWN}request_log_file_lost_count", ())
_OF_VERSION = ("model_name", "version")
_VERSION_REQUESTS = _Family(f"{_OWN}version_request_count", (*_OF_VERSION, "status"))
_VERSION_LATENCY = _Family(
    f"{_OWN}version_request_latency", (*_OF_VERSION, "API", "entrypoint"), "histogram"
)
_VERSION_LOADS = _Family(f"{_OWN}version_load_count", (*_OF_VERSION, "status"))
_LOAD_LATENCY = _Family(f"{_OWN}version_load_latency", _OF_VERSION, "histogram")
_CHECKED = _Family(f"{_OWN}contract_row_count", _OF_VERSION)
_BROKEN = _Family(f"{_OWN}contract_violation_count", (*_OF_VERSION, "feature", "rule"))
_REFUSED = _Family(f"{_OWN}refused_count", ("reason",))
_INFLIGHT = _Family(f"{_OWN}inflight_bytes", (), "gauge")
_STATE = _Family(f"{_OWN}version_state", (*_OF_VERSION, "state"), "gauge")
_LABEL = _Family(f"{_OWN}version_label", ("model_name", "label"), "gauge")
_BUILD = _Family(f"{_OWN}build_info", ("version", "tensorflow"), "gauge")


class _Histogram:
    __slots__ = ("counts", "sum")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENCY_BUCKETS) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        self.counts[bisect_left(LATENCY_BUCKETS, value)] += 1
        self.sum += value


class Metrics:
    """What a server counts. Thread-safe; a call costs a microsecond or two.

    Attributes:
        is_model: whether a model has this name; requests for others are counted together.
        inflight: tells how many bytes requests hold now.
    """

    def __init__(self) -> None:
        self._strange: set[str] = set()
        self.is_model: Callable[[str], bool] = lambda name: True
        self.inflight: Callable[[], int] = lambda: 0
        self._lock = threading.Lock()
        self._counters: dict[_Family, dict[tuple[str, ...], float]] = {}
        self._histograms: dict[_Family, dict[tuple[str, ...], _Histogram]] = {}

    def request(self, model: str, version: int | None, code: Code) -> None:
        """Counts a request that was answered, with whatever code; version None: none answered."""
        if version is None:
            model = self._named(model)
        self._count(_REQUESTS, (model, code.name))
        if version is not None:
            self._count(_VERSION_REQUESTS, (model, str(version), code.name))

    def request_latency(
        self, model: str, api: str, entrypoint: str, seconds: float, version: int | None
    ) -> None:
        """Counts the time of a successful request, from its arrival to its answer.

        Args:
            model: its name.
            api: `Predict`, … over gRPC; `predict`, … or, for what is no inference, "" over REST.
            entrypoint: `GRPC` or `REST`.
            seconds: the time.
            version: that answered; None: none did.
        """
        if version is None:
            model = self._named(model)
        self._observe(_LATENCY, (model, api, entrypoint), seconds * 1e6)
        if version is not None:
            labels = (model, str(version), api, entrypoint)
            self._observe(_VERSION_LATENCY, labels, seconds * 1e6)

    def runtime_latency(self, model: str, api: str, seconds: float) -> None:
        """Counts the time of a run of the session."""
        self._observe(_RUNTIME, (model, api, "TF1"), seconds * 1e6)

    def examples(self, model: str, count: int) -> None:
        """Counts the examples of a MultiInference request."""
        self._observe(_EXAMPLES, (model,), count)
        self._count(_EXAMPLES_TOTAL, (model,), count)

    def warmup(self, model_path: str, status: str, records: int, seconds: float) -> None:
        """Counts a warm-up, the records it read and its time."""
        self._observe(_WARMUPS, (model_path, status), seconds * 1e6)
        self._count(_WARMUP_RECORDS, (model_path, status), records)

    def load(self, model: str, version: int, seconds: float, ok: bool) -> None:
        """Counts an attempt to load a version."""
        self._count(_VERSION_LOADS, (model, str(version), "success" if ok else "fail"))
        if ok:
            self._observe(_LOAD_LATENCY, (model, str(version)), seconds * 1e6)

    def logged(self, model: str, code: Code) -> None:
        """Counts a request picked for the log: OK; RESOURCE_EXHAUSTED if it was dropped, …."""
        self._count(_LOGGED, (model, code.name))

    def log_files_lost(self, count: int) -> None:
        """Counts files of logged requests that were never finished, and were removed."""
        if count:
            self._count(_LOG_LOST, (), count)

    def contract(self, model: str, version: int, rows: int, broken: Iterable[Broken]) -> None:
        """Counts rows that were held to the model's contract, and those that break it."""
        labels = (model, str(version))
        self._count(_CHECKED, labels, rows)
        for one in broken:
            self._count(_BROKEN, (*labels, one.feature, one.rule), one.count)

    def refused(self, reason: str) -> None:
        """Counts what a limit of the server's refused; the reason is one of `REFUSALS`."""
        self._count(_REFUSED, (reason,))

    def total(self, name: str) -> int:
        """Value of a counter, its series together.

        Args:
            name: as it is told, or as the stock server's code calls it, with slashes for colons.

        Returns:
            The sum; 0 where nothing was counted, or there is no such counter.
        """
        wanted = name.replace("/", ":")
        with self._lock:
            found = (series for family, series in self._counters.items() if family.name == wanted)
            return int(sum(sum(series.values()) for series in found))

    def text(
        self,
        versions: Iterable[tuple[str, VersionStatus]] = (),
        labels: Mapping[str, Mapping[str, int]] | None = None,
    ) -> str:
        """All that was counted, in Prometheus' text format.

        Args:
            versions: model and status of each version, as they are now.
            labels: model -> label -> version, as they are now.
        """
        now: dict[_Family, dict[tuple[str, ...], float]] = {
            _BUILD: {(_installed("headrace"), _installed("tensorflow")): 1},
            _INFLIGHT: {(): self.inflight()},
            _STATE: {(model, str(s.version), s.state): 1 for model, s in versions},
            _LABEL: {
                (model, label): version
                for model, of_model in (labels or {}).items()
                for label, version in of_model.items()
            },
        }
        with self._lock:
            lines = [
                line
                for family, series in [*self._counters.items(), *now.items()]
                if series
                for line in _samples(family, series)
            ]
            for family, histograms in self._histograms.items():
                lines += _buckets(family, histograms)
        return "\n".join(lines) + "\n"

    def _named(self, model: str) -> str:
        """A model's name; of names that no model has only the first few, where they are short.

        The stock server keeps them all; a few tell of a client that has a name wrong.
        """
        if self.is_model(model) or model in self._strange:
            return model
        if len(model) > _MAX_STRANGE_LABEL or len(self._strange) >= _MAX_STRANGE:
            return _OTHER
        self._strange.add(model)
        return model

    def _count(self, family: _Family, labels: tuple[str, ...], by: float = 1) -> None:
        labels = tuple(map(_short, labels))
        with self._lock:
            series = self._counters.setdefault(family, {})
            if labels not in series and len(series) >= _MAX_SERIES:
                labels = (_OTHER, *labels[1:])
            series[labels] = series.get(labels, 0) + by

    def _observe(self, family: _Family, labels: tuple[str, ...], value: float) -> None:
        labels = tuple(map(_short, labels))
        with self._lock:
            series = self._histograms.setdefault(family, {})
            histogram = series.get(labels)
            if histogram is None:
                if len(series) >= _MAX_SERIES:
                    labels = (_OTHER, *labels[1:])
                histogram = series.setdefault(labels, _Histogram())
            histogram.add(value)


def _short(label: str) -> str:
    """A label of bounded length; two long ones that differ stay two."""
    if len(label) <= _MAX_LABEL:
        return label
    digest = hashlib.sha256(label.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{label[: _MAX_LABEL - 16]}...{digest}"


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _samples(family: _Family, series: Mapping[tuple[str, ...], float]) -> Iterator[str]:
    yield f"# TYPE {family.name} {family.kind}"
    for labels, value in sorted(series.items()):
        yield f"{family.name}{{{_labels(family, labels)}}} {value}"


def _buckets(family: _Family, histograms: Mapping[tuple[str, ...], _Histogram]) -> Iterator[str]:
    yield f"# TYPE {family.name} histogram"
    for labels, histogram in sorted(histograms.items()):
        text = _labels(family, labels)
        total = 0
        for bound, count in zip((*LATENCY_BUCKETS, None), histogram.counts, strict=True):
            total += count
            end = "+Inf" if bound is None else f"{bound:g}"
            yield f'{family.name}_bucket{{{text},le="{end}"}} {total}'
        yield f"{family.name}_sum{{{text}}} {histogram.sum:.12g}"
        yield f"{family.name}_count{{{text}}} {total}"


def _labels(family: _Family, values: tuple[str, ...]) -> str:
    return ",".join(
        f'{name}="{_escaped(value)}"' for name, value in zip(family.labels, values, strict=True)
    )


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
