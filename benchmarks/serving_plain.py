"""A model behind FastAPI, as people usually write it; what `benchmarks/serving.py` compares with.

MODEL_DIR=runs/serving/nyc_yellow/1 uvicorn serving_plain:app
"""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
from fastapi import FastAPI
from pydantic import BaseModel, create_model

_TYPES = {tf.float32: float, tf.int64: int, tf.string: str}

model = tf.saved_model.load(os.environ["MODEL_DIR"])
infer = model.signatures["serving_default"]
columns = infer.structured_input_signature[1]
_FIELDS: dict[str, Any] = {name: (_TYPES[spec.dtype], ...) for name, spec in columns.items()}
Row: type[BaseModel] = create_model("Row", **_FIELDS)

app = FastAPI()


def predict(rows: list[Any]) -> list[dict[str, Any]]:
    """One answer a row."""
    inputs = {
        name: tf.constant([getattr(row, name) for row in rows], spec.dtype)
        for name, spec in columns.items()
    }
    outputs = {name: tensor.numpy().tolist() for name, tensor in infer(**inputs).items()}
    return [
        dict(zip(outputs, values, strict=True)) for values in zip(*outputs.values(), strict=True)
    ]


# The row's class is made from the signature, so the annotation cannot be written down.
predict.__annotations__["rows"] = list[Row]  # type: ignore[valid-type]
app.post("/predict")(predict)
