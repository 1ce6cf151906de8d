"""All comparisons of a run, out of its row samples: what the DistributionValidator does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import Features, Section, raw_columns
from pipeline import champion_inputs, schema_file, serving_contract
from pipeline.config import DriftConfig
from pipeline.drift import champion, compare, notes, profile, profile_text, requests, seasons, words
from pipeline.drift.bins import Binned, binned
from pipeline.drift.columns import Column, columns
from pipeline.drift.noise import Test
from pipeline.drift.report import (
    Calibration,
    CalibrationSummary,
    Compared,
    Comparison,
    Measured,
    Report,
    Side,
)
from pipeline.ingest import sample
from pipeline.ingest.summary import Ingested

#: The feature that stands for the champion's predictions.
PREDICTION = "champion's prediction"


class Comparing(Section):
    """What the executor needs of the configuration."""

    drift: DriftConfig
    label: str
    calibration_max: float
    pattern: str = ""


class Comparisons:
    """One run's comparisons.

    Args:
        comparing: what is needed of the configuration.
        features: the features.
        calibration: measured thresholds, if there are any.
        schema: the reviewed one; its comparators' thresholds come first.
        ingested: rows by span and split.
        samples: split and span label → rows.
    """

    def __init__(
        self,
        comparing: Comparing,
        features: Features,
        calibration: Calibration | None,
        schema: schema_pb2.Schema,
        ingested: Ingested,
        samples: dict[tuple[str, str], pa.Table],
    ) -> None:
        self._comparing, self._features, self._calibration = comparing, features, calibration
        self._schema = schema
        self._ingested = ingested
        order = list(ingested.spans)
        self._train, self._newest = (
            [(span, samples[split, span]) for span in order if (split, span) in samples]
            for split in ("train", "eval")
        )
        self._notes: list[str] = []
        self._trending = calibration.trending() if calibration else {}
        self._violations: list[serving_contract.Violation] = []

    def report(self, model: str | None) -> Report:
        """Everything that can be compared."""
        if not (self._train and self._newest):
            return Report(notes=("one of the two sides has no row: nothing was compared",))
        window = [self._columns(rows) for _, rows in self._train]
        rows = pa.concat_tables(rows for _, rows in self._newest)
        # Of one table the two splits are compared, and nothing has gone before.
        splits = len(self._ingested.spans) == 1
        newest = self._columns(rows)
        kind: Compared = "splits" if splits else "drift"
        features = compare.together(window, [newest], None if splits else self._trending)
        bounds = self._bounds(features, rows.num_rows, kind)
        if not splits:
            self._note(features, bounds, rows.num_rows)
        drift = compare.compare(
            kind,
            (self._window(), self._side(self._newest, "eval")),
            features,
            bounds,
            None if splits else self._comparing.drift.known_after,
            self._season(),
        )
        comparisons = [self._with_champion(drift, rows, model)]
        if splits:
            comparisons += self._reviewed()
        comparisons += self._skew(window)
        past = []
        if not splits:
            spans = [
                (span, self._ingested.spans[span].kept)
                for span in (*(span for span, _ in self._train), self._newest[-1][0])
            ]
            last = self._columns(self._newest[-1][1])
            past = compare.history(spans, compare.together(window, [last], self._trending), bounds)
        return Report(
            comparisons=tuple(comparisons),
            history=tuple(past),
            calibration=self._summary(),
            violations=tuple(self._violations),
            notes=tuple(dict.fromkeys(self._notes)),
            uncalibrated=self._unknown(splits),
        )

    def _reviewed(self) -> Iterator[Comparison]:
        """One table against the profile that its schema carries."""
        drift = self._comparing.drift
        rows = pa.concat_tables(rows for _, rows in (*self._train, *self._newest))
        made = profile.against(
            profile_text.read(self._schema),
            sample.smallest(rows, drift.sample_rows),
            self._features,
            self._comparing.label,
            drift.false_alarms,
        )
        if made:
            yield made

    def _unknown(self, splits: bool) -> str:
        """What to do where too little is known of what is usual."""
        if splits:
            return "" if profile_text.read(self._schema) else notes.NO_PROFILE
        return "" if self._calibration else notes.uncalibrated(len(self._train))

    def _season(self) -> list[int]:
        newest, window = self._newest[-1][0], [span for span, _ in self._train]
        return seasons.alike(self._comparing.pattern, window, newest)

    def _columns(self, rows: pa.Table) -> list[Column]:
        return columns(rows, self._features, self._comparing.label)

    def _note(self, features: list[Binned], bounds: dict[Test, float], rows: int) -> None:
        self._notes += notes.of_thresholds(features, bounds, self._calibration, rows)

    def _bounds(self, features: list[Binned], rows: int, kind: Compared) -> dict[Test, float]:
        known = self._calibration
        return compare.thresholds(
            features,
            known.thresholds if known else {},
            schema_file.thresholds(self._schema),
            current_rows=rows,
            false_alarms=self._comparing.drift.false_alarms,
            kind=kind,
        )

    def _window(self) -> Side:
        return self._side(self._train, "train")

    def _side(self, parts: list[tuple[str, pa.Table]], split: str) -> Side:
        labels = [span for span, _ in parts]
        return Side(
            label=labels[0] if len(labels) == 1 else f"{labels[0]} … {labels[-1]}",
            rows=self._ingested.rows[split],
            sampled=sum(rows.num_rows for _, rows in parts),
        )

    def _with_champion(self, drift: Comparison, rows: pa.Table, model: str | None) -> Comparison:
        """The comparison with the champion's predictions as one more feature."""
        if model is None:
            return drift
        if reason := champion_inputs.misfit(model, raw_columns(self._features)):
            self._notes.append(f"the champion was not asked: {reason}")
            return drift
        # A span each, so that it is seen what they differ by.
        limit = max(1, self._comparing.drift.sample_rows // len(self._train))
        parts = [*(sample.smallest(rows, limit) for _, rows in self._train), rows]
        try:
            values = champion.predictions(model, pa.concat_tables(parts))
        except ValueError as error:
            self._notes.append(f"the champion was not asked: {error}")
            return drift
        ends = np.cumsum([part.num_rows for part in parts])[:-1]
        sides = [Column(PREDICTION, "prediction", one) for one in np.split(values, ends)]
        feature = binned(sides[:-1], sides[-1:])
        bounds = compare.thresholds(
            [feature],
            {},
            {},
            current_rows=rows.num_rows,
            false_alarms=self._comparing.drift.false_alarms,
            kind=drift.kind,
        )
        (told,) = compare.compare(
            drift.kind, (drift.reference, drift.current), [feature], bounds, season=self._season()
        ).features
        labels = np.asarray(rows[self._comparing.label], dtype=np.float64)
        mean = float(labels.mean())
        off = abs(float(sides[-1].values.mean()) / mean - 1) if mean else 0.0
        calibration = Measured(
            name="calibration", value=round(off, 6), threshold=self._comparing.calibration_max
        )
        measured = (calibration, *told.measures)
        excess = max(one.excess for one in measured)
        told = told.model_copy(update={"measures": measured, "excess": round(excess, 4)})
        return drift.model_copy(update={"features": compare.ordered([told, *drift.features])})

    def _skew(self, window: list[list[Column]]) -> Iterator[Comparison]:
        drift = self._comparing.drift
        if drift.request_log is None:
            return
        rows = requests.read(drift.request_log, self._features, drift.sample_rows)
        self._violations = serving_contract.violations(self._schema, rows)
        if rows.num_rows < drift.min_requests:
            self._notes.append(
                f"skew was not measured: {rows.num_rows:,} rows are logged in {drift.request_log}, "
                f"fewer than drift.min_requests = {drift.min_requests:,}"
            )
            return
        asked = columns(rows, self._features, None)
        without = [[one for one in part if one.type != "label"] for part in window]
        splits = len(self._ingested.spans) == 1
        features = compare.together(without, [asked], None if splits else self._trending)
        bounds = self._bounds(features, rows.num_rows, "splits" if splits else "skew")
        side = Side(label=words.REQUESTS, rows=rows.num_rows, sampled=rows.num_rows)
        yield compare.compare("skew", (self._window(), side), features, bounds)

    def _summary(self) -> CalibrationSummary | None:
        known = self._calibration
        if known is None:
            return None
        return CalibrationSummary(
            date=known.date.isoformat(),
            spans=known.spans,
            false_alarms=f"1 in {known.false_alarms} spans",
            correction=known.correction,
            detectable=known.detectable,
        )
