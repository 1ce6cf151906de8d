"""Whether the champion can be asked about today's rows: it wants the columns it was trained on.

A feature may have changed its kind since, or be gone. What the champion says of rows without it, or
of text where it wants a number, is no measure of the champion.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from models.config import RawType
from pipeline import files

_SIGNATURE = "serving_default"
_WORDS: Mapping[RawType, str] = {"float": "a number", "int": "a whole number", "string": "text"}


def misfit(model: str, columns: Mapping[str, RawType]) -> str:
    """Why a model cannot be compared on rows of these columns; `""` if it can.

    Args:
        model: folder of its SavedModel, local or remote.
        columns: of the rows, with their types. More than the model wants are no hindrance.
    """
    faults = []
    for name, kind in _inputs(model).items():
        if name not in columns:
            faults.append(f"{name}, which it wants, is no feature any more")
        elif columns[name] != kind:
            faults.append(f"{name} is {_WORDS[kind]} to it, and {_WORDS[columns[name]]} now")
    if len(faults) > 3:
        faults = [*faults[:3], f"{len(faults) - 3} more"]
    return "; ".join(faults)


def _inputs(model: str) -> dict[str, RawType]:
    """The columns that a model's signature takes; none if it has no such signature."""
    from tensorflow.core.framework import types_pb2
    from tensorflow.core.protobuf import saved_model_pb2

    kinds: dict[int, RawType] = {
        types_pb2.DT_FLOAT: "float",
        types_pb2.DT_INT64: "int",
        types_pb2.DT_STRING: "string",
    }
    with files.open_file(os.path.join(model, "saved_model.pb"), "rb") as file:
        saved = saved_model_pb2.SavedModel.FromString(file.read())
    for graph in saved.meta_graphs:
        if _SIGNATURE in graph.signature_def:
            inputs = graph.signature_def[_SIGNATURE].inputs
            return {name: kinds[info.dtype] for name, info in inputs.items() if info.dtype in kinds}
    return {}


def told(reason: str) -> str:
    """The sentence for a person."""
    return f"not compared with the champion: {reason}. The absolute bars alone decided"
