"""The page that a real run leaves, and that TFX's own tools still read what it was made from."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from pipeline.local import outcome

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def _run(trained) -> dict:
    return trained.headrace("runs", "--json").result[0]


def _uri(trained, node: str, key: str) -> str:
    store = outcome.connect(str(trained.path / "runs" / "metadata.db"))
    return outcome.nodes_of_run(store, _run(trained)["run_id"])[node].outputs[key].uri


def test_a_run_leaves_its_page_and_the_index_names_it(trained) -> None:
    run = _run(trained)
    page = Path(run["report"])
    assert page == trained.path / "runs" / "history" / run["run_id"] / "report.html"
    text = page.read_text()
    assert "Pushed as version 1 of trips." in text and "Not on this page" not in text
    values = {float(value) for value in re.findall(r'<data value="([^"]+)"', text)}
    assert {value for value in run["metrics"].values() if value is not None} <= values
    assert {float(run["rows"][split]) for split in ("train", "eval", "quarantine")} <= values
    told = json.loads(Path(_uri(trained, "Evaluator", "evaluation"), "metrics.json").read_text())
    assert {check["bound"] for check in told["checks"] if check["slice"] == "overall"} <= values
    low, high = told["intervals"]["candidate"]["overall"]["auc"]
    assert low < run["metrics"]["auc"] < high
    assert f"{low:.4f} … {high:.4f}" in text
    assert sum(bin_["rows"] for bin_ in told["curves"]["candidate"]) == run["rows"]["eval"]
    drift = json.loads(
        Path(_uri(trained, "DistributionValidator", "drift"), "drift.json").read_text()
    )
    for feature in drift["comparisons"][0]["features"]:
        assert html.escape(feature["feature"]) in text
        assert {measure["value"] for measure in feature["measures"]} <= values
    for digest in run["provenance"].values():
        assert digest in text
    index = (trained.path / "runs" / "index.html").read_text()
    assert f"history/{run['run_id']}/report.html" in index


def test_the_command_writes_the_same_page_anew(trained) -> None:
    page = Path(_run(trained)["report"])
    before = page.read_bytes()
    page.unlink()
    told = trained.headrace("report", "--json").result
    assert told["report"] == str(page) and told["written"]
    assert page.read_bytes() == before


def test_a_run_that_failed_early_leaves_a_page_too(changeable) -> None:
    changeable.configure(
        lambda text: text.replace("tip_amount > 0.2 * fare_amount", "tip_amount > 1000000")
    )
    failed = changeable.run()
    assert failed.code == 1
    text = Path(failed.result["report"]).read_text()
    assert "Failed at SpanExampleGen" in text and "a model needs both classes" in text


def test_tfdv_reads_the_statistics(trained) -> None:
    import tensorflow_data_validation as tfdv

    folder = Path(_uri(trained, "StatisticsGen", "statistics"))
    rows = _run(trained)["rows"]
    for split in ("train", "eval"):
        loaded = tfdv.load_stats_binary(str(folder / f"Split-{split}" / "FeatureStats.pb"))
        assert loaded.datasets[0].num_examples == rows[split]
        assert tfdv.get_feature_stats(
            loaded.datasets[0], tfdv.FeaturePath(["fare_amount"])
        ).num_stats.common_stats.num_non_missing
        assert "<iframe" in tfdv.get_statistics_html(loaded)


def test_tfma_reads_the_evaluation(trained) -> None:
    import tfx.components  # noqa: F401  TFMA's names are not all there before TFX is
    import tensorflow_model_analysis as tfma  # isort: skip

    result = tfma.load_eval_result(_uri(trained, "Evaluator", "evaluation"))
    by_slice = {key: values[""][""] for key, values in result.slicing_metrics}
    metrics = _run(trained)["metrics"]
    assert by_slice[()]["auc"]["doubleValue"] == metrics["auc"]
    assert by_slice[()]["example_count"]["doubleValue"] == metrics["rows"]
    assert any(key and key[0][0] == "payment_type" for key in by_slice)
    plots = {key: values[""][""] for key, values in result.plots}
    assert plots[()]["calibrationHistogramBuckets"]["buckets"]
