"""What can be said of a SavedModel's files before a server sees them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

from tensorflow.core.protobuf import saved_model_pb2

from serving.layout import MANIFEST
from serving.proof.verdict import Demands, Finding

#: Where the Trainer writes what it made: `{"files": {path: sha256}}` among other things.
RECORD_FILE = "assets.extra/headrace_training.json"

#: Operations that run Python, reach out of the model's folder, or print: a server that has only
#: TensorFlow cannot run the first, and none of them belongs in an answer.
FORBIDDEN = frozenset(
    [
        *("PyFunc", "PyFuncStateless", "EagerPyFunc"),
        *("WriteFile", "ReadFile", "MatchingFiles", "Save", "SaveV2", "PrintV2", "Print"),
        *("GeneratorDataset", "RpcCall", "RpcClient", "RpcServer"),
    ]
)
# What TensorFlow itself adds to every SavedModel for saving and restoring: never run by a server's
# signature, which is where the operations are looked for.
_SAVER_FUNCTIONS = ("__inference__traced_save", "__inference__traced_restore")


def check(folder: Path, demands: Demands) -> Iterator[Finding]:
    """Yields a finding on files, on operations and on size."""
    yield _files(folder)
    yield _operations(folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6
    yield Finding(
        "size",
        size <= demands.size_mb_max,
        f"{size:.1f} MB, at most {demands.size_mb_max:g} MB are allowed",
        {"size_mb": round(size, 3)},
    )


def _files(folder: Path) -> Finding:
    record = folder / RECORD_FILE
    try:
        wanted = json.loads(record.read_text())["files"]
    except (OSError, ValueError, KeyError):
        return Finding("files", True, "the Trainer left no digests to compare with")
    found = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path != record and path.name != MANIFEST
    }
    problems = [
        *(f"{name} is missing" for name in sorted(wanted.keys() - found.keys())),
        *(f"{name} is new" for name in sorted(found.keys() - wanted.keys())),
        *(
            f"{name} was changed"
            for name in sorted(wanted.keys() & found.keys())
            if wanted[name] != found[name]
        ),
    ]
    if problems:
        told = "; ".join(problems[:5]) + (f"; {len(problems) - 5} more" if problems[5:] else "")
        return Finding("files", False, f"not what the Trainer wrote: {told}. Train it again.")
    return Finding("files", True, f"{len(found)} files are what the Trainer wrote")


def _operations(folder: Path) -> Finding:
    saved = saved_model_pb2.SavedModel()
    try:
        saved.ParseFromString((folder / "saved_model.pb").read_bytes())
    except FileNotFoundError:
        return Finding("operations", False, "there is no saved_model.pb")
    except Exception as error:  # noqa: BLE001 - protobuf's DecodeError, whatever its module is now
        return Finding("operations", False, f"saved_model.pb cannot be read: {error}")
    used: set[str] = set()
    for graph in saved.meta_graphs:
        used |= {node.op for node in graph.graph_def.node} - {"SaveV2"}
        for function in graph.graph_def.library.function:
            if not function.signature.name.startswith(_SAVER_FUNCTIONS):
                used |= {node.op for node in function.node_def}
    bad = sorted(used & FORBIDDEN)
    if bad:
        return Finding(
            "operations",
            False,
            f"the graph runs {', '.join(bad)}, which a model server must not or cannot run. "
            "Write that step with TensorFlow operations.",
        )
    return Finding("operations", True, f"{len(used)} kinds of operations, all of them allowed")
