"""What the champion says of rows: drift of predictions is what costs money.

Its features may move without moving its predictions, and predictions may go wrong where no single
feature has moved far.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from models.config import MISSING_FLOAT, MISSING_INT, MISSING_STRING

_SIGNATURE, _OUTPUT = "serving_default", "probability"
_BATCH = 4096


def predictions(model: str, rows: pa.Table) -> np.ndarray[Any, Any]:
    """The champion's probabilities, float64 [rows].

    Args:
        model: folder of its SavedModel.
        rows: as ingestion samples them; a column that it does not know is left out, and one that
            it wants and rows lack counts as missing.

    Raises:
        ValueError: it was exported without the signature of raw columns.
    """
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default(), tf.compat.v1.Session(graph=graph) as session:
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], model)
        signature = loaded.signature_def.get(_SIGNATURE)
        if signature is None or _OUTPUT not in signature.outputs:
            raise ValueError(f"{model} has no signature {_SIGNATURE} with {_OUTPUT}")
        output = signature.outputs[_OUTPUT].name
        feeds = {
            info.name: _column(rows, name, tf.as_dtype(info.dtype).as_numpy_dtype)
            for name, info in signature.inputs.items()
        }
        parts = []
        for start in range(0, rows.num_rows, _BATCH):
            batch = slice(start, start + _BATCH)
            parts.append(session.run(output, {name: all_[batch] for name, all_ in feeds.items()}))
    return np.concatenate([np.ravel(part) for part in parts] or [np.empty(0)]).astype(np.float64)


def _column(rows: pa.Table, name: str, dtype: Any) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    missing: Any = {"f": MISSING_FLOAT, "i": MISSING_INT}.get(kind.kind, MISSING_STRING.encode())
    if name not in rows.column_names:
        return np.full(rows.num_rows, missing, dtype=kind)
    column = rows[name].combine_chunks()
    if kind.kind == "O":
        texts = [missing if text is None else str(text).encode() for text in column.to_pylist()]
        return np.array(texts, dtype=object)
    return np.asarray(column.fill_null(missing).to_numpy(zero_copy_only=False)).astype(kind)
