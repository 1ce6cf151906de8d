"""Prometheus' text format."""

import re
import threading

from serving.server.errors import Code
from serving.server.metrics import LATENCY_BUCKETS, Metrics

LINE = re.compile(
    r"(# TYPE [:a-zA-Z0-9_]+ (counter|gauge|histogram)"
    r'|[:a-zA-Z0-9_]+\{([a-zA-Z_]+="(\\.|[^"\\\n])*",?)*\} [-+.0-9e]+)'
)


def test_every_line_is_well_formed() -> None:
    metrics = Metrics()
    metrics.request('a"b\\c\nd', 1, Code.OK)
    metrics.request_latency("m", "Predict", "GRPC", 0.001, 1)
    metrics.runtime_latency("m", "Predict", 0.001)
    metrics.examples("m", 3)
    metrics.warmup("/models/m/1", "OK", 7, 0.5)
    metrics.load("m", 1, 2.5, True)
    metrics.logged("m", Code.RESOURCE_EXHAUSTED)
    text = metrics.text()
    assert text.endswith("\n")
    for line in text.splitlines():
        assert LINE.fullmatch(line), line
    types = [line for line in text.splitlines() if line.startswith("#")]
    assert len(types) == len(set(types))
    assert r'{model_name="a\"b\\c\nd",status="OK"} 1' in text
    assert ":tensorflow:serving:model_warmup_records_read" in text


def test_buckets_are_the_stock_ones_and_cumulative() -> None:
    metrics = Metrics()
    for seconds in (5e-6, 10e-6, 11e-6, 1e9):
        metrics.request_latency("m", "Predict", "GRPC", seconds, None)
    lines = [
        line for line in metrics.text().splitlines() if line.startswith(":tensorflow:serving:req")
    ]
    base = ':tensorflow:serving:request_latency_bucket{model_name="m",API="Predict",'
    assert f'{base}entrypoint="GRPC",le="10"}} 2' in lines
    assert f'{base}entrypoint="GRPC",le="18"}} 3' in lines
    assert f'{base}entrypoint="GRPC",le="32.4"}} 3' in lines
    assert f'{base}entrypoint="GRPC",le="1.47476e+09"}} 3' in lines
    assert f'{base}entrypoint="GRPC",le="+Inf"}} 4' in lines
    assert len(LATENCY_BUCKETS) == 33


def test_names_that_clients_invent_do_not_pile_up() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.request(f"m{number}", None, Code.NOT_FOUND)
    text = metrics.text()
    assert text.count("\n") < 2100
    assert ':request_count{model_name="(other)",status="NOT_FOUND"} 1000' in text


def test_names_that_no_model_has_are_few_and_short() -> None:
    metrics = Metrics()
    metrics.is_model = {"m", "l" * 1000}.__contains__
    for number in range(500):
        metrics.request(f"made-up-{number}", None, Code.NOT_FOUND)
        metrics.request_latency(f"made-up-{number}", "", "REST", 0.1, None)
    metrics.request("n" * 65, None, Code.NOT_FOUND)
    metrics.request("m", None, Code.INVALID_ARGUMENT)
    metrics.request("l" * 1000, None, Code.INVALID_ARGUMENT)
    text = metrics.text()
    assert len(set(re.findall(r'model_name="(made-up-\d+)"', text))) == 100
    assert ':request_count{model_name="(other)",status="NOT_FOUND"} 401' in text
    assert ':request_count{model_name="m",status="INVALID_ARGUMENT"} 1' in text
    assert "n" * 65 not in text and max(map(len, text.splitlines())) < 400


def test_threads_lose_no_count() -> None:
    metrics = Metrics()

    def count() -> None:
        for _ in range(2000):
            metrics.request("m", 1, Code.OK)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 8000' in metrics.text()
