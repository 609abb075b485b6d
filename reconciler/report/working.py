"""What a command is doing while it takes its time: a line that moves at a terminal, nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


@contextmanager
def working(stream: TextIO, *, interactive: bool, color: bool) -> Iterator[Callable[[str], None]]:
    """Yield what is told a few words on what is being done; none leave the line to others."""
    if not interactive:
        yield lambda _: None
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal pays for rich
    from rich.text import Text  # noqa: PLC0415

    console = Console(file=stream, force_terminal=True, no_color=not color, highlight=False)
    with console.status("") as line:

        def tell(words: str) -> None:
            if words:
                line.update(Text(f"{words} ..."))
                line.start()
            else:
                line.stop()

        yield tell
