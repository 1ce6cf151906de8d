"""Clients that ask without a pause, never twice, and note each answer. A process of its own.

    python swap_clients.py '{"grpc": "localhost:1", "rest": "localhost:2", "records": "FILE",
                             "asks": [["model", null, null], ["model", "label", null]], …}'

Asks until its standard input is closed, then writes the records, one JSON list each, in the order
of `Record`. Time is the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import http.client
import json
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import grpc
import swap_models

from serving.client import NO_RETRIES, connect, messages

#: Between two requests of one client, so that some CPU is left for the server's loads.
THINK_SECONDS = 0.004
TIMEOUT_SECONDS = 20.0


class Ask(NamedTuple):
    """What is asked: a model, by its name alone, a label or a number."""

    model: str
    label: str | None
    version: int | None


class Record(NamedTuple):
    """One request.

    Attributes:
        kind: of client.
        model: asked.
        label: asked by, or None.
        number: asked for, or None.
        started: when it was sent.
        finished: when the answer was there.
        version: that answered; 0 if none did.
        fault: "" or what was wrong with it.
    """

    kind: str
    model: str
    label: str | None
    number: int | None
    started: float
    finished: float
    version: int
    fault: str


#: Ask and inputs -> columns of the answer, and the version in its ModelSpec (0: it has none).
Asker = Callable[[Ask, list[float]], tuple[dict[str, list], int]]


def raw_grpc(address: str) -> Asker:
    channel = grpc.insecure_channel(address)
    ask_server = channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        request_serializer=lambda request: request.SerializeToString(),
        response_deserializer=messages.message("PredictResponse").FromString,
    )

    def ask(what: Ask, x: list[float]) -> tuple[dict[str, list], int]:
        request = messages.message("PredictRequest")()
        request.model_spec.name = what.model
        if what.label is not None:
            request.model_spec.version_label = what.label
        if what.version is not None:
            request.model_spec.version.value = what.version
        tensor = request.inputs["x"]
        tensor.dtype = 1
        tensor.tensor_shape.dim.add(size=len(x))
        tensor.float_val.extend(x)
        response = ask_server(request, timeout=TIMEOUT_SECONDS)
        out = response.outputs
        columns = {
            "y": list(out["y"].float_val),
            "version": list(out["version"].int64_val),
            "graph": list(out["graph"].int64_val),
        }
        return columns, response.model_spec.version.value

    return ask


def raw_rest(address: str) -> Asker:
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_SECONDS)
    by_row = True

    def ask(what: Ask, x: list[float]) -> tuple[dict[str, list], int]:
        nonlocal by_row
        by_row = not by_row
        path = f"/v1/models/{what.model}"
        if what.label is not None:
            path += f"/labels/{what.label}"
        if what.version is not None:
            path += f"/versions/{what.version}"
        body = {"instances": [{"x": value} for value in x]} if by_row else {"inputs": {"x": x}}
        connection.request("POST", f"{path}:predict", json.dumps(body))
        response = connection.getresponse()
        answer = json.loads(response.read())
        if response.status != 200:
            raise ValueError(f"{response.status}: {answer}")
        if not by_row:
            return answer["outputs"], 0
        rows = answer["predictions"]
        return {name: [row[name] for row in rows] for name in rows[0]}, 0

    return ask


def through_client(address: str) -> Asker:
    """Headrace's own client, which must not need to try again."""
    clients: dict[str, object] = {}

    def ask(what: Ask, x: list[float]) -> tuple[dict[str, list], int]:
        client = clients.get(what.model)
        if client is None:
            client = clients[what.model] = connect(
                address, model=what.model, retries=NO_RETRIES, timeout=TIMEOUT_SECONDS
            )
        answer = client.predict({"x": x}, label=what.label, version=what.version)
        return answer.columns, answer.version

    return ask


def fault_in(x: list[float], columns: dict[str, list], spec_version: int) -> str:
    """What an answer contradicts; "" if it is just what its version must say."""
    version = columns["version"][0]
    wanted = {
        "y": [swap_models.answer(version, value) for value in x],
        "version": [version] * len(x),
        "graph": [version] * len(x),
    }
    if columns != wanted:
        return f"x {x} gave {columns}, not {wanted}"
    if spec_version not in (0, version):
        return f"version {spec_version} is said to have answered, the answer is {version}'s"
    return ""


def run(kind: str, asker: Asker, asks: list[Ask], seed: int, stop: threading.Event) -> list[Record]:
    draw = random.Random(seed)
    records = []
    while not stop.wait(THINK_SECONDS):
        what = draw.choice(asks)
        x = [draw.randrange(-200, 200) / 2 for _ in range(draw.choice((1, 1, 3, 32)))]
        version, started = 0, time.monotonic()
        try:
            columns, spec_version = asker(what, x)
            finished = time.monotonic()
            version = columns["version"][0]
            fault = fault_in(x, columns, spec_version)
        except Exception as error:  # noqa: BLE001 - a failure of any kind is what this looks for
            finished = time.monotonic()
            fault = f"{type(error).__name__}: {error}"
        records.append(Record(kind, *what, started, finished, version, fault))
    return records


def main() -> None:
    order = json.loads(sys.argv[1])
    asks = [Ask(*ask) for ask in order["asks"]]
    askers = [
        ("gRPC", raw_grpc(order["grpc"])),
        ("REST", raw_rest(order["rest"])),
        ("client over gRPC", through_client(f"grpc://{order['grpc']}")),
        ("client over REST", through_client(f"http://{order['rest']}")),
    ]
    stop = threading.Event()
    found: list[Record] = []
    threads = [
        threading.Thread(
            target=lambda k=kind, a=asker, n=number: found.extend(
                run(k, a, asks, order["seed"] + n, stop)
            )
        )
        for number, (kind, asker) in enumerate(askers)
    ]
    for thread in threads:
        thread.start()
    print("asking", flush=True)
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    with open(order["records"], "w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in found)


if __name__ == "__main__":
    main()
