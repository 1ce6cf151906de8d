"""Requests held to what the model brings along: counted by default, refused on demand."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import tensorflow as tf
import tiny_models
from hypothesis import given
from hypothesis import strategies as st
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from serving.server.contract import CONTRACT_FILE, Contract, guard
from serving.server.errors import Code, ServingError
from serving.server.flags import ANY_FREE, FlagError, Options, parse, usage
from serving.server.main import start

CONTRACT = Contract(json.dumps(tiny_models.CONTRACT))
DTYPES = {"amount": np.float32, "code": np.int64}


def columns(**values: list[Any]) -> dict[str, np.ndarray]:
    made = {"amount": [1.0], "code": [1], "kind": ["a"]} | values
    arrays = {name: np.array(made[name], dtype) for name, dtype in DTYPES.items()}
    return arrays | {"kind": np.array([text.encode() for text in made["kind"]], object)}


def found(**values: list[Any]) -> dict[tuple[str, str], int]:
    _, broken = CONTRACT.check("serving_default", columns(**values))
    return {(one.feature, one.rule): one.count for one in broken}


def test_what_the_schema_allows_passes() -> None:
    assert found(amount=[0.1, 100.0], code=[1, 9], kind=["a", "b"]) == {}


def test_each_rule_counts_its_rows() -> None:
    assert found(
        amount=[math.nan, 0.05, 101.0, math.inf], code=[0, 10, -1, 5], kind=["c", "", "a", "é"]
    ) == {
        ("amount", "missing"): 2,
        ("amount", "below"): 1,
        ("amount", "above"): 1,
        ("code", "below"): 1,
        ("code", "above"): 1,
        ("code", "missing"): 1,
        ("kind", "values"): 2,
        ("kind", "missing"): 1,
    }


def test_a_column_left_out_is_missing_in_all_rows() -> None:
    assert found(amount=[1.0, 2.0, 3.0], code=[1, 1, 1], kind=[""]) == {("kind", "missing"): 3}


NUMBERS = st.sampled_from([0.05, 0.1, 1.0, 100.0, 101.0, math.nan, math.inf, -math.inf])


@given(st.lists(st.tuples(NUMBERS, st.integers(-2, 11)), min_size=1, max_size=12))
def test_many_rows_are_judged_as_few_are(rows: list[tuple[float, int]]) -> None:
    """The way of numpy and the way of the loop find the same, and both what the rule says."""
    amounts, codes = [row[0] for row in rows], [row[1] for row in rows]
    few = found(amount=amounts, code=codes, kind=["a"] * len(rows))
    many = found(amount=amounts * 10, code=codes * 10, kind=["a"] * len(rows) * 10)
    if len(rows) * 10 > 48:
        assert many == {key: 10 * count for key, count in few.items()}
    least, most = np.float32(0.1), np.float32(100)
    finite = [np.float32(amount) for amount in amounts if math.isfinite(amount)]
    assert few.get(("amount", "missing"), 0) == len(rows) - len(finite)
    assert few.get(("amount", "below"), 0) == sum(amount < least for amount in finite)
    assert few.get(("amount", "above"), 0) == sum(amount > most for amount in finite)
    assert few.get(("code", "below"), 0) == sum(code < 1 and code != -1 for code in codes)


def test_serialized_examples_are_read() -> None:
    rows = [
        tiny_models.example(amount=200.0, code=3, kind="a"),
        tiny_models.example(amount=2.0, kind="z", label=1),
    ]
    serialized = np.array([row.SerializeToString() for row in rows], object)
    looked_at, broken = CONTRACT.check("serve_tf_examples", {"examples": serialized})
    assert looked_at == 2
    assert {(one.feature, one.rule, one.count) for one in broken} == {
        ("amount", "above", 1),
        ("code", "missing", 1),
        ("kind", "values", 1),
        ("label", "not_served", 1),
    }
    looked_at, broken = CONTRACT.check("serve_tf_examples", {"examples": serialized}, most=1)
    assert looked_at == 1 and [one.rule for one in broken] == ["above"]


@pytest.mark.parametrize(
    "signature, inputs",
    [
        ("other", columns(amount=[-1.0])),
        ("serve_tf_examples", {"examples": np.array([b"\xff\xff"], object)}),
        ("serving_default", columns() | {"amount": np.array([-1.0])}),  # float64
        ("serving_default", {"amount": np.empty(0, np.float32)}),
    ],
)
def test_what_is_for_the_graph_to_refuse_is_left_to_it(
    signature: str, inputs: dict[str, np.ndarray]
) -> None:
    assert CONTRACT.check(signature, inputs)[1] == []


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"signatures": {}, "features": {"a": {}}}'])
def test_a_damaged_contract_stops_only_who_wants_to_refuse_by_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "assets.extra").mkdir()
    (tmp_path / CONTRACT_FILE).write_text(text)
    with pytest.raises(
        ServingError, match=r"headrace_contract\.json: .*--request_contract=off"
    ) as e:
        guard(str(tmp_path), "refuse", lambda rows, broken: None)
    assert e.value.code is Code.FAILED_PRECONDITION
    assert guard(str(tmp_path), "count", lambda rows, broken: None) is None
    assert guard(str(tmp_path), "off", lambda rows, broken: None) is None


def test_the_flag_is_told_and_checked() -> None:
    assert "--request_contract=count" in usage()
    assert parse(["--request_contract=refuse"]).options.request_contract == "refuse"
    with pytest.raises(FlagError, match="must be one of off, count, refuse, got 'strict'"):
        parse(["--request_contract=strict"])


# --- servers that listen -------------------------------------------------------------------


class Served:
    """A server that runs, asked over both protocols."""

    def __init__(self, grpc_port: int, rest_port: int) -> None:
        self.rest = httpx.Client(base_url=f"http://127.0.0.1:{rest_port}", timeout=30)
        self.channel = grpc.insecure_channel(f"127.0.0.1:{grpc_port}")
        self.stub = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)

    def close(self) -> None:
        self.rest.close()
        self.channel.close()

    def predict(self, signature: str = "", **inputs: Any) -> Any:
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "guarded"
        request.model_spec.signature_name = signature
        for name, values in inputs.items():
            dtype = {"amount": tf.float32, "code": tf.int64}.get(name, tf.string)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(values, dtype))
        return self.stub.Predict(request, timeout=30)

    def post(self, body: dict[str, Any], model: str = "guarded") -> httpx.Response:
        return self.rest.post(f"/v1/models/{model}:predict", json=body)

    def counted(self) -> dict[str, float]:
        text = self.rest.get("/monitoring/prometheus/metrics").text
        lines = [line for line in text.splitlines() if ":contract_" in line and line[0] != "#"]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """serve(mode) -> a server with `guarded`, and with `plain`, the same without a contract."""
    folder = tmp_path_factory.mktemp("guarded")
    tiny_models.guarded(folder / "guarded" / "1")
    shutil.copytree(folder / "guarded", folder / "plain")
    (folder / "plain" / "1" / CONTRACT_FILE).unlink()
    models = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}'
        for name in ("guarded", "plain")
    )
    (folder / "models.config").write_text(f"model_config_list {{ {models} }}")
    (folder / "monitoring").write_text("prometheus_config { enable: true }")
    running: list[Any] = []
    asked: list[Served] = []

    def make(**options: Any) -> Served:
        server = start(
            Options(
                host="127.0.0.1",
                port=ANY_FREE,
                rest_api_port=ANY_FREE,
                model_config_file=str(folder / "models.config"),
                monitoring_config_file=str(folder / "monitoring"),
                **options,
            )
        )
        running.append(server)
        assert server.wait_until_available(60)
        assert server.grpc_port and server.rest_port
        asked.append(Served(server.grpc_port, server.rest_port))
        return asked[-1]

    yield make
    for served in asked:
        served.close()
    for server in running:
        server.stop(0)


WRONG = {"instances": [{"amount": 500.0, "code": 3, "kind": "zzz"}]}


def test_by_default_a_broken_contract_is_counted_and_changes_no_answer(
    serve: Callable[..., Served],
) -> None:
    served = serve()
    assert served.counted() == {}
    assert served.post(WRONG).json() == {"predictions": [{"y": 503.0, "kind": "zzz"}]}
    columns = {"amount": [1.0, 2.0], "code": [1, 99], "kind": ["a", "b"]}
    assert served.post({"inputs": columns}).status_code == 200
    assert list(served.predict(amount=[1.0, 2.0]).outputs["y"].float_val) == [0.0, 1.0]
    row = tiny_models.example(amount=-5.0, code=1, kind="a").SerializeToString()
    assert list(served.predict("serve_tf_examples", examples=[row]).outputs["y"].float_val) == [-4]
    one = ':headrace:serving:contract_violation_count{model_name="guarded",version="1"'
    assert served.counted() == {
        ':headrace:serving:contract_row_count{model_name="guarded",version="1"}': 6,
        f'{one},feature="amount",rule="above"}}': 1,
        f'{one},feature="amount",rule="below"}}': 1,
        f'{one},feature="code",rule="above"}}': 1,
        f'{one},feature="code",rule="missing"}}': 2,
        f'{one},feature="kind",rule="missing"}}': 2,
        f'{one},feature="kind",rule="values"}}': 1,
    }
    assert served.post(WRONG, "plain").status_code == 200
    assert not any('"plain"' in name for name in served.counted())


def test_on_demand_a_request_that_breaks_it_is_refused_by_name_value_and_rule(
    serve: Callable[..., Served],
) -> None:
    served = serve(request_contract="refuse", enable_batching=True)
    answer = served.post(WRONG)
    assert answer.status_code == 400
    told = answer.json()["error"]
    assert "amount: in 1 of 1 row(s) 500.0, and it must be at most 100" in told
    assert "kind: in 1 of 1 row(s) 'zzz', and it is not in the schema's list of values" in told
    with pytest.raises(grpc.RpcError) as caught:
        served.predict(amount=[1.0, 0.01], kind=["a", "a"], code=[1, 1])
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "amount: in 1 of 2 row(s)" in caught.value.details()
    with pytest.raises(grpc.RpcError, match="kind: in 1 of 1 row"):
        served.predict(amount=[1.0], code=[1])
    row = tiny_models.example(amount=1.0, code=1, kind="a", label=1).SerializeToString()
    with pytest.raises(grpc.RpcError, match="label: in 1 of 1 row"):
        served.predict("serve_tf_examples", examples=[row])
    # Of `code` the schema lets half of the rows have none: no single request breaks that.
    good = served.predict(amount=[1.0], kind=["a"], code=[-1])
    assert list(good.outputs["y"].float_val) == [0.0]
    assert served.post(WRONG, "plain").status_code == 200
    name = 'contract_violation_count{model_name="guarded",version="1",feature="kind",rule="values"}'
    assert served.counted()[f":headrace:serving:{name}"] == 1


def test_switched_off_nothing_is_looked_at(serve: Callable[..., Served]) -> None:
    served = serve(request_contract="off")
    assert served.post(WRONG).status_code == 200
    assert served.counted() == {}
