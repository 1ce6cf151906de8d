"""The user's spans, sampled, in a folder of their own: nothing of the user's is touched.

data/         the window up to the newest span: the control and the model faults run on it
earlier/      the same without the newest span (without spans: other rows of the same table),
              on which the champion is made
champion/     output, schema and serving folder after the champion's run
control/      the same after the control's
faults/NAME/  the same for one fault, with data of its own
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from pipeline import files, spans, sql
from pipeline.audit.scene import Scene
from pipeline.config import Config, CsvOptions
from pipeline.drift import calibration
from pipeline.errors import DataError
from pipeline.ingest import reader
from pipeline.ingest.plan import IngestPlan

#: Enough of a pass to make a model that is blessed, on some thousand rows a span.
_EPOCHS_MAX = 5
#: Single rows timed on each surface by the InfraValidator.
_REQUESTS_MAX = 20


@dataclass(frozen=True)
class Workshop:
    """Where an audit takes place.

    Attributes:
        root: the folder.
        config: the user's configuration, with all paths still to be set by `scene`.
        labels: of all sampled spans, oldest first; the newest is the one that faults spoil.
    """

    root: Path
    config: Config
    labels: tuple[str, ...]

    def scene(self, name: str, data: Path, labels: tuple[str, ...]) -> Scene:
        """The scene of a run that keeps everything below `root/name`."""
        home = self.root / name
        placed = {
            "output": str(home / "runs"),
            "data": self.config.data.model_copy(
                update={"path": str(data), "schema_file": str(home / "schema.pbtxt")}
            ),
            "serving": self.config.serving.model_copy(update={"path": str(home / "serving")}),
        }
        return Scene(self.config.model_copy(update=placed), labels)

    @property
    def lacks_schema(self) -> bool:
        """Whether the user has no schema yet."""
        return not (self.root / "champion" / "schema.pbtxt").exists()

    def everything(self) -> Scene:
        """Of all sampled rows, for a schema to be inferred from; it lands in the champion's."""
        scene = self.scene("all", self.root / "all", self.labels)
        window = scene.config.window.model_copy(update={"train_spans": len(self.labels)})
        file = str(self.root / "champion" / "schema.pbtxt")
        scene.configure(
            window=window, data=scene.config.data.model_copy(update={"schema_file": file})
        )
        return scene

    def champion(self) -> Scene:
        """Of the model that serves before anything goes wrong."""
        labels = self.labels[:-1] if len(self.labels) > 1 else self.labels
        return self.scene("champion", self.root / "earlier", labels)

    def control(self) -> Scene:
        """Of the run without a fault."""
        self._settle("champion", "control")
        return self.scene("control", self.root / "data", self.labels)

    def spoilt(self, name: str) -> Scene:
        """Of a fault of the data: a copy of all spans, and the champion in place."""
        home = f"faults/{name}"
        self._settle("champion", home)
        shutil.copytree(self.root / "data", self.root / home / "data")
        return self.scene(home, self.root / home / "data", self.labels)

    def sabotaged(self, name: str) -> Scene:
        """Of a fault of the model: the control's data, whose results TFX's cache still has."""
        home = f"faults/{name}"
        self._settle("control", home)
        return self.scene(home, self.root / "data", self.labels)

    def _settle(self, old: str, new: str) -> None:
        """Copies the state after a run; artifacts stay where ML Metadata says they are."""
        source, target = self.root / old, self.root / new
        shutil.rmtree(target, ignore_errors=True)
        (target / "runs").mkdir(parents=True)
        shutil.copy(source / "runs" / "metadata.db", target / "runs" / "metadata.db")
        for file in source.iterdir():
            if file.is_file():
                shutil.copy(file, target / file.name)
        shutil.copytree(source / "serving", target / "serving")


