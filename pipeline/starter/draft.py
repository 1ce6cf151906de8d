"""The configuration in the making, and the text it becomes."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.starter.decide import Decision

_COMMENT_AT = 64


@dataclass
class Line:
    """A key with its value, and the comment behind it.

    Attributes:
        key: as it stands in the section.
        value: anything TOML can say; None for a line that is only a comment.
        why: the comment.
        off: the line is commented out: a suggestion.
    """

    key: str
    value: Any
    why: str = ""
    off: bool = False


@dataclass
class Draft:
    """A configuration with a reason for each of its lines.

    Attributes:
        headline: comment lines at the top.
        top: `name` and `output`.
        sections: lines by section, such as `data.csv`, in the order in which they are written.
        remarks: comment lines below a section's head.
    """

    headline: list[str]
    top: list[Line]
    sections: dict[str, list[Line]] = field(default_factory=dict)
    remarks: dict[str, list[str]] = field(default_factory=dict)

    def text(self) -> str:
        """The file."""
        parts = [*(f"# {line}".rstrip() for line in self.headline), *_aligned(self.top)]
        for section, lines in self.sections.items():
            remarks = self.remarks.get(section, [])
            if not lines and not remarks:
                continue
            parts += [
                "",
                f"[{section}]",
                *(f"# {_one_line(remark)}" for remark in remarks),
                *_aligned(lines),
            ]
        return "\n".join(parts) + "\n"


def _aligned(lines: Sequence[Line]) -> list[str]:
    """Lines with their comments below each other, as far as the values' lengths allow."""
    plain = [("# " if line.off else "") + f"{key(line.key)} = {toml(line.value)}" for line in lines]
    width = max((len(text) for text in plain if len(text) <= _COMMENT_AT), default=0)
    return [
        f"{text:<{width}}  # {_one_line(line.why)}" if line.why else text
        for text, line in zip(plain, lines, strict=True)
    ]


def _one_line(text: str) -> str:
    """A comment must not end where a value of the data has a line break."""
    return "".join(c if c.isprintable() else "�" for c in text)


def key(name: str) -> str:
    """A TOML key, quoted where it must be."""
    bare = name.isascii() and name.replace("_", "").replace("-", "").isalnum()
    return name if bare else toml(name)


def toml(value: Any) -> str:
    """A TOML value."""
    if isinstance(value, str):
        # JSON's escapes are TOML's, but for the one control character JSON leaves alone.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)
    if isinstance(value, Mapping):
        inside = ", ".join(f"{key(name)} = {toml(item)}" for name, item in value.items())
        return f"{{ {inside} }}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    return str(value)


def feature_line(decision: Decision) -> Line:
    """A decision as a line of `[features]`."""
    return Line(decision.name, decision.spec, "; ".join([decision.why, *decision.notes]))


def up(value: float, digits: int = 2) -> float:
    """Rounded up to so many digits behind the point."""
    return float(math.ceil(value * 10.0**digits - 1e-9) / 10.0**digits)


def down(value: float, digits: int = 2) -> float:
    """Rounded down to so many digits behind the point."""
    return float(math.floor(value * 10.0**digits + 1e-9) / 10.0**digits)
