"""The rows that the Trainer was asked, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from tensorflow.core.example import example_pb2
from tensorflow_serving.apis import prediction_log_pb2

PROBE_FILE = "assets.extra/headrace_probe"


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows of the eval split.

    Attributes:
        examples: one a row, features only.
        probability: the trained model's, float32 [rows].
    """

    examples: list[example_pb2.Example]
    probability: npt.NDArray[np.float32]

    def values(self, name: str) -> list[float | int | bytes | None]:
        """A column, None where a row lacks it."""
        return [_value(example, name) for example in self.examples]


def read(folder: Path) -> Probe:
    """Reads the probe of an exported model.

    Raises:
        ValueError: there is none, or it cannot be read.
    """
    path = folder / PROBE_FILE
    if not path.exists():
        raise ValueError(
            f"{PROBE_FILE} is missing: the Trainer left no answers of its own to compare with. "
            "Export with models.signatures.export."
        )
    examples: list[example_pb2.Example] = []
    probability: list[npt.NDArray[np.float32]] = []
    try:
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            log = prediction_log_pb2.PredictionLog.FromString(record).predict_log
            rows = tf.make_ndarray(log.request.inputs["examples"])
            examples += [example_pb2.Example.FromString(row) for row in rows]
            probability.append(tf.make_ndarray(log.response.outputs["probability"]))
    except Exception as error:
        raise ValueError(f"{PROBE_FILE} cannot be read: {error}") from error
    if not examples:
        raise ValueError(f"{PROBE_FILE} holds no row")
    return Probe(examples, np.concatenate(probability))


def _value(example: example_pb2.Example, name: str) -> float | int | bytes | None:
    feature = example.features.feature.get(name)
    kind = feature.WhichOneof("kind") if feature else None
    values = getattr(feature, kind).value if kind else []
    return values[0] if values else None
