"""The first schema: inferred by TFDV from the sample, with room for what was not looked at."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tensorflow_metadata.proto.v0 import schema_pb2

from pipeline import open_lists, schema_file, schema_infer, schema_text
from pipeline.drift import profile as reviewed
from pipeline.ingest.plan import IngestPlan
from pipeline.sql import ColumnType
from pipeline.starter.judged import Judged
from pipeline.starter.propose import Proposal

_HEAD = """\
# The data contract of '{name}', written by `headrace init` from {rows}.
# Review it, then keep it under version control: from now on data is held to it, and what breaks it
# trains nothing. `headrace schema diff` tells what new data would change, `headrace schema accept`
# changes it.
# The label and the columns that give it away are not in the SERVING environment: a request must
# not hold them.

"""
#: Parts that a table without spans is cut into, by its time.
_PARTS = 8
#: Whole numbers with at most so many values have a range.
_CODES = 50


def text(proposal: Proposal) -> str:
    """The schema file."""
    schema, why = _schema(proposal)
    rows = f"{proposal.rows:,} rows"
    if proposal.total is None or proposal.slack:
        rows = f"a sample of {rows}"
    head = _HEAD.format(name=proposal.config.name, rows=rows)
    if reviewed.wanted(proposal.config):
        label = pa.array(proposal.judged.label).cast(pa.int64())
        rows = proposal.judged.rows.append_column(proposal.config.label.name, label)
        schema = reviewed.put(schema, reviewed.of(rows, proposal.config))
    return head + schema_text.write(schema, why=why)


def _schema(proposal: Proposal) -> tuple[schema_pb2.Schema, dict[str, str]]:
    config, judged = proposal.config, proposal.judged
    kinds: dict[str, ColumnType] = dict(IngestPlan.of(config).columns())
    kinds[config.label.name] = "int"
    rows = judged.rows.append_column(config.label.name, pa.array(judged.label))
    stats = schema_infer.statistics(rows, kinds)
    schema = schema_file.curate(schema_infer.infer(stats), config)
    order = {name: at for at, name in enumerate(kinds)}
    features = sorted(schema.feature, key=lambda feature: order.get(feature.name, len(order)))
    del schema.feature[:]
    schema.feature.extend(features)
    domains = {domain.name: domain for domain in schema.string_domain}
    why, parts = {}, _parts(proposal)
    for feature in schema.feature:
        reasons = [_what(proposal, feature.name)]
        reasons.append(_presence(feature, judged, rows, slack=proposal.slack))
        if feature.domain:
            wanted = proposal.decisions.get(feature.name)
            listed = feature.domain
            if wanted is None or wanted.kind != "categorical":
                del domains[listed]
                feature.ClearField("domain")
            else:
                reasons.append(_values(proposal, feature, domains[feature.domain], parts))
                if not feature.domain:
                    domains.pop(listed)
        elif feature.name == config.label.name:
            feature.int_domain.min, feature.int_domain.max = 0, 1
            feature.int_domain.is_categorical = True
        else:
            reasons.append(_range(proposal, feature, parts))
        why[feature.name] = "\n".join(reason for reason in reasons if reason)
    del schema.string_domain[:]
    schema.string_domain.extend(domains[name] for name in sorted(domains))
    return schema, why


def _what(proposal: Proposal, name: str) -> str:
    config = proposal.config
    if name == config.label.name:
        return f"The label: {' '.join(config.label.expression.split())}"
    leak = next((leak for leak in proposal.leaks if leak.name == name), None)
    if leak:
        return f"Gives the label away ({leak.why}): absent when serving."
    return ""


def _presence(feature: schema_pb2.Feature, judged: Judged, rows: pa.Table, *, slack: bool) -> str:
    """How many rows must have a value: a tenth less than the span that has fewest."""
    there = np.asarray(pc.is_valid(rows.column(feature.name))).astype(float)
    if not len(there):
        return ""
    share = float(there.mean())
    if share == 1.0:
        if slack:
            feature.presence.min_fraction = 0.99
            return "Never missing in the sample; 1 in 100 is let pass."
        return ""
    files = [there[judged.file == index] for index in np.unique(judged.file)]
    # Splits of a table without spans are judged apart, so they are looked at apart.
    parts = [
        part for part in (*files, there[judged.held_out], there[~judged.held_out]) if len(part)
    ]
    lowest = min(float(part.mean()) for part in parts)
    size = min(len(part) for part in parts)
    least = schema_file.least_presence(lowest, size)
    feature.ClearField("presence")
    seen = f"Missing in {_percent(1 - share)} of the rows"
    if len(files) > 1:
        seen += f" (at most {_percent(1 - lowest)} of a file)"
    if least < 0.05:
        return f"{seen}: no share is asked for."
    feature.presence.min_fraction = least
    return f"{seen}."


def _percent(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "under 0.1%"


def _values(
    proposal: Proposal,
    feature: schema_pb2.Feature,
    domain: schema_pb2.StringDomain,
    parts: list[pa.Table],
) -> str:
    """A list of values is closed only if new ones are not to be expected."""
    grown = open_lists.growth([part.column(feature.name) for part in parts])
    let = grown.let_pass
    if proposal.slack or len(domain.value) > 20:
        let = max(let, open_lists.LEAST)
    told = open_lists.open_list(feature, let)
    if not told:
        return ""
    late = f", {grown.late} of them lately" if grown.late else ""
    return f"{len(domain.value)} values{late}; {told}" if feature.domain else told


def _parts(proposal: Proposal) -> list[pa.Table]:
    """The sample, oldest rows first: a part a span, or by the time column."""
    judged, column = proposal.judged, proposal.config.data.time_column
    spans = np.unique(judged.span)
    if len(spans) > 1:
        return [judged.rows.filter(pa.array(judged.span == span)) for span in spans]
    if column is None or column not in judged.rows.column_names:
        return [judged.rows]
    order = pc.sort_indices(judged.rows, [(column, "ascending")], null_placement="at_start")
    return [judged.rows.take(pa.array(part)) for part in np.array_split(order, _PARTS)]


def _range(proposal: Proposal, feature: schema_pb2.Feature, parts: list[pa.Table]) -> str:
    """Ranges that the data keep to for a reason, not by chance."""
    decision = proposal.decisions.get(feature.name)
    profile = decision.profile if decision else None
    if decision is None or profile is None or not profile.quantiles:
        return ""
    if decision.kind == "categorical" and feature.type == schema_pb2.INT:
        grown = open_lists.growth([part.column(feature.name) for part in parts])
        if profile.distinct <= _CODES and not grown.let_pass and not proposal.slack:
            feature.int_domain.min, feature.int_domain.max = int(profile.low), int(profile.high)
            return f"{profile.distinct} codes, each in several rows: others are no codes."
        return ""
    # It comes close to nothing and never crosses it: an amount, a count, a length.
    if decision.kind == "numeric" and 0 <= profile.low <= 0.05 * profile.quantiles[3]:
        feature.float_domain.min = 0.0
        return "Never below 0."
    return ""
