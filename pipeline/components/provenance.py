"""What a pushed model's manifest says of its origin, read from the artifacts of the run."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils

from pipeline import schema_file
from pipeline.errors import RunError
from serving.manifest import Provenance
from serving.proof.files import RECORD_FILE

#: Custom properties that SpanExampleGen sets on Examples (strings; window and rows are JSON).
SPAN_KEY = "span_label"
WINDOW_KEY = "window"
ROWS_KEY = "rows"
FINGERPRINT_KEY = "input_fingerprint"
DEALT_KEY = "dealt"

Inputs = dict[str, list[types.Artifact]]


def collect(inputs: Inputs, declared: str, run_id: str | None, model: Path) -> Provenance:
    """Gathers the provenance of the model in a run.

    Args:
        inputs: the Pusher's inputs; of them `examples`, `schema` and `evaluation` are read, each
            if it is there.
        declared: JSON object of what only the pipeline's author knows (digests of code and
            configuration, the git revision, …); what the artifacts say wins over it.
        run_id: of the pipeline run.
        model: local folder of the SavedModel.

    Raises:
        RunError: Trainer or Evaluator read other rows than ingestion wrote.
    """
    examples, evaluated = _of_examples(inputs), _of_evaluation(inputs)
    _compare(examples.get("rows") or {}, "train", _trained_rows(model), inputs)
    _compare(examples.get("rows") or {}, "eval", evaluated.get("metrics", {}).get("rows"), inputs)
    found: dict[str, Any] = {
        "run_id": run_id,
        "weights_sha256": weights_digest(model),
        "headrace_version": _version("headrace"),
        "tfx_version": _version("tfx"),
        "tensorflow_version": _version("tensorflow"),
        **examples,
        **_of_schema(inputs),
        **evaluated,
    }
    known = {key: value for key, value in found.items() if value is not None}
    return Provenance.model_validate({**json.loads(declared), **known})


def _trained_rows(model: Path) -> float | None:
    """Rows that the Trainer says it read; None for a model that says nothing."""
    try:
        record = json.loads((model / RECORD_FILE).read_text(encoding="utf-8"))
        return float(record["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _compare(written: dict[str, int], split: str, read: float | None, inputs: Inputs) -> None:
    """Sees that a split was read as it was written: a hand may have been at its files since."""
    if read is None or split not in written or int(read) == written[split]:
        return
    reader = {"train": "the Trainer", "eval": "the Evaluator"}[split]
    folder = artifact_utils.get_single_uri(inputs["examples"])
    raise RunError(
        f"{folder}: {reader} read {int(read):,} rows of the {split} split, and ingestion wrote "
        f"{written[split]:,}; files were added, changed or removed there since. Remove that folder "
        "and run again. This model was not pushed."
    )


def weights_digest(model: Path) -> str | None:
    """SHA-256 of the values of all variables and assets of a SavedModel; None if it has neither.

    The bytes of variables.data will not do: Keras exports list `_all_variables` in the order of a
    set, which changes from process to process, and the file holds the names of that order too.
    So this digests the *set* of values (dtype, shape, content), whatever they are called.
    """
    values = set()
    if (model / "variables" / "variables.index").is_file():
        reader = tf.train.load_checkpoint(str(model / "variables" / "variables"))
        for name in reader.get_variable_to_shape_map():
            if name != "_CHECKPOINTABLE_OBJECT_GRAPH":
                values.add(_value_digest(np.asarray(reader.get_tensor(name))))
    for path in sorted((model / "assets").rglob("*")):
        if path.is_file():
            values.add(hashlib.sha256(path.read_bytes()).hexdigest())
    return hashlib.sha256("\n".join(sorted(values)).encode()).hexdigest() if values else None


def _value_digest(value: np.ndarray[Any, Any]) -> str:
    digest = hashlib.sha256(f"{value.dtype} {value.shape}\n".encode())
    # An array of strings holds pointers: its text, not its memory, is its content.
    digest.update(repr(value.tolist()).encode() if value.dtype.hasobject else value.tobytes())
    return digest.hexdigest()


def _of_examples(inputs: Inputs) -> dict[str, Any]:
    if not inputs.get("examples"):
        return {}
    artifact = artifact_utils.get_single_instance(inputs["examples"])
    texts = {
        key: artifact.get_string_custom_property(key)
        for key in (SPAN_KEY, WINDOW_KEY, ROWS_KEY, FINGERPRINT_KEY, DEALT_KEY)
    }
    return {
        "span": texts[SPAN_KEY] or None,
        "window": json.loads(texts[WINDOW_KEY]) if texts[WINDOW_KEY] else None,
        "rows": json.loads(texts[ROWS_KEY]) if texts[ROWS_KEY] else None,
        "data_fingerprint": texts[FINGERPRINT_KEY] or None,
        "dealt": json.loads(texts[DEALT_KEY]) if texts[DEALT_KEY] else None,
    }


def _of_schema(inputs: Inputs) -> dict[str, Any]:
    if not inputs.get("schema"):
        return {}
    folder = artifact_utils.get_single_uri(inputs["schema"])
    return {"schema_sha256": schema_file.digest(f"{folder}/schema.pbtxt")}


def _of_evaluation(inputs: Inputs) -> dict[str, Any]:
    if not inputs.get("evaluation"):
        return {}
    from pipeline import evaluation  # it imports TFMA: seconds that only a run should pay

    metrics = evaluation.read_metrics(artifact_utils.get_single_uri(inputs["evaluation"]))
    return {
        "metrics": metrics.get("candidate", {}),
        "champion_metrics": metrics.get("champion", {}),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
