"""Live progress on a terminal: rich draws the board a few times a second, notes scroll away above it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self, TextIO

from rich.console import Console, Group
from rich.live import Live as RichLive
from rich.text import Text

from reconciler.report.board import Board
from reconciler.report.escape import clean
from reconciler.report.style import paint

_MARGIN = 3
_REFRESHES_A_SECOND = 8


class Live(Board):
    """A board on a terminal, drawn at a steady pace however often facts come. Its last picture stays."""

    def __init__(self, stream: TextIO, *, color: bool, clock: Callable[[], float]) -> None:
        super().__init__()
        self._color = color
        self._clock = clock
        self._console = Console(file=stream, force_terminal=True, no_color=not color, highlight=False)
        self._live = RichLive(
            console=self._console,
            get_renderable=self._draw,
            refresh_per_second=_REFRESHES_A_SECOND,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """Print a line above the board."""
        self._console.print(Text(clean(text)))

    def _draw(self) -> Group:
        lines = self.lines(max(self._console.height - _MARGIN, 2), self._clock())
        texts = [Text.from_ansi(paint(line, color=self._color), no_wrap=True, overflow="ellipsis") for line in lines]
        return Group(*texts)
