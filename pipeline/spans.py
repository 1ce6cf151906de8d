"""Spans: which files belong to which period, and which spans one run sees. Pure but for a glob."""

from __future__ import annotations

import calendar
import datetime as dt
import hashlib
import itertools
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.errors import DataError

if TYPE_CHECKING:
    from pipeline.config import Config

_PLACEHOLDER = re.compile(r"\{span(?::([^{}]*))?\}")
_DIGITS = {"%Y": 4, "%m": 2, "%d": 2, "%H": 2}
#: The finest directive decides what one step from span to span is.
_UNITS = {"%H": "hour", "%d": "day", "%m": "month", "%Y": "year"}
_EPOCH = dt.datetime(1970, 1, 1)


class PatternError(ValueError):
    """A span pattern that makes no sense; the message is the rule it breaks."""


@dataclass(frozen=True, order=True)
class Span:
    """One period of data.

    Attributes:
        ordinal: position in time; consecutive spans differ by 1.
        label: as written in the path, such as `2019-12`; `all` for data without spans.
        start: first second of the period since 1970 (inclusive), None where spans are numbers.
        end: first second after the period (exclusive), None where spans are numbers.
    """

    ordinal: int
    label: str
    start: int | None = None
    end: int | None = None


@dataclass(frozen=True)
class SpanFiles:
    """A span and its files, sorted by path."""

    span: Span
    paths: tuple[str, ...]


@dataclass(frozen=True)
class Window:
    """What one run trains on and evaluates on; both oldest first.

    Without spans in the data `train` and `evaluate` hold the same files, split by row.
    """

    train: tuple[SpanFiles, ...]
    evaluate: tuple[SpanFiles, ...]

    @property
    def newest(self) -> Span:
        """The span this window is named after."""
        return self.evaluate[-1].span

    @property
    def split_by_row(self) -> bool:
        """Whether rows, not spans, decide what is evaluated on."""
        return self.train == self.evaluate

    @property
    def spans(self) -> tuple[SpanFiles, ...]:
        """Every span once, oldest first."""
        return self.evaluate if self.split_by_row else self.train + self.evaluate

    def labels(self) -> dict[str, list[str]]:
        """Span labels by split."""
        return {
            "train": [item.span.label for item in self.train],
            "eval": [item.span.label for item in self.evaluate],
        }


