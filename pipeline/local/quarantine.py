"""The refused rows of a run, read from its Examples artifact."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from ml_metadata.proto import metadata_store_pb2 as mlmd

from pipeline import files
from pipeline.errors import RunError
from pipeline.ingest.plan import QUARANTINE_COLUMNS
from pipeline.ingest.summary import FILE, Ingested
from pipeline.local import history, outcome
from pipeline.local.places import Places

_SPLIT = "Split-quarantine"


@dataclass(frozen=True)
class Refused:
    """One refused row.

    Attributes:
        reasons: names of the rules it breaks.
        source: the file and the row's number in it.
        row: the row as the file has it, as JSON.
    """

    reasons: tuple[str, ...]
    source: str
    row: str


@dataclass(frozen=True)
class Quarantine:
    """What a run refused.

    Attributes:
        run_id: of the run.
        folder: of the Examples artifact.
        ingested: counts by span and reason.
    """

    run_id: str
    folder: str
    ingested: Ingested

    def counts(self) -> dict[str, int]:
        """Refused rows by reason, the most frequent first; a row may have several."""
        total: dict[str, int] = {}
        for span in self.ingested.spans.values():
            for reason, count in span.reasons.items():
                total[reason] = total.get(reason, 0) + count
        return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))

    def rows(self, reason: str | None = None, limit: int | None = None) -> list[Refused]:
        """The rows themselves, in the order of their files. Imports TensorFlow.

        Args:
            reason: only rows refused for it.
            limit: at most so many.
        """
        found = (row for row in self._read() if reason is None or reason in row.reasons)
        return list(islice(found, limit))

    def _read(self) -> Iterator[Refused]:
        import tensorflow as tf

        paths = files.glob(os.path.join(files.escape(self.folder), _SPLIT, "*.gz"))
        records = tf.data.TFRecordDataset(paths, compression_type="GZIP")
        for record in records.as_numpy_iterator():
            values = tf.train.Example.FromString(record).features.feature
            texts = [values[name].bytes_list.value for name in QUARANTINE_COLUMNS]
            why, row, source = (
                value[0].decode("utf-8", "replace") if value else "" for value in texts
            )
            yield Refused(tuple(why.split(";")), source, row)


def of_run(places: Places, run_id: str | None) -> Quarantine:
    """What a run refused.

    Args:
        places: of the configuration.
        run_id: of the run; None for the newest one that ingested data.

    Raises:
        RunError: there is no such run, or it did not come to ingest.
    """
    known = [result.run_id for result in history.runs(places)]
    if run_id is not None and run_id not in known:
        told = f"There are: {', '.join(known[:5])}" if known else "There is none yet"
        raise RunError(f"run {run_id}: there is no such run. {told}; `headrace runs` lists them.")
    if not known or not os.path.exists(places.metadata):
        raise RunError("no run yet: type headrace run")
    store = outcome.connect(places.metadata)
    for name in [run_id] if run_id else known:
        examples = _examples(outcome.nodes_of_run(store, name))
        if examples is None:
            continue
        path = os.path.join(examples.uri, FILE)
        if not files.exists(path):
            raise RunError(f"run {name}: {path} is gone, and with it the refused rows.")
        with files.open_file(path) as file:
            ingested = Ingested.from_json(file.read().decode("utf-8"))
        return Quarantine(name, examples.uri, ingested)
    if run_id:
        raise RunError(f"run {run_id}: did not come to ingest data, so it refused no rows.")
    raise RunError("no run has ingested data yet: type headrace run")


def _examples(nodes: dict[str, outcome.NodeOutcome]) -> mlmd.Artifact | None:
    node = nodes.get("SpanExampleGen")
    return node.outputs.get("examples") if node else None
