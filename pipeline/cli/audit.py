"""`headrace audit`: do the gates catch what goes wrong?"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.text import Text

from pipeline.cli.options import config_option, json_option
from pipeline.cli.tables import Sheet, Terminal
from pipeline.cli.terminal import one_line
from pipeline.errors import RunError

if TYPE_CHECKING:
    from pipeline.audit.matrix import Matrix
    from pipeline.audit.observed import Observation

_MARKS = {
    "caught": Text("caught", "green"),
    "warned": Text("named, let pass", "yellow"),
    "escaped": Text("escaped", "red"),
    "not_applicable": Text("not applicable", "dim"),
}


@click.command()
@click.argument("faults", nargs=-1, metavar="[FAULT]…")
@config_option
@click.option("--list", "only_list", is_flag=True, help="Name the faults, and end.")
@click.option("--span", metavar="SPAN", help="Newest span, which is spoilt; default: the newest.")
@click.option(
    "--rows",
    type=click.IntRange(min=200),
    default=10_000,
    show_default=True,
    help="Rows sampled of each span.",
)
@click.option(
    "--train-spans",
    type=click.IntRange(min=1),
    default=4,
    show_default=True,
    help="Spans to train on, at most.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=min(2, os.cpu_count() or 1),
    show_default=True,
    help="Processes; each takes some 1.5 GB.",
)
@click.option(
    "--baseline", metavar="FILE", help="A matrix (.json); end with 1 if anything is worse."
)
@click.option("--write", metavar="PATH", help="Write the matrix to PATH.json and PATH.md.")
@click.option("--keep", metavar="FOLDER", help="Keep data, logs and artifacts of all runs there.")
@json_option
def audit(
    faults: tuple[str, ...],
    config_file: str,
    only_list: bool,
    span: str | None,
    rows: int,
    train_spans: int,
    workers: int,
    baseline: str | None,
    write: str | None,
    keep: str | None,
    as_json: bool,
) -> None:
    """Send faults through the real pipeline, on a sample of your data, and see what stops them.

    Without FAULT: all of them. Your data, runs and served models are not touched. Ends with 0 if
    the run without a fault is pushed and every fault is caught, named in the verdict, or escapes
    on principle.
    """
    from pipeline import config_file as reader
    from pipeline.audit import catalog, rehearsal, workshop
    from pipeline.audit.matrix import Matrix

    _check(faults, list(catalog.FAULTS))
    names = [name for name in catalog.FAULTS if name in faults or not faults]
    if only_list:
        _list(names)
        return
    config = reader.load(config_file)
    before = _read(baseline) if baseline else None
    say = Terminal(stderr=True, soft_wrap=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="headrace-audit-") as temporary:
        root = _empty(keep) if keep else Path(temporary)
        shop = workshop.set_up(config, root, span=span, train_spans=train_spans, rows=rows)
        say.print(
            f"{len(names)} fault(s) on spans {shop.labels[0]} … {shop.labels[-1]}, "
            f"up to {rows:,} rows each; the champion comes first",
            style="dim",
            highlight=False,
        )
        seen = rehearsal.audit(
            shop, names, workers=workers, told=lambda one: _tell(say, one, started)
        )
    matrix = Matrix(shop.labels, rows, tuple(seen))
    if write:
        Path(f"{write}.json").write_text(matrix.to_json(), encoding="utf-8")
        Path(f"{write}.md").write_text(matrix.to_page(), encoding="utf-8")
    problems = _problems(matrix, before)
    if as_json:
        observed = [one.to_dict() for one in seen]
        click.echo(json.dumps({"observations": observed, "problems": problems}))
    else:
        _show(
            matrix,
            problems,
            f"{time.monotonic() - started:.0f} s, {sum(os.times()[:4]):.0f} s of CPU",
        )
    sys.exit(1 if problems else 0)


def _check(faults: Sequence[str], known: Sequence[str]) -> None:
    import difflib

    for name in faults:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]}?" if near else " headrace audit --list names them."
            raise click.UsageError(f"there is no fault {name!r}.{hint}")


def _list(names: Sequence[str]) -> None:
    from pipeline.audit import catalog

    table = Sheet("fault", "what happened", "expected", no_wrap=False)
    for name in names:
        fault = catalog.FAULTS[name]
        table.add_row(name, fault.story, ", ".join(fault.expected) or "escapes")
    Terminal().print(table, highlight=False)


def _read(path: str) -> Matrix:
    from pipeline.audit.matrix import Matrix

    try:
        return Matrix.from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise RunError(f"--baseline {path}: {error.strerror}. Write one with --write.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"--baseline {path}: is no matrix ({error}). Restore it from version control, or "
            "write it anew with --write."
        ) from error


def _empty(folder: str) -> Path:
    path = Path(folder).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise RunError(f"--keep {folder}: is not empty. Name a new folder.")
    except OSError as error:
        raise RunError(f"--keep {folder}: {error.strerror}. Name a new folder.") from error
    return path


def _tell(say: Terminal, one: Observation, started: float) -> None:
    from pipeline.audit.fault import CONTROL

    if one.fault == CONTROL:
        mark = Text(one.status, "green" if one.status == "pushed" else "red")
    else:
        mark = _MARKS[one.outcome]
    elapsed = time.monotonic() - started
    gates = ", ".join(one.gates or one.named)
    say.print(Text.assemble(f"  {elapsed:5.0f} s  {one.fault:<28}", mark, f" {one_line(gates)}"))


def _problems(matrix: Matrix, before: Matrix | None) -> list[str]:
    from pipeline.audit import matrix as work
    from pipeline.audit.fault import CONTROL

    control = matrix.by_name()[CONTROL]
    if control.status != "pushed":
        return [
            f"the run without a fault is {control.status}, so no refusal means anything: "
            f"{control.said}. On few rows chance alone breaks a narrow bar: take more (--rows), "
            "or mend the configuration."
        ]
    problems = [f"{name}: escaped" for name in work.undeclared(matrix.observations)]
    if before:
        problems += [f"worse: {text}" for text in work.worse(before, matrix.observations)]
    return problems


def _show(matrix: Matrix, problems: Sequence[str], took: str) -> None:
    from pipeline.audit import catalog
    from pipeline.audit.fault import CONTROL

    console = Terminal()
    table = Sheet()
    for heading in ("fault", "outcome", "gate", "what it said"):
        table.add_column(heading, overflow="ellipsis", no_wrap=heading != "what it said")
    counts = dict.fromkeys(_MARKS, 0)
    for one in matrix.observations:
        if one.fault == CONTROL:
            continue
        counts[one.outcome] += 1
        declared = catalog.FAULTS[one.fault].escapes
        said = declared if one.outcome == "escaped" and declared else one.said
        table.add_row(one.fault, _MARKS[one.outcome], ", ".join(one.gates or one.named), said[:160])
    console.print(table, highlight=False)
    told = [
        Text.assemble(f"{count} ", _MARKS[outcome]) for outcome, count in counts.items() if count
    ]
    console.print(Text.assemble("\n", Text(", ").join(told), f"; {took}"))
    for problem in problems:
        console.print(problem, style="red", highlight=False)