@dataclass(frozen=True)
class SpanPattern:
    """A parsed `data.pattern`: text with at most one kind of `{span}` in it, and `*`.

    Attributes:
        text: the pattern as written.
        format: strptime format of the span, `""` for a whole number, None without a span.
    """

    text: str
    format: str | None

    @classmethod
    def parse(cls, text: str) -> SpanPattern:
        """Reads a pattern.

        Raises:
            PatternError: an unknown date directive, a repeated directive, or an absolute path.
        """
        if text.startswith("/") or "://" in text:
            raise PatternError("must be relative to data.path")
        rest = _PLACEHOLDER.sub("", text)
        if "{" in rest or "}" in rest:
            raise PatternError("has a brace that is not {span} or {span:%Y-%m}")
        formats = [match.group(1) or "" for match in _PLACEHOLDER.finditer(text)]
        if not formats:
            return cls(text, None)
        if len(formats) > 1:
            raise PatternError("must hold one {span…}")
        directives = re.findall(r"%.", formats[0])
        unknown = sorted(set(directives) - set(_DIGITS))
        if unknown:
            raise PatternError(f"knows %Y %m %d %H, not {' '.join(unknown)}")
        if len(set(directives)) != len(directives):
            raise PatternError("repeats a date directive")
        if formats[0] and "%Y" not in directives:
            raise PatternError("needs %Y so that spans have an order (or {span} for numbers)")
        needed = "".join(d[1] for d in ("%Y", "%m", "%d", "%H") if d in directives)
        if not "YmdH".startswith(needed):
            raise PatternError("skips a date directive between its coarsest and its finest")
        return cls(text, formats[0])

    def keys(self) -> set[str]:
        """Keys whose values are (part of) the span: of `year={span:%Y}` year."""
        marked = _PLACEHOLDER.sub(
            lambda match: "/".join(f"\0{part}" for part in (match[1] or "").split("/")), self.text
        )
        folders = [folder for folder in marked.split("/")[:-1] if "\0" in folder]
        return {f.replace("\0", "").partition("=")[0] for f in folders if "=" in f}

    def glob(self) -> str:
        """The glob pattern that finds every file of every span."""
        pieces = _PLACEHOLDER.split(self.text)
        # split() keeps the captured formats at odd positions; they become wildcards, one a folder
        wildcard = re.sub(r"[^/]+", "*", self.format or "*")
        return wildcard.join(re.sub(r"([?\[])", r"[\1]", piece) for piece in pieces[::2])

    def regex(self) -> re.Pattern[str]:
        """Matches a relative path; group `span` is the span's text."""
        pieces = _PLACEHOLDER.split(self.text)
        parts = [re.escape(piece).replace(r"\*", "[^/]*") for piece in pieces[::2]]
        if self.format is None:
            return re.compile(parts[0])
        return re.compile(f"(?P<span>{self._span_regex()})".join(parts))

    def _span_regex(self) -> str:
        if not self.format:
            return r"\d+"
        pieces = re.split(r"(%.)", self.format)
        return "".join(
            rf"\d{{{_DIGITS[piece]}}}" if piece in _DIGITS else re.escape(piece) for piece in pieces
        )

    def span(self, text: str) -> Span | None:
        """The span that a matched text names, or None if it is no date (such as month 13)."""
        if not self.format:
            return Span(int(text), text)
        unit = next(unit for directive, unit in _UNITS.items() if directive in self.format)
        try:
            start = dt.datetime.strptime(text, self.format)
            end = _step(start, unit)
        except (ValueError, OverflowError):
            return None
        return Span(_ordinal(start, unit), text, _seconds(start), _seconds(end))


def _ordinal(start: dt.datetime, unit: str) -> int:
    match unit:
        case "hour":
            return start.toordinal() * 24 + start.hour
        case "day":
            return start.toordinal()
        case "month":
            return start.year * 12 + start.month - 1
        case _:
            return start.year


def _step(start: dt.datetime, unit: str) -> dt.datetime:
    match unit:
        case "hour":
            return start + dt.timedelta(hours=1)
        case "day":
            return start + dt.timedelta(days=1)
        case "month":
            return start + dt.timedelta(days=calendar.monthrange(start.year, start.month)[1])
        case _:
            return start.replace(year=start.year + 1)


def _seconds(moment: dt.datetime) -> int:
    return int((moment - _EPOCH).total_seconds())


def discover(base: str, pattern: SpanPattern) -> list[SpanFiles]:
    """Finds the spans below a folder, oldest first.

    Raises:
        DataError: the folder or any span is missing, a folder stands where a file should be,
            or two files claim one span though the pattern has no `*`.
    """
    if not files.is_dir(base):
        raise DataError(f"data.path: there is no folder {base}. Name the one that holds the data.")
    regex = pattern.regex()
    found: dict[Span, list[str]] = {}
    for path in files.glob(os.path.join(files.escape(base), pattern.glob())):
        match = regex.fullmatch(path.removeprefix(base).lstrip("/"))
        if match is None:
            continue
        span = pattern.span(match["span"]) if pattern.format is not None else Span(0, "all")
        if span is None:
            continue
        if files.is_dir(path):
            raise DataError(
                f"{path}: is a folder where data.pattern {pattern.text!r} expects a file. "
                "Move it away, or add /* to the pattern if the span's files are inside."
            )
        found.setdefault(span, []).append(path)
    if not found:
        raise DataError(
            f"no span found: nothing in {base} matches data.pattern {pattern.text!r}. "
            "Put the data there or mend the pattern."
        )
    by_ordinal: dict[int, SpanFiles] = {}
    for span, paths in sorted(found.items()):
        other = by_ordinal.get(span.ordinal)
        if other or (len(paths) > 1 and "*" not in pattern.text and pattern.format is not None):
            both = [*(other.paths if other else ()), *paths]
            raise DataError(
                f"span {span.label} has {len(both)} files, {', '.join(both[:4])}, but "
                f"data.pattern {pattern.text!r} means one. Remove the wrong one, or use * in the "
                "pattern if a span may have several files."
            )
        by_ordinal[span.ordinal] = SpanFiles(span, tuple(sorted(paths)))
    return [by_ordinal[ordinal] for ordinal in sorted(by_ordinal)]


