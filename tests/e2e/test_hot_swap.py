"""Hot swap under load: versions come, go, break and get labels while several clients ask.

No request may fail, no answer may come from half a version, and each must be what its version has
to say, from a version that could serve at that moment. HEADRACE_SWAP_SECONDS sets how long each
test asks (25 by default).
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent / "hot_swap"))
import itertools

import swap_models
from swap_clients import Record, fault_in
from swap_timeline import Listing, Move, Timeline, label_may

from serving.client import Client, connect, models_config
from serving.client import labels as server_labels
from serving.layout import HIGH_WATER, LEFTOVER_PREFIXES
from serving.manifest import Provenance
from serving.registry import Registry

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SECONDS = float(os.environ.get("HEADRACE_SWAP_SECONDS", "25"))
#: Served by the default policy, the newest version only.
NEWEST = "newest"
#: Served with all its versions, and a label.
LABELLED = "labelled"
LABEL = "stable"
VERSIONS = 10
BROKEN = 5
CLIENT_PROCESSES = 2
LISTING_SECONDS = 0.1
#: The client remembers for so long which version a name or a label stands for.
REMEMBERED_SECONDS = 1.0


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders 1, 2, …: one per number that a test may push."""
    most = VERSIONS + round(SECONDS)
    return swap_models.write_all(tmp_path_factory.mktemp("models") / "sources", range(1, most + 1))


