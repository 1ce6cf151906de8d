"""The configuration's lines from what was found, each with its reason."""

from __future__ import annotations

import itertools
import math
import os
from collections import Counter

import numpy as np

from pipeline import files, sql
from pipeline.number_text import Format
from pipeline.starter import bars
from pipeline.starter.draft import Draft, Line, down, feature_line, toml, up
from pipeline.starter.judged import Judged
from pipeline.starter.names import slug_of
from pipeline.starter.sample import Sample
from pipeline.starter.sources import Source
from pipeline.starter.state import State

#: Rules suggested at most.
_RULES = 8
#: Spans to train on, by what a span is.
_TRAIN_SPANS = {"hour": 168, "day": 28, "week": 26, "month": 12, "quarter": 8, "year": 5}


def draft(state: State, judged: Judged | None) -> Draft:
    """The configuration; figures that follow from judged rows only once there are some."""
    slug = slug_of(state.source, state.target)
    stem = os.path.splitext(os.path.basename(state.target))[0]
    own = stem == "headrace"
    output = "runs" if own else f"runs-{stem}"
    draft = Draft(
        headline=_headline(state),
        top=[Line("name", slug.replace("_", "-")), Line("output", output)],
    )
    add = draft.sections
    add["data"] = _data_lines(state, "schema/schema.pbtxt" if own else f"schema/{stem}.pbtxt")
    add["data.rename"] = [Line(old, new) for old, new in state.names.items() if old != new]
    draft.remarks["data.rename"] = (
        ["Names become inputs of the model, which allow letters, digits and _ only."]
        if add["data.rename"]
        else []
    )
    add["data.time_formats"] = [
        Line(name, p.time_format, "as its column is written")
        for name, d in state.decisions.items()
        if d.kind == "timestamp" and (p := d.profile) and p.time_format not in (None, "auto")
    ]
    add["data.null_values"] = [
        Line(state.names[name], list(texts), "a value elsewhere" if state.sample.csv else "")
        for name, texts in state.sample.null_values.items()
        if state.names[name] in _columns(state)
    ]
    add["data.number_formats"] = [
        Line(state.names[name], form.example, "1234.5 as it is written there")
        for name, form in state.sample.number_formats.items()
        if _columns(state).get(state.names[name])
    ]
    add["data.csv"] = _csv_lines(state)
    add["window"] = _window_lines(state, judged)
    draft.remarks["label"] = _label_remarks(state, judged)
    add["label"] = [Line("expression", state.label.expression)]
    if state.label_name != "label":
        add["label"].append(Line("name", state.label_name, "a column is called label"))
    add["label.leaks"] = [Line(leak.name, leak.type, leak.why) for leak in state.leaks]
    if state.leaks:
        draft.remarks["label.leaks"] = [
            "Columns that give the label away: kept for statistics, never shown to the model.",
            "One that is known before the outcome is none: move it to [features].",
        ]
    add["features"] = [feature_line(decision) for decision in state.decisions.values()]
    draft.remarks["features"] = [
        'What the model sees. Take out (kind = "ignore") whatever is not known yet at the',
        "moment a prediction is asked for.",
        *(f"Known by then? {question}" for question in state.questions),
    ]
    add["quarantine"] = _quarantine_lines(judged)
    add["quarantine.rules"] = []
    draft.remarks["quarantine.rules"] = _rule_remarks(state)
    if judged is not None:
        add["training"] = bars.training_lines(int(np.sum(~judged.held_out)))
        add["evaluation"] = _evaluation_lines(state, judged)
    add["serving"] = [
        Line("path", f"{output}/serving"),
        Line("model_name", slug.replace("-", "_")),
    ]
    return draft


def _headline(state: State) -> list[str]:
    sample = state.sample
    return [
        f"Written by `headrace init` after a look at {sample.seen}.",
        "Every line is a proposal with its reason: correct what is wrong, then `headrace run`.",
        "README.md has the table of every key; unknown keys are faults.",
    ]


