"""Server-side batching: requests that arrive together run as one batch.

A queue belongs to one signature of one version; all queues share the threads of one scheduler.
A batch runs when it is full or when its first request has waited long enough. Needs no TensorFlow.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from serving.server.batch_arrays import (
    check_batch_size,
    join,
    pad_batch,
    split_outputs,
)
from serving.server.errors import Code, ServingError

RunBatch = Callable[[Sequence[np.ndarray], float | None], list[np.ndarray]]
#: Makes the queue of a signature.
MakeQueue = Callable[[RunBatch], "BatchQueue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingParameters:
    """The stock parameters, with the stock defaults.

    Attributes:
        max_batch_size: rows of the largest request and, without splitting, of the largest batch.
        batch_timeout_micros: how long the first request of a batch waits for others.
        max_enqueued_batches: of one queue; a request that would need one more is refused.
        num_batch_threads: batches that run at a time.
        allowed_batch_sizes: ascending; a batch is filled up to one of them. Empty: any size.
        pad_variable_length_inputs: whether inputs of different inner shapes are padded to fit.
        enable_large_batch_splitting: whether a request may be spread over several batches.
        max_execution_batch_size: rows of the largest batch with splitting; 0: `max_batch_size`.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int = 0

    @property
    def batch_limit(self) -> int:
        """Rows of the largest batch that runs."""
        if self.enable_large_batch_splitting and self.max_execution_batch_size:
            return self.max_execution_batch_size
        return self.max_batch_size

    def check(self) -> None:
        """Refuses parameters that contradict each other.

        Raises:
            ServingError: INVALID_ARGUMENT, with the field.
        """
        for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
            if getattr(self, name) < 1:
                raise _invalid(f"{name} must be positive; was {getattr(self, name)}")
        if self.batch_timeout_micros < 0:
            raise _invalid(f"batch_timeout_micros must be >= 0; was {self.batch_timeout_micros}")
        if self.max_execution_batch_size > self.max_batch_size:
            raise _invalid(
                f"max_execution_batch_size ({self.max_execution_batch_size}) must not be larger "
                f"than max_batch_size ({self.max_batch_size})"
            )
        sizes = self.allowed_batch_sizes
        if any(low >= high for low, high in itertools.pairwise(sizes)):
            raise _invalid("allowed_batch_sizes entries must be monotonically increasing")
        if sizes and sizes[-1] != self.batch_limit:
            raise _invalid(
                "Last entry in allowed_batch_sizes must match max_batch_size (with splitting: "
                f"max_execution_batch_size); last entry was {sizes[-1]}; "
                f"expected {self.batch_limit}"
            )


@dataclass(slots=True)
class _Task:
    """A request, or a slice of one."""

    inputs: Sequence[np.ndarray]
    size: int
    deadline: float | None  # of `time.monotonic`
    outputs: Future[list[np.ndarray]] = field(default_factory=Future)


@dataclass(slots=True)
class _Batch:
    opened: float
    tasks: list[_Task] = field(default_factory=list)
    size: int = 0
    closed: bool = False


class BatchScheduler:
    """Threads that run the batches of all queues, the queues taking turns."""

    def __init__(self, parameters: BatchingParameters) -> None:
        parameters.check()
        self.parameters = parameters
        self.changed = threading.Condition()
        self._queues: deque[BatchQueue] = deque()
        self._stopped = False
        for number in range(parameters.num_batch_threads):
            threading.Thread(target=self._work, name=f"batch-{number}", daemon=True).start()

    def queue(self, run: RunBatch, parameters: BatchingParameters | None = None) -> BatchQueue:
        """A new queue, whose batches `run` runs (inputs, seconds left -> outputs).

        Args:
            run: runs a batch.
            parameters: of this queue, but for the threads; None: the scheduler's.
        """
        made = BatchQueue(self, run, parameters or self.parameters)
        with self.changed:
            self._queues.append(made)
        return made

    def remove(self, queue: BatchQueue) -> None:
        """Forgets a queue that nobody uses any more."""
        with self.changed:
            if queue in self._queues:
                self._queues.remove(queue)

    def stop(self) -> None:
        """Ends the threads once the batches that run are done."""
        with self.changed:
            self._stopped = True
            self.changed.notify_all()

    def _work(self) -> None:
        while True:
            with self.changed:
                while not self._stopped and (next_batch := self._next()) is None:
                    self.changed.wait(self._seconds_to_next())
                if self._stopped:
                    return
            assert next_batch is not None
            queue, batch = next_batch
            queue.process(batch)

    def _next(self) -> tuple[BatchQueue, _Batch] | None:
        now = time.monotonic()
        for _ in range(len(self._queues)):
            queue = self._queues[0]
            self._queues.rotate(-1)
            batch = queue.take(now)
            if batch is not None:
                return queue, batch
        return None

    def _seconds_to_next(self) -> float | None:
        times = [queue.ready_at() for queue in self._queues]
        waiting = [ready for ready in times if ready is not None]
        return max(0.0, min(waiting) - time.monotonic()) if waiting else None