class Server:
    """A `python -m serving` of both models, that polls each second, and what is seen of it."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "models"
        self.config = models_config.of(
            models_config.entry(name, str(self.base / name)) for name in (NEWEST, LABELLED)
        )
        models_config.model(self.config, LABELLED).model_version_policy.all.SetInParent()
        (folder / "models.config").write_text(models_config.text(self.config))
        self.log = folder / "server.log"
        ports = folder / "ports.json"
        command = [
            *(sys.executable, "-m", "serving"),
            f"--model_config_file={folder / 'models.config'}",
            f"--port_file={ports}",
            *("--port=auto", "--rest_api_port=auto", "--host=127.0.0.1", "--exit_with_parent"),
            *("--file_system_poll_wait_seconds=1", "--max_num_load_retries=1"),
            "--load_retry_interval_micros=300000",
        ]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
        _until(ports.exists, 120, f"the server did not start: {self.log}")
        found = json.loads(ports.read_text())
        self.grpc = f"127.0.0.1:{found['grpc_port']}"
        self.rest = f"127.0.0.1:{found['rest_port']}"
        self.clients = {
            name: connect(f"grpc://{self.grpc}", model=name) for name in (NEWEST, LABELLED)
        }
        self.listings: dict[str, list[Listing]] = {name: [] for name in self.clients}
        #: Model, version -> states it was seen in, in their order, with the error code.
        self.states: dict[tuple[str, int], list[tuple[str, str]]] = {}
        self._seen = threading.Condition()
        self._stop = threading.Event()
        self._watchers = [
            threading.Thread(target=self._watch, args=item) for item in self.clients.items()
        ]

    def watch(self) -> None:
        """Begins to list the states."""
        for watcher in self._watchers:
            watcher.start()

    def until(self, model: str, version: int, wanted: str, seconds: float = 60) -> None:
        """Waits until a version was seen in a state."""
        with self._seen:
            done = self._seen.wait_for(lambda: self.state(model, version) == wanted, seconds)
        assert done, f"{model} {version} is {self.state(model, version)}, not {wanted}: {self.log}"

    def state(self, model: str, version: int) -> str:
        return self.states.get((model, version), [("", "")])[-1][0]

    def end(self) -> None:
        self._stop.set()
        for watcher in self._watchers:
            if watcher.is_alive():
                watcher.join()
        for client in self.clients.values():
            client.close()
        self.process.terminate()
        self.process.wait(60)

    def _watch(self, name: str, client: Client) -> None:
        while not self._stop.wait(LISTING_SECONDS):
            sent = time.monotonic()
            found = client.status()
            available = frozenset(one.version for one in found if one.state == "AVAILABLE")
            with self._seen:
                self.listings[name].append(Listing(sent, time.monotonic(), available))
                for one in found:
                    states = self.states.setdefault((name, one.version), [])
                    if not states or states[-1] != (one.state, one.code):
                        states.append((one.state, one.code))
                self._seen.notify_all()


@pytest.fixture
def server(tmp_path: Path, sources: Path) -> Iterator[Server]:
    """Serves version 1 of both models, and is watched."""
    for name in (NEWEST, LABELLED):
        _push(Registry(tmp_path / "models", name), sources, 1)
    running = Server(tmp_path)
    try:
        for client in running.clients.values():
            _until(lambda c=client: _serves(c), 120, f"nothing is served: {running.log}")
        running.watch()
        yield running
    finally:
        running.end()


def test_no_request_notices_that_versions_come_and_go(
    server: Server, sources: Path, tmp_path: Path
) -> None:
    registries = {name: Registry(server.base, name) for name in server.clients}
    pause = SECONDS / (VERSIONS + 3)
    labels = _Labels(server, registries[LABELLED])
    labels.move(1)
    asks = [[NEWEST, None, None], [LABELLED, None, None], [LABELLED, LABEL, None]]
    asks.append([LABELLED, None, 1])
    broken = shutil.copytree(sources / str(BROKEN), tmp_path / "broken" / str(BROKEN))
    swap_models.cut(broken)
    with _load(server, tmp_path, asks) as records:
        time.sleep(pause)
        for number in range(2, VERSIONS + 1):
            for name, registry in registries.items():
                _push(registry, broken.parent if number == BROKEN else sources, number)
                server.until(name, number, "END" if number == BROKEN else "AVAILABLE")
            if number == 3:
                labels.move(3)
            if number == 4:
                labels.move(1)
            if number == 7:
                labels.move(7)
                time.sleep(pause / 2)  # long enough for some requests to be answered by it
                labels.move(1)
            if number == 8:  # back to what was before
                for name, registry in registries.items():
                    shutil.rmtree(registry.folder / "8")
                    server.until(name, 8, "END")
                    server.until(name, 7, "AVAILABLE")
            time.sleep(pause)  # each kind of client must have been answered by it
        labels.move(VERSIONS)
        time.sleep(pause)
    timelines = {name: Timeline(seen) for name, seen in server.listings.items()}
    _report("versions come and go", records, server)
    _check(records, timelines, labels.moves)
    _check_states(server)
    good = set(range(1, VERSIONS + 1)) - {BROKEN}
    for kind in {record.kind for record in records}:
        asked = [r for r in records if r.kind == kind and (r.label, r.number) == (None, None)]
        for model in (NEWEST, LABELLED):
            assert {r.version for r in asked if r.model == model} == good, (kind, model)
    assert {record.version for record in records if record.label} == {1, 3, 7, VERSIONS}
    for name in server.clients:
        state, code = server.states[name, BROKEN][-1]
        assert state == "END" and code != "OK", "a broken version says why it does not serve"


def test_a_pusher_killed_at_any_moment_leaves_no_trace_in_the_answers(
    server: Server, sources: Path, tmp_path: Path
) -> None:
    draw = random.Random(20)
    registry = Registry(server.base, NEWEST)
    kills = {"after the push": 0, "during it": 0}
    pushed: set[int] = {1}
    most = len(list(sources.iterdir())) - 1
    with _load(server, tmp_path, [[NEWEST, None, None]]) as records:
        end = time.monotonic() + SECONDS
        # On a busy machine it takes longer until enough has happened.
        while time.monotonic() < end or min(*kills.values(), len(pushed) - 3) < 2:
            number, done = _push_and_kill(server, sources, draw)
            kills["after the push" if done else "during it"] += 1
            if number >= most:
                break
            # What a kill left is whole, and nothing that a server could take for a version.
            for version in registry.versions():
                assert registry.verify(version.number) == []
                pushed.add(version.number)
            with contextlib.suppress(AssertionError):  # a kill before the rename: there is nothing
                server.until(NEWEST, number, "AVAILABLE", 1.5)
        last = _push_next(registry, sources)
        server.until(NEWEST, last, "AVAILABLE")
        time.sleep(1)
    _report("the pusher is killed", records, server, **{f"killed {k}": n for k, n in kills.items()})
    _check(records, {NEWEST: Timeline(server.listings[NEWEST])}, [])
    _check_states(server)
    assert min(kills["after the push"], kills["during it"]) >= 2, kills
    assert {record.version for record in records} <= pushed | {last}
    assert len({record.version for record in records}) >= 5
    left = [path.name for path in registry.folder.iterdir()]
    assert not [name for name in left if name.startswith(LEFTOVER_PREFIXES)], left
    assert int((registry.folder / HIGH_WATER).read_text()) == last


def test_what_is_wrong_with_an_answer_is_seen() -> None:
    seen = [(0.0, {1}), (1.0, {1}), (2.0, {1, 2}), (3.0, {2}), (4.0, {2}), (5.0, {2})]
    listings = [Listing(at, at + 0.1, frozenset(available)) for at, available in seen]
    timelines = {NEWEST: Timeline(listings)}
    moves = [Move(0.0, 0.1, 1), Move(3.0, 3.1, 2)]

    def faults(
        version: int, started: float, *, label: str | None = None, number: int | None = None
    ) -> list[str]:
        record = Record("gRPC", NEWEST, label, number, started, started + 0.2, version, "")
        return [why for _, why in _impossible([record], timelines, moves)]

    assert faults(1, 0.5) == faults(1, 2.05) == faults(2, 1.5) == faults(2, 4.5) == []
    assert faults(1, 3.5) == faults(2, 0.5) == faults(3, 4.5) == ["not available"]
    assert faults(1, 4.5) == ["not available"]
    assert faults(1, 2.5, number=1) == [], "it may have been unloaded after"
    assert faults(1, 2.5) == ["2 was there"]
    assert faults(2, 2.5, number=1) == ["not the number asked for"]
    assert faults(1, 0.5, label=LABEL) == faults(2, 3.05, label=LABEL) == []
    assert faults(2, 2.5, label=LABEL) == ["not the label's version"]


def test_an_answer_of_two_versions_is_seen() -> None:
    x = [1.0, -2.5]
    whole = {"y": [3.5 - 3, -8.75 - 3], "version": [3, 3], "graph": [3, 3]}
    assert fault_in(x, whole, 3) == fault_in(x, whole, 0) == ""
    assert fault_in(x, whole, 4)
    assert fault_in(x, {**whole, "graph": [2, 2]}, 3)
    assert fault_in(x, {**whole, "version": [2, 2]}, 2)
    assert fault_in(x, {**whole, "y": [2.5 - 2, -6.25 - 2]}, 3)


class _Labels:
    """Moves a label by Headrace's own procedure, on disk and on the server."""

    def __init__(self, server: Server, registry: Registry) -> None:
        self._server, self._registry = server, registry
        self.moves: list[Move] = []

    def move(self, version: int) -> None:
        before = self._registry.labels()
        started = time.monotonic()
        after = self._registry.assign_labels({LABEL: version})
        self._server.config = server_labels.change(
            self._server.clients[LABELLED], LABELLED, self._server.config, before, after
        )
        self.moves.append(Move(started, time.monotonic(), version))