def _data_lines(state: State, schema: str) -> list[Line]:
    base = state.source.base
    folder = os.path.dirname(os.path.abspath(state.target))
    if files.is_local(base) and (base + "/").startswith(folder + "/"):
        base = os.path.relpath(base, folder)
    lines = [Line("path", base), Line("pattern", state.source.pattern, state.source.why)]
    in_path = [
        state.names[name]
        for name in state.sample.path_columns
        if state.names[name] in state.decisions
        or state.names[name] in {leak.name for leak in state.leaks}
    ]
    if in_path:
        why = "in the path of each file, as name=value, and not in the file itself"
        lines.append(Line("path_columns", in_path, why))
    if state.time_column:
        lines.append(Line("time_column", state.time_column, state.time_why))
    if state.row_key and not state.time_column:
        why = "a row keeps its side when columns are added or other values corrected"
        lines.append(Line("row_key", state.row_key, f"{state.row_key_why}: {why}"))
    absent = {state.names[name]: count for name, count in state.sample.absent.items()}
    optional = [
        name
        for name in absent
        if name in {leak.name for leak in state.leaks}
        or (name in state.decisions and state.decisions[name].used)
    ]
    if optional:
        many = f"absent in {max(absent[n] for n in optional)} of {len(state.sample.files)} files"
        lines.append(Line("optional_columns", optional, many))
    return [*lines, Line("schema_file", schema)]


def _csv_lines(state: State) -> list[Line]:
    csv = state.sample.csv
    if csv is None:
        return []
    lines = [Line("delimiter", csv.delimiter), Line("encoding", csv.encoding)]
    if csv.encoding != "utf-8":
        lines[-1].why = "it is not UTF-8"
    if csv.escape != '"':
        lines.append(Line("escape", csv.escape, 'a quote within quotes is written \\"'))
    if csv.null_values:
        why = "texts that stand among numbers or never mean anything else"
        lines.append(Line("null_values", list(csv.null_values), why))
    if csv.decimal != ".":
        lines.append(Line("decimal", csv.decimal, "numbers are written 1,5"))
    if csv.thousands:
        form = Format(csv.decimal, csv.thousands)
        lines.append(Line("thousands", csv.thousands, f"numbers are written {form.example}"))
    return lines


def _columns(state: State) -> dict[str, bool]:
    """Columns that the configuration names, and whether they are numbers."""
    found = {
        name: d.kind == "numeric" or d.spec.get("type") in ("int", "float")
        for name, d in state.decisions.items()
    }
    return found | {leak.name: leak.type != "string" for leak in state.leaks}


