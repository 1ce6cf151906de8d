"""Writes the two files of `headrace init`, or none of them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline import config_file, schema_file
from pipeline.errors import RunError
from pipeline.local import quiet
from pipeline.starter.propose import Proposal, propose


@dataclass(frozen=True)
class Written:
    """What was written, in lines for a person."""

    config: str
    schema: str
    lines: list[str]


def write(
    path: str, label: str | None, target: str, *, force: bool, say: Callable[[str], None]
) -> Written:
    """Looks at the data and writes configuration and schema.

    Args:
        path: of the data.
        label: as `--label` says it.
        target: of the configuration.
        force: whether files that are there may be overwritten.
        say: is told what goes on.

    Raises:
        HeadraceError: nothing was written; the message says why.
    """
    _refuse_existing([target], force)
    proposal = propose(path, label, target, say)
    schema_path = proposal.config.data.schema_file
    _refuse_existing([target, schema_path], force)
    say("inferring the schema")
    with quiet.silenced():
        from pipeline.starter import contract  # TFDV: seconds

        schema = contract.text(proposal)
    try:
        for place in (target, schema_path):
            os.makedirs(os.path.dirname(os.path.abspath(place)), exist_ok=True)
        _keep(schema, schema_path, schema_file.read)
        _keep(proposal.text, target, config_file.load)
    except OSError as error:
        raise RunError(
            f"{error.filename or target}: cannot be written ({error.strerror}). Name another "
            "folder with --out DIR."
        ) from error
    return Written(target, schema_path, _lines(proposal, target, schema_path))


def _refuse_existing(paths: list[str], force: bool) -> None:
    there = [path for path in paths if os.path.lexists(path)]
    if there and not force:
        error = RunError(
            f"{', '.join(there)}: already there, and not overwritten. Name another place with "
            "--out DIR or --config FILE, or give --force."
        )
        error.exit_code = 2
        raise error


def _keep(text: str, path: str, read: Callable[[str], object]) -> None:
    """Writes a file, reads it as a run would, and only then gives it its name."""
    partial = f"{path}.partial"
    try:
        Path(partial).write_text(text, encoding="utf-8")
        read(partial)
        os.replace(partial, path)
    finally:
        Path(partial).unlink(missing_ok=True)


def _lines(proposal: Proposal, target: str, schema: str) -> list[str]:
    config, judged = proposal.config, proposal.judged
    kinds = Counter(feature.kind for feature in config.features.values())
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    held = judged.label[judged.held_out]
    split = (
        f"evaluated on the newest by {config.data.time_column}"
        if config.data.time_column and "{span" not in config.data.pattern
        else "evaluated on the newest span(s)"
        if "{span" in config.data.pattern
        else f"evaluated on {config.window.holdout:.0%} of the rows, drawn by hash"
        + (f" of {', '.join(config.data.row_key)}" if config.data.row_key else "")
    )
    lines = [
        f"data      {proposal.seen}, {config.data.pattern}",
        f"label     {config.label.expression}: {judged.label.mean():.1%} positive; {split}"
        + (f" ({len(held):,} of those looked at)" if len(held) else ""),
        f"features  {told}",
    ]
    if proposal.leaks:
        lines.append("leaks     " + ", ".join(leak.name for leak in proposal.leaks))
    asked = {question.partition(":")[0] for question in proposal.questions}
    remarks = [
        r for r in proposal.remarks if not ("strong alone" in r and r.split(":")[0] in asked)
    ]
    lines += [f"note: {remark}" for remark in remarks[:12]]
    if len(remarks) > 12:
        lines.append(f"note: {len(remarks) - 12} more in the comments of {target}")
    lines += [f"known when a prediction is asked for? {one}" for one in proposal.questions]
    here = os.path.relpath(schema) if not os.path.isabs(target) else schema
    lines.append(f"written: {target}, {here}. Read their comments, correct what is wrong")
    return lines
