"""The client's promises, over REST and gRPC alike, against a small fake server."""

import math
import socket
import threading
import time
from typing import Any

import fakes
import pytest
from fakes import Engine

from serving.client import (
    NO_RETRIES,
    Client,
    ClientError,
    Code,
    DeadlineExceeded,
    Refused,
    Retries,
    RowError,
    Unreachable,
    connect,
)
from serving.server.errors import ServingError

ROWS = [{"x": 1.5, "n": 2, "s": "a"}, {"x": 2, "n": 3, "s": "ü"}]
QUICK = Retries(tries=4, first=0.01, longest=0.02)


@pytest.fixture
def client(address: str) -> Any:
    with connect(address, model="m", timeout=10, retries=QUICK) as made:
        yield made


def unavailable() -> ServingError:
    return ServingError(Code.UNAVAILABLE, "queue is full")


def test_rows_in_rows_out_in_order(client: Client) -> None:
    answer = client.predict(ROWS)
    assert list(answer) == [{"total": 5.0, "text": "a"}, {"total": 7.0, "text": "ü"}]
    assert answer[-1] == answer[1] and len(answer) == 2 and answer[:1] == [answer[0]]
    assert answer.columns["total"] == [5.0, 7.0]


def test_a_dict_of_single_values_is_one_row(client: Client, engine: Engine) -> None:
    answer = client.predict({"x": 1.5, "n": 2, "s": "abc"})
    assert list(answer) == [{"total": 5.0, "text": "abc"}]
    assert engine.asked[0][1] == {"x": [1.5], "n": [2], "s": ["abc"]}


def test_rows_that_can_be_read_once_are_sent_again_after_a_swap(
    client: Client, engine: Engine
) -> None:
    for rows in ((row for row in ROWS), {"x": iter([1.5, 2]), "n": [2, 3], "s": ["a", "ü"]}):
        engine.failures = [ServingError(Code.NOT_FOUND, "Servable not found for request")]
        assert client.predict(rows).columns["total"] == [5.0, 7.0]


def test_a_row_without_columns_lacks_them(client: Client) -> None:
    assert list(client.predict({})) == []
    with pytest.raises(RowError, match="the rows lack column n, s, x"):
        client.predict([{}], signature="plain")


def test_which_version_answered(client: Client, engine: Engine) -> None:
    engine.versions = {3: "AVAILABLE", 4: "AVAILABLE", 5: "LOADING"}
    engine.labels = {"stable": 3}
    assert client.predict(ROWS).version == 4
    assert client.predict(ROWS, version=3).version == 3
    assert client.predict(ROWS, label="stable").version == 3
    assert client.metadata(label="stable").version == 3


def test_missing_values_travel_as_the_defaults(client: Client, engine: Engine) -> None:
    client.predict([{"x": None, "s": "a"}, {"n": 7, "x": math.nan}])
    ((version, inputs),) = engine.asked
    assert version == 3
    assert all(map(math.isnan, inputs["x"]))
    assert inputs["n"] == [-1, 7]
    assert inputs["s"] == ["a", ""]


def test_without_defaults_a_value_may_be_missing_but_not_a_column(
    client: Client, engine: Engine
) -> None:
    client.predict([{"x": 1.0, "n": None, "s": None}], signature="plain")
    assert engine.asked[0][1] == {"x": [1.0], "n": [-1], "s": [""]}
    with pytest.raises(RowError, match="lack column n, s"):
        client.predict([{"x": 1.0}], signature="plain")


def test_a_misspelt_column_is_an_error_that_names_it(client: Client, engine: Engine) -> None:
    engine.versions = {3: "AVAILABLE"}
    with pytest.raises(RowError, match="column total: model m, version 3"):
        client.predict([{"x": 1.0, "total": 2}])
    assert len(client.predict([{"x": 1.0, "total": 2}], ignore_unknown=True)) == 1
    with pytest.raises(RowError, match="does not know it"):  # not one column is known
        client.predict([{"y": 1.0}], ignore_unknown=True)


