"""Live progress on a terminal: one line a job, never more lines than the terminal has."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live as RichLive
from rich.text import Text

from reconciler.api.types import TERMINAL
from reconciler.report.escape import clean
from reconciler.report.figures import duration, number, size, sparkline
from reconciler.report.layout import pad, widest
from reconciler.report.style import Span, paint, status_style

_BAR = 16
_CURVE = 12
_POINTS = 240
_MARGIN = 4
_REFRESHES_A_SECOND = 8


@dataclass(slots=True)
class _Job:
    status: str
    step: int | None = None
    total: int | None = None
    loss: float | None = None
    eta: float | None = None
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_POINTS))


class Live:
    """Draws what is going on at the bottom of the terminal; notes scroll away above it.

    Jobs that move come first; those that do not fit are counted. The picture is drawn a few times a second,
    however often facts come.
    """

    def __init__(self, stream: TextIO, *, color: bool, clock: Callable[[], float]) -> None:
        self._color = color
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._uploads: dict[str, tuple[int, int]] = {}
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

    def job(
        self,
        name: str,
        status: str,
        step: int | None = None,
        total: int | None = None,
        loss: float | None = None,
        eta: float | None = None,
    ) -> None:
        """Tell where a job stands; a step and a loss stay as they were where they are not given."""
        job = self._jobs.setdefault(name, _Job(status))
        job.status, job.eta = status, eta
        if step is not None:
            job.step, job.total = step, total
        if loss is not None:
            job.loss = loss
            job.losses.append(loss)

    def upload(self, path: str, sent: int, total: int) -> None:
        """Show the upload until it ends."""
        if sent >= total:
            self._uploads.pop(path, None)
        else:
            self._uploads[path] = (sent, total)

    def note(self, text: str) -> None:
        """Print a line above."""
        self._console.print(Text(clean(text)))

    def _draw(self) -> RenderableType:
        """Compose the picture. Runs on rich's own thread, so it works on a copy of what is known."""
        jobs, uploads = dict(self._jobs), dict(self._uploads)
        room = max(self._console.height - _MARGIN, 2)
        lines = [self._upload_line(path, *bytes_) for path, bytes_ in list(uploads.items())[: room // 2]]
        shown = sorted(jobs.items(), key=lambda item: _rank(item[1].status))[: room - len(lines)]
        name = widest((clean(n) for n, _ in shown), 32)
        status = widest(clean(j.status) for _, j in shown)
        lines += [self._job_line(n, j, name, status) for n, j in shown]
        if jobs:
            lines.append([(_counts(jobs.values(), len(jobs) - len(shown)), "dim")])
        return Group(*(self._text(line) for line in lines))

    def _text(self, line: list[Span]) -> Text:
        text = Text.from_ansi(paint(line, color=self._color))
        text.no_wrap, text.overflow = True, "ellipsis"
        return text

    def _job_line(self, name: str, job: _Job, name_width: int, status_width: int) -> list[Span]:
        line: list[Span] = [
            (pad(clean(name), name_width) + "  ", "title"),
            (pad(clean(job.status), status_width) + "  ", status_style(job.status)),
        ]
        if job.step is not None and job.total:
            line += [(_bar(job.step / job.total), "calm"), (f"  {job.step}/{job.total}", "")]
        if job.loss is not None:
            line += [(f"  loss {number(job.loss):<7}", ""), (pad(sparkline(job.losses, _CURVE), _CURVE), "calm")]
        if job.status not in TERMINAL and (left := (job.eta or 0) - self._clock()) > 0:
            line.append((f"  {duration(left)} left", "dim"))
        return line

    def _upload_line(self, path: str, sent: int, total: int) -> list[Span]:
        return [
            ("uploading ", "dim"),
            (clean(path), "title"),
            ("  ", ""),
            (_bar(sent / total), "calm"),
            (f"  {size(sent)} of {size(total)}", ""),
        ]


def _rank(status: str) -> int:
    """What runs is worth a line first, then what failed, then what waits, then what has ended well."""
    if status in TERMINAL:
        return 1 if status == "failed" else 3
    return 0 if status == "running" else 2


def _bar(share: float) -> str:
    done = round(min(max(share, 0), 1) * _BAR)
    return "━" * done + "─" * (_BAR - done)


def _counts(jobs: Iterable[_Job], hidden: int) -> str:
    counts = Counter(clean(job.status) for job in jobs)
    said = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{said}; {hidden} not shown" if hidden else said
