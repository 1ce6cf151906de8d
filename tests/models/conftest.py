"""One small model with every kind of feature, trained once a session through the real modules."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from models.config import (
    Categorical,
    Elapsed,
    Features,
    HighCardinality,
    Ignore,
    ModelConfig,
    Numeric,
    Text,
    Timestamp,
    TrainingConfig,
    features_to_json,
    raw_columns,
)

Row = Mapping[str, Any]

FEATURES: Features = {
    "fare": Numeric(kind="numeric", clip=(0, 100)),
    "constant": Numeric(kind="numeric"),
    "never": Numeric(kind="numeric"),
    "linear": Numeric(kind="numeric", scale="linear", clip=(0, 1000)),
    "log": Numeric(kind="numeric", scale="log", clip=(0, 1000)),
    "payment": Categorical(kind="categorical", type="int", max_vocabulary=3),
    "flag": Categorical(kind="categorical"),
    "empty_int": Categorical(kind="categorical", type="int"),
    "empty_string": Categorical(kind="categorical"),
    "place": HighCardinality(kind="high_cardinality", min_count=5, oov_buckets=2),
    "start": Timestamp(kind="timestamp", parts=("hour", "weekday", "minute_of_day", "year")),
    "end": Timestamp(kind="timestamp", parts=("month", "day_of_month")),
    "trip": Elapsed(kind="elapsed", start="start", end="end", unit="minutes"),
    "note": Text(kind="text", min_count=2, oov_buckets=2, max_tokens=4),
    "unused": Ignore(kind="ignore"),
}
LABEL, LEAK = "label", "tip"


def example(row: Row) -> bytes:
    """A serialized tf.Example; None is an absent feature."""
    import tensorflow as tf

    message = tf.train.Example()
    for name, value in row.items():
        feature = message.features.feature[name]
        match value:
            case None:
                del message.features.feature[name]
            case int():
                feature.int64_list.value.append(value)
            case float():
                feature.float_list.value.append(value)
            case str():
                feature.bytes_list.value.append(value.encode())
    return message.SerializeToString()


#: What requests are held to; the Trainer needs no more of it.
SCHEMA = f"""
default_environment: "SERVING"
feature {{ name: "fare" type: FLOAT presence {{ min_fraction: 1.0 }} float_domain {{ max: 60.0 }} }}
feature {{ name: "{LEAK}" type: FLOAT not_in_environment: "SERVING" }}
"""


def rows(count: int, seed: int) -> list[Row]:
    """Rows in which the fare, the place and a word say something of the label."""
    draw = random.Random(seed)
    made: list[Row] = []
    for _ in range(count):
        fare, place = round(draw.uniform(1, 60), 1), f"p{draw.randrange(9)}"
        start = 1_550_000_000 + draw.randrange(20_000_000)
        tipped = draw.random() < (0.9 if (fare > 30) ^ (place < "p4") else 0.1)
        row = {
            "fare": fare,
            "constant": 2.5,
            "never": None,
            "linear": fare**2 / 3.6,
            "log": fare**2 / 3.6,
            "payment": draw.choice([1, 1, 1, 2, 2, 3, 4]),
            "flag": draw.choice(["Y", "N"]),
            "empty_int": None,
            "empty_string": None,
            "place": place,
            "start": start,
            "end": start + draw.randrange(3600),
            "note": draw.choice(["quick ride", "Slow, slow ride!", "GOOD driver"]),
            LEAK: 5.0 if tipped else 0.0,
            LABEL: int(tipped),
        }
        for name in ("fare", "payment", "flag", "start", "note"):
            if draw.random() < 0.05:
                row[name] = None
        made.append(row)
    return made


def write(path: Path, examples: Sequence[Row]) -> None:
    """Gzip TFRecords, as ingestion writes them."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path), tf.io.TFRecordOptions("GZIP")) as writer:
        for row in examples:
            writer.write(example(row))


def analyze(features: Features, path: Path, output: Path) -> None:
    """What the Transform component does: the transform graph of some examples."""
    import tensorflow as tf
    import tensorflow_transform.beam as tft_beam
    from tensorflow_transform.tf_metadata import dataset_metadata, metadata_io, schema_utils
    from tfx_bsl.public.tfxio import TFExampleRecord

    from models.preprocessing import DTYPES, preprocessing_fn

    kinds = {**raw_columns(features), LABEL: "int", LEAK: "float"}
    schema = schema_utils.schema_from_feature_spec(
        {name: tf.io.VarLenFeature(DTYPES[kind]) for name, kind in kinds.items()}
    )
    source = TFExampleRecord(str(path), schema=schema, telemetry_descriptors=["test"])
    config = {"features": features_to_json(features), "label": LABEL}

    import apache_beam as beam

    runner = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"
    with (
        beam.Pipeline(runner=runner) as pipeline,
        tft_beam.Context(str(output.with_suffix(".tmp"))),
    ):
        data = pipeline | source.BeamSource(), source.TensorAdapterConfig()
        graph = data | tft_beam.AnalyzeDataset(lambda inputs: preprocessing_fn(inputs, config))
        _ = graph | tft_beam.WriteTransformFn(str(output))
    # Done by the TFX component in production.
    metadata_io.write_metadata(dataset_metadata.DatasetMetadata(schema), str(output / "metadata"))


@dataclass(frozen=True)
class Trained:
    """What one run left behind; `rows` are those of `evaluation`."""

    features: Features
    train: Path
    evaluation: Path
    graph: Path
    model: Path
    schema: Path
    keras_model: Any
    train_rows: list[Row]
    rows: list[Row]

    def arguments(self, model: Path) -> SimpleNamespace:
        """TFX's FnArgs, as far as `run_fn` reads them."""
        training = TrainingConfig(epochs=3, batch_size=128, learning_rate=0.02)
        settings = {
            "features": features_to_json(self.features),
            "model": ModelConfig(embedding=4, hidden=(16,)).model_dump_json(),
            "training": training.model_dump_json(),
            "label": LABEL,
        }
        return SimpleNamespace(
            train_files=[str(self.train)],
            eval_files=[str(self.evaluation)],
            transform_graph_path=str(self.graph),
            schema_path=str(self.schema),
            serving_model_dir=str(model),
            model_run_dir=str(model.with_suffix(".log")),
            custom_config=settings,
        )


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    from models.training import run_fn

    folder = tmp_path_factory.mktemp("trained")
    result = Trained(
        features=FEATURES,
        train=folder / "train.gz",
        evaluation=folder / "eval.gz",
        graph=folder / "graph",
        model=folder / "model",
        schema=folder / "schema.pbtxt",
        keras_model=None,
        train_rows=rows(3000, seed=1),
        rows=rows(200, seed=2),
    )
    write(result.train, result.train_rows)
    write(result.evaluation, result.rows)
    result.schema.write_text(SCHEMA)
    analyze(FEATURES, result.train, result.graph)
    return replace(result, keras_model=run_fn(result.arguments(result.model)))


@pytest.fixture(scope="session")
def to_example() -> Any:
    return example


@pytest.fixture(scope="session")
def write_examples() -> Any:
    return write