def test_a_value_that_does_not_fit_is_named_by_row_and_column(client: Client) -> None:
    rows = [{"n": 1}] * 5 + [{"n": "many"}]
    with pytest.raises(RowError, match=r"row 6, column n: must be a whole number.*'many'"):
        client.predict(rows, batch_size=2)


def test_large_inputs_go_in_batches_and_one_version_answers_all(
    client: Client, engine: Engine
) -> None:
    answer = client.predict({"x": list(range(10)), "n": [0] * 10}, batch_size=4)
    assert answer.columns["total"] == [2.0 * x for x in range(10)]
    assert [len(inputs["x"]) for _, inputs in engine.asked] == [4, 4, 2]
    assert {version for version, _ in engine.asked} == {3}


def test_no_rows_ask_nothing(client: Client, engine: Engine) -> None:
    assert list(client.predict([])) == []
    assert engine.asked == []


def test_more_than_four_mebibytes(client: Client) -> None:
    text = "x" * 6_000_000
    assert client.predict([{"x": 1, "n": 1, "s": text}])[0]["text"] == text


def test_a_busy_server_is_asked_again(client: Client, engine: Engine) -> None:
    engine.failures = [unavailable(), unavailable()]
    assert client.predict(ROWS)[0]["total"] == 5.0
    engine.failures = [unavailable()] * 4
    with pytest.raises(Unreachable, match=r"queue is full.*4 tries"):
        client.predict(ROWS)
    assert engine.failures == []


@pytest.mark.parametrize(
    "code", [Code.INVALID_ARGUMENT, Code.INTERNAL, Code.NOT_FOUND, Code.RESOURCE_EXHAUSTED]
)
def test_nothing_else_is_tried_again(client: Client, engine: Engine, code: Code) -> None:
    engine.failures = [ServingError(code, "no good")]
    with pytest.raises(Refused, match="no good") as caught:
        client.predict(ROWS, version=3)
    assert caught.value.code is code
    assert caught.value.reason == "no good"
    assert engine.asked == []


def test_a_version_that_is_swapped_meanwhile_is_looked_up_anew(
    client: Client, engine: Engine
) -> None:
    client.predict(ROWS)
    engine.versions = {3: "END", 4: "AVAILABLE"}
    assert client.predict(ROWS).version == 4
    with pytest.raises(Refused, match="Specific"):
        client.predict(ROWS, version=3)


def test_what_is_not_there_is_refused_in_the_server_s_words(client: Client, address: str) -> None:
    with pytest.raises(Refused, match="label: nope"):
        client.predict(ROWS, label="nope")
    with pytest.raises(ClientError, match=r"no signature 'other'.*plain, scalar, serving_default"):
        client.predict(ROWS, signature="other")
    with (
        connect(address, model="unknown", retries=QUICK) as other,
        pytest.raises(Refused, match="NOT_FOUND"),
    ):
        other.predict(ROWS)


def test_an_output_without_a_value_a_row_is_refused(client: Client) -> None:
    with pytest.raises(RowError, match=r"output total .*not one value a row"):
        client.predict(ROWS, signature="scalar")


def test_a_deadline_holds(client: Client, engine: Engine) -> None:
    client.metadata()
    engine.delay = 2.0
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"within 0\.3 s"):
        client.predict(ROWS, timeout=0.3)
    assert time.monotonic() - started < 1.5


def test_status(client: Client, engine: Engine) -> None:
    engine.versions = {3: "AVAILABLE", 4: "END"}
    engine.broken = {4}
    newest, older = client.status()
    assert (newest.version, newest.state, newest.code) == (4, "END", "NOT_FOUND")
    assert (older.version, older.state, older.code, older.message) == (3, "AVAILABLE", "OK", "")


