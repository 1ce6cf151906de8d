"""Reads a page as a browser would, as far as tests ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Page:
    """What is on a page.

    Attributes:
        tags: every element: its name and attributes.
        texts: text outside of style, in order.
        numbers: value and shown text of each <data>.
        headings: level and text.
        unclosed: elements that were not closed in the order they were opened.
    """

    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    numbers: list[tuple[float, str]] = field(default_factory=list)
    headings: list[tuple[int, str]] = field(default_factory=list)
    unclosed: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def all(self, name: str) -> list[dict[str, str]]:
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def values(self) -> set[float]:
        return {value for value, _ in self.numbers}


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.page = Page()
        self._open: list[str] = []
        self._value: float | None = None
        self._shown = ""
        self._heading = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.page.tags.append((tag, attributes))
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "data":
            self._value, self._shown = float(attributes["value"]), ""
        if tag in ("h1", "h2", "h3"):
            self._heading = ""

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.page.tags.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.page.unclosed.append(tag)
        if tag == "data" and self._value is not None:
            self.page.numbers.append((self._value, self._shown))
            self._value = None
        if tag in ("h1", "h2", "h3"):
            self.page.headings.append((int(tag[1]), " ".join(self._heading.split())))

    def handle_data(self, data: str) -> None:
        if "style" in self._open:
            return
        self.page.texts.append(data)
        self._shown += data
        self._heading += data

    def close(self) -> None:
        super().close()
        self.page.unclosed += self._open


def read(html: str) -> Page:
    """Parses a page."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.page
