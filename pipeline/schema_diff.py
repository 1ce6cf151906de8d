"""What data would change in the schema, in words; and the schema changed so.

The rows are read, typed and judged by ingestion's own code (`pipeline.schema_look`); what is wrong
with them is said with counts by `pipeline.serving_contract`; the changed schema is TFDV's
(`update_schema`), which also has the last word on what still breaks it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from tensorflow_metadata.proto.v0 import schema_pb2

from models.config import Section
from pipeline import open_lists, schema_file, serving_contract
from pipeline.config import Config
from pipeline.errors import DataError
from pipeline.schema_fit import Configured, Fitted, fit
from pipeline.schema_look import Seen

Kind = Literal[
    "new_column", "missing_column", "not_in_schema", "not_configured", "type", "values", "range",
    "missing", "label", "distribution", "other",
]  # fmt: skip


class Difference(Section):
    """One thing that the data would change.

    Attributes:
        feature: column it is about.
        kind: what sort of change.
        message: in words, with counts and examples.
        acceptable: whether `headrace schema accept` can write it into the schema.
        remedy: what else has to be done, such as the line to add to the configuration.
        count: rows it is seen in.
        rows: rows looked at.
    """

    feature: str
    kind: Kind
    message: str
    acceptable: bool = True
    remedy: str = ""
    count: int = 0
    rows: int = 0


def differences(config: Config, fitted: Fitted, seen: Seen) -> list[Difference]:
    """What is not as the schema says, without what TFDV would add (see `propose`)."""
    found = [*_columns(fitted, seen), *_types(seen), *_label(config, seen)]
    absent = {name for name, count in seen.absent.items() if count == seen.files}
    for violation in serving_contract.violations(
        fitted.schema, seen.rows, environment=schema_file.TRAINING
    ):
        name = violation.column
        if name in absent or (name == config.label.name and violation.what == "missing"):
            continue
        if violation.what == "unknown" or name in fitted.unreviewed:
            continue
        found.append(
            Difference(
                feature=name,
                kind=violation.what if violation.what != "not_served" else "other",
                message=violation.message,
                count=violation.count,
                rows=violation.rows,
            )
        )
    for name, why in fitted.unreviewed.items():
        if name not in absent:
            told = f"{name}: {why}"
            rows = seen.rows.num_rows
            found.append(Difference(feature=name, kind="not_in_schema", message=told, rows=rows))
    return found


def _columns(fitted: Fitted, seen: Seen) -> Iterator[Difference]:
    for name, path in seen.new.items():
        if name not in fitted.left_out:
            yield Difference(
                feature=name,
                kind="new_column",
                message=f"{name}: a new column, in {path}, which the configuration does not name",
                acceptable=False,
                remedy="name it in [features]",
            )
    for name, count in seen.absent.items():
        where = "every file" if count == seen.files else f"{count} of {seen.files} files"
        yield Difference(
            feature=name,
            kind="missing_column",
            message=f"{name}: missing as a column in {where}",
            acceptable=False,
            remedy=f"if files may lack it, add it to data.optional_columns; if it is gone for "
            f"good, take {name} out of the configuration, then accept",
        )


def _not_configured(
    schema: schema_pb2.Schema, configured: Configured, fitted: Fitted, seen: Seen
) -> Iterator[Difference]:
    """What the schema still holds of columns that are not looked at any more.

    A column that the configuration does not name, and files still have, stays: the schema alone
    says that it is not new.
    """
    for feature in schema.feature:
        name = feature.name
        if name in configured.ignored:
            why = "the configuration ignores it"
        elif name in fitted.left_out and name not in seen.new:
            why = "neither the configuration nor the files have it any more"
        else:
            continue
        message = f"{name}: is in the schema, and {why}"
        yield Difference(feature=name, kind="not_configured", message=message)


def _types(seen: Seen) -> Iterator[Difference]:
    for reason, count in seen.refused.items():
        if not reason.startswith("type: "):
            continue
        name, _, kind = reason.removeprefix("type: ").partition(" is not ")
        what = {"float": "numbers", "int": "whole numbers", "timestamp": "moments"}.get(kind, kind)
        yield Difference(
            feature=name,
            kind="type",
            message=f"{name}: {count:,} of {seen.total:,} rows hold values that are no {what}: "
            f"{seen.bad[reason]}",
            acceptable=False,
            remedy=f"mend the data, name the texts in data.csv.null_values, or change the kind of "
            f"features.{name}",
            count=count,
            rows=seen.total,
        )


def _label(config: Config, seen: Seen) -> Iterator[Difference]:
    name = config.label.name
    if seen.label_fault:
        yield Difference(
            feature=name,
            kind="label",
            message=f"{name}: {seen.label_fault}",
            acceptable=False,
            remedy="mend label.expression",
        )
        return
    for reason in ("label is missing", "label is not 0 or 1"):
        if count := seen.refused.get(reason, 0):
            share = count / seen.total
            if share > config.quarantine.max_share or reason == "label is not 0 or 1":
                yield Difference(
                    feature=name,
                    kind="label",
                    message=f"{reason} in {count:,} of {seen.total:,} rows ({share:.1%}), for "
                    f"example {seen.bad[reason]}",
                    acceptable=False,
                    remedy="mend the data or label.expression",
                    count=count,
                    rows=seen.total,
                )
    labels = Counter(seen.rows.column(name).drop_null().to_pylist()) if seen.rows.num_rows else {}
    if len(labels) == 1:
        (only,) = labels
        yield Difference(
            feature=name,
            kind="label",
            message=f"{name}: is {only} in all {seen.rows.num_rows:,} rows; a model needs both",
            acceptable=False,
            remedy="mend the data or label.expression",
            rows=seen.rows.num_rows,
        )


@dataclass(frozen=True)
class Change:
    """A difference report with the schema that would settle it.

    Attributes:
        differences: in the order of the configuration.
        schema: as it is.
        proposed: as TFDV would have it, with room for the shares of missing values.
    """

    differences: list[Difference]
    schema: schema_pb2.Schema
    proposed: schema_pb2.Schema


def propose(config: Config, schema: schema_pb2.Schema, seen: Seen) -> Change:
    """The differences, and the schema changed as little as settles them. Imports TFDV."""
    from pipeline import schema_infer

    if not seen.rows.num_rows:
        if seen.total:
            told = ", ".join(f"{reason} ({count:,})" for reason, count in seen.refused.items())
            raise DataError(f"{', '.join(seen.spans)}: no sound row to look at: {told}.")
        raise DataError(f"{', '.join(seen.spans)}: holds no rows.")
    configured = Configured.of(config)
    fitted = fit(schema, configured)
    found = differences(config, fitted, seen)
    gone = {name for name, count in seen.absent.items() if count == seen.files}
    kinds = {name: kind for name, kind in configured.columns.items() if name not in gone}
    stats = schema_infer.statistics(seen.rows, kinds, fitted.schema)
    reviewed = _without(fitted.schema, fitted.unreviewed)
    proposed = schema_infer.update(reviewed, stats)
    spoken = {difference.feature for difference in found}
    for name, message in schema_infer.anomalies(reviewed, stats).items():
        if name in spoken or (name in seen.absent):
            continue
        found.append(
            Difference(
                feature=name,
                kind="other",
                message=f"{name}: {message}" if name else message,
                acceptable=bool(name),
                remedy="" if name else "see the message",
            )
        )
    found += _not_configured(schema, configured, fitted, seen)
    _give_room(schema, proposed, seen)
    _open(config, proposed, fitted.unreviewed, seen)
    order = {name: at for at, name in enumerate(kinds)}
    found.sort(key=lambda difference: (order.get(difference.feature, len(order)),))
    return Change(found, schema, schema_file.curate(proposed, config))


def _without(schema: schema_pb2.Schema, names: Collection[str]) -> schema_pb2.Schema:
    kept = schema_pb2.Schema()
    kept.CopyFrom(schema)
    del kept.feature[:]
    kept.feature.extend(feature for feature in schema.feature if feature.name not in names)
    return kept


def _open(config: Config, proposed: schema_pb2.Schema, names: Collection[str], seen: Seen) -> None:
    """Only categories have a list of values; TFDV makes one of any text with few."""
    for feature in proposed.feature:
        declared = config.features.get(feature.name)
        if feature.name not in names or declared is None or not feature.domain:
            continue
        if declared.kind != "categorical":
            feature.ClearField("domain")
        else:
            grown = open_lists.growth([seen.rows.column(feature.name)])
            open_lists.open_list(feature, grown.let_pass)


def _give_room(schema: schema_pb2.Schema, proposed: schema_pb2.Schema, seen: Seen) -> None:
    """Where TFDV lowers a share to just what it saw, the next span would fail by chance."""
    before = {feature.name: feature.presence.min_fraction for feature in schema.feature}
    for feature in proposed.feature:
        share = feature.presence.min_fraction
        if share < before.get(feature.name, 2.0) and share < 1.0:
            feature.presence.min_fraction = schema_file.least_presence(share, seen.rows.num_rows)
            if not feature.presence.min_fraction:
                feature.ClearField("presence")


def accept(change: Change, features: Sequence[str]) -> schema_pb2.Schema:
    """The schema with the differences of some features settled.

    Args:
        change: what there is to settle.
        features: names; all that can be settled if empty.

    Raises:
        DataError: there is no such difference, or the schema alone cannot settle it.
    """
    names = {difference.feature for difference in change.differences}
    if unknown := [name for name in features if name not in names]:
        listed = f"There are differences in: {', '.join(sorted(names))}."
        if not names:
            listed = "There is no difference at all."
        error = DataError(f"{', '.join(unknown)}: nothing to accept. {listed}")
        error.exit_code = 2
        raise error
    for difference in change.differences:
        if difference.feature in features and not difference.acceptable:
            raise DataError(
                f"{difference.message}. The schema alone cannot settle that: {difference.remedy}."
            )
    settled = {d.feature for d in change.differences if d.acceptable}
    chosen = set(features) or settled
    of_kind = {(d.feature, d.kind) for d in change.differences}
    gone = {name for name in chosen if (name, "not_configured") in of_kind}
    anew = {name for name in chosen if (name, "not_in_schema") in of_kind}
    proposed = {feature.name: feature for feature in change.proposed.feature}
    schema = schema_pb2.Schema()
    schema.CopyFrom(change.schema)
    del schema.feature[:]
    for feature in change.schema.feature:
        if feature.name in gone:
            continue
        taken = proposed[feature.name] if feature.name in chosen & set(proposed) else feature
        schema.feature.add().CopyFrom(taken)
    known = {feature.name for feature in change.schema.feature}
    schema.feature.extend(f for name, f in proposed.items() if name in chosen - known)
    _merge_domains(schema, change, chosen, anew)
    return schema


def _merge_domains(
    schema: schema_pb2.Schema, change: Change, chosen: set[str], anew: set[str]
) -> None:
    """New values come after the old ones, in alphabetical order: a short line in a review.

    The list of a feature that is written anew is as it was found; one that no feature has any
    more goes with the feature that had it.
    """
    proposed = {domain.name: domain for domain in change.proposed.string_domain}
    had = {feature.domain for feature in change.schema.feature if feature.domain}
    has = {feature.domain for feature in schema.feature if feature.domain}
    afresh = {f.domain for f in schema.feature if f.name in anew and f.domain} - {
        f.domain for f in schema.feature if f.name not in anew and f.domain
    }
    kept = [d for d in schema.string_domain if d.name not in (had - has) | afresh]
    del schema.string_domain[:]
    schema.string_domain.extend(kept)
    there = {domain.name: domain for domain in schema.string_domain}
    used = {f.domain for f in schema.feature if f.name in chosen and f.domain}
    for name in sorted(used & set(proposed)):
        domain = there[name] if name in there else schema.string_domain.add(name=name)
        domain.value.extend(sorted(set(proposed[name].value) - set(domain.value)))
