"""The model against gradient-boosted trees tuned by cross-validation, window by window.

    python benchmarks/quality.py [--data data/nyc_yellow] [--spans 2019-03 …] [--json FILE]

Both see the same rows and the same features; both are judged on the newest span, which neither
sees before. The network goes through what production uses: tf.Examples, TensorFlow Transform,
`models.training.run_fn`, and the exported signature answers. Minutes, mostly for the tuning.

Both are trained with several seeds (the trees draw the rows by which they stop), because one
training differs from the next by more than the two models do; each metric is the mean over them.
The last line of a window is by how much the network is ahead (AUC higher, log loss lower), each
with the standard deviation of that difference over the newest span's rows, drawn anew with
replacement (bootstrap, Efron 1979; all judged on the same draw).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from models.config import (  # noqa: E402
    Features,
    ModelConfig,
    TrainingConfig,
    features_from_json,
    features_to_json,
    raw_columns,
)

LABEL = "label"
SPANS = ("2019-03", "2019-09", "2020-02", "2020-12")
TREE_CATEGORIES = 254  # as many as HistGradientBoosting takes, besides "missing"

Floats = npt.NDArray[np.float64]


def read_span(folder: Path, span: str) -> pd.DataFrame:
    """A month's rows that keep the rules of headrace.toml, with the label."""
    rows = pd.read_parquet(folder / f"yellow_tripdata_sample_{span}.parquet")
    inside = rows["pickup_datetime"].dt.strftime("%Y-%m") == span
    sane = rows["fare_amount"].between(0, 1000) & rows["trip_distance"].between(0, 1000)
    rows = rows[inside & sane]
    return rows.assign(**{LABEL: (rows["tip_amount"] > 0.2 * rows["fare_amount"]).astype(int)})


def read_window(folder: Path, newest: str, spans: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the spans before the newest, and the newest's."""
    last = pd.Period(newest, "M")
    older = [read_span(folder, str(last - back)) for back in range(spans, 0, -1)]
    filled = [span.dropna(axis=1, how="all") for span in older]  # pandas 3 will not guess types
    return pd.concat(filled, ignore_index=True), read_span(folder, newest)


def to_record_batch(rows: pd.DataFrame, features: Features) -> Any:
    """Columns as tfx_bsl's encoder takes them: lists of at most one value."""
    import pyarrow as pa

    types = {"float": pa.float32(), "int": pa.int64(), "string": pa.large_binary()}
    arrays = []
    kinds = {**raw_columns(features), LABEL: "int"}
    for name, kind in kinds.items():
        column = rows.get(name, pd.Series(np.nan, index=rows.index))
        if column.dtype.kind == "M":
            column = column.astype("datetime64[s]").astype("int64")
        values = pa.array(column, from_pandas=True).cast(types[kind], safe=False)
        offsets = np.r_[0, np.cumsum(~np.asarray(values.is_null()))]
        lists = pa.LargeListArray.from_arrays(offsets, values.drop_null())
        arrays.append(lists)
    return pa.RecordBatch.from_arrays(arrays, list(kinds))


def write_examples(rows: pd.DataFrame, features: Features, path: Path) -> str:
    """Gzip TFRecords, as ingestion writes them."""
    import tensorflow as tf
    from tfx_bsl.coders.example_coder import RecordBatchToExamplesEncoder

    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for example in RecordBatchToExamplesEncoder().encode(to_record_batch(rows, features)):
            writer.write(example)
    return str(path)


def analyze(train: str, features: Features, folder: Path) -> str:
    """What the Transform component does; the transform graph's folder."""
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils
    from tfx_bsl.public.tfxio import TFExampleRecord

    from models.preprocessing import DTYPES, preprocessing_fn

    spec = {name: tf.io.VarLenFeature(DTYPES[kind]) for name, kind in raw_columns(features).items()}
    schema = schema_utils.schema_from_feature_spec({**spec, LABEL: tf.io.VarLenFeature(tf.int64)})
    source = TFExampleRecord(train, schema=schema, telemetry_descriptors=["benchmark"])
    config = {"features": features_to_json(features), "label": LABEL}
    runner = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    graph = folder / "graph"
    with beam.Pipeline(runner=runner) as pipeline, tft_beam.Context(str(folder / "beam")):
        data = pipeline | source.BeamSource(), source.TensorAdapterConfig()
        made = data | tft_beam.AnalyzeDataset(lambda inputs: preprocessing_fn(inputs, config))
        _ = made | tft_beam.WriteTransformFn(str(graph))
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), str(graph / "metadata"))
    return str(graph)


