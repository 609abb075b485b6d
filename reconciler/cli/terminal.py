"""What the stream at hand can show."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import Self, TextIO


@dataclass(frozen=True, slots=True)
class Terminal:
    """Whether a stream is a terminal, takes colour (https://no-color.org), and how many columns it has.

    ``width`` is None in a pipe: lines are not folded there.
    """

    interactive: bool
    color: bool
    width: int | None

    @classmethod
    def of(cls, stream: TextIO) -> Self:
        """Look at a stream and the environment."""
        interactive = stream.isatty()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        color = not plain and (interactive or bool(os.environ.get("FORCE_COLOR")))
        return cls(interactive, color, shutil.get_terminal_size().columns if interactive else None)