def test_many_threads_share_a_client(client: Client) -> None:
    answers: list[float] = []

    def ask(number: int) -> None:
        for _ in range(10):
            answers.append(client.predict([{"x": number, "n": 0}])[0]["total"] - 2 * number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [0.0] * 80


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_no_server_says_where_and_how_often(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with (
        connect(f"{scheme}://127.0.0.1:{port}", model="m", retries=QUICK) as client,
        pytest.raises(Unreachable, match=rf"{scheme}://127.0.0.1:{port}.*refused.*4 tries"),
    ):
        client.predict(ROWS)


def test_a_server_that_comes_up_late_is_found(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    late: list[fakes.Grpc] = []
    timer = threading.Timer(0.5, lambda: late.append(fakes.Grpc(engine, port)))
    timer.start()
    patient = Retries(tries=20, first=0.5, longest=0.5, draw=lambda: 1.0)
    try:
        with connect(f"grpc://127.0.0.1:{port}", model="m", retries=patient) as client:
            assert client.predict(ROWS)[0]["total"] == 5.0
    finally:
        timer.join()
        late[0].close()


def test_what_is_no_model_server_is_told(engine: Engine) -> None:
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Web(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b"<html>nothing here</html>")

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Web)
    threading.Thread(target=server.handle_request, daemon=True).start()
    with (
        connect(f"http://127.0.0.1:{server.server_port}", model="m") as client,
        pytest.raises(ClientError, match="HTTP 404 and not like a model server"),
    ):
        client.metadata()
    server.server_close()


@pytest.mark.parametrize(
    "address, complaint",
    [
        ("localhost:8501", "http://host:8501 for REST"),
        ("ftp://localhost", "no address"),
        ("http://:80", "no address"),
        ("grpc://localhost", "name the port"),
        ("http://host:port", "no address"),
    ],
)
def test_an_address_is_checked_at_once(address: str, complaint: str) -> None:
    with pytest.raises(ClientError, match=complaint):
        connect(address, model="m")


def test_version_and_label_exclude_each_other() -> None:
    with pytest.raises(ClientError, match="not both"):
        connect("http://localhost:1", model="m", version=1, label="stable")


def test_labels_change_over_grpc_only(engine: Engine, grpc_address: str) -> None:
    with connect(grpc_address, model="m", retries=NO_RETRIES) as client:
        client.reload_labels({"stable": 3}, base_path="/models/m")
        assert client.metadata(label="stable").version == 3
        with pytest.raises(Refused) as caught:
            client.reload_labels({"stable": 9}, base_path="/models/m")
        assert caught.value.code is Code.FAILED_PRECONDITION
    with (
        connect("http://127.0.0.1:1", model="m") as client,
        pytest.raises(ClientError, match="gRPC port"),
    ):
        client.reload_labels({}, base_path="/models/m")


def test_waits_are_jittered_and_bounded() -> None:
    waits: list[float] = []
    retries = Retries(tries=5, first=1.0, longest=3.0, sleep=waits.append, draw=lambda: 0.5)

    def fail() -> None:
        raise Unreachable("no")

    from serving.client.retry import Deadline

    with pytest.raises(Unreachable):
        retries.run(fail, Deadline(None))
    assert waits == [0.5, 1.0, 1.5, 1.5]
    waits.clear()
    with pytest.raises(Unreachable):  # a wait beyond the deadline is not begun
        retries.run(fail, Deadline(0.4))
    assert waits == []


def test_a_connection_that_is_reset_is_tried_again() -> None:
    import struct

    listener = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []

    def reset() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                asked.append(connection.recv(1000))
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    threading.Thread(target=reset, daemon=True).start()
    port = listener.getsockname()[1]
    with (
        connect(f"http://127.0.0.1:{port}", model="m", timeout=10, retries=QUICK) as client,
        pytest.raises(Unreachable, match="closed the connection"),
    ):
        client.predict(ROWS)
    listener.close()
    assert len(asked) == QUICK.tries
