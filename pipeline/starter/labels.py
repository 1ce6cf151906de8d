"""What is to be predicted: an expression that is 0 or 1 for every row, and what it is made of."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipeline import sql
from pipeline.errors import HeadraceError, shorten
from pipeline.ingest.label_check import not_binary
from pipeline.starter.decide import words
from pipeline.starter.judged import Judged
from pipeline.starter.profile import Profile

_YES = frozenset(
    "yes y true t positive pos churned bad fraud default left won win success "
    "ja oui si sí sim".split()
)
_NO = frozenset(
    "no n false f negative neg none good stayed lost loss failure nein nee nej non não".split()
)
_LABELS = frozenset(
    "label target y class outcome churn churned default response converted clicked click fraud "
    "survived deny approved result status bad success won left attrition".split()
)


class LabelError(HeadraceError):
    """There is no label, or it is none that can be learnt; the message proposes one."""

    exit_code = 2


@dataclass(frozen=True)
class Label:
    """`[label]`, as far as it is known before the rows are judged.

    Attributes:
        expression: SQL over the configuration's column names.
        columns: columns of the files that it is made of, in their order.
        why: for the comment above it.
    """

    expression: str
    columns: tuple[str, ...]
    why: str


def choose(text: str | None, profiles: Sequence[Profile], names: Mapping[str, str]) -> Label:
    """The label that `--label` means.

    Args:
        text: an SQL expression, or the name of a column with two values; None if not given.
        profiles: of all columns.
        names: column in the files → name in the configuration.

    Raises:
        LabelError: it is missing, names no column, or is no yes-or-no question.
    """
    if text is None or not text.strip():
        raise LabelError(_proposal(profiles))
    text = text.strip()
    by_name = {profile.name.lower(): profile for profile in profiles}
    by_name |= {names[profile.name].lower(): profile for profile in profiles}
    plain = text[1:-1].replace('""', '"') if re.fullmatch(r'"(?:[^"]|"")+"', text) else text
    if plain.lower() in by_name:
        return _of_column(by_name[plain.lower()], names)
    problem = sql.syntax_problem(text)
    if problem:
        near = _near(plain, profiles)
        hint = f" Did you mean {near}?" if near else ""
        raise LabelError(f"--label {shorten(text)}: is not SQL: {problem}.{hint}")
    used: dict[str, None] = {}
    renamed = text.encode()
    for column, start, length in sorted(_references(text), key=lambda found: -found[1]):
        profile = by_name.get(column.lower())
        if profile is None:
            near = _near(column, profiles)
            hint = f"Did you mean {near}?" if near else _listed(profiles)
            raise LabelError(f"--label {shorten(text)}: there is no column {column!r}. {hint}")
        used[profile.name] = None
        name = names[profile.name]
        if name.lower() != column.lower():
            written = name if _plain(name) else sql.quote(name)
            renamed = renamed[:start] + written.encode() + renamed[start + length :]
    if not used:
        raise LabelError(
            f"--label {shorten(text)}: names no column, so it is the same for every row. "
            + _listed(profiles)
        )
    order = [profile.name for profile in profiles if profile.name in used]
    return Label(renamed.decode(), tuple(order), "as --label said")


def columns_of(text: str) -> frozenset[str]:
    """Columns that `--label` names, in small letters; none if it is not SQL."""
    plain = text.strip()
    if plain.startswith('"') and plain.endswith('"') and len(plain) > 2:
        return frozenset([plain[1:-1].replace('""', '"').lower()])
    if sql.syntax_problem(plain):
        return frozenset([plain.lower()])
    return frozenset(name.lower() for name, _, _ in _references(plain))


def _references(text: str) -> Iterator[tuple[str, int, int]]:
    """Columns an expression names, each with its place in the UTF-8 text."""
    prefix = "SELECT ("
    with sql.connect() as connection:
        (answer,) = connection.execute(
            "SELECT json_serialize_sql(?)", [f"{prefix}{text}\n)"]
        ).fetchone() or ("{}",)

    def walk(node: Any) -> Iterator[tuple[str, int, int]]:
        if isinstance(node, dict):
            if node.get("class") == "COLUMN_REF" and node.get("column_names"):
                at = int(node["query_location"]) - len(prefix)
                yield node["column_names"][-1], at, int(node["query_location_length"])
            for child in node.values():
                yield from walk(child)
        elif isinstance(node, list):
            for child in node:
                yield from walk(child)

    yield from walk(json.loads(answer))


def _near(name: str, profiles: Sequence[Profile]) -> str | None:
    near = difflib.get_close_matches(name, [profile.name for profile in profiles], n=1)
    return near[0] if near else None


def _listed(profiles: Sequence[Profile]) -> str:
    shown = ", ".join(profile.name for profile in profiles[:30])
    return f"Columns: {shown}{', …' if len(profiles) > 30 else ''}."


# --- a column as the label -----------------------------------------------------------------


def _of_column(p: Profile, names: Mapping[str, str]) -> Label:
    name = names[p.name]
    column = name if _plain(name) else sql.quote(name)
    p, column = _written_alike(p, column)
    if p.distinct < 2:
        told = f"only {p.top[0][0]!r}" if p.top else "no value"
        raise LabelError(f"--label {p.name}: the column holds {told}; a model needs both classes.")
    if p.distinct == 2:
        values = [value for value, _ in p.top]
        numbers = _numbers(values) if p.is_number else {}
        if set(numbers.values()) == {0.0, 1.0}:
            return Label(f"{column} = 1", (p.name,), _share(p, numbers, 1.0))
        positive = _positive(p)
        if positive is not None:
            written = _literal(p, positive)
            share = dict(p.top)[positive] / p.present
            why = f"{positive!r} is the positive class: {share:.1%} of the rows with a value"
            return Label(f"{column} = {written}", (p.name,), why)
        rare, often = sorted(values, key=lambda value: dict(p.top)[value])
        raise LabelError(
            f"--label {p.name}: which of its values is the positive class, {rare!r} "
            f"({dict(p.top)[rare]:,} rows) or {often!r} ({dict(p.top)[often]:,})? Type "
            f"{_command(column, p, rare)} or {_command(column, p, often)}."
        )
    if p.is_number and (p.distinct > 20 or not p.is_whole):
        middle = f"{p.quantiles[3]:.6g}" if p.quantiles else "0"
        raise LabelError(
            f"--label {p.name}: the column is a number with {p.distinct:,} values, and Headrace "
            "learns a yes-or-no label, not an amount. Ask a yes-or-no question of it, such as "
            f"--label {shlex.quote(f'{column} > {middle}')} ({middle} is the median)."
        )
    shown = ", ".join(value for value, _ in p.top[:5])
    raise LabelError(
        f"--label {p.name}: the column has {p.distinct:,} classes ({shown}"
        f"{', …' if p.distinct > 5 else ''}), and Headrace learns a yes-or-no label. Ask about one "
        f"of them, such as {_command(column, p, p.top[0][0])}."
    )


def _written_alike(p: Profile, column: str) -> tuple[Profile, str]:
    """A column of texts without blanks around them, and without capitals where that leaves two.

    `Yes`, ` Yes` and `yes` are one answer; taken for three, two of them would be the other one.
    """
    if p.type != "VARCHAR" or p.is_number or p.distinct > len(p.top):
        return p, column
    trimmed = _counted((value.strip(" "), count) for value, count in p.top)
    folded = _counted((value.lower(), count) for value, count in trimmed.items())
    if len(folded) == 2 < len(trimmed):
        found, written = folded, f"lower(trim({column}))"
    elif set(trimmed) != {value for value, _ in p.top}:
        found, written = trimmed, f"trim({column})"
    else:
        return p, column
    alike = replace(p, top=found.most_common(), distinct=len(found), present=found.total())
    return alike, written


def _counted(values: Iterable[tuple[str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for value, count in values:
        if value:
            counts[value] += count
    return counts


def _plain(name: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)) and not sql.is_keyword(name)


def _numbers(values: Sequence[str]) -> dict[str, float]:
    try:
        return {value: float(value) for value in values}
    except ValueError:
        return {}


def _share(p: Profile, numbers: Mapping[str, float], wanted: float) -> str:
    positive = sum(count for value, count in p.top if numbers[value] == wanted)
    return f"1 in {positive / p.present:.1%} of the rows with a value"


def _positive(p: Profile) -> str | None:
    """The value of two that a person would call yes; None if words do not say."""
    values = [value for value, _ in p.top]
    for value, other in (values, values[::-1]):
        small, else_ = value.strip().lower(), other.strip().lower()
        if small in _YES and else_ not in _YES:
            return value
        if else_ in _NO and small not in _NO:
            return value
        if re.fullmatch(rf"(not?|non|un|in)[-_ ]?{re.escape(small)}", else_):
            return value
    return None


def _literal(p: Profile, value: str) -> str:
    if p.type == "BOOLEAN":  # ingestion has them as 0 and 1
        return str(int(value == "true"))
    return f"{float(value):g}" if p.is_number else sql.text(value)


def _command(column: str, p: Profile, value: str) -> str:
    return f"--label {shlex.quote(f'{column} = {_literal(p, value)}')}"


# --- no label given ------------------------------------------------------------------------


def _proposal(profiles: Sequence[Profile]) -> str:
    """What `--label` could be, from the columns with two values."""
    two = [p for p in profiles if p.distinct == 2 and p.present >= 0.5 * p.rows]
    likely = [p for p in two if words(p.name) & _LABELS] or [
        p for p in two if _positive(p) is not None
    ]
    what = "--label: what is to be predicted?"
    if not two:
        return (
            f"{what} No column has just two values, so give a yes-or-no question in SQL, such as "
            "--label 'amount > 100'. " + _listed(profiles)
        )
    if len(likely) == 1 or len(two) == 1:
        (p, *_) = likely or two
        return f"{what} {_told(p)} looks like it: type {_suggested(p)}."
    shown = [*likely, *(p for p in two if p not in likely)][:8]
    rest = len(two) - len(shown)
    listed = "; ".join(f"{_told(p)}: {_suggested(p)}" for p in shown)
    more = f"; and {rest} more" if rest else ""
    return f"{what} Columns with two values: {listed}{more}. Or any yes-or-no question in SQL."


def _told(p: Profile) -> str:
    shares = ", ".join(f"{value} {count / p.present:.0%}" for value, count in p.top[:2])
    return f"{p.name} ({shares})"


def _suggested(p: Profile) -> str:
    column = p.name if _plain(p.name) else sql.quote(p.name)
    numbers = _numbers([value for value, _ in p.top]) if p.is_number else {}
    if set(numbers.values()) == {0.0, 1.0} or _positive(p) is not None:
        return f"--label {shlex.quote(column)}"
    rare = min(p.top, key=lambda item: item[1])[0]
    return _command(column, p, rare)


def check(label: Label, judged: Judged) -> None:
    """Sees that the label is 0 or 1, and sometimes one, sometimes the other.

    Raises:
        LabelError: it is not.
    """
    if judged.said and sum(count for _, count in judged.said) > len(judged.label):
        raise LabelError(not_binary(label.expression, judged.said))
    if not len(judged.label):
        told = ", ".join(f"{reason} ({count:,})" for reason, count in judged.reasons.items())
        raise LabelError(
            f"--label {shorten(label.expression)}: no row is left to learn from: {told}."
        )
    for value in (0, 1):
        if (judged.label == value).all():
            raise LabelError(
                f"--label {shorten(label.expression)}: is {value} for all "
                f"{len(judged.label):,} rows that were looked at; a model needs both classes. "
                "Mend the expression."
            )
