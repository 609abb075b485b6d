"""A table of any number of rows, of which only those on the screen are ever laid out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click, Resize
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from reconciler.report.layout import cells
from reconciler.report.style import Span
from reconciler.tui.columns import Facts, Layout
from reconciler.tui.rows import Row

STYLES = {
    "": Style(),
    "title": Style(bold=True),
    "dim": Style(dim=True),
    "good": Style(color="green"),
    "bad": Style(color="red"),
    "alarm": Style(color="red", bold=True),
    "warn": Style(color="yellow"),
    "calm": Style(color="cyan"),
    "odd": Style(color="magenta"),
}
"""The styles of reports, as the screen draws them: the reader's own sixteen colours."""
_CHOSEN = Style(reverse=True)


def strip(spans: Sequence[Span], width: int, style: Style = STYLES[""]) -> Strip:
    """Return a line of exactly ``width`` cells."""
    segments = [Segment(text, STYLES[name] + style) for text, name in spans]
    missing = width - sum(cells(text) for text, _ in spans)
    return Strip([*segments, Segment(" " * max(missing, 0), style)]).crop(0, width)


class Table(ScrollView):
    """Rows, of which one is chosen; the choice stays with its spec when rows come, go and move."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", show=False),
        Binding("up,k", "move(-1)", show=False),
        Binding("pagedown,ctrl+d,space", "page(1)", show=False),
        Binding("pageup,ctrl+u", "page(-1)", show=False),
        Binding("home,g", "edge(0)", show=False),
        Binding("end,G", "edge(-1)", show=False),
        Binding("enter", "open", show=False),
    ]
    DEFAULT_CSS = "Table { scrollbar-size-vertical: 1; overflow-x: hidden; }"

    class Opened(Message):
        """A row was opened."""

    def __init__(self) -> None:
        super().__init__()
        self.can_focus = True
        self.rows: Sequence[Row] = ()
        self._facts = Facts({}, {}, 0.0)
        self._layout: Layout | None = None
        self._at = 0
        self.empty = ""

    @property
    def chosen(self) -> Row | None:
        """The row that keys act on."""
        return self.rows[self._at] if self.rows else None

    @property
    def in_view(self) -> Sequence[Row]:
        """The rows on the screen."""
        first = self.scroll_offset.y
        return self.rows[first : first + max(self.size.height - 1, 0)]

    def show(self, rows: Sequence[Row], facts: Facts) -> None:
        """Show other rows."""
        before = self.chosen
        self.rows, self._facts = rows, facts
        if before is not None:
            found = next((i for i, row in enumerate(rows) if row.key == before.key), self._at)
            self._at = min(found, max(len(rows) - 1, 0))
        self._lay_out()

    def update(self, facts: Facts) -> None:
        """Show the same rows with newer facts."""
        self._facts = facts
        self.refresh()

    def _lay_out(self) -> None:
        width = self.scrollable_content_region.width or self.size.width
        self._layout = Layout(self.rows, self._facts, width) if width else None
        self.virtual_size = Size(width, len(self.rows) + 1)
        self._reveal()
        self.refresh()

    def on_resize(self, _: Resize) -> None:
        """Choose the columns anew."""
        self._lay_out()

    def render_line(self, y: int) -> Strip:
        """Draw one line: the titles stay, rows scroll below them."""
        width = self.size.width
        if self._layout is None:
            return Strip.blank(width)
        if y == 0:
            return strip(self._layout.head(), width)
        index = y - 1 + self.scroll_offset.y
        if not self.rows and y == 2:
            return strip([(self.empty, "dim")], width)
        if index >= len(self.rows):
            return Strip.blank(width)
        chosen = index == self._at
        line = self._layout.line(self.rows[index], self._facts)
        return strip([(text, "") for text, _ in line] if chosen else line, width, _CHOSEN if chosen else STYLES[""])

    # Moving

    def choose(self, index: int) -> None:
        """Choose a row, and show it."""
        self._at = max(0, min(index, len(self.rows) - 1))
        self._reveal()
        self.refresh()

    def _reveal(self) -> None:
        room = max(self.size.height - 1, 1)
        first = self.scroll_offset.y
        if not first <= self._at < first + room:
            self.scroll_to(y=self._at if self._at < first else self._at - room + 1, animate=False)

    def action_move(self, by: int) -> None:
        """Choose a row below or above."""
        self.choose(self._at + by)

    def action_page(self, by: int) -> None:
        """Choose a row a screen below or above."""
        self.choose(self._at + by * max(self.size.height - 2, 1))

    def action_edge(self, at: int) -> None:
        """Choose the first or the last row."""
        self.choose(at if at >= 0 else len(self.rows) - 1)

    def action_open(self) -> None:
        """Open the chosen row."""
        if self.rows:
            self.post_message(self.Opened())

    def on_click(self, event: Click) -> None:
        """Choose what is pointed at; a second click opens it."""
        index = event.y - 1 + self.scroll_offset.y
        if event.y > 0 and index < len(self.rows):
            self.choose(index)
            if event.chain == 2:
                self.action_open()
