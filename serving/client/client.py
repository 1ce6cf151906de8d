"""One client for both protocols: rows in, rows out, and which version answered."""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from serving.client import names, table, values
from serving.client.errors import ClientError, Code, Refused, RowError
from serving.client.retry import Deadline, Retries
from serving.client.signature import Metadata, Nested, Signature, TensorSpec, VersionStatus
from serving.client.transport import Target, Transport

SERVING_DEFAULT = "serving_default"
Row = dict[str, Nested]
_Answer = TypeVar("_Answer")
#: A version that was found may be gone when it is asked; so often another one is looked for.
_SWAPS = 3


class Predictions(Sequence[Row]):
    """Answers, one dict a row, in the order of the rows.

    Attributes:
        model: that answered.
        version: of it; one version answers all rows of a call.
        signature: that was called.
        columns: output alias → one value a row.
    """

    def __init__(
        self, metadata: Metadata, signature: str, columns: Mapping[str, list[Nested]], rows: int
    ) -> None:
        self.model, self.version = metadata.model, metadata.version
        self.signature, self.columns = signature, columns
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return {name: column[index] for name, column in self.columns.items()}

    def __repr__(self) -> str:
        return f"<{len(self)} predictions of {self.model}, version {self.version}>"


class Client:
    """Asks one model of one server. Made by `connect`; safe for many threads.

    Args:
        transport: the connection.
        target: model and version.
        timeout: limit of one request to the server, trying again included, in seconds; None: no
            limit.
        batch_size: rows a request.
        retries: what is done when the server is not there.
        fresh_seconds: so long the version that a name or a label stands for is remembered.
    """

    def __init__(
        self,
        transport: Transport,
        target: Target,
        *,
        timeout: float | None = 30.0,
        batch_size: int = 1024,
        retries: Retries | None = None,
        fresh_seconds: float = 1.0,
    ) -> None:
        if batch_size < 1:
            raise ClientError(f"batch_size must be at least 1, got {batch_size}.")
        self._transport, self._target = transport, target
        self._timeout, self._batch_size = timeout, batch_size
        self._retries = retries or Retries()
        self._fresh_seconds = fresh_seconds
        self._known: dict[Target, tuple[float, Metadata]] = {}
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """The server's address."""
        return self._transport.where

    def predict(
        self,
        rows: Any,
        *,
        signature: str = SERVING_DEFAULT,
        version: int | None = None,
        label: str | None = None,
        timeout: float | None = None,
        batch_size: int | None = None,
        ignore_unknown: bool = False,
    ) -> Predictions:
        """Asks for predictions.

        Args:
            rows: a list of dicts, a dict of lists (of single values: one row), a pandas
                DataFrame, a pyarrow Table, or the path of a .parquet, .csv or .jsonl file. A
                column left out, and a value of None or NaN, is missing.
            signature: to call.
            version: instead of the client's.
            label: instead of the client's.
            timeout: instead of the client's, in seconds, for each request.
            batch_size: instead of the client's.
            ignore_unknown: let rows have columns that the model does not know; else that is an
                error, for a misspelt column would count as missing.

        Raises:
            RowError: the rows do not fit the signature; names row and column.
            Refused: the server's refusal.
            DeadlineExceeded: no answer in time.
            Unreachable: no answer after all tries.
            ClientError: anything else, such as an unknown signature.
        """
        target = self._chosen(version, label)
        rows = table.kept(rows)
        for attempt in itertools.count(1):
            metadata = self._resolve(target, timeout, refresh=attempt > 1)
            try:
                return self._predict(rows, metadata, signature, timeout, batch_size, ignore_unknown)
            except Refused as error:
                # The version was swapped for another since it was found.
                gone = error.code is Code.NOT_FOUND and target.version is None
                if not gone or attempt > _SWAPS:
                    raise
        raise AssertionError

    def metadata(
        self, *, version: int | None = None, label: str | None = None, timeout: float | None = None
    ) -> Metadata:
        """The version that the client's model, label or number stands for now; signatures."""
        return self._resolve(self._chosen(version, label), timeout, refresh=True)

    def status(self, *, timeout: float | None = None) -> list[VersionStatus]:
        """The state of each version that the server knows, newest first."""
        target = Target(self._target.model, self._target.version)
        return self._ask(lambda deadline: self._transport.status(target, deadline), timeout)

    def reload_labels(
        self,
        labels: Mapping[str, int],
        *,
        base_path: str,
        versions: Sequence[int] | None = None,
        timeout: float | None = None,
    ) -> None:
        """Replaces the model's labels on the server; over gRPC only.

        A reload says all that the server is to serve: models that are not named are unloaded, and
        a server cannot be asked what it serves. So this is for a server of this one model;
        `serving.client.labels` moves labels within a file of several, and waits and verifies.

        Args:
            labels: label → version number, all there are to be; each version must be AVAILABLE.
            base_path: the model's folder as the server sees it.
            versions: to serve; None: all in the folder.
            timeout: in seconds.

        Raises:
            Refused: FAILED_PRECONDITION, if a version is not available.
            ClientError: the client is not connected over gRPC.
        """
        from serving.client import models_config

        entry = models_config.entry(self._target.model, base_path, labels, versions)
        self.reload(models_config.of([entry]), timeout=timeout)

    def reload(self, config: Any, *, timeout: float | None = None) -> None:
        """Makes the server serve what a ModelServerConfig says, and nothing else; gRPC only."""
        reload = getattr(self._transport, "reload", None)
        if reload is None:
            raise ClientError(
                f"{self.where}: what a server serves is changed over gRPC. Connect to its gRPC "
                "port: grpc://host:8500"
            )
        self._ask(lambda deadline: reload(config, deadline), timeout)
        with self._lock:
            self._known.clear()

    def close(self) -> None:
        """Gives the connection up."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _chosen(self, version: int | None, label: str | None) -> Target:
        if version is None and label is None:
            return self._target
        return names.target(self._target.model, version, label)

    def _resolve(self, target: Target, timeout: float | None, *, refresh: bool) -> Metadata:
        with self._lock:
            found, metadata = self._known.get(target, (0.0, None))
        # What a number stands for does not change.
        fresh = target.version is not None or time.monotonic() - found < self._fresh_seconds
        if metadata is not None and fresh and not refresh:
            return metadata
        asked = time.monotonic()
        metadata = self._ask(lambda deadline: self._transport.metadata(target, deadline), timeout)
        with self._lock:
            self._known[target] = (asked, metadata)
        return metadata

    def _predict(
        self,
        rows: Any,
        metadata: Metadata,
        signature_name: str,
        timeout: float | None,
        batch_size: int | None,
        ignore_unknown: bool,
    ) -> Predictions:
        signature = metadata.signature(signature_name)
        only = next(iter(signature.inputs)) if len(signature.inputs) == 1 else None
        given = table.of(rows, only)
        names.check_columns(
            given.names, signature, metadata, ignore_unknown=ignore_unknown, rows=given.rows
        )
        columns = {name: given.column(name) for name in signature.inputs if name in given.names}
        target = Target(metadata.model, metadata.version)
        size = self._batch_size if batch_size is None else batch_size
        outputs: dict[str, list[Nested]] = {name: [] for name in sorted(signature.outputs)}
        for start in range(0, given.rows, size):
            stop = min(start + size, given.rows)
            inputs = {
                name: values.tensor(name, _part(columns.get(name), start, stop), spec, start + 1)
                for name, spec in signature.inputs.items()
            }
            ask = functools.partial(
                self._transport.predict, target, signature_name, signature, inputs
            )
            answer = self._ask(ask, timeout)
            for name, value in answer.items():
                outputs[name] += _by_row(name, value, stop - start, signature)
        return Predictions(metadata, signature_name, outputs, given.rows)

    def _ask(self, ask: Callable[[Deadline], _Answer], timeout: float | None) -> _Answer:
        deadline = Deadline(self._timeout if timeout is None else timeout)
        return self._retries.run(lambda: ask(deadline), deadline)


def _part(column: Sequence[Any] | None, start: int, stop: int) -> Sequence[Any]:
    return [None] * (stop - start) if column is None else column[start:stop]


def _by_row(name: str, value: Nested, rows: int, signature: Signature) -> list[Nested]:
    if not isinstance(value, list) or len(value) != rows:
        raise RowError(
            f"output {name} ({signature.outputs[name]}) has not one value a row: "
            f"{rows} rows were sent. Choose another signature."
        )
    return _decoded(value, signature.outputs[name])


def _decoded(value: list[Nested], spec: TensorSpec) -> list[Nested]:
    """Text as str where it is UTF-8."""
    if spec.dtype != "DT_STRING":
        return value
    return list(_texts(value))


def _texts(value: list[Nested]) -> Iterator[Nested]:
    for item in value:
        if isinstance(item, list):
            yield list(_texts(item))
        else:
            try:
                yield item.decode()
            except UnicodeDecodeError:
                yield item
