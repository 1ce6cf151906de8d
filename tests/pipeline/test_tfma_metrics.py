"""Our TFMA metrics say what TFMA's own say."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline import config_file

pytestmark = pytest.mark.tfx

OURS = {"LogLoss": "binary_crossentropy", "LabelMean": "mean_label"}
OURS |= {"PredictionMean": "mean_prediction", "RankingAuc": "auc"}
THEIRS = {
    "BinaryCrossentropy": "binary_crossentropy",
    "MeanLabel": "mean_label",
    "MeanPrediction": "mean_prediction",
    "AUC": "auc",
}


def evaluate(rows: pd.DataFrame, classes: dict[str, str], module: str = "") -> dict:
    """Slice → metric → value."""
    import tfx.components  # noqa: F401  TFMA's names are not all there before TFX is
    import tensorflow_model_analysis as tfma  # isort: skip
    from google.protobuf import json_format

    metrics = [
        {"className": name, "config": json.dumps({"name": result})}
        | ({"module": module} if module else {})
        for name, result in classes.items()
    ]
    config = {
        "modelSpecs": [{"labelKey": "label", "predictionKey": "probability"}],
        "slicingSpecs": [{}, {"featureKeys": ["city"]}],
        "metricsSpecs": [{"metrics": metrics}],
    }
    result = tfma.analyze_raw_data(rows, json_format.ParseDict(config, tfma.EvalConfig()))
    return {
        key: {name: value["doubleValue"] for name, value in outputs[""][""].items()}
        for key, outputs in result.slicing_metrics
    }


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    probability = random.random(200).astype(np.float32)
    probability[:4] = [0.0, 1.0, 1e-9, 1.0]  # certain, and wrong in two of four
    label = (random.random(200) < probability).astype(np.int64)
    label[:4] = [1, 0, 0, 1]
    city = np.where(np.arange(200) < 30, "a", "b")
    return pd.DataFrame({"label": label, "probability": probability, "city": city})


def test_they_agree_over_all_rows_and_in_slices(rows: pd.DataFrame) -> None:
    # Without the certain ones: Keras counts in 32 bits, where 1 - 1e-7 is not what it says.
    rows = rows[rows["probability"].between(1e-3, 1 - 1e-3)]
    ours = evaluate(rows, OURS, "pipeline.components.metrics")
    theirs = evaluate(rows, THEIRS)
    assert set(ours) == {(), (("city", "a"),), (("city", "b"),)}
    for key, values in theirs.items():
        assert ours[key] == pytest.approx(values, rel=1e-4)


def test_they_are_what_the_words_mean(rows: pd.DataFrame) -> None:
    whole = evaluate(rows, OURS, "pipeline.components.metrics")[()]
    inside = np.clip(rows["probability"].astype(float), 1e-7, 1 - 1e-7)
    losses = -np.where(rows["label"] == 1, np.log(inside), np.log1p(-inside))
    assert whole["binary_crossentropy"] == pytest.approx(losses.mean())
    higher = np.subtract.outer(
        rows.loc[rows["label"] == 1, "probability"].to_numpy(),
        rows.loc[rows["label"] == 0, "probability"].to_numpy(),
    )
    assert whole["auc"] == pytest.approx((higher > 0).mean(), abs=1e-3)
    assert whole["mean_label"] == pytest.approx(rows["label"].mean())
    assert whole["mean_prediction"] == pytest.approx(rows["probability"].mean())


def test_standard_errors_are_those_of_the_rows_and_the_curve_holds_them_all(
    rows: pd.DataFrame,
) -> None:
    import tfx.components  # noqa: F401
    import tensorflow_model_analysis as tfma  # isort: skip
    from google.protobuf import json_format

    from pipeline import evaluation
    from pipeline.config import EvaluationConfig

    config = json.loads(evaluation.eval_config_json(EvaluationConfig(), "label"))
    result = tfma.analyze_raw_data(rows, json_format.ParseDict(config, tfma.EvalConfig()))
    ((_, metrics),) = result.slicing_metrics
    told = {name: value["doubleValue"] for name, value in metrics[""][""].items()}
    inside = np.clip(rows["probability"].astype(float), 1e-7, 1 - 1e-7)
    losses = -np.where(rows["label"] == 1, np.log(inside), np.log1p(-inside))
    assert told["binary_crossentropy_standard_error"] == pytest.approx(
        losses.std(ddof=1) / np.sqrt(len(losses))
    )
    influence = (
        rows["probability"] - rows["probability"].sum() / rows["label"].sum() * rows["label"]
    )
    assert told["calibration_ratio_standard_error"] == pytest.approx(
        influence.std(ddof=1) / np.sqrt(len(rows)) / rows["label"].mean(), rel=1e-5
    )
    positive, negative = (rows.loc[rows["label"] == label, "probability"] for label in (1, 0))
    higher = np.subtract.outer(positive.to_numpy(), negative.to_numpy()) > 0
    assert told["auc_standard_error"] == pytest.approx(
        np.hypot(
            higher.mean(axis=1).std(ddof=1) / np.sqrt(len(positive)),
            higher.mean(axis=0).std(ddof=1) / np.sqrt(len(negative)),
        ),
        rel=0.01,
    )
    # Without a second model there is no change.
    assert told["auc_change_standard_error"] == "NaN"
    ((_, plots),) = result.plots
    buckets = plots[""][""]["calibrationHistogramBuckets"]["buckets"]
    assert sum(bucket["numWeightedExamples"] for bucket in buckets) == len(rows)
    assert sum(bucket["totalWeightedLabel"] for bucket in buckets) == rows["label"].sum()
    predicted = sum(bucket["totalWeightedRefinedPrediction"] for bucket in buckets)
    assert predicted == pytest.approx(rows["probability"].sum(), abs=len(rows) * 5e-5)


def test_a_change_is_paired_row_by_row_and_parts_may_be_merged(rows: pd.DataFrame) -> None:
    from pipeline import intervals
    from pipeline.components import metric_sums, metrics

    random = np.random.default_rng(3)
    label = rows["label"].to_numpy(float)
    one = rows["probability"].to_numpy(float)
    other = np.clip(one + random.normal(size=len(one)) * 0.05, 0.001, 0.999)
    whole, *parts = (metric_sums.Sums() for _ in range(4))
    for index, values in enumerate(zip(label, one, other, strict=True)):
        whole.add_pair(*values)
        parts[index % 3].add_pair(*values)
    merged = metric_sums.Sums()
    for part in parts:
        merged.merge(part)

    def losses(prediction: np.ndarray) -> np.ndarray:
        inside = np.clip(prediction, 1e-7, 1 - 1e-7)
        return -label * np.log(inside) - (1 - label) * np.log1p(-inside)

    expected = (losses(one) - losses(other)).std(ddof=1) / np.sqrt(len(label))
    for sums in (whole, merged):
        assert metrics._loss_change_error(sums) == pytest.approx(expected)
        assert metrics._auc_change_error(sums) == pytest.approx(metrics._auc_change_error(whole))
        assert metrics._calibration_change_error(sums) == pytest.approx(
            metrics._calibration_change_error(whole)
        )
    # Far smaller than that of either model: what both find hard cancels out.
    assert metrics._auc_change_error(whole) < intervals.error_of_auc(whole.bins) / 2


def test_what_is_not_a_number_is_wholly_wrong(rows: pd.DataFrame) -> None:
    diverged = rows.assign(probability=np.float32("nan"))
    whole = evaluate(diverged, OURS, "pipeline.components.metrics")[()]
    assert whole["auc"] == 0
    assert whole["binary_crossentropy"] > 10


def test_the_benchmark_against_stock_components_asks_for_tfmas_own_metrics() -> None:
    root = Path(__file__).resolve().parents[2]
    spec = importlib.util.spec_from_file_location(
        "stock_pipeline", root / "benchmarks" / "stock_pipeline.py"
    )
    assert spec is not None and spec.loader is not None
    stock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(stock)
    asked = stock._eval_config(config_file.load(str(root / "headrace.toml")))
    metrics = [metric for spec in asked.metrics_specs for metric in spec.metrics]
    assert {*THEIRS, "ExampleCount"} <= {metric.class_name for metric in metrics}
    assert not [metric.class_name for metric in metrics if metric.module]