def network(
    train: pd.DataFrame, newest: pd.DataFrame, features: Features, seeds: int
) -> tuple[Floats, float]:
    """Probabilities [seeds, rows of the newest span], and seconds of a `run_fn`, with export."""
    with tempfile.TemporaryDirectory(prefix="headrace-quality-") as name:
        folder = Path(name)
        examples = write_examples(train, features, folder / "train.gz")
        evaluation = write_examples(newest, features, folder / "eval.gz")
        graph = analyze(examples, features, folder)
        began = time.perf_counter()
        models = [fit(examples, evaluation, graph, features, folder, seed) for seed in range(seeds)]
        seconds = (time.perf_counter() - began) / seeds
        answers = [ask(model, evaluation) for model in models]
    return np.stack(answers), seconds


def fit(
    examples: str, evaluation: str, graph: str, features: Features, folder: Path, seed: int
) -> str:
    """What the Trainer component does; the exported model's folder."""
    from models.training import run_fn

    model = str(folder / f"model-{seed}")
    run_fn(
        SimpleNamespace(
            train_files=[examples],
            eval_files=[evaluation],
            transform_graph_path=graph,
            schema_path=None,
            serving_model_dir=model,
            model_run_dir=str(folder / f"logs-{seed}"),
            custom_config={
                "features": features_to_json(features),
                "model": ModelConfig().model_dump_json(),
                "training": TrainingConfig(seed=seed).model_dump_json(),
                "label": LABEL,
            },
        )
    )
    return model


def ask(model: str, examples: str) -> Floats:
    """An exported model's probabilities."""
    import tensorflow as tf

    serve = tf.saved_model.load(model).signatures["serve_tf_examples"]
    records = tf.data.TFRecordDataset(examples, compression_type="GZIP").batch(4096)
    return np.concatenate(
        [serve(examples=batch)["probability"].numpy() for batch in records]
    ).astype(float)


def tree_table(train: pd.DataFrame, newest: pd.DataFrame, features: Features) -> Any:
    """The same features for the trees: both tables, and which columns are categories."""
    from models.config import Categorical, Elapsed, HighCardinality, Numeric, Timestamp

    both = pd.concat([train.dropna(axis=1, how="all"), newest], ignore_index=True)
    seen = np.arange(len(both)) < len(train)
    columns: list[Floats] = []
    categories: list[bool] = []
    for name, feature in features.items():
        match feature:
            case Numeric():
                columns.append(pd.to_numeric(both[name]).to_numpy(float, na_value=np.nan))
                categories.append(False)
            case Elapsed():
                elapsed = both[feature.end] - both[feature.start]
                columns.append(elapsed.dt.total_seconds().to_numpy(float))
                categories.append(False)
            case Timestamp():
                for part in feature.parts:
                    column = both[name].dt
                    value = {"minute_of_day": column.hour * 60 + column.minute}.get(part)
                    value = (
                        getattr(column, part.removesuffix("_of_month")) if value is None else value
                    )
                    columns.append(value.to_numpy(float))
                    categories.append(False)
            case Categorical() | HighCardinality():
                text = both[name].astype("string")
                known = text[seen].value_counts().index[:TREE_CATEGORIES]
                ids = text.map({value: i for i, value in enumerate(known)})
                columns.append(ids.astype("Float64").to_numpy(float, na_value=np.nan))
                categories.append(True)
    table = np.column_stack(columns)
    return table[seen], table[~seen], categories


