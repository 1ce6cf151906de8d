"""Spans: which files belong to which period, and which spans one run sees. Pure but for a glob."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline import files
from pipeline.errors import DataError
from pipeline.span_pattern import PatternError, Span, SpanPattern

if TYPE_CHECKING:
    from pipeline.config import Config

__all__ = ["PatternError", "Span", "SpanPattern"]


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
        name = path.removeprefix(base).lstrip("/")
        match = regex.fullmatch(name)
        if match is None or _left_behind(name, pattern):
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


def _left_behind(name: str, pattern: SpanPattern) -> bool:
    """Whether it is a writer's own file or folder (`_temporary`, `.part-0.csv.crc`), not data."""
    return any(
        part.startswith(("_", ".")) and not asked.startswith(part[0])
        for part, asked in zip(name.split("/"), pattern.glob().split("/"), strict=False)
    )


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