def set_up(
    config: Config, root: Path, *, span: str | None, train_spans: int, rows: int
) -> Workshop:
    """Samples the user's window into a new workshop.

    Args:
        config: the user's.
        root: an empty folder.
        span: label of the newest span, None for the newest there is.
        train_spans: at most so many spans to train on.
        rows: rows sampled of each span.

    Raises:
        HeadraceError: the data cannot be read.
        DataError: there are fewer than three spans: a champion, the newest, and one to learn from.
    """
    pattern = spans.SpanPattern.parse(config.data.pattern)
    train = min(train_spans, config.window.train_spans)
    # One more than a run needs: the champion's window ends one span earlier.
    window = spans.choose_window(
        spans.discover(config.data.path, pattern),
        newest=span,
        train_spans=train + 1,
        eval_spans=1,
        gap="skip",
    )
    if not window.split_by_row and len(window.spans) < 3:
        raise DataError(
            f"an audit needs three spans (to learn from, for the champion, to spoil); up to "
            f"{window.newest.label} there are {len(window.spans)}."
        )
    for folder in ("data", "earlier", "all"):
        (root / folder).mkdir(parents=True)
    for item in window.spans:
        table = _sampled(item, config, rows * (2 if window.split_by_row else 1))
        name = f"{item.span.label}.parquet"
        for folder in ("data", "earlier", "all"):  # a label such as 2024/01 is a path
            (root / folder / name).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, root / "all" / name)
        if window.split_by_row:
            half = table.num_rows // 2
            parquet.write_table(table.slice(0, half), root / "earlier" / name)
            parquet.write_table(table.slice(half), root / "data" / name)
            continue
        parquet.write_table(table, root / "data" / name)
        if item.span != window.newest:
            os.link(root / "data" / name, root / "earlier" / name)
    labels = tuple(item.span.label for item in window.spans)
    (root / "champion").mkdir()
    for own in (config.data.schema_file, calibration.path(config)):
        if files.exists(own):
            name = "schema.pbtxt" if own == config.data.schema_file else os.path.basename(own)
            shutil.copy(own, root / "champion" / name)
    return Workshop(root, _small(config, train), labels)


def _small(config: Config, train_spans: int) -> Config:
    """The user's configuration, fit for the sample."""
    placeholder = re.search(r"\{span[^}]*\}", config.data.pattern)
    data = config.data.model_copy(
        update={
            # Any ending: a fault may leave a CSV file behind.
            "pattern": f"{placeholder[0] if placeholder else 'all'}.*",
            "rename": {},
            "csv": CsvOptions(),
        }
    )
    epochs = min(config.training.epochs, _EPOCHS_MAX)
    requests = min(config.proof.latency_requests, _REQUESTS_MAX)
    return config.model_copy(
        update={
            "data": data,
            "window": config.window.model_copy(
                update={"train_spans": train_spans, "eval_spans": 1, "gap": "error"}
            ),
            "training": config.training.model_copy(update={"epochs": epochs}),
            "proof": config.proof.model_copy(update={"latency_requests": requests}),
        }
    )


def _sampled(item: spans.SpanFiles, config: Config, rows: int) -> pa.Table:
    """Rows of a span, with names and types as the pipeline sees them."""
    plan = IngestPlan.of(config)
    tables = []
    for path in item.paths:
        with sql.connect() as connection, reader.localized(path) as local:
            connection.execute("SET threads=1")  # else the sample depends on the machine
            types, _ = reader.open_source(connection, path, local, plan)
            kinds = plan.columns()
            columns = ", ".join(
                f"{_typed(plan, name, kinds.get(name), source)} AS {sql.quote(name)}"
                for name, source in types.items()
            )
            share = -(-rows // len(item.paths))
            sampled = connection.sql(
                f"SELECT {columns} FROM (SELECT * FROM source "
                f"USING SAMPLE reservoir({share} ROWS) REPEATABLE (0))"
            )
            tables.append(sampled.to_arrow_table())
    return pa.concat_tables(tables, promote_options="permissive")


def _typed(plan: IngestPlan, name: str, kind: sql.ColumnType | None, source: str) -> str:
    if kind is None:
        return sql.quote(name)
    value = plan.typed(name, kind, source)
    return f"make_timestamp(({value}) * 1000000)" if kind == "timestamp" else value
