"""`headrace schema diff`, `headrace schema accept`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from pipeline.cli import terminal
from pipeline.cli.options import config_option, json_option
from pipeline.errors import DataError

if TYPE_CHECKING:
    from tensorflow_metadata.proto.v0.schema_pb2 import Schema

    from pipeline.config import Config
    from pipeline.schema_diff import Change, Difference
    from pipeline.schema_look import Seen

#: Exit code of a comparison that found something: neither done (0) nor failed (1).
DIFFERS = 5

_span = click.option(
    "--span", metavar="SPAN", help="Newest span to look at; default: the newest there is."
)
_window = click.option(
    "--window", "whole_window", is_flag=True, help="Look at the spans to train on as well."
)


@click.group()
def schema() -> None:
    """What new data would change in the schema, and the schema changed so."""


@schema.command()
@config_option
@_span
@_window
@json_option
def diff(config_file: str, span: str | None, whole_window: bool, as_json: bool) -> None:
    """What the newest span would change in the schema, in words.

    Exit codes: 0 nothing, 5 there are differences, 1 the data cannot be read.
    """
    config, seen, change = _compare(config_file, span, whole_window)
    lines = dict(_lines_to_add(config, seen))
    if as_json:
        listed = [difference.model_dump() for difference in change.differences]
        for item in listed:
            item["line"] = lines.get(item["feature"], "")
        click.echo(json.dumps({"spans": seen.spans, "rows": seen.total, "differences": listed}))
    elif not change.differences:
        terminal.echo(f"nothing: {seen.total:,} rows of {_told(seen.spans)} are as the schema says")
    else:
        terminal.echo(
            f"{seen.total:,} rows of {_told(seen.spans)} against {config.data.schema_file}"
        )
        _show(change, lines)
        if any(difference.acceptable for difference in change.differences):
            terminal.echo(
                f"next: headrace schema accept{_options(config_file, span, whole_window)}"
            )
    if change.differences:
        raise SystemExit(DIFFERS)


@schema.command()
@click.argument("features", nargs=-1, metavar="[FEATURE]…")
@config_option
@_span
@_window
def accept(
    features: tuple[str, ...], config_file: str, span: str | None, whole_window: bool
) -> None:
    """Write what the newest span would change into the schema file.

    Without names, all that the schema alone can settle. The configuration is never touched: where
    it needs a line too, the line is printed.

    Exit codes: 0 settled, 5 something is left to do, 1 failed, 2 no such difference.
    """
    from pipeline import schema_diff, schema_file, schema_text
    from pipeline.drift import profile

    config, seen, change = _compare(config_file, span, whole_window)
    path = config.data.schema_file
    lines = dict(_lines_to_add(config, seen))
    reviewed = profile.of(seen.rows, config) if profile.wanted(config) else {}
    # A column that is as its profile says, or nearly, may be profiled anew all the same.
    again = profile.chosen(reviewed, features) - {one.feature for one in change.differences}
    wanted = [name for name in features if name not in again]
    try:
        changed = schema_diff.accept(change, wanted) if wanted or not features else change.schema
    except DataError as error:
        if new := [lines[name] for name in features if name in lines]:
            raise DataError(
                f"{error} Add to [features] of {config_file}:\n" + "\n".join(new)
            ) from (error)
        raise
    with open(path, encoding="utf-8") as file:
        before = file.read()
    settled = [d for d in change.differences if d.acceptable]
    names = dict.fromkeys(d.feature for d in settled if not features or d.feature in features)
    names |= dict.fromkeys(sorted(again))
    if reviewed:
        changed = profile.renewed(changed, reviewed, list(names), whole=not features)
    after = schema_text.write(changed, before)
    if after != before:
        schema_file.write(path, after)
        told = ", ".join(names) or "the table's profile"
        terminal.echo(f"{path}: {told} accepted; review it (git diff) and commit it")
    else:
        terminal.echo(f"{path}: nothing to write")
    left = [d for d in change.differences if not d.acceptable]
    if left and not features:
        terminal.echo("left to do:")
        _show(change, lines, only_left=True)
        raise SystemExit(DIFFERS)


def _compare(config_file: str, span: str | None, whole_window: bool) -> tuple[Config, Seen, Change]:
    from pipeline import config_file as reader
    from pipeline import files, schema_diff, schema_file, schema_look
    from pipeline.local import quiet

    config = reader.load(config_file)
    if not files.exists(config.data.schema_file):
        raise DataError(
            f"{config.data.schema_file}: there is no schema yet. `headrace run` infers one."
        )
    contract = schema_file.read(config.data.schema_file)
    seen = schema_look.look(config, span=span, whole_window=whole_window)
    with quiet.silenced():
        change = schema_diff.propose(config, contract, seen)
    change.differences.extend(_moved(config, contract, seen))
    return config, seen, change


def _moved(config: Config, contract: Schema, seen: Seen) -> Iterator[Difference]:
    """Of one table, the columns that are unlike their reviewed profile."""
    from pipeline.drift import profile
    from pipeline.schema_diff import Difference

    for name, told, feature in profile.moved(config, contract, seen.rows):
        yield Difference(
            feature=name,
            kind="distribution",
            message=f"{feature.feature}: {told}",
            count=feature.worst_bin.current,
            rows=seen.rows.num_rows,
        )


def _lines_to_add(config: Config, seen: Seen) -> Iterator[tuple[str, str]]:
    """For each new column the line that `headrace init` would write."""
    if seen.new:
        from pipeline.starter import lines

        yield from lines.of_new_columns(config, seen.new)


def _show(change: Change, lines: dict[str, str], *, only_left: bool = False) -> None:
    for difference in change.differences:
        if only_left and difference.acceptable:
            continue
        mark = "~" if difference.acceptable else "!"
        terminal.echo(f"  {mark} {difference.message}")
        if difference.feature in lines:
            terminal.echo("      add to [features]:")
            for line in lines[difference.feature].splitlines():
                terminal.echo(f"        {line}")
        elif difference.remedy:
            terminal.echo(f"      {difference.remedy}")


def _told(spans: list[str]) -> str:
    if spans == ["all"]:
        return "the data"
    if len(spans) > 3:
        return f"spans {spans[0]} … {spans[-1]} ({len(spans)})"
    return f"span{'s' if len(spans) > 1 else ''} {', '.join(spans)}"


def _options(config_file: str, span: str | None, whole_window: bool) -> str:
    config = "" if config_file == "headrace.toml" else f" --config {config_file}"
    return f"{f' --span {span}' if span else ''}{' --window' if whole_window else ''}{config}"