@contextlib.contextmanager
def _load(server: Server, folder: Path, asks: list[list[object]]) -> Iterator[list[Record]]:
    """Clients ask within the block; after it, the list holds what they noted."""
    records: list[Record] = []
    files = [folder / f"records-{number}" for number in range(CLIENT_PROCESSES)]
    processes = []
    for number, file in enumerate(files):
        order = {
            "grpc": server.grpc,
            "rest": server.rest,
            "asks": asks,
            "seed": 100 * number,
            "records": str(file),
        }
        script = Path(__file__).parent / "hot_swap" / "swap_clients.py"
        processes.append(
            subprocess.Popen(
                [sys.executable, str(script), json.dumps(order)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == "asking\n"
        yield records
    finally:
        for process in processes:
            process.communicate(timeout=60)
    for file in files:
        records += [Record(*json.loads(line)) for line in file.read_text().splitlines()]


def _push_and_kill(server: Server, sources: Path, draw: random.Random) -> tuple[int, bool]:
    """One pusher's life, ended at random; returns what it began to push, and whether it had."""
    script = Path(__file__).parent / "hot_swap" / "swap_pusher.py"
    process = subprocess.Popen(
        [sys.executable, str(script), str(server.base), NEWEST, str(sources), "60", "3"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    word, number = process.stdout.readline().split()
    assert word == "push"
    # Half of the kills wait for the end of the push; the others are meant to meet it in its midst.
    said = process.stdout.readline() if draw.random() < 0.5 else ""
    time.sleep(draw.uniform(0, 0.05))
    process.kill()
    rest, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, "the pusher ended by itself"
    return int(number), "pushed" in said + rest


def _push(registry: Registry, sources: Path, number: int) -> None:
    manifest = registry.push(sources / str(number), Provenance(run_id=f"model {number}"))
    assert manifest.version == number


def _push_next(registry: Registry, sources: Path) -> int:
    number = int((registry.folder / HIGH_WATER).read_text()) + 1
    _push(registry, sources, number)
    return number


def _check(
    records: Sequence[Record], timelines: dict[str, Timeline], moves: Sequence[Move]
) -> None:
    assert len(records) > 20 * SECONDS, f"only {len(records)} requests: the load was no load"
    failed = [record for record in records if record.fault]
    assert not failed, f"{len(failed)} of {len(records)}, the first: {failed[:3]}"
    impossible = _impossible(records, timelines, moves)
    assert not impossible, f"{len(impossible)} of {len(records)}, the first: {impossible[:3]}"


def _impossible(
    records: Sequence[Record], timelines: dict[str, Timeline], moves: Sequence[Move]
) -> list[tuple[Record, str]]:
    """Answers from versions that could not have given them, and why not."""
    found = []
    for record in records:
        started = record.started
        if record.kind.startswith("client"):
            started -= REMEMBERED_SECONDS
        timeline = timelines[record.model]
        if not timeline.may(record.version, started, record.finished):
            found.append((record, "not available"))
        elif record.number is not None:
            if record.version != record.number:
                found.append((record, "not the number asked for"))
        elif record.label is not None:
            if not label_may(moves, record.version, started, record.finished):
                found.append((record, "not the label's version"))
        elif newer := timeline.newer(record.version, started, record.finished):
            found.append((record, f"{newer} was there"))
    return found


def _check_states(server: Server) -> None:
    """Something could answer at any time, and no version came back from the dead by itself."""
    for name, listings in server.listings.items():
        assert all(listing.available for listing in listings), name
    order = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
    for key, states in server.states.items():
        places = [order.index(state) for state, _ in states]
        restarts = sum(later < earlier for earlier, later in itertools.pairwise(places))
        # The default policy loads version 7 again when 8 is taken back.
        assert restarts <= (key == (NEWEST, 7)), (key, states)


def _report(title: str, records: Sequence[Record], server: Server, **more: object) -> None:
    """For people who run it with -s."""
    by_kind = Counter(record.kind for record in records)
    failed = sum(bool(record.fault) for record in records)
    slowest = max(record.finished - record.started for record in records)
    print(f"\n{title}: {len(records)} requests ({dict(by_kind)}), {failed} failed")
    print(f"slowest answer {slowest * 1000:.0f} ms; {more or ''}")
    for name in server.clients:
        versions = Counter(record.version for record in records if record.model == name)
        print(f"{name}: answers by version {dict(sorted(versions.items()))}")


def _serves(client: Client) -> bool:
    return any(one.state == "AVAILABLE" for one in client.status())


def _until(done: Callable[[], bool], seconds: float, problem: str) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, problem
        time.sleep(0.05)