class BatchQueue:
    """Requests to one signature of one version. Made by `BatchScheduler.queue`."""

    def __init__(
        self, scheduler: BatchScheduler, run: RunBatch, parameters: BatchingParameters
    ) -> None:
        self._scheduler = scheduler
        self._parameters = parameters
        self._timeout = parameters.batch_timeout_micros / 1e6
        self._run = run
        self._batches: deque[_Batch] = deque()

    def run(self, inputs: Sequence[np.ndarray], timeout: float | None) -> list[np.ndarray]:
        """Waits for the outputs of the batch (or batches) the rows went into.

        Args:
            inputs: all with the same number of rows.
            timeout: in seconds, waiting included.

        Raises:
            ServingError: INVALID_ARGUMENT too many rows, or not rows; UNAVAILABLE the queue is
                full; DEADLINE_EXCEEDED; or what the run raised.
        """
        size = check_batch_size(inputs)
        limit = self._parameters.max_batch_size
        if size > limit:
            raise _invalid(f"Task size {size} is larger than maximum input batch size {limit}")
        deadline = None if timeout is None else time.monotonic() + timeout
        tasks = self._enqueue(inputs, size, deadline)
        parts = []
        for task in tasks:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            try:
                parts.append(task.outputs.result(left))
            except TimeoutError:
                raise _late() from None
        return parts[0] if len(parts) == 1 else [join(list(p)) for p in zip(*parts, strict=True)]

    def close(self) -> None:
        """Removes the queue from its scheduler."""
        self._scheduler.remove(self)

    def take(self, now: float) -> _Batch | None:
        """The first batch if it may run; called with the scheduler's lock held."""
        if not self._batches:
            return None
        batch = self._batches[0]
        if not batch.closed and now < batch.opened + self._timeout:
            return None
        return self._batches.popleft()

    def ready_at(self) -> float | None:
        """When the first batch may run; called with the scheduler's lock held."""
        if not self._batches:
            return None
        batch = self._batches[0]
        return 0.0 if batch.closed else batch.opened + self._timeout

    def process(self, batch: _Batch) -> None:
        """Runs a batch and hands out its outputs or its error."""
        now = time.monotonic()
        for task in batch.tasks:
            if task.deadline is not None and task.deadline <= now:
                task.outputs.set_exception(_late())
        tasks = [task for task in batch.tasks if not task.outputs.done()]
        if not tasks:
            return
        deadlines = [task.deadline for task in tasks]
        latest = max((d for d in deadlines if d is not None), default=None)
        timeout = None if None in deadlines or latest is None else latest - now
        sizes = [task.size for task in tasks]
        try:
            inputs = pad_batch(
                [task.inputs for task in tasks],
                sum(sizes),
                allowed=self._parameters.allowed_batch_sizes,
                pad_inner=self._parameters.pad_variable_length_inputs,
            )
            parts = split_outputs(self._run(inputs, timeout), sizes, len(inputs[0]))
        except ServingError as error:
            for task in tasks:
                task.outputs.set_exception(ServingError(error.code, error.message))
        except Exception as error:  # noqa: BLE001 - no waiting request may be left without answer
            for task in tasks:
                task.outputs.set_exception(ServingError(Code.INTERNAL, repr(error)))
        else:
            for task, outputs in zip(tasks, parts, strict=True):
                task.outputs.set_result(outputs)

    def _enqueue(
        self, inputs: Sequence[np.ndarray], size: int, deadline: float | None
    ) -> list[_Task]:
        limit = self._parameters.batch_limit
        with self._scheduler.changed:
            open_batch = self._batches[-1] if self._batches else None
            free = 0 if open_batch is None or open_batch.closed else limit - open_batch.size
            cuts = _cuts(size, free, limit, self._parameters.enable_large_batch_splitting)
            # The first slice goes into the open batch if it fits; each other needs a new one.
            new = len(cuts) - (cuts[0] <= free and free > 0)
            if len(self._batches) + new > self._parameters.max_enqueued_batches:
                raise ServingError(
                    Code.UNAVAILABLE,
                    "The batch scheduling queue to which this task was submitted is full; "
                    f"currently {len(self._batches)} batches enqueued and max_enqueued_batches is "
                    f"{self._parameters.max_enqueued_batches}",
                )
            tasks, start = [], 0
            for rows in cuts:
                piece = inputs if rows == size else [x[start : start + rows] for x in inputs]
                tasks.append(_Task(piece, rows, deadline))
                self._add(tasks[-1], limit)
                start += rows
            self._scheduler.changed.notify(len(cuts))
        return tasks

    def _add(self, task: _Task, limit: int) -> None:
        last = self._batches[-1] if self._batches else None
        if last is None or last.closed or last.size + task.size > limit:
            if last is not None:
                last.closed = True
            last = _Batch(opened=time.monotonic())
            self._batches.append(last)
        last.tasks.append(task)
        last.size += task.size
        last.closed = last.size >= limit


def _cuts(size: int, free: int, limit: int, split: bool) -> list[int]:
    if not split or size <= free or (free == 0 and size <= limit):
        return [size]
    cuts = [free] if free else []
    left = size - free
    return cuts + [min(limit, left - start) for start in range(0, left, limit)]


def _invalid(message: str) -> ServingError:
    return ServingError(Code.INVALID_ARGUMENT, message)


def _late() -> ServingError:
    return ServingError(
        Code.DEADLINE_EXCEEDED, "Run() timeout exceeded while waiting in batching queue"
    )
