"""Lines that fit a terminal: cells, folding with a hanging indent, and a page to put them on."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from reconciler.report.style import Span, paint

_TOKENS = re.compile(r" +|[^ ]+")
_NARROWEST = 32
_NARROWEST_TEXT = 16


def cells(text: str) -> int:
    """Return how many terminal cells a text takes: wide characters two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(map(_cells_of, text))


def _cells_of(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def pad(text: str, width: int) -> str:
    """Fill a text with spaces on the right, to ``width`` cells."""
    return text + " " * (width - cells(text))


def widest(texts: Iterable[str], cap: int | None = None) -> int:
    """Return the cells of the widest text, at most ``cap``, and 0 for none."""
    size = max(map(cells, texts), default=0)
    return size if cap is None else min(size, cap)


def fold(line: Sequence[Span], width: int | None, hang: int = 0) -> Iterator[list[Span]]:
    """Break a line at spaces into lines of at most ``width`` cells (None: never), all but the first indented.

    A word longer than a line is cut. No line ends in spaces.
    """
    line = _stripped(list(line))
    if width is None or sum(cells(text) for text, _ in line) <= width:
        yield line
        return
    hang = min(hang, max(width - _NARROWEST_TEXT, width // 2))
    current: list[Span] = []
    used = start = 0
    for word, style in _words(line):
        rest = word
        if used > max(start, hang) and used + cells(word) > width:
            yield _stripped(current)
            current, used, start = [(" " * hang, "")], hang, hang
            rest = word.lstrip(" ")
        while used + cells(rest) > width:
            head, rest = _cut(rest, width - used)
            yield _stripped([*current, (head, style)])
            current, used, start = [(" " * hang, "")], hang, hang
        if rest:
            current.append((rest, style))
            used += cells(rest)
    yield _stripped(current)


def _words(line: Iterable[Span]) -> Iterator[Span]:
    for text, style in line:
        for token in _TOKENS.findall(text):
            yield token, style


def _cut(word: str, room: int) -> tuple[str, str]:
    """Split a word wider than ``room``; at least one character is taken, so that folding always ends."""
    ends = enumerate(accumulate(map(_cells_of, word)))
    at = max(1, next(index for index, end in ends if end > room))
    return word[:at], word[at:]


def _stripped(line: list[Span]) -> list[Span]:
    while line and not line[-1][0].strip(" "):
        line.pop()
    if line:
        text, style = line[-1]
        line[-1] = (text.rstrip(" "), style)
    return line


class Page:
    """Collects lines and renders them. ``width`` None is a pipe: nothing is folded."""

    def __init__(self, *, color: bool, width: int | None) -> None:
        self.width = None if width is None else max(width, _NARROWEST)
        self._color = color
        self._lines: list[str] = []

    def line(self, *spans: Span | str, hang: int = 0) -> None:
        """Add a line; what does not fit goes on below, ``hang`` cells from the left."""
        whole = [(span, "") if isinstance(span, str) else span for span in spans]
        self._lines.extend(paint(part, color=self._color) for part in fold(whole, self.width, hang))

    def blank(self) -> None:
        """Add an empty line, unless one stands there or nothing does."""
        if self._lines and self._lines[-1]:
            self._lines.append("")

    def __str__(self) -> str:
        return "\n".join(self._lines).rstrip("\n") + "\n" if self._lines else ""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: its cells, and lines that stand below them."""

    cells: Sequence[Span]
    below: Sequence[Sequence[Span]] = ()


def table(page: Page, head: Sequence[str], rows: Sequence[Row], right: Container[int] = (), spill: int = 0) -> None:
    """Put aligned columns on a page, two spaces apart; columns in ``right`` (numbers) align at the right.

    Where the page is too narrow, the last ``spill`` columns go below each row, with their titles.
    """
    hang = 4
    sizes = [widest([title, *(row.cells[i][0] for row in rows)]) for i, title in enumerate(head)]
    if spill and page.width is not None and sum(sizes) + 2 * (len(sizes) - 1) > page.width:
        rows = [_spilt(row, head, spill) for row in rows]
        hang += widest(head[-spill:])
        head = head[:-spill]
    for row in [Row([(title, "dim") for title in head]), *rows]:
        spans: list[Span] = []
        for i, (text, style) in enumerate(row.cells):
            gap = (" " * (sizes[i] - cells(text)), "")
            spans += [gap, (text, style)] if i in right else [(text, style), gap]
            spans.append(("  ", ""))
        page.line(*spans, hang=4)
        for line in row.below:
            page.line("  ", *line, hang=hang)


def _spilt(row: Row, head: Sequence[str], count: int) -> Row:
    label = widest(head[-count:])
    titled = zip(head[-count:], row.cells[-count:], strict=True)
    spilt = [[(pad(title.lower(), label) + "  ", "dim"), cell] for title, cell in titled if cell[0]]
    return Row(row.cells[:-count], [*spilt, *row.below])
