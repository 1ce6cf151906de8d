"""Server-side batching: what is put together, what is refused, who gets which answer."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.batch_arrays import pad_batch, split_outputs
from serving.server.batching import BatchingParameters, BatchScheduler
from serving.server.errors import Code, ServingError

Scheduler = Callable[..., BatchScheduler]


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    made: list[BatchScheduler] = []

    def make(**parameters: object) -> BatchScheduler:
        made.append(BatchScheduler(BatchingParameters(**parameters)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Doubler:
    """Doubles its input; remembers the sizes of batches; waits while `gate` is closed."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, inputs: Sequence[np.ndarray], timeout: float | None) -> list[np.ndarray]:
        self.gate.wait(10)
        self.sizes.append(len(inputs[0]))
        return [inputs[0] * 2]


def rows(*values: float) -> list[np.ndarray]:
    return [np.array(values, np.float32)]


def refused(call: Callable[[], object]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def test_requests_that_arrive_together_run_together(scheduler: Scheduler) -> None:
    run = Doubler()
    queue = scheduler(max_batch_size=4, batch_timeout_micros=10_000_000).queue(run)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: queue.run(rows(n), None), range(4)))
    assert [answer[0].tolist() for answer in answers] == [[0], [2], [4], [6]]
    assert run.sizes == [4]


def test_lone_request_waits_no_longer_than_the_timeout(scheduler: Scheduler) -> None:
    run = Doubler()
    queue = scheduler(max_batch_size=4, batch_timeout_micros=50_000).queue(run)
    started = time.monotonic()
    assert queue.run(rows(1), None)[0].tolist() == [2]
    assert 0.04 < time.monotonic() - started < 5


def test_too_large_a_request_is_refused(scheduler: Scheduler) -> None:
    queue = scheduler(max_batch_size=2).queue(Doubler())
    error = refused(lambda: queue.run(rows(1, 2, 3), None))
    assert error.code is Code.INVALID_ARGUMENT
    assert "larger than maximum input batch size" in error.message


def test_full_queue_refuses_at_once(scheduler: Scheduler) -> None:
    run = Doubler()
    run.gate.clear()
    queue = scheduler(max_batch_size=1, max_enqueued_batches=2, num_batch_threads=1).queue(run)
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(queue.run, rows(1), None)
        time.sleep(0.1)  # the thread has it
        waiting = [pool.submit(queue.run, rows(1), None) for _ in range(2)]
        time.sleep(0.1)
        error = refused(lambda: queue.run(rows(1), None))
        run.gate.set()
        assert all(future.result()[0].tolist() == [2] for future in (first, *waiting))
    assert error.code is Code.UNAVAILABLE
    assert "batch scheduling queue to which this task was submitted is full" in error.message


def test_deadline_holds_while_waiting(scheduler: Scheduler) -> None:
    run = Doubler()
    run.gate.clear()
    queue = scheduler(max_batch_size=1, num_batch_threads=1).queue(run)
    started = time.monotonic()
    error = refused(lambda: queue.run(rows(1), 0.1))
    assert error.code is Code.DEADLINE_EXCEEDED
    assert time.monotonic() - started < 2
    run.gate.set()


def test_batch_grows_to_an_allowed_size_and_padding_is_dropped(scheduler: Scheduler) -> None:
    run = Doubler()
    queue = scheduler(max_batch_size=8, allowed_batch_sizes=(4, 8)).queue(run)
    assert queue.run(rows(1, 2, 3), None)[0].tolist() == [2, 4, 6]
    assert run.sizes == [4]


def test_large_request_is_split(scheduler: Scheduler) -> None:
    run = Doubler()
    queue = scheduler(
        max_batch_size=100, enable_large_batch_splitting=True, max_execution_batch_size=4
    ).queue(run)
    values = [float(n) for n in range(10)]
    assert queue.run(rows(*values), None)[0].tolist() == [2 * n for n in values]
    assert sorted(run.sizes) == [2, 4, 4]


def test_error_of_a_run_reaches_every_request(scheduler: Scheduler) -> None:
    def fail(inputs: Sequence[np.ndarray], timeout: float | None) -> list[np.ndarray]:
        raise ServingError(Code.INVALID_ARGUMENT, "bad example")

    queue = scheduler(max_batch_size=2, batch_timeout_micros=1_000_000).queue(fail)
    with ThreadPoolExecutor(2) as pool:
        errors = list(
            pool.map(lambda n: refused(lambda: queue.run(rows(n), None)).message, range(2))
        )
    assert errors == ["bad example"] * 2


@pytest.mark.parametrize(
    "inputs, text",
    [
        ([np.float32(1)], "must have at least one dimension"),
        ([np.zeros(2), np.zeros(3)], "must have equal 0th-dimension size"),
    ],
)
def test_what_has_no_rows_is_refused(
    scheduler: Scheduler, inputs: list[np.ndarray], text: str
) -> None:
    error = refused(lambda: scheduler().queue(Doubler()).run(inputs, None))
    assert (error.code, text in error.message) == (Code.INVALID_ARGUMENT, True)


def test_inner_shapes_are_padded_with_the_first_element_or_refused() -> None:
    short, long = np.array([[7, 1]]), np.array([[1, 2, 3]])
    padded = pad_batch([[short], [long]], 2, allowed=(), pad_inner=True)
    assert padded[0].tolist() == [[7, 1, 7], [1, 2, 3]]
    error = refused(lambda: pad_batch([[short], [long]], 2, allowed=(), pad_inner=False))
    assert error.code is Code.FAILED_PRECONDITION


def test_output_without_a_row_per_row_is_refused() -> None:
    for output in (np.float32(1), np.zeros(3)):
        error = refused(lambda output=output: split_outputs([np.asarray(output)], [1, 1], 2))
        assert error.code is Code.FAILED_PRECONDITION


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), min_size=1, max_size=6))
def test_whoever_shares_a_batch_gets_their_own_rows(requests: list[list[int]]) -> None:
    sizes = [len(request) for request in requests]
    arrays = [[np.array(request, np.int64)] for request in requests]
    joined = pad_batch(arrays, sum(sizes), allowed=(), pad_inner=False)
    parts = split_outputs(joined, sizes, sum(sizes))
    assert [part[0].tolist() for part in parts] == requests


@pytest.mark.parametrize(
    "parameters, text",
    [
        ({"allowed_batch_sizes": (4, 2)}, "monotonically increasing"),
        ({"max_batch_size": 8, "allowed_batch_sizes": (2, 4)}, "must match max_batch_size"),
        ({"max_batch_size": 0}, "max_batch_size must be positive"),
        ({"max_batch_size": 2, "max_execution_batch_size": 3}, "must not be larger"),
    ],
)
def test_contradicting_parameters_are_refused(parameters: dict[str, object], text: str) -> None:
    error = refused(lambda: BatchingParameters(**parameters).check())  # type: ignore[arg-type]
    assert text in error.message
