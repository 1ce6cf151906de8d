"""Which files are the data, and what of their names is a span: PATH → folder and pattern."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from pipeline import files, spans
from pipeline.errors import DataError, shorten
from pipeline.ingest import hive, reader

#: Dates as file names have them, the finest first. A name's first match is its span.
_DATES = (
    (r"\d{4}-\d{2}-\d{2}[T_-]\d{2}", "%Y-%m-%d{}%H"),
    (r"\d{4}-\d{2}-\d{2}", "%Y-%m-%d"),
    (r"\d{4}_\d{2}_\d{2}", "%Y_%m_%d"),
    (r"\d{4}\.\d{2}\.\d{2}", "%Y.%m.%d"),
    (r"\d{4}/\d{2}/\d{2}", "%Y/%m/%d"),
    (r"year=\d{4}/month=\d{2}/day=\d{2}", "year=%Y/month=%m/day=%d"),
    (r"year=\d{4}/month=\d{2}", "year=%Y/month=%m"),
    (r"(?<!\d)\d{8}(?!\d)", "%Y%m%d"),
    (r"\d{4}-\d{2}", "%Y-%m"),
    (r"\d{4}_\d{2}", "%Y_%m"),
    (r"\d{4}/\d{2}", "%Y/%m"),
    (r"(?<!\d)\d{6}(?!\d)", "%Y%m"),
    (r"(?<!\d)(?:19|20)\d{2}(?!\d)", "%Y"),
)
#: Numbers that count the pieces of one table, not periods.
_SHARDS = re.compile(r"(?i)(part|shard|chunk|split|block|piece)s?[-_.]?\d+|-of-\d+")
_FOLDERS_DEEP = 4


@dataclass(frozen=True)
class Source:
    """The data, as `[data]` will say it.

    Attributes:
        base: absolute folder, or URI.
        pattern: `data.pattern`.
        found: spans oldest first; a single one called `all` where there are none.
        why: how the pattern came about, for a person.
    """

    base: str
    pattern: str
    found: list[spans.SpanFiles]
    why: str

    @property
    def has_spans(self) -> bool:
        """Whether files belong to periods."""
        return spans.SpanPattern.parse(self.pattern).format is not None

    @property
    def format(self) -> str:
        """Of the spans; `""` where they are numbers or there are none."""
        return spans.SpanPattern.parse(self.pattern).format or ""

    def path_columns(self, path: str) -> dict[str, str | None]:
        """Keys of a file's folders below `base`, as `region=eu`, that are not its span."""
        inside = path.removeprefix(self.base)
        used = spans.SpanPattern.parse(self.pattern).keys()
        return {key: value for key, value in hive.keys(inside).items() if key not in used}


def find(path: str) -> Source:
    """Looks for data files.

    Args:
        path: a file, a folder, or a glob pattern.

    Raises:
        DataError: nothing there that could be read, or names that a pattern cannot say.
    """
    if files.is_local(path):
        path = os.path.abspath(os.path.expanduser(path))
    paths = _files(path)
    base = os.path.dirname(paths[0]) if len(paths) == 1 else _folder(path)
    names = [found.removeprefix(base).lstrip("/") for found in paths]
    odd = next((name for name in names if re.search(r"[{}*]", name)), None)
    if odd:
        raise DataError(
            f"{odd!r}: a name with {{ }} or * cannot be told from a pattern; rename it."
        )
    if len(names) == 1:
        return _source(base, names[0], "one file: one table, without spans")
    for regex, form in _DATES:
        made = _spans_of(base, names, regex, form)
        if made:
            return made
    if not any(_SHARDS.search(name) for name in names):
        made = _spans_of(base, names, r"\d+", "")
        if made:
            return made
    pattern = _wildcard(names)
    return _source(base, pattern, f"{len(names)} files without a date in their names: one table")


