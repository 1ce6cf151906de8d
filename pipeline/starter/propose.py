"""From PATH and a label to a configuration that runs, with a reason for each line."""

from __future__ import annotations

import dataclasses
import math
import os
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import config_file, files, spans, sql
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard
from pipeline.starter import decide, labels, leaks, sources
from pipeline.starter import profile as profiling
from pipeline.starter import sample as sampling
from pipeline.starter.decide import Decision
from pipeline.starter.draft import Draft, Line, down, feature_line, toml, up
from pipeline.starter.judged import Judged, judge
from pipeline.starter.names import free, plain_names
from pipeline.starter.profile import Profile
from pipeline.starter.sample import Sample
from pipeline.starter.sources import Source

#: Spans to train on, by what a span is: a year and a bit of hours is no use.
_TRAIN_SPANS = {"%H": 168, "%d": 28, "%m": 12, "%Y": 5}
_UNIT_SECONDS = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400}


@dataclass
class Leak:
    """A column that gives the label away.

    Attributes:
        name: in the configuration.
        type: `float`, `int` or `string`.
        why: how it was found.
        suspected: found by its figures, not by the label's own expression.
    """

    name: str
    type: str
    why: str
    suspected: bool


@dataclass
class Proposal:
    """What `headrace init` found, and the text of the configuration.

    Attributes:
        text: `headrace.toml`.
        config: what it says, with absolute paths.
        judged: the sample as ingestion has it.
        profiles: of the columns, by their name in the configuration.
        decisions: for each feature, by name.
        leaks: columns that give the label away.
        rows: looked at.
        total: in the files; None if not counted.
        remarks: what a person should know, most important first.
        slack: whether the schema must allow for rows that were not looked at.
    """

    text: str
    config: Config
    judged: Judged
    profiles: dict[str, Profile]
    decisions: dict[str, Decision]
    leaks: list[Leak]
    rows: int
    total: int | None
    remarks: list[str] = field(default_factory=list)

    @property
    def slack(self) -> bool:
        """Whether there are rows that were not looked at."""
        return self.rows != self.total


