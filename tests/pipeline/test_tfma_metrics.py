"""Our TFMA metrics say what TFMA's own say."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

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
