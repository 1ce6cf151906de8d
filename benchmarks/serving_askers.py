"""Who asks in `benchmarks/serving.py`: threads the bare session, processes a server.

Both ask in a closed loop, where the next request follows the answer, or in an open one, where
requests arrive as a Poisson process whatever the answers do and a latency counts from the moment
the request was due.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from benchmarks.serving_sides import Target

#: From the order to the first request of a phase.
_CONNECT_SECONDS = 0.5


def arrivals(
    rate: float, start: float, seconds: float, askers: int, seed: int = 0
) -> list[list[float]]:
    """Moments of a Poisson process, dealt out to so many askers in turn.

    Args:
        rate: requests a second.
        start: on the monotonic clock.
        seconds: how long.
        askers: who ask.
        seed: of the draw.
    """
    draw, moment, moments = random.Random(seed), start, list[float]()
    while (moment := moment + draw.expovariate(rate)) < start + seconds:
        moments.append(moment)
    return [moments[asker::askers] for asker in range(askers)]


class Threads:
    """Threads of this process.

    Args:
        ask: one request.
        number: of threads of an open loop.
    """

    def __init__(self, ask: Callable[[], object], number: int) -> None:
        self._ask = ask
        self._number = number

    def closed(self, threads: int, seconds: float) -> list[float]:
        """Latencies of so many closed loops at a time, in seconds."""
        end = time.monotonic() + seconds

        def loop(latencies: list[float]) -> None:
            while (sent := time.monotonic()) < end:
                self._ask()
                latencies.append(time.monotonic() - sent)

        return _all(loop, [()] * threads)

    def open(self, rate: float, seconds: float) -> list[float]:
        """Latencies at a rate, in requests a second, each from the moment it was due."""

        def loop(latencies: list[float], moments: Sequence[float]) -> None:
            for moment in moments:
                time.sleep(max(0.0, moment - time.monotonic()))
                self._ask()
                latencies.append(time.monotonic() - moment)

        start = time.monotonic() + _CONNECT_SECONDS
        return _all(loop, [(own,) for own in arrivals(rate, start, seconds, self._number)])


def _all(loop: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> list[float]:
    """What the loops note, each in a thread and a list of its own."""
    noted: list[list[float]] = [[] for _ in arguments]
    workers = [
        threading.Thread(target=loop, args=(own, *more))
        for own, more in zip(noted, arguments, strict=True)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [latency for own in noted for latency in own]


class Clients:
    """Client processes of one target."""

    def __init__(self, target: Target, body: Path, number: int) -> None:
        """Starts them; each has had one answer when this returns.

        Args:
            target: what they ask.
            body: file with the request.
            number: of processes.
        """
        order = {"kind": target.kind, "address": target.address, "path": target.path}
        script = Path(__file__).with_name("serving_load.py")
        self._processes = [
            subprocess.Popen(
                [sys.executable, str(script), json.dumps({**order, "body": str(body)})],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(number)
        ]
        answers = [bytes.fromhex(self._line(client)) for client in self._processes]
        self.first_answer = answers[0]

    def closed(self, connections: int, seconds: float) -> list[float]:
        """Latencies of a closed loop, in seconds."""
        start = time.monotonic() + _CONNECT_SECONDS
        phase = {"start": start, "end": start + seconds, "times": None}
        return self._phase([phase] * connections)

    def open(self, rate: float, seconds: float) -> list[float]:
        """Latencies at a rate, in requests a second, each from the moment it was due."""
        start = time.monotonic() + _CONNECT_SECONDS
        each = arrivals(rate, start, seconds, len(self._processes))
        return self._phase([{"start": start, "end": 0.0, "times": own} for own in each])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._processes:
            client.kill()
            client.communicate()

    def _phase(self, phases: Sequence[Mapping[str, Any]]) -> list[float]:
        for client, phase in zip(self._processes, phases, strict=False):
            assert client.stdin is not None
            client.stdin.write(json.dumps(phase) + "\n")
            client.stdin.flush()
        latencies: list[float] = []
        for client, _ in zip(self._processes, phases, strict=False):
            latencies += json.loads(self._line(client))
        return latencies

    def _line(self, client: subprocess.Popen[str]) -> str:
        assert client.stdout is not None
        line = client.stdout.readline()
        if not line:
            raise SystemExit("a client failed; its message is above")
        return line
