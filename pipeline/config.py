"""The one configuration: `headrace.toml` as frozen, typed, self-checking objects.

Only `pipeline.config_file` reads the file; everything else takes a `Config`. Paths are absolute
after loading (relative ones are relative to the file).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from models.config import Features, ModelConfig, RawType, Section, TrainingConfig
from pipeline import number_text
from pipeline.vertex.config import VertexConfig

Policy = Literal["block", "warn", "retrain"]


def _text_encoding(name: str) -> str:
    """A name of an encoding that Python can decode as text."""
    try:
        "".encode(name)
    except LookupError as error:
        known = "utf-8, latin-1, windows-1252, utf-16"
        raise ValueError(f"must be an encoding that Python knows, such as {known}") from error
    return name


Encoding = Annotated[str, AfterValidator(_text_encoding)]


class CsvOptions(Section):
    """`[data.csv]`: the dialect of CSV files. Compression is told by the name (.gz, .zst).

    Attributes:
        delimiter: one character, or `auto`: the one of `,` `;` tab `|` that splits the header
            into known columns.
        encoding: `utf-8` (with or without a byte-order mark), `latin-1`, `windows-1252`,
            `utf-16` or another that Python knows. A file that is UTF-8 is read as such.
        escape: what stands before a quote within quotes: a quote, or a backslash.
        null_values: texts that mean "missing"; the empty field always does.
        decimal: what stands before a number's fraction, `.` or `,`.
        thousands: what stands between a number's thousands, `.` or `,`; blanks and apostrophes
            may always do.
    """

    delimiter: str = Field(default="auto", pattern=r"^(auto|[^\n\r\"])$")
    encoding: Encoding = "utf-8"
    escape: Literal['"', "\\"] = '"'
    null_values: tuple[str, ...] = ()
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ".", ",", " ", "'"] = ""


TimeFormat = Annotated[
    str, Field(pattern=r"^(milliseconds|microseconds|nanoseconds|.*%[a-zA-Z].*)$")
]


def _number_format(example: str) -> str:
    number_text.of_example(example)
    return example


NumberFormat = Annotated[str, AfterValidator(_number_format)]


class DataConfig(Section):
    """`[data]`: where the spans are and how they are read.

    Attributes:
        path: folder that holds the data (local, or any scheme TFX reads).
        pattern: path of a span's file(s) below it. `{span:%Y-%m}` (see `span_pattern`) or
            `{span}` (a whole number) is the span; `*` matches several files of one span.
            Without `{span}` all files are one table, split by `window.holdout`.
        rename: column name in the files → name used here. A file may have either.
        optional_columns: columns that a file may lack; they count as missing there.
        path_columns: columns whose value stands in the path of a file, as `name=value/`, where the
            file itself has none of that name.
        time_column: a timestamp feature; rows outside their span's period are quarantined.
        time_formats: timestamp feature → how its column is written, where it is neither a moment,
            ISO text nor seconds since 1970: `milliseconds`, `microseconds` or `nanoseconds` since
            then, or a strptime format such as `%d/%m/%Y %H:%M`. Years of two digits are those
            from 1969 to 2068; `%d-%b-%y (until 2024)` says the latest that they may mean.
        row_key: columns that say which row it is, such as an id. Without spans and times rows are
            dealt to training and evaluation by them alone, so that a new column or a corrected
            value deals no row anew. None: by all columns that the configuration names, but those
            of the answer.
        null_values: column → texts that mean "missing" there, beside `csv.null_values`.
        number_formats: column → 1234.5 as it is written there, where that is not as `csv.decimal`
            and `csv.thousands` say: `1.234,50`, `1,234.50`, `1234,50`, `1234.50`.
        schema_file: the reviewed schema; inferred and written by the first run if absent.
    """

    path: str
    pattern: str
    rename: dict[str, str] = {}
    optional_columns: tuple[str, ...] = ()
    path_columns: tuple[str, ...] = ()
    time_column: str | None = None
    time_formats: dict[str, TimeFormat] = {}
    row_key: tuple[str, ...] = ()
    null_values: dict[str, tuple[str, ...]] = {}
    number_formats: dict[str, NumberFormat] = {}
    schema_file: str = "schema/schema.pbtxt"
    csv: CsvOptions = CsvOptions()


class WindowConfig(Section):
    """`[window]`: which spans one run sees.

    Attributes:
        train_spans: number of spans before the evaluated ones to train on (fewer at the
            beginning of the data).
        eval_spans: number of newest spans to evaluate on.
        gap: a missing span inside the window is an `error`, or is passed over (`skip`).
        holdout: share of rows evaluated on when the data has no spans, in (0, 1): the newest
            by `data.time_column`, else dealt by what the row holds beside the answer.
        min_rows_share: a span with fewer rows than this share of the window's median is taken
            for half uploaded (`gates.rows` says what follows).
        max_repeated_share: share of a span's rows that may be there more than once, equal in every
            column, beyond what the other spans lead one to expect.
    """

    train_spans: int = Field(default=12, ge=1)
    eval_spans: int = Field(default=1, ge=1)
    gap: Literal["error", "skip"] = "error"
    holdout: float = Field(default=0.2, gt=0, lt=1)
    min_rows_share: float = Field(default=0.1, ge=0, le=1)
    max_repeated_share: float = Field(default=0.02, ge=0, le=1)


class LabelConfig(Section):
    """`[label]`: what is predicted.

    Attributes:
        expression: SQL (DuckDB) over the columns, true or 1 for the positive class.
        name: name of the label in examples and schema.
        leaks: columns that give the label away (name → type): kept for statistics, never
            shown to the model, absent from the SERVING environment.
    """

    expression: str = Field(min_length=1)
    name: str = Field(default="label", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    leaks: dict[str, RawType] = {}


class QuarantineConfig(Section):
    """`[quarantine]`: rows that must not be learnt from. They are kept apart, with the reason.

    Attributes:
        rules: name → SQL (DuckDB) over the columns; a row for which it is true is quarantined.
        max_share: share of a span's rows that may be quarantined before the gate closes.
        rule_shares: rule → share of a span's rows that it alone may refuse.
    """

    rules: dict[Annotated[str, Field(min_length=1)], str] = {}
    max_share: float = Field(default=0.01, ge=0, le=1)
    rule_shares: dict[str, Annotated[float, Field(ge=0, le=1)]] = {}


Kind = Literal[
    "anomaly",
    "drift",
    "skew",
    "splits",
    "label",
    "prediction",
    "new_column",
    "unreviewed",
    "quarantine",
    "rows",
    "repeats",
]


class Allowed(Section):
    """`[[gates.allow]]`: a finding that is known and accepted for a time.

    Attributes:
        kind: of finding.
        feature: column or label; None: any.
        until: last day on which it is allowed. What is accepted for good belongs into the schema.
        reason: shown wherever the finding is.
    """

    kind: Kind
    feature: str | None = None
    until: dt.date
    reason: str = Field(min_length=1)


class GatesConfig(Section):
    """`[gates]`: what a finding does to the run, by kind of finding.

    `block` ends the run, `warn` shows it, `retrain` shows it and marks the verdict: what serves
    was made from other data and should be replaced.

    Attributes:
        anomaly: data that breaks the schema.
        drift: the newest span is further from the window than quiet spans are.
        skew: logged serving requests are further from the window than quiet spans are.
        splits: of one table, the rows evaluated on are unlike those trained on.
        label: the newest span's share of positive labels is unlike the window's.
        prediction: the champion's predictions for the newest span are off, or unlike before.
        new_column: the files have a column that neither configuration nor schema names.
        unreviewed: configuration and schema disagree on a column: nothing is checked of it.
        quarantine: more rows quarantined than `quarantine.max_share`, or than a rule's own.
        rows: a span has fewer rows than `window.min_rows_share` of the median.
        repeats: more rows of a span are there more than once than `window.max_repeated_share`.
        features: feature → kind → policy, in place of the above.
        allow: findings that are accepted for a time.
    """

    anomaly: Policy = "block"
    drift: Policy = "warn"
    skew: Policy = "warn"
    splits: Policy = "warn"
    label: Policy = "warn"
    prediction: Policy = "retrain"
    new_column: Policy = "block"
    unreviewed: Policy = "warn"
    quarantine: Policy = "block"
    rows: Policy = "block"
    repeats: Policy = "block"
    features: dict[str, dict[Kind, Policy]] = {}
    allow: tuple[Allowed, ...] = ()


class DriftConfig(Section):
    """`[drift]`: how distributions are compared. What a finding does is said in `[gates]`.

    Attributes:
        sample_rows: rows of a span that are compared at most.
        false_alarms: quiet spans of which one at most may alarm, over all features together.
        known_after: a shift is known, and no longer told, once so many spans of the window lie as
            far from the window as the newest does.
        request_log: PredictionLog files of served requests, compared with the window; a path with
            `*`. None: no skew check.
        min_requests: fewer logged rows are not compared.
    """

    sample_rows: int = Field(default=20_000, ge=100)
    false_alarms: int = Field(default=50, ge=2)
    known_after: int = Field(default=3, ge=1)
    request_log: str | None = None
    min_requests: int = Field(default=1_000, ge=100)


class Bars(Section):
    """Absolute bars. `calibration` is |mean prediction / mean label − 1|.

    A model above `auc_max` is too good to be true: a feature has become the label. 1: no such bar.
    """

    auc_min: float = Field(default=0.6, ge=0, le=1)
    auc_max: float = Field(default=1.0, ge=0, le=1)
    log_loss_max: float = Field(default=0.68, gt=0)
    calibration_max: float = Field(default=0.1, gt=0)


class ChangeBars(Section):
    """How much worse than the champion, on the same rows, a candidate may be."""

    auc_drop_max: float = Field(default=0.005, ge=0)
    log_loss_rise_max: float = Field(default=0.005, ge=0)
    calibration_rise_max: float = Field(default=0.05, ge=0)


class EvaluationConfig(Section):
    """`[evaluation]`: when a model is good enough to be blessed.

    Attributes:
        bars: over all rows.
        slice_bars: in every slice of at least `min_slice_rows` rows.
        change: against the champion, over all rows.
        slice_change: against the champion, in every such slice.
        slices: columns (or combinations of columns) whose values make slices.
        min_slice_rows: smaller slices are shown but not judged.
    """

    bars: Bars = Bars()
    slice_bars: Bars = Bars(auc_min=0.5, log_loss_max=1.0, calibration_max=0.3)
    change: ChangeBars = ChangeBars()
    slice_change: ChangeBars = ChangeBars(
        auc_drop_max=0.05, log_loss_rise_max=0.05, calibration_rise_max=0.15
    )
    slices: tuple[str | tuple[str, ...], ...] = ()
    min_slice_rows: int = Field(default=500, ge=1)


class ServingConfig(Section):
    """`[serving]`: where blessed models are pushed, as TensorFlow Serving expects them.

    Attributes:
        path: base folder; versions are `<path>/<model_name>/<number>`.
        model_name: name clients ask for.
        keep_versions: newest versions kept; a labelled version is never deleted.
    """

    path: str = "runs/serving"
    model_name: str = Field(default="model", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    keep_versions: int = Field(default=5, ge=1)


class ProofConfig(Section):
    """`[proof]`: what a model must stand on a real server before it is pushed.

    Attributes:
        server: `embedded`, the path of a tensorflow_model_server, or `docker:` and an image.
        tolerance: largest difference of a served probability from the Trainer's own.
        latency_p99_ms: budget of a single row, 99th percentile, over gRPC and over REST.
        latency_requests: single rows timed on each.
        load_seconds_max: from the start of the server until it answers.
        size_mb_max: of the model's files, in 1,000,000 bytes.
    """

    server: str = Field(default="embedded", pattern=r"^(embedded|docker:\S+|.*/.+)$")
    tolerance: float = Field(default=1e-4, gt=0)
    latency_p99_ms: float = Field(default=100.0, gt=0)
    latency_requests: int = Field(default=200, ge=1)
    load_seconds_max: float = Field(default=60.0, gt=0)
    size_mb_max: float = Field(default=1000.0, gt=0)


class BeamConfig(Section):
    """`[beam]`: where Beam work runs.

    Attributes:
        runner: `direct` is Beam's in-memory runner, named explicitly because Beam's default
            first tries to fetch another one from the network.
        options: further Beam pipeline options, `name = value` (→ `--name=value`, a list repeats
            it). `pipeline.beam_options` says what each runner needs.
    """

    runner: Literal["direct", "flink", "spark", "dataflow"] = "direct"
    options: dict[str, str | int | float | bool | tuple[str, ...]] = {}


class Config(Section):
    """Everything that differs between two users of the pipeline."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,62}$")
    output: str = "runs"
    data: DataConfig
    window: WindowConfig = WindowConfig()
    label: LabelConfig
    features: Features = Field(min_length=1)
    quarantine: QuarantineConfig = QuarantineConfig()
    gates: GatesConfig = GatesConfig()
    drift: DriftConfig = DriftConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    proof: ProofConfig = ProofConfig()
    serving: ServingConfig = ServingConfig()
    beam: BeamConfig = BeamConfig()
    vertex: VertexConfig = VertexConfig()

    def digest(self) -> str:
        """SHA-256 of what decides the outcome: everything but where the outcome is put."""
        decides = self.model_dump(mode="json", exclude={"output", "serving", "beam", "vertex"})
        del decides["data"]["path"], decides["data"]["schema_file"]
        return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