def window_sizes(source: Source, sample: Sample) -> dict[str, int]:
    """Spans to train and to evaluate on."""
    if not source.has_spans:
        return {"train_spans": 12, "eval_spans": 1}
    count = len(source.found)
    finest = _TRAIN_SPANS.get(source.unit, 12)
    per_file = (sample.total or 10**9) / len(sample.files)
    wanted = math.ceil(500 / max(1.0, per_file * sample.every / count))
    held_out = max(1, min(wanted, count // 4))
    return {"train_spans": finest, "eval_spans": held_out}


def _window_lines(state: State, judged: Judged | None) -> list[Line]:
    if not state.source.has_spans:
        return _table_lines(state)
    sizes = window_sizes(state.source, state.sample)
    lines = [
        Line("train_spans", sizes["train_spans"]),
        Line(
            "eval_spans",
            state.eval_spans or sizes["eval_spans"],
            state.holdout_why or "the newest, which the model has not seen",
        ),
    ]
    chosen = [item.span for item in state.window.spans]
    if any(b.ordinal - a.ordinal > 1 for a, b in itertools.pairwise(chosen)):
        lines.append(Line("gap", "skip", "spans are missing in between"))
    if judged is not None:
        opened = Counter(state.sample.spans)
        inside = [
            judged.spans.get(item.span.label, 0)
            for at, item in enumerate(state.source.found)
            if item in state.window.spans and opened[at] == len(item.paths)
        ]
        typical = float(np.median([count for count in inside if count] or [1]))
        least = min((count for count in inside if count), default=1) / typical
        if least < 0.11:
            why = f"a span has {least:.1%} of the usual rows; raise it once that is mended"
            lines.append(Line("min_rows_share", down(0.8 * least, 3), why))
    return lines


def _table_lines(state: State) -> list[Line]:
    """How the rows of one table are parted."""
    if state.holdout:
        return [Line("holdout", state.holdout, state.holdout_why)]
    return []


def _label_remarks(state: State, judged: Judged | None) -> list[str]:
    if judged is None:
        return []
    held, rest = judged.label[judged.held_out], judged.label[~judged.held_out]
    return [
        f"SQL over the columns; true or 1 is the positive class ({state.label.why}).",
        f"Its share is {rest.mean():.1%} of the rows to train on, {held.mean():.1%} of those to "
        "evaluate on.",
    ]


def _quarantine_lines(judged: Judged | None) -> list[Line]:
    if judged is None or not judged.reasons:
        return []
    share = judged.refused_share
    told = ", ".join(f"{reason}: {count:,}" for reason, count in judged.reasons.items())
    if share <= 0.005:
        return [Line("max_share", 0.01, f"refused rows now: {told}")]
    return [Line("max_share", min(1.0, up(1.5 * share + 0.01)), f"refused rows now: {told}")]


def _rule_remarks(state: State) -> list[str]:
    """Suggestions; a rule that nobody has thought about should not refuse rows."""
    found = []
    for name, decision in state.decisions.items():
        p = decision.profile
        if decision.kind == "numeric" and p and p.low < 0 <= p.quantiles[1]:
            rule = toml(f"{_column(name)} < 0")
            found.append(f"negative_{name} = {rule}  # the smallest is {p.low:g}")
        if decision.kind == "elapsed":
            rule = toml(f"{decision.spec['end']} < {decision.spec['start']}")
            found.append(f"backwards_{name} = {rule}")
    head = "Suggestions: rows for which a rule is true are kept apart, not learnt from."
    return [head, *found[:_RULES]] if found else []


def _evaluation_lines(state: State, judged: Judged) -> list[Line]:
    held, rest = judged.label[judged.held_out], judged.label[~judged.held_out]
    if not (len(held) and len(rest)) or held.mean() in (0.0, 1.0):
        return []
    first = bars.first_bars(held, rest, state.scores)
    lines = [Line("bars", first.bars, first.why)]
    if first.change:
        lines.append(
            Line("change", first.change, f"{len(held):,} rows cannot tell smaller changes")
        )
    slices = [
        name
        for name, d in state.decisions.items()
        if d.kind == "categorical" and d.profile and 2 <= d.profile.distinct <= 12
    ][:3]
    if slices and len(held) > 2000:
        why = "a model is judged in each of their values as well"
        lines.append(Line("slices", slices, why, off=True))
    return lines


def remarks(state: State, judged: Judged) -> list[str]:
    """What a person should know before the first run, most important first."""
    found = list(state.remarks)
    held, rest = judged.label[judged.held_out], judged.label[~judged.held_out]
    if len(held) and len(rest) and not 0.67 < (rest.mean() or 1) / (held.mean() or 1e-9) < 1.5:
        found.append(
            f"the label's share moves from {rest.mean():.1%} in the rows to train on to "
            f"{held.mean():.1%} in those to evaluate on: what was learnt may not hold"
        )
    for leak in state.leaks:
        if leak.suspected:
            found.append(
                f"suspected leak: {leak.name} {leak.why}. It is in [label.leaks]; if it is "
                "known when a prediction is asked for, move it to [features]."
            )
    found += [
        f"{decision.name}: {note}"
        for decision in state.decisions.values()
        for note in decision.notes
    ]
    if judged.refused_share > 0.01:
        told = ", ".join(f"{reason} ({count:,})" for reason, count in judged.reasons.items())
        found.append(f"rows that will be quarantined: {told}")
    return found


def _column(name: str) -> str:
    return sql.quote(name) if sql.is_keyword(name) else name
