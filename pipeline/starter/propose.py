"""From PATH and a label to a configuration that runs, with a reason for each line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pipeline import config_file, files, spans, sql
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.ingest import shard as shard_work
from pipeline.ingest.plan import IngestPlan, Shard
from pipeline.starter import (
    clothes,
    decide,
    enough,
    hunt,
    labels,
    layout,
    number_notes,
    questions,
    row_key,
    sources,
    tables,
    texts,
    times,
)
from pipeline.starter import profile as profiling
from pipeline.starter import sample as sampling
from pipeline.starter.decide import Decision
from pipeline.starter.judged import Judged, judge
from pipeline.starter.names import free, plain_names
from pipeline.starter.profile import Profile
from pipeline.starter.state import Leak, State


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
        total: in those files; None if not counted.
        seen: what was looked at, for a person.
        slack: whether there are rows that were not looked at.
        remarks: what a person should know, most important first.
        questions: columns that may be known only afterwards, the most suspicious first.
    """

    text: str
    config: Config
    judged: Judged
    profiles: dict[str, Profile]
    decisions: dict[str, Decision]
    leaks: list[Leak]
    rows: int
    total: int | None
    seen: str
    slack: bool
    remarks: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)


def propose(path: str, label: str | None, target: str, say: Callable[[str], None]) -> Proposal:
    """Looks at the data and proposes a configuration.

    Args:
        path: a file, a folder, or a glob pattern.
        label: an SQL expression or a column; None if not given.
        target: the configuration file to be.
        say: is told what goes on.

    Raises:
        HeadraceError: data or label cannot be used; the message says what to do.
    """
    source = tables.one_table(sources.find(path), label)
    with sql.connect() as connection:
        say(f"reading {source.base}/{source.pattern}")
        sample = sampling.load(connection, source)
        sample = texts.find(connection, sample)
        say(f"looking at {sample.seen}, {len(sample.names):,} columns")
        profiles = profiling.columns(connection, sample)
        names = plain_names(sample.names)
        state = State(
            connection=connection,
            source=source,
            target=target,
            sample=sample,
            profiles=profiles,
            names=names,
            window=spans.choose_window(
                source.found, newest=None, gap="skip", **layout.window_sizes(source, sample)
            ),
            label=labels.choose(label, profiles, names),
            label_name=free("label", {*names.values()}),
            decisions={d.name: d for d in decide.features(profiles, names)},
            remarks=[
                *source.notes,
                *sample.remarks,
                *number_notes.remarks(connection, profiles),
            ],
        )
        return _propose(state)


def _propose(state: State) -> Proposal:
    enough.begin(state)
    hunt.by_construction(state)
    _require_features(state)
    judged = _judge(state)
    labels.check(state.label, judged)
    enough.choose(state, judged)
    times.add_elapsed(state, judged)
    times.name_sentinels(state, judged)
    times.choose_time_column(state, judged)
    if state.time_column or state.eval_spans or state.holdout:  # they decide what is held out
        judged = _judge(state)
    clothes.take_off(state, judged)
    _require_features(state)
    hunt.by_figures(state, judged)
    _require_features(state)
    if not (state.source.has_spans or state.time_column):
        state.row_key, state.row_key_why = row_key.of(state)
    judged = _judge(state)
    state.questions = questions.of(state, judged)
    text = layout.draft(state, judged).text()
    config = _parse(state, text)
    _bind(state, config)
    return Proposal(
        text=text,
        config=config,
        judged=judged,
        profiles={state.names[p.name]: p for p in state.profiles},
        decisions=state.decisions,
        leaks=state.leaks,
        rows=state.sample.rows,
        total=state.sample.total,
        seen=state.sample.seen,
        slack=not state.sample.whole,
        remarks=layout.remarks(state, judged),
        questions=state.questions,
    )


def _require_features(state: State) -> None:
    if any(decision.used for decision in state.decisions.values()):
        return
    told = "; ".join(f"{one.name}: {one.why}" for one in list(state.decisions.values())[:5])
    raise DataError(
        f"{state.source.base}: beside the label no column is left that a model could learn from"
        f"{f' ({told})' if told else ''}. Add columns that vary and are known when the prediction "
        "is made."
    )


def _parse(state: State, text: str) -> Config:
    folder = Path(os.path.abspath(state.target)).parent
    return config_file.parse(tomllib.loads(text), source=state.target, folder=folder)


def _judge(state: State) -> Judged:
    """The sample through ingestion's own eyes, with the configuration as it is by now."""
    plan = IngestPlan.of(_parse(state, layout.draft(state, None).text()))
    if state.judged is None or state.judged[0] != plan:  # the same plan, the same judgement
        judged = judge(
            state.connection, state.source, state.sample, plan, state.names, state.window
        )
        state.judged = (plan, judged)
    return state.judged[1]


def _bind(state: State, config: Config) -> None:
    """Opens the oldest and the newest file as a run would."""
    plan, sample = IngestPlan.of(config), state.sample
    for index in {0, len(sample.files) - 1}:
        span = state.source.found[sample.spans[index]].span
        if files.is_local(sample.files[index]):
            shard = Shard(index, 1, sample.files[index], span.label, span.start, span.end, "train")
            shard_work.check(shard, plan)
