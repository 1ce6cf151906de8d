"""Executions of runs that were killed: nobody will end them, and nobody reads what they wrote."""

from __future__ import annotations

import glob
import os
import shutil

from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline.local.places import Places

_OPEN = (mlmd.Execution.NEW, mlmd.Execution.RUNNING)


def close(store: metadata_store.MetadataStore, places: Places) -> int:
    """Marks executions that are still open as failed, and removes what they half wrote.

    Only for whoever holds the output folder's lock: then no open execution is alive.

    Returns:
        How many there were.
    """
    dead = [each for each in store.get_executions() if each.last_known_state in _OPEN]
    for execution in dead:
        execution.last_known_state = mlmd.Execution.FAILED
        for context in store.get_contexts_by_execution(execution.id):
            if context.type == "pipeline_run":
                _remove(places.artifacts_of(context.name), int(execution.id))
    if dead:
        store.put_executions(dead)
    return len(dead)


def _remove(root: str, execution: int) -> None:
    """Removes an execution's folders below its run's own: outputs, and TFX's for its executor."""
    root = glob.escape(root)
    patterns = (f"{root}/*/*/{execution}", f"{root}/*/.system/executor_execution/{execution}")
    for pattern in patterns:
        for path in glob.glob(pattern):
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
