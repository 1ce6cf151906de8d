"""Which versions are loaded when: hot swaps, failures, retries, pins. No TensorFlow, no files."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.server.errors import Code, ServingError
from serving.server.lifecycle import Manager, RetryOptions
from serving.server.versions import AVAILABLE, END, LOADING, START, UNLOADING, Entry, next_step


class Model:
    def __init__(self, version: int) -> None:
        self.version = version
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Loader:
    """Loads at once, unless told otherwise; keeps what it loaded."""

    def __init__(self) -> None:
        self.fail: dict[int, ServingError] = {}
        self.hold: dict[int, threading.Event] = {}
        self.loaded: list[Model] = []
        self.attempts: list[int] = []
        self.fingerprints: dict[str, int] = {}

    def __call__(self, name: str, version: int, path: str) -> Model:
        self.attempts.append(version)
        if version in self.hold:
            self.hold[version].wait(20)
        if version in self.fail:
            raise self.fail[version]
        self.loaded.append(Model(version))
        return self.loaded[-1]


Managers = Callable[..., Manager]


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def manage(loader: Loader) -> Iterator[Managers]:
    made: list[Manager] = []

    def make(retries: int = 0, interval: float = 0.01, load_threads: int = 4) -> Manager:
        made.append(
            Manager(
                loader,  # type: ignore[arg-type]
                retry=RetryOptions(retries=retries, interval=interval),
                load_threads=load_threads,
                fingerprint=loader.fingerprints.get,
            )
        )
        return made[-1]

    yield make
    for one in made:
        for held in loader.hold.values():
            held.set()
        one.stop()


def states(manager: Manager, name: str = "m") -> dict[int, str]:
    return {status.version: status.state for status in manager.statuses(name)}


def until(manager: Manager, wanted: dict[int, str], name: str = "m") -> None:
    assert manager.wait(lambda: states(manager, name) == wanted, 10), states(manager, name)


def folders(*versions: int) -> dict[int, str]:
    return {version: f"/m/{version}" for version in versions}


def refused(call: Callable[[], object]) -> ServingError:
    with pytest.raises(ServingError) as caught:
        call()
    return caught.value


def test_new_version_takes_over_while_the_old_one_answers(manage: Managers, loader: Loader) -> None:
    manager = manage()
    manager.aspire("m", folders(1))
    until(manager, {1: AVAILABLE})
    loader.hold[2] = threading.Event()
    manager.aspire("m", folders(2))
    until(manager, {2: LOADING, 1: AVAILABLE})
    with manager.lease("m") as model:
        assert model.version == 1
    loader.hold[2].set()
    until(manager, {2: AVAILABLE, 1: END})
    with manager.lease("m") as model:
        assert model.version == 2
    assert [model.closed for model in loader.loaded] == [True, False]


def test_requests_keep_their_version_until_they_are_done(manage: Managers, loader: Loader) -> None:
    manager = manage()
    manager.aspire("m", folders(1))
    until(manager, {1: AVAILABLE})
    with manager.lease("m", 1) as old:
        manager.aspire("m", folders(2))
        until(manager, {2: AVAILABLE, 1: UNLOADING})
        assert refused(lambda: manager.lease("m", 1)).code is Code.NOT_FOUND
        assert not loader.loaded[0].closed
        assert old.version == 1
    until(manager, {2: AVAILABLE, 1: END})
    assert loader.loaded[0].closed


def test_failing_version_never_displaces_the_old_one(manage: Managers, loader: Loader) -> None:
    manager = manage(retries=2)
    loader.fail[2] = ServingError(Code.DATA_LOSS, "damaged")
    manager.aspire("m", folders(1))
    until(manager, {1: AVAILABLE})
    manager.aspire("m", folders(2))
    until(manager, {2: END, 1: AVAILABLE})
    status = manager.statuses("m")[0]
    assert (status.code, status.message) == (Code.DATA_LOSS, "damaged")
    assert loader.attempts == [1, 2, 2, 2]
    with manager.lease("m") as model:
        assert model.version == 1


def test_removing_the_newest_rolls_back(manage: Managers) -> None:
    manager = manage()
    for wanted, expected in (
        ((1,), {1: AVAILABLE}),
        ((2,), {2: AVAILABLE, 1: END}),
        ((1,), {2: END, 1: AVAILABLE}),
    ):
        manager.aspire("m", folders(*wanted))
        until(manager, expected)


def test_nothing_wanted_unloads_all(manage: Managers) -> None:
    manager = manage()
    manager.aspire("m", folders(1, 2))
    until(manager, {2: AVAILABLE, 1: AVAILABLE})
    manager.aspire("m", {})
    until(manager, {2: END, 1: END})
    error = refused(lambda: manager.lease("m"))
    assert error.message == "Servable not found for request: Latest(m)"


def test_one_bad_model_does_not_delay_others(manage: Managers, loader: Loader) -> None:
    manager = manage(retries=100, interval=30)
    loader.fail[9] = ServingError(Code.NOT_FOUND, "half a model")
    loader.hold[8] = threading.Event()
    manager.aspire("bad", folders(9))
    manager.aspire("slow", folders(8))
    started = time.monotonic()
    manager.aspire("good", folders(1))
    until(manager, {1: AVAILABLE}, "good")
    assert time.monotonic() - started < 2
    assert states(manager, "bad") == {9: LOADING}


def test_completed_folder_is_loaded_without_waiting_for_the_retry(
    manage: Managers, loader: Loader
) -> None:
    manager = manage(retries=5, interval=3600)
    loader.fail[1] = ServingError(Code.NOT_FOUND, "no saved_model.pb")
    manager.aspire("m", folders(1))
    assert manager.wait(lambda: loader.attempts == [1], 5) or loader.attempts == [1]
    time.sleep(0.1)
    manager.reexamine()
    assert loader.attempts == [1], "nothing has changed"
    del loader.fail[1]
    loader.fingerprints["/m/1"] = 1
    manager.reexamine()
    until(manager, {1: AVAILABLE})


def test_version_that_ended_is_loaded_once_its_folder_changed(
    manage: Managers, loader: Loader
) -> None:
    manager = manage(retries=0)
    loader.fail[1] = ServingError(Code.NOT_FOUND, "no saved_model.pb")
    manager.aspire("m", folders(1))
    until(manager, {1: END})
    del loader.fail[1]
    loader.fingerprints["/m/1"] = 1
    manager.reexamine()
    until(manager, {1: AVAILABLE})


def test_files_that_change_during_the_load_are_read_again(manage: Managers, loader: Loader) -> None:
    manager = manage(retries=3)
    loader.hold[1] = threading.Event()
    manager.aspire("m", folders(1))
    assert manager.wait(lambda: states(manager) == {1: LOADING}, 5)
    time.sleep(0.05)
    loader.fingerprints["/m/1"] = 1
    loader.hold[1].set()
    until(manager, {1: AVAILABLE})
    assert [model.closed for model in loader.loaded] == [True, False]


def test_version_that_is_wanted_no_more_stops_retrying(manage: Managers, loader: Loader) -> None:
    manager = manage(retries=1000, interval=0.02)
    loader.fail[1] = ServingError(Code.NOT_FOUND, "nothing")
    manager.aspire("m", folders(1))
    time.sleep(0.1)
    manager.aspire("m", {})
    until(manager, {1: END})
    tried = len(loader.attempts)
    time.sleep(0.1)
    assert len(loader.attempts) <= tried + 1


# A version: number, whether it is aspired, its state.
_VERSIONS = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.booleans(),
        st.sampled_from([START, LOADING, AVAILABLE, UNLOADING, END]),
    ),
    max_size=5,
    unique_by=lambda version: version[0],
)


@given(_VERSIONS)
def test_steps_lead_to_what_is_wanted_and_leave_no_gap(
    versions: list[tuple[int, bool, str]],
) -> None:
    entries = []
    for number, aspired, state in versions:
        entry = Entry("m", number, "")
        entry.aspired, entry.state = aspired, state
        entries.append(entry)
    for _ in range(50):
        step = next_step(entries)
        if step is None:
            break
        answered = any(entry.state == AVAILABLE for entry in entries)
        state, entry = step
        entry.state = END if state == UNLOADING else AVAILABLE
        answers = any(entry.state == AVAILABLE for entry in entries)
        assert answers or not answered or not any(entry.aspired for entry in entries)
    else:
        pytest.fail("the steps do not end")
    assert not any(entry.aspired and entry.state == START for entry in entries)
