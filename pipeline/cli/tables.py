"""Lines and tables on the terminal, of texts from data."""

from __future__ import annotations

from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.cli.terminal import one_line, visible


class Terminal(Console):
    """A console for texts from data: no markup, no emoji codes, no control characters.

    What is to be coloured is given as a `Text` of our own words.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What becomes of a str, in a line or in a table."""
        return super().render_str(visible(text), **options)


class Sheet(Table):
    """A table without lines; each of its rows is one line of text, whatever is in it."""

    def __init__(self, *headings: str, no_wrap: bool = True) -> None:
        super().__init__(box=None, padding=(0, 2, 0, 0))
        for heading in headings:
            self.add_column(one_line(heading), no_wrap=no_wrap)

    def add_row(self, *cells: RenderableType | None, **options: Any) -> None:
        """Adds one."""
        super().add_row(*(one_line(c) if isinstance(c, str) else c for c in cells), **options)


def print_table(table: Table) -> None:
    """Prints a table, cut to no width where it goes into a pipe."""
    console = Terminal()
    # Into a pipe there is no width to fit; a table cut at 80 columns would lose what is asked for.
    (console if console.is_terminal else Terminal(width=200)).print(table)
