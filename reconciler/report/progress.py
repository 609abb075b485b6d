"""Progress of jobs and uploads while a command waits. All of it goes to stderr; none of it is a result."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, Self, TextIO

from reconciler.report.escape import clean
from reconciler.report.figures import size
from reconciler.report.style import paint, status_style


class Progress(Protocol):
    """What a waiting command tells. Calls are cheap and may come as often as facts do."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def job(
        self,
        name: str,
        status: str,
        step: int | None = None,
        total: int | None = None,
        loss: float | None = None,
        eta: float | None = None,
    ) -> None:
        """Tell where a job stands. ``eta`` is its estimated finish in Unix seconds."""

    def upload(self, path: str, sent: int, total: int) -> None:
        """Tell how many bytes of a file have been sent; ``sent == total`` ends it."""

    def note(self, text: str) -> None:
        """Say something once."""


def progress(stream: TextIO, *, interactive: bool, color: bool, clock: Callable[[], float] = time.time) -> Progress:
    """Choose how progress is shown: live where ``stream`` is a terminal, else a line for each change."""
    if not interactive:
        return Lines(stream, color=color)
    from reconciler.report.live import Live  # noqa: PLC0415 - only a terminal pays for rich

    return Live(stream, color=color, clock=clock)


class Lines:
    """A line when a job's status changes, and when an upload starts and ends: what a log should hold."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        self._stream = stream
        self._color = color
        self._said: dict[str, str] = {}
        self._uploading: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.flush()

    def job(
        self,
        name: str,
        status: str,
        step: int | None = None,  # noqa: ARG002 - a log holds no steps; `events` has them all
        total: int | None = None,  # noqa: ARG002
        loss: float | None = None,  # noqa: ARG002
        eta: float | None = None,  # noqa: ARG002
    ) -> None:
        """Write a line if the status is another than before."""
        if self._said.get(name) != status:
            self._said[name] = status
            self._write((clean(name), "title"), (": ", ""), (clean(status), status_style(status)))

    def upload(self, path: str, sent: int, total: int) -> None:
        """Write a line at the start and at the end."""
        if path not in self._uploading:
            self._uploading.add(path)
            self._write((f"uploading {clean(path)} ({size(total)})", ""))
        if sent >= total:
            self._uploading.discard(path)
            self._write((f"uploaded {clean(path)}", ""))

    def note(self, text: str) -> None:
        """Write the text as a line."""
        self._write((clean(text), ""))

    def _write(self, *line: tuple[str, str]) -> None:
        self._stream.write(paint(list(line), color=self._color) + "\n")
        self._stream.flush()