def trees(
    train: pd.DataFrame, newest: pd.DataFrame, features: Features, tries: int, seeds: int
) -> tuple[Floats, float, dict[str, Any]]:
    """Probabilities [seeds, rows] of trees tuned on the window, seconds of a fit, the choice."""
    from scipy.stats import loguniform, randint
    from sklearn.base import clone
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import RandomizedSearchCV

    table, judged, categories = tree_table(train, newest, features)
    search = RandomizedSearchCV(
        HistGradientBoostingClassifier(
            categorical_features=categories,
            max_iter=1000,
            early_stopping=True,
            n_iter_no_change=20,
            random_state=0,
        ),
        {
            "learning_rate": loguniform(0.02, 0.3),
            "max_leaf_nodes": randint(7, 64),
            "min_samples_leaf": randint(10, 300),
            "l2_regularization": loguniform(1e-3, 100),
        },
        n_iter=tries,
        cv=3,
        scoring="neg_log_loss",
        random_state=0,
        refit=False,
    )
    search.fit(table, train[LABEL])
    best = clone(search.estimator).set_params(**search.best_params_)
    began = time.perf_counter()
    fitted = [
        clone(best).set_params(random_state=seed).fit(table, train[LABEL]) for seed in range(seeds)
    ]
    seconds = (time.perf_counter() - began) / seeds
    chosen = {name: round(float(value), 4) for name, value in search.best_params_.items()}
    return np.stack([one.predict_proba(judged)[:, 1] for one in fitted]), seconds, chosen


def metrics(labels: Any, answers: Floats) -> dict[str, float]:
    """Means over the seeds of `answers`, [seeds, rows]."""
    from sklearn.metrics import log_loss, roc_auc_score

    return {
        "auc": float(np.mean([roc_auc_score(labels, one) for one in answers])),
        "log_loss": float(np.mean([log_loss(labels, one) for one in answers])),
        "calibration": float(np.mean(np.abs(answers.mean(axis=1) / labels.mean() - 1))),
    }


def lead(
    labels: pd.Series, ours: Floats, rivals: Floats, draws: int = 200
) -> dict[str, tuple[float, float]]:
    """By how much `ours` is better, metric by metric, and the bootstrap's standard deviation."""
    random = np.random.default_rng(0)
    whole = np.arange(len(labels))
    seen = [whole, *(random.choice(whole, len(whole)) for _ in range(draws))]
    table = labels.to_numpy()
    drawn = []
    for rows in seen:
        us, them = (metrics(table[rows], answers[:, rows]) for answers in (ours, rivals))
        drawn.append((us["auc"] - them["auc"], them["log_loss"] - us["log_loss"]))
    values = np.array(drawn)
    spread = values[1:].std(axis=0)
    return {
        name: (float(values[0, i]), float(spread[i])) for i, name in enumerate(("auc", "log_loss"))
    }


def show(span: str, model: str, row: dict[str, float]) -> None:
    print(
        f"{span:8} {model:8} {row['auc']:7.4f} {row['log_loss']:9.4f} "
        f"{row['calibration']:12.4f} {row['fit_seconds']:6.1f} s",
        flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "nyc_yellow")
    parser.add_argument("--config", type=Path, default=ROOT / "headrace.toml")
    parser.add_argument("--spans", nargs="+", default=SPANS, help="newest span of each window")
    parser.add_argument("--train-spans", type=int, default=12)
    parser.add_argument(
        "--tries", type=int, default=12, help="of the trees' random search; 0: no trees"
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each model")
    parser.add_argument("--json", type=Path, help="write the results here too")
    options = parser.parse_args(arguments)
    logging.getLogger().setLevel(logging.ERROR)

    text = json.dumps(tomllib.loads(options.config.read_text())["features"])
    features = features_from_json(text)
    results: dict[str, dict[str, Any]] = {}
    print(f"{'newest':8} {'model':8} {'AUC':>7} {'log loss':>9} {'calibration':>12} {'fit':>8}")
    for span in options.spans:
        train, newest = read_window(options.data, span, options.train_spans)
        ours, seconds = network(train, newest, features, options.seeds)
        results[span] = {"headrace": {**metrics(newest[LABEL], ours), "fit_seconds": seconds}}
        show(span, "headrace", results[span]["headrace"])
        if options.tries:
            answers, seconds, chosen = trees(train, newest, features, options.tries, options.seeds)
            rival = {**metrics(newest[LABEL], answers), "fit_seconds": seconds}
            results[span]["trees"] = {**rival, "chosen": chosen}
            show(span, "trees", rival)
            ahead = lead(newest[LABEL], ours, answers)
            results[span]["lead"] = ahead
            told = "  ".join(f"{name} {by:+.4f} ± {sd:.4f}" for name, (by, sd) in ahead.items())
            print(f"{span:8} {'ahead':8} {told}", flush=True)
    if options.json:
        options.json.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
