"""The whole audit: champion, control, then every fault, on several warm processes."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager

from pipeline.audit import catalog, worker
from pipeline.audit.fault import CONTROL
from pipeline.audit.observed import Observation
from pipeline.audit.workshop import Workshop

#: Told of each observation as it comes.
Told = Callable[[Observation], None]


def audit(
    workshop: Workshop, names: Sequence[str], *, workers: int, told: Told
) -> list[Observation]:
    """Rehearses faults.

    Args:
        workshop: from `workshop.set_up`.
        names: of faults, in the order of the answer.
        workers: processes; each takes some 1.5 GB.
        told: is told of each observation as it comes.

    Returns:
        The control's observation, then those of the faults.

    Raises:
        RunError: there is no champion.
    """
    seen: dict[str, Observation] = {}

    def note(observation: Observation) -> None:
        seen[observation.fault] = observation
        told(observation)

    with _pool(workshop, workers) as pool:
        pool.submit(worker.make_champion, workshop).result()
        running = {pool.submit(worker.control, workshop)}
        # Faults of the model begin where the control ended, those of the data where it began.
        of_models = [name for name in names if catalog.FAULTS[name].sabotage]
        for name in names:
            if name not in of_models:
                running.add(pool.submit(worker.rehearse, workshop, name))
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                observation = future.result()
                note(observation)
                if observation.fault == CONTROL and observation.status == "pushed":
                    running |= {pool.submit(worker.rehearse, workshop, n) for n in of_models}
    return [seen[name] for name in (CONTROL, *names) if name in seen]


@contextmanager
def _pool(workshop: Workshop, workers: int) -> Iterator[ProcessPoolExecutor]:
    log = os.fspath(workshop.root / "workers.log")
    # Fresh processes: a fork would inherit the locks of threads that it does not inherit.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=worker.start, initargs=(log,)
    )
    try:
        # A process starts only when there is work for it: all at once, so that imports overlap.
        warm: list[Future[None]] = [pool.submit(_nothing) for _ in range(workers)]
        del warm
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _nothing() -> None:
    """Work that only starts a worker."""