def _files(path: str) -> list[str]:
    if files.is_dir(path):
        levels = range(1, _FOLDERS_DEEP + 1)
        inside = [files.glob(os.path.join(files.escape(path), *"*" * n)) for n in levels]
        candidates = [found for level in inside for found in level]
        where = f"{path}: the folder holds nothing"
    else:
        candidates = [path] if files.exists(path) else files.glob(path)
        where = f"{path}: there is no such file or folder, and no match"
    usable = [
        found
        for found in candidates
        if not files.is_dir(found) and not _hidden(found.removeprefix(path)) and _is_data(found)
    ]
    if not usable:
        if len(candidates) == 1 and candidates == [path]:
            reader.kind_of(path)  # says which names are known
        raise DataError(
            f"{where} that could be read. Known endings: .csv .tsv .txt, also with .gz or .zst, "
            "and .parquet .pq."
        )
    kinds = Counter(reader.kind_of(found) for found in usable)
    if len(kinds) > 1:
        told = " and ".join(f"{count} {kind}" for kind, count in kinds.items())
        raise DataError(
            f"{path}: holds {told} files. Name those of one kind: --data 'FOLDER/*.csv'."
        )
    return sorted(usable)


def _hidden(name: str) -> bool:
    """Files that writers leave beside their data: _SUCCESS, .crc, README.txt."""
    parts = name.strip("/").split("/")
    return any(part.startswith((".", "_")) for part in parts) or parts[-1].lower().startswith(
        ("readme", "license", "licence")
    )


def _is_data(path: str) -> bool:
    try:
        reader.kind_of(path)
    except DataError:
        return False
    return True


def _folder(path: str) -> str:
    """The folder, or the part of a glob pattern that names one."""
    if files.is_dir(path):
        return path.rstrip("/")
    return os.path.dirname(re.split(r"[*?\[]", path)[0])


def _source(base: str, pattern: str, why: str) -> Source:
    parsed = spans.SpanPattern.parse(pattern)
    return Source(base, pattern, spans.discover(base or "/", parsed), why)


def _spans_of(base: str, names: list[str], regex: str, form: str) -> Source | None:
    """The pattern that takes every name's match for its span; None if that does not work."""
    # A number's last occurrence counts (`v2_batch_17.csv`); a date's first.
    matches = [list(re.finditer(regex, name)) for name in names]
    if not all(matches):
        return None
    chosen = [found[-1] if not form else found[0] for found in matches]
    if "{}" in form:
        form = form.replace("{}", chosen[0][0][10])
    before = _wildcard([name[: match.start()] for name, match in zip(names, chosen, strict=True)])
    after = _wildcard([name[match.end() :] for name, match in zip(names, chosen, strict=True)])
    placeholder = f"{{span:{form}}}" if form else "{span}"
    pattern = f"{before}{placeholder}{after}"
    try:
        parsed = spans.SpanPattern.parse(pattern)
        found = spans.discover(base or "/", parsed)
    except (spans.PatternError, DataError):
        return None
    others = sum(len(item.paths) for item in found) - len(names)
    if len(found) < 2 or others < 0 or (others and not form):
        return None
    what = "date" if form else "number"
    more = f"; the pattern finds {others} more file(s) than were named" if others else ""
    return Source(
        base,
        pattern,
        found,
        f"the {what} in the names is the span: {len(found)}, {found[0].span.label} to "
        f"{found[-1].span.label}{more}",
    )


def _wildcard(texts: Iterable[str]) -> str:
    """The narrowest pattern with one `*` a folder that matches all texts."""
    split = [text.split("/") for text in texts]
    if len({len(parts) for parts in split}) > 1:
        raise DataError(
            f"files lie at different depths ({shorten('/'.join(split[0]))}, …). Name those of one "
            "depth: --data 'FOLDER/*/*.csv'."
        )
    return "/".join(
        _one(list(parts), inside=at > 0) for at, parts in enumerate(zip(*split, strict=True))
    )


def _one(parts: list[str], *, inside: bool) -> str:
    if len(set(parts)) == 1:
        # One piece a folder by now; a later folder may have several.
        return re.sub(r"^(?i:part|shard|chunk)[-_.]?\d[^.]*", "*", parts[0]) if inside else parts[0]
    keys = {part.partition("=")[0] for part in parts if "=" in part}
    if len(keys) == 1 and all("=" in part for part in parts):
        return f"{keys.pop()}=*"  # a value that comes later will be another word
    # Cut where a word ends: `part-00000` and `part-00001` differ in the whole number.
    start = re.sub(r"[A-Za-z0-9]+$", "", _common(parts))
    rest = [part[len(start) :] for part in parts]
    end = _common([part[::-1] for part in rest])[::-1]
    return f"{start}*{re.sub(r'^[A-Za-z0-9]+', '', end)}"


def _common(texts: list[str]) -> str:
    """The beginning that all share, letter by letter."""
    alike = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        alike += 1
    return texts[0][:alike]
