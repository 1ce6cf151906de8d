"""All comparisons of a run, out of its row samples: what the DistributionValidator does."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import Features, Section
from pipeline import schema_file, serving_contract
from pipeline.config import DriftConfig
from pipeline.drift import champion, compare, requests, words
from pipeline.drift.bins import Binned, binned
from pipeline.drift.columns import Column, columns
from pipeline.drift.noise import Test
from pipeline.drift.report import (
    Calibration,
    CalibrationSummary,
    Comparison,
    Measured,
    Report,
    Side,
)
from pipeline.ingest import sample
from pipeline.ingest.summary import Ingested

#: The feature that stands for the champion's predictions.
PREDICTION = "champion's prediction"

#: A span of so many times more or fewer rows than the calibrated ones has another noise.
_OTHER_SIZE = 2.0


class Comparing(Section):
    """What the executor needs of the configuration."""

    drift: DriftConfig
    label: str
    calibration_max: float


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
        features = compare.together(window, [newest])
        bounds = self._bounds(features, rows.num_rows)
        drift = compare.compare(
            "splits" if splits else "drift",
            (self._window(), self._side(self._newest, "eval")),
            features,
            bounds,
            None if splits else self._comparing.drift.known_after,
        )
        comparisons = [self._with_champion(drift, rows, model)]
        comparisons += self._skew(window)
        past = []
        if not splits:
            spans = [
                (span, self._ingested.spans[span].kept)
                for span in (*(span for span, _ in self._train), self._newest[-1][0])
            ]
            last = self._columns(self._newest[-1][1])
            past = compare.history(spans, compare.together([*window, last]), bounds)
        return Report(
            comparisons=tuple(comparisons),
            history=tuple(past),
            calibration=self._summary(),
            violations=tuple(self._violations),
            notes=tuple(self._notes),
        )

    def _columns(self, rows: pa.Table) -> list[Column]:
        return columns(rows, self._features, self._comparing.label)

    def _bounds(self, features: list[Binned], rows: int) -> dict[Test, float]:
        known = self._calibration
        if known and rows and not 1 / _OTHER_SIZE < rows / known.span_rows < _OTHER_SIZE:
            self._notes.append(
                f"thresholds were measured on spans of {known.span_rows:,} rows; {rows:,} are "
                "compared. Measure again: headrace drift calibrate"
            )
        if not known:
            self._notes.append(
                "thresholds are three times what chance explains, because none were measured. "
                "Measure them on quiet spans: headrace drift calibrate"
            )
        return compare.thresholds(
            features,
            known.thresholds if known else {},
            schema_file.thresholds(self._schema),
            current_rows=rows,
            false_alarms=self._comparing.drift.false_alarms,
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
        reference = pa.concat_tables(rows for _, rows in self._train)
        reference = sample.smallest(reference, self._comparing.drift.sample_rows)
        sides = []
        for side in (reference, rows):
            try:
                values = champion.predictions(model, side)
            except ValueError as error:
                self._notes.append(f"the champion was not asked: {error}")
                return drift
            sides.append(Column(PREDICTION, "prediction", values))
        feature = binned(sides[:1], sides[1:])
        bounds = self._chance([feature], rows.num_rows)
        (told,) = compare.compare(
            drift.kind, (drift.reference, drift.current), [feature], bounds
        ).features
        labels = np.asarray(rows[self._comparing.label], dtype=np.float64)
        mean = float(labels.mean())
        off = abs(float(sides[1].values.mean()) / mean - 1) if mean else 0.0
        calibration = Measured(
            name="calibration", value=round(off, 6), threshold=self._comparing.calibration_max
        )
        measured = (calibration, *told.measures)
        excess = max(one.excess for one in measured)
        told = told.model_copy(update={"measures": measured, "excess": round(excess, 4)})
        return drift.model_copy(update={"features": compare.ordered([told, *drift.features])})

    def _chance(self, features: list[Binned], rows: int) -> dict[Test, float]:
        return compare.thresholds(
            features, {}, {}, current_rows=rows, false_alarms=self._comparing.drift.false_alarms
        )

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
        features = compare.together(without, [asked])
        bounds = self._bounds(features, rows.num_rows)
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