def choose_window(
    spans: Sequence[SpanFiles],
    *,
    newest: str | None,
    train_spans: int,
    eval_spans: int,
    gap: str,
) -> Window:
    """The window that ends with span `newest` (a label), or with the newest there is.

    Raises:
        DataError: no such span, nothing older to train on, or a gap while `gap` is `error`.
    """
    if len(spans) == 1 and spans[0].span.label == "all":
        return Window(tuple(spans), tuple(spans))
    position = len(spans) - 1
    if newest is not None:
        labels = [item.span.label for item in spans]
        if newest not in labels:
            raise DataError(
                f"there is no span {newest}; there are {len(labels)}, {labels[0]} to {labels[-1]}. "
                "Name one of them with --span."
            )
        position = labels.index(newest)
    chosen = spans[: position + 1]
    if len(chosen) <= eval_spans:
        raise DataError(
            f"span {chosen[-1].span.label}: {len(chosen)} span(s) up to it, but {eval_spans} to "
            "evaluate on and at least 1 to train on are needed. Add older data, or choose a later "
            "span with --span."
        )
    if gap == "error":
        # A gap is missing time *inside* the window; history may simply begin late.
        oldest = chosen[-1].span.ordinal - (train_spans + eval_spans - 1)
        for earlier, later in itertools.pairwise(chosen):
            missing = later.span.ordinal - earlier.span.ordinal - 1
            if missing and later.span.ordinal > oldest:
                raise DataError(
                    f"the window has a gap: {missing} span(s) missing between {earlier.span.label} "
                    f'and {later.span.label}. Add the data, or set window.gap = "skip".'
                )
    chosen = chosen[-(train_spans + eval_spans) :]
    return Window(tuple(chosen[:-eval_spans]), tuple(chosen[-eval_spans:]))


def window_of(config: Config, newest: str | None, *, gap: str | None = None) -> Window:
    """The window of a configuration's data.

    Args:
        config: where the data is, and how many spans it takes.
        newest: label of the newest span, None for the newest there is.
        gap: what a missing span is, `error` or `skip`; None: as `window.gap` says.

    Raises:
        DataError: see `discover` and `choose_window`.
    """
    return choose_window(
        discover(config.data.path, SpanPattern.parse(config.data.pattern)),
        newest=newest,
        train_spans=config.window.train_spans,
        eval_spans=config.window.eval_spans,
        gap=gap or config.window.gap,
    )


def fingerprint(window: Window, base: str) -> str:
    """SHA-256 over the window's files: relative name, split and content of each.

    Raises:
        DataError: a file cannot be read, or two files hold the same bytes.
    """
    digest = hashlib.sha256()
    seen: dict[str, str] = {}
    for split, items in (("train", window.train), ("eval", window.evaluate)):
        for path in _paths(items):
            content = _content(path)
            if not window.split_by_row or split == "train":
                if content in seen:
                    raise DataError(
                        f"{path}: holds the same bytes as {seen[content]}. One of them is a "
                        "duplicate or carries the wrong name; remove it."
                    )
                seen[content] = path
            digest.update(f"{split}\0{path.removeprefix(base)}\0{content}\n".encode())
    return digest.hexdigest()


def _paths(items: Iterable[SpanFiles]) -> list[str]:
    return [path for item in items for path in item.paths]


def _content(path: str) -> str:
    try:
        return files.sha256(path)
    except PermissionError as error:
        raise DataError(
            f"{path}: no permission to read it. Give it to this user (chmod u+r)."
        ) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from error
