"""What the stream at hand can show."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from typing import Self, TextIO

import click

from reconciler.cli.say import in_json, say


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


def confirm(question: str) -> bool:
    """Ask a yes-or-no question; no is the default. Blocks.

    Ctrl-C ends it at once: an event loop's own handler would wait for the answer first.

    Raises:
        click.Abort: interrupted, or there is nobody to answer.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        if in_json():
            say(f"{question} [y/N]")
            return click.confirm("", err=True, prompt_suffix="", show_default=False)
        return click.confirm(question, err=True)
    finally:
        signal.signal(signal.SIGINT, before)