class Proposer:
    """Looks at the data once and makes the configuration in steps."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        target: str,
        say: Callable[[str], None],
    ) -> None:
        """Reads a sample.

        Args:
            connection: where it is kept.
            source: the files.
            target: the configuration file to be.
            say: is told what goes on.

        Raises:
            DataError: the files cannot be read.
        """
        self.connection, self.source, self.target, self.say = connection, source, target, say
        say(f"reading {source.base}/{source.pattern}")
        found = sampling.load(connection, source)
        csv = sampling.find_texts(connection, found)
        if csv:
            sampling.apply_nulls(connection, found, csv)
            found = dataclasses.replace(found, csv=csv)
        self.sample: Sample = found
        seen = f"{found.rows:,} rows" if found.whole else f"a sample of {found.rows:,} rows"
        say(f"looking at {seen}, {len(found.names)} columns")
        self.profiles = profiling.columns(connection, found)
        self.names = plain_names(found.names)
        self.window = spans.choose_window(
            source.found,
            newest=None,
            gap="skip",
            **self._window_sizes(),
        )
        self.leaks: list[Leak] = []
        self.remarks: list[str] = []
        self.scores: dict[str, float] = {}

    # --- what is decided -------------------------------------------------------------------

    def propose(self, label: str | None) -> Proposal:
        """Makes the configuration.

        Raises:
            LabelError: there is no label that can be learnt.
            ConfigError, DataError: the label or the data does not work with ingestion.
        """
        self.label = labels.choose(label, self.profiles, self.names)
        used = {self.names[name] for name in self.label.columns}
        self.label_name = free("label", {*self.names.values()})
        self.decisions = {d.name: d for d in decide.features(self.profiles, self.names)}
        self._leaks_by_construction(used)
        self.time_column, self.time_why = None, ""
        judged = self._judge(self._draft(None))
        labels.check(self.label, judged)
        self._elapsed(judged)
        self._choose_time(judged)
        if self.time_column:  # it decides which rows are held out
            judged = self._judge(self._draft(None))
        self._look_for_leaks(judged)
        if not any(decision.used for decision in self.decisions.values()):
            raise DataError(
                f"{self.source.base}: no column is left that a model could learn from: "
                + "; ".join(f"{d.name}: {d.why}" for d in list(self.decisions.values())[:5])
                + ". Add columns that vary and are known when the prediction is made."
            )
        judged = self._judge(self._draft(None))
        text = self._draft(judged).text()
        config = self._parse(text)
        self._bind(config)
        return Proposal(
            text=text,
            config=config,
            judged=judged,
            profiles={self.names[p.name]: p for p in self.profiles},
            decisions=self.decisions,
            leaks=self.leaks,
            rows=self.sample.rows,
            total=self.sample.total,
            remarks=self._remarks(judged),
        )

    def _leaks_by_construction(self, used: set[str]) -> None:
        for name in used:
            decision = self.decisions.pop(name)
            kind = _leak_type(decision.profile)
            if kind is None:
                why = "the label is made of it"
                self.decisions[name] = Decision(name, {"kind": "ignore"}, why, decision.profile)
            else:
                self.leaks.append(Leak(name, kind, "the label is made of it", suspected=False))

    def _elapsed(self, judged: Judged) -> None:
        """Adds the time between two moments, where one follows the other and it varies."""
        moments = [n for n, d in self.decisions.items() if d.kind == "timestamp"][:6]
        added: list[Decision] = []
        for start in moments:
            for end in moments:
                if start == end or len(added) == 3:
                    continue
                made = self._between(judged, start, end)
                if made:
                    added.append(made)
        for decision in added:
            self.decisions[decision.name] = decision
            self.decisions = _after(self.decisions, decision.name, str(decision.spec["end"]))

    def _between(self, judged: Judged, start: str, end: str) -> Decision | None:
        if "-birth-" in f"-{start}-{end}-":
            return None
        a, b = (_numbers(judged.rows.column(name)) for name in (start, end))
        seconds = b - a
        seconds = seconds[np.isfinite(seconds)]
        if len(seconds) < 20 or np.mean(seconds >= 0) < 0.98 or np.ptp(seconds) == 0:
            return None
        middle = float(np.median(seconds))
        if middle <= 0:
            return None
        unit = next((u for u, size in list(_UNIT_SECONDS.items())[::-1] if middle >= 2 * size), "")
        unit = unit or "seconds"
        values = seconds / _UNIT_SECONDS[unit]
        points = [float(q) for q in np.quantile(values, [0.001, 0.01, 0.05, 0.5, 0.95, 0.99, 0.999])]
        spec: dict[str, Any] = {"kind": "elapsed", "start": start, "end": end, "unit": unit}
        clip = decide.clip_of(points, float(values.min()), float(values.max()))
        if clip:
            spec["clip"] = clip
        name = free(f"{start}_to_{end}", {*self.names.values(), *self.decisions})
        return Decision(
            name, spec, f"median {points[3]:.3g} {unit}; only if {end} is known when asked"
        )

    def _choose_time(self, judged: Judged) -> None:
        """The moment by which rows belong to their span, or by which a table is ordered."""
        moments = [name for name, d in self.decisions.items() if d.kind == "timestamp"]
        if not moments:
            return
        if self.source.has_spans and self.source.found[0].span.start is not None:
            inside = {name: self._inside_spans(judged, name) for name in moments}
            best = max(inside, key=lambda name: inside[name])
            if inside[best] >= 0.98:
                self.time_column = best
                self.time_why = f"{inside[best]:.1%} of its moments lie in their file's span"
            return
        if self.source.has_spans:
            return
        ordered = [name for name in moments if self._orders_rows(name)]
        everywhere = [
            name
            for name in moments
            if (p := self.decisions[name].profile) is not None
            and p.missing_share == 0
            and p.days > 1
            and not decide._BIRTH.search(name)
        ]
        if ordered:
            self.time_column, why = ordered[0], "the rows are in its order"
        elif len(everywhere) == 1:
            self.time_column, why = everywhere[0], "the only moment that every row has"
        else:
            return
        self.time_why = f"{why}: the newest rows are evaluated on"

    def _inside_spans(self, judged: Judged, name: str) -> float:
        times = _numbers(judged.rows.column(name))
        ends = [self.source.found[at].span for at in self.sample.spans]
        low = np.array([span.start for span in ends], float)[judged.file]
        high = np.array([span.end for span in ends], float)[judged.file]
        return float(np.mean((times >= low) & (times < high))) if len(times) else 0.0

    def _orders_rows(self, name: str) -> bool:
        profile = self.decisions[name].profile
        if profile is None or profile.missing_share > 0.01 or profile.days < 2:
            return False
        column = self._typed(name)
        falling, all_ = self.connection.execute(
            f"SELECT count(*) FILTER (t < before), count(before) FROM (SELECT t, lag(t) OVER () AS "
            f"before FROM (SELECT {column} AS t FROM (SELECT {sql.quote(profile.name)} AS "
            f"{sql.quote(name)} FROM sample)))"
        ).fetchone() or (1, 1)
        return bool(all_) and (falling <= 0.01 * all_ or falling >= 0.99 * all_)

    def _typed(self, name: str) -> str:
        profile = self.decisions[name].profile
        form = profile.time_format if profile else None
        decimal = self.sample.csv.decimal if self.sample.csv else "."
        return sql.typed(
            name,
            "timestamp",
            profile.type if profile else "VARCHAR",
            time_format=None if form == "auto" else form,
            decimal=decimal,
        )

    def _look_for_leaks(self, judged: Judged) -> None:
        """Scores every feature by itself; those that need no others are taken out."""
        rows = judged.rows
        for name, decision in self.decisions.items():
            if decision.kind == "elapsed":
                start, end = (rows.column(str(decision.spec[key])) for key in ("start", "end"))
                rows = rows.append_column(name, pc.subtract(end, start))
        looked_at = [
            name
            for name, decision in self.decisions.items()
            if decision.used and decision.kind != "text" and name in rows.column_names
        ]
        held_out = judged.held_out
        self.scores = leaks.scores(rows.select(looked_at), judged.label, held_out)
        if not self.scores:  # too few held out, or of one class: any third of the rows will do
            drawn = np.random.default_rng(0).random(len(judged.label)) < 0.33
            self.scores = leaks.scores(rows.select(looked_at), judged.label, drawn)
        suspects = [name for name, score in self.scores.items() if score >= leaks.SUSPECT]
        if len(suspects) == len(looked_at):  # then it is an easy question, not a leak
            suspects = []
        for name in suspects:
            self._take_out(
                name, f"predicts the label alone: AUC {self.scores[name]:.3f} on held-out rows"
            )
        numbers = [n for n, d in self.decisions.items() if d.kind == "numeric"]
        answers = [leak.name for leak in self.leaks if not leak.suspected and leak.type == "float"]
        for answer in answers:
            parts = [other for other in answers if other != answer]
            for name, total in leaks.sums(judged.rows, answer, numbers, parts).items():
                if name in self.decisions:
                    self._take_out(name, f"is the sum {total}, which holds {answer}")
        for name, decision in self.decisions.items():
            if leaks.STRONG <= self.scores.get(name, 0):
                decision.notes.append(
                    f"strong alone (AUC {self.scores[name]:.3f}): see that it is known when asked"
                )

    def _take_out(self, name: str, why: str) -> None:
        decision = self.decisions.pop(name)
        kind = _leak_type(decision.profile)
        if decision.kind == "elapsed":
            self.remarks.append(f"{name} left out: it {why}")
            return
        # What is derived from it would give the label away as well.
        for other, d in list(self.decisions.items()):
            if name in (d.spec.get("start"), d.spec.get("end")):
                del self.decisions[other]
        if self.time_column == name:
            self.time_column = None
        if decision.kind == "timestamp" or kind is None:
            self.decisions[name] = Decision(name, {"kind": "ignore"}, why, decision.profile)
        else:
            self.leaks.append(Leak(name, kind, why, suspected=True))

    # --- the text --------------------------------------------------------------------------

    def _draft(self, judged: Judged | None) -> Draft:
        """The configuration; figures that follow from judged rows only once there are some."""
        slug = slug_of(self.source, self.target)
        stem = os.path.splitext(os.path.basename(self.target))[0]
        own = stem == "headrace"
        output = "runs" if own else f"runs-{stem}"
        draft = Draft(
            headline=self._headline(),
            top=[Line("name", slug.replace("_", "-")), Line("output", output)],
        )
        add = draft.sections
        add["data"] = self._data_lines("schema/schema.pbtxt" if own else f"schema/{stem}.pbtxt")
        add["data.rename"] = [
            Line(old, new) for old, new in self.names.items() if old != new
        ]
        draft.remarks["data.rename"] = (
            ["Names become inputs of the model, which allow letters, digits and _ only."]
            if add["data.rename"]
            else []
        )
        add["data.time_formats"] = [
            Line(name, p.time_format, "as its column is written")
            for name, d in self.decisions.items()
            if d.kind == "timestamp" and (p := d.profile) and p.time_format not in (None, "auto")
        ]
        add["data.csv"] = self._csv_lines()
        add["window"] = self._window_lines(judged)
        draft.remarks["label"] = self._label_remarks(judged)
        add["label"] = [Line("expression", self.label.expression)]
        if self.label_name != "label":
            add["label"].append(Line("name", self.label_name, "a column is called label"))
        add["label.leaks"] = [Line(leak.name, leak.type, leak.why) for leak in self.leaks]
        if self.leaks:
            draft.remarks["label.leaks"] = [
                "Columns that give the label away: kept for statistics, never shown to the model.",
                "One that is known before the outcome is none: move it to [features].",
            ]
        add["features"] = [feature_line(decision) for decision in self.decisions.values()]
        draft.remarks["features"] = [
            "What the model sees. Take out (kind = \"ignore\") whatever is not known yet at the",
            "moment a prediction is asked for.",
        ]
        add["quarantine"] = self._quarantine_lines(judged)
        add["quarantine.rules"] = []
        draft.remarks["quarantine.rules"] = self._rule_remarks()
        if judged is not None:
            add["training"] = _training_lines(int(np.sum(~judged.held_out)), self._scale())
            add["evaluation"] = self._evaluation_lines(judged)
        add["serving"] = [
            Line("path", f"{output}/serving"),
            Line("model_name", slug.replace("-", "_")),
        ]
        return draft

    def _headline(self) -> list[str]:
        sample = self.sample
        count = f"{sample.rows:,} rows"
        if sample.total is None:
            seen = f"the first rows of {len(sample.files)} file(s), {count}; there are more"
        elif sample.whole:
            seen = f"all {count}"
        else:
            seen = f"a sample of {count} of {sample.total:,}"
        return [
            f"Written by `headrace init` after a look at {seen} in {len(sample.files)} file(s).",
            "Every line is a proposal with its reason: correct what is wrong, then `headrace run`.",
            "README.md has the table of every key; unknown keys are faults.",
        ]

    def _data_lines(self, schema: str) -> list[Line]:
        base = self.source.base
        folder = os.path.dirname(os.path.abspath(self.target))
        if files.is_local(base) and (base + "/").startswith(folder + "/"):
            base = os.path.relpath(base, folder)
        lines = [Line("path", base), Line("pattern", self.source.pattern, self.source.why)]
        if self.time_column:
            lines.append(Line("time_column", self.time_column, self.time_why))
        absent = {self.names[name]: count for name, count in self.sample.absent.items()}
        optional = [
            name
            for name in absent
            if name in {leak.name for leak in self.leaks}
            or (name in self.decisions and self.decisions[name].used)
        ]
        if optional:
            many = f"absent in {max(absent[n] for n in optional)} of {len(self.sample.files)} files"
            lines.append(Line("optional_columns", optional, many))
        return [*lines, Line("schema_file", schema)]

    def _csv_lines(self) -> list[Line]:
        csv = self.sample.csv
        if csv is None:
            return []
        lines = [Line("delimiter", csv.delimiter), Line("encoding", csv.encoding)]
        if csv.encoding == "latin-1":
            lines[-1].why = "it is not UTF-8"
        if csv.null_values:
            why = "texts that stand among numbers or never mean anything else"
            lines.append(Line("null_values", list(csv.null_values), why))
        if csv.decimal != ".":
            lines.append(Line("decimal", csv.decimal, "numbers are written 1,5"))
        return lines

    def _window_sizes(self) -> dict[str, int]:
        """Spans to train and to evaluate on."""
        if not self.source.has_spans:
            return {"train_spans": 12, "eval_spans": 1}
        form, count = self.source.format, len(self.source.found)
        finest = next((size for d, size in _TRAIN_SPANS.items() if d in form), 12)
        per_span = (self.sample.total or 10**9) / len(self.sample.files)
        wanted = math.ceil(500 / max(1.0, per_span * len(self.sample.files) / count))
        held_out = max(1, min(wanted, count // 4))
        return {"train_spans": finest, "eval_spans": held_out}

    def _window_lines(self, judged: Judged | None) -> list[Line]:
        if not self.source.has_spans:
            rows = self.sample.rows
            if rows >= 1000:
                return []
            return [Line("holdout", 0.3, "a small table: enough rows to judge a model by")]
        sizes = self._window_sizes()
        lines = [
            Line("train_spans", sizes["train_spans"]),
            Line("eval_spans", sizes["eval_spans"], "the newest, which the model has not seen"),
        ]
        chosen = [item.span for item in self.window.spans]
        if any(b.ordinal - a.ordinal > 1 for a, b in zip(chosen, chosen[1:], strict=False)):
            lines.append(Line("gap", "skip", "spans are missing in between"))
        if judged is not None:
            inside = [judged.spans.get(span.label, 0) for span in chosen]
            typical = float(np.median([count for count in inside if count] or [1]))
            least = min((count for count in inside if count), default=1) / typical
            if least < 0.11:
                why = f"a span has {least:.1%} of the usual rows; raise it once that is mended"
                lines.append(Line("min_rows_share", down(0.8 * least, 3), why))
        return lines

    def _label_remarks(self, judged: Judged | None) -> list[str]:
        if judged is None:
            return []
        held, rest = judged.label[judged.held_out], judged.label[~judged.held_out]
        return [
            f"SQL over the columns; true or 1 is the positive class ({self.label.why}).",
            f"Its share is {rest.mean():.1%} of the rows to train on, {held.mean():.1%} of those to "
            "evaluate on.",
        ]

    def _quarantine_lines(self, judged: Judged | None) -> list[Line]:
        if judged is None or not judged.reasons:
            return []
        share = judged.refused_share
        told = ", ".join(f"{reason}: {count:,}" for reason, count in judged.reasons.items())
        if share <= 0.005:
            return [Line("max_share", 0.01, f"refused rows now: {told}")]
        return [Line("max_share", min(1.0, up(1.5 * share + 0.01)), f"refused rows now: {told}")]

    def _rule_remarks(self) -> list[str]:
        """Suggestions; a rule that nobody has thought about should not refuse rows."""
        found = []
        for name, decision in self.decisions.items():
            p = decision.profile
            if decision.kind == "numeric" and p and p.low < 0 <= p.quantiles[1]:
                rule = toml(f"{_column(name)} < 0")
                found.append(f"negative_{name} = {rule}  # the smallest is {p.low:g}")
            if decision.kind == "elapsed":
                rule = toml(f"{decision.spec['end']} < {decision.spec['start']}")
                found.append(f"backwards_{name} = {rule}")
        if not found:
            return []
        return ["Suggestions: rows for which a rule is true are kept apart, not learnt from.", *found]

    def _scale(self) -> int:
        """Number of columns the model sees."""
        return sum(decision.used for decision in self.decisions.values())

    def _evaluation_lines(self, judged: Judged) -> list[Line]:
        held, rest = judged.label[judged.held_out], judged.label[~judged.held_out]
        if not (len(held) and len(rest)) or held.mean() in (0.0, 1.0):
            return []
        bars = first_bars(held, rest, self.scores)
        lines = [Line("bars", bars.bars, bars.why)]
        if bars.change:
            lines.append(
                Line("change", bars.change, f"{len(held):,} rows cannot tell smaller changes")
            )
        slices = [
            name
            for name, d in self.decisions.items()
            if d.kind == "categorical" and d.profile and 2 <= d.profile.distinct <= 12
        ][:3]
        if slices and len(held) > 2000:
            why = "a model is judged in each of their values as well"
            lines.append(Line("slices", slices, why, off=True))
        return lines

    def _remarks(self, judged: Judged) -> list[str]:
        found = list(self.remarks)
        for leak in self.leaks:
            if leak.suspected:
                found.append(
                    f"suspected leak: {leak.name} {leak.why}. It is in [label.leaks]; if it is "
                    "known when a prediction is asked for, move it to [features]."
                )
        found += [
            f"{decision.name}: {note}"
            for decision in self.decisions.values()
            for note in decision.notes
        ]
        if judged.refused_share > 0.01:
            told = ", ".join(f"{reason} ({count:,})" for reason, count in judged.reasons.items())
            found.append(f"rows that will be quarantined: {told}")
        return found

    # --- checks ----------------------------------------------------------------------------

    def _parse(self, text: str) -> Config:
        folder = os.path.dirname(os.path.abspath(self.target))
        from pathlib import Path

        return config_file.parse(tomllib.loads(text), source=self.target, folder=Path(folder))

    def _judge(self, draft: Draft) -> Judged:
        plan = IngestPlan.of(self._parse(draft.text()))
        return judge(
            self.connection, self.source, self.sample, plan, self.names, self.window
        )

    def _bind(self, config: Config) -> None:
        """Opens the oldest and the newest file as a run would."""
        plan = IngestPlan.of(config)
        for index in {0, len(self.sample.files) - 1}:
            span = self.source.found[self.sample.spans[index]].span
            path = self.sample.files[index]
            if files.is_local(path):
                shard_work.check(
                    Shard(index, 1, path, span.label, span.start, span.end, "train"), plan
                )


# --- figures -------------------------------------------------------------------------------


@dataclass(frozen=True)
class FirstBars:
    """Bars that a first model can be held to.

    Attributes:
        bars: `evaluation.bars`.
        change: `evaluation.change`, or nothing where the defaults fit.
        why: of the bars.
    """

    bars: dict[str, float]
    change: dict[str, float]
    why: str


def first_bars(held: np.ndarray, rest: np.ndarray, scores: Mapping[str, float]) -> FirstBars:
    """Bars from base rates, the best single column, and what so few rows can tell.

    A model must beat a guess that knows the base rate only. Each bar is let down by two standard
    errors of the figure on that many rows: of AUC under no effect (Mann–Whitney), of the mean
    log loss, of the label's mean.

    Args:
        held: labels evaluated on; both classes.
        rest: labels trained on.
        scores: AUC of each column alone.
    """
    count, rate, known = len(held), float(held.mean()), float(np.clip(rest.mean(), 1e-6, 1 - 1e-6))
    ones, zeros = count * rate, count * (1 - rate)
    chance = math.sqrt((count + 1) / (12 * ones * zeros))
    best = max(scores, key=lambda name: scores[name]) if scores else None
    floor = min(0.5 + 2 * chance, 0.6)
    auc = max(floor, scores[best] - 0.03 - 2 * chance) if best else floor
    guess = -(rate * math.log(known) + (1 - rate) * math.log(1 - known))
    wobble = abs(math.log(known / (1 - known))) * math.sqrt(rate * (1 - rate) / count)
    noise = math.sqrt((1 - rate) / ones)
    moved = abs(known / rate - 1)
    bars = {
        "auc_min": max(0.5, down(auc)),
        "log_loss_max": up(guess + 2 * wobble),
        "calibration_max": up(max(0.1, moved + 2 * noise)),
    }
    why = f"better than always saying {known:.1%} (log loss {guess:.3f})"
    if best and auc > floor:
        why += f"; {best} alone has AUC {scores[best]:.3f}"
    change = {}
    if count < 20_000:
        change = {
            "auc_drop_max": max(0.005, round(chance / 2, 3)),
            "log_loss_rise_max": max(0.005, round(guess * noise / 4, 3)),
            "calibration_rise_max": up(max(0.05, noise)),
        }
    return FirstBars(bars, change, why)


def _training_lines(rows: int, columns: int) -> list[Line]:
    """Steps enough for a small table; the defaults are measured on a hundred thousand rows."""
    if rows >= 60_000:
        return []
    batch = 2 ** round(math.log2(min(512, max(16, rows / 60))))
    epochs = min(40, max(5, math.ceil(900 * batch / max(1, rows))))
    del columns
    lines = [
        Line("batch_size", batch, f"{rows:,} rows: {math.ceil(rows / batch)} steps a pass"),
        Line("epochs", epochs),
    ]
    if rows < 10_000:
        lines.append(Line("holdout", 0.15, "enough rows to see when to stop"))
    return lines


# --- names ---------------------------------------------------------------------------------


def slug_of(source: Source, target: str) -> str:
    """A name for pipeline and model: of the configuration file, the data file, or its folder."""
    stem = os.path.splitext(os.path.basename(target))[0]
    literal = re.split(r"[{*]", os.path.basename(source.pattern))[0]
    file = re.sub(r"\.(csv|tsv|txt|parquet|pq|gz|zst)\b.*$", "", literal)
    folders = [part for part in source.base.split("/") if part not in ("", "data")]
    words = [stem if stem != "headrace" else "", file, folders[-1] if folders else "", "model"]
    for word in words:
        slug = re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
        slug = re.sub(r"^[^a-z]+", "", slug)[:60].strip("-")
        if len(slug) > 1:
            return slug
    return "model"


def _column(name: str) -> str:
    return sql.quote(name) if sql.is_keyword(name) else name


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.cast(column, pa.float64()), float("nan")))


def _leak_type(p: Profile | None) -> str | None:
    if p is None or sampling.nested(p.type) or p.type.startswith(("TIME", "DATE")):
        return None
    if p.is_number:
        return "int" if p.is_whole and p.distinct <= 2 else "float"
    return "string"


def _after(decisions: dict[str, Decision], name: str, other: str) -> dict[str, Decision]:
    """The same in an order in which `name` follows `other`."""
    moved = decisions.pop(name)
    ordered = {}
    for key, decision in decisions.items():
        ordered[key] = decision
        if key == other:
            ordered[name] = moved
    return ordered


def propose(
    path: str, label: str | None, target: str, say: Callable[[str], None]
) -> Proposal:
    """Looks at the data and proposes a configuration.

    Args:
        path: a file, a folder, or a glob pattern.
        label: an SQL expression or a column; None if not given.
        target: the configuration file to be.
        say: is told what goes on.

    Raises:
        HeadraceError: data or label cannot be used; the message says what to do.
    """
    source = sources.find(path)
    with sql.connect() as connection:
        return Proposer(connection, source, target, say).propose(label)
