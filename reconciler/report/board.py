"""What live progress shows, as lines: a line a job, and never more lines than there is room for. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from reconciler.api.types import TERMINAL
from reconciler.report.escape import clean
from reconciler.report.figures import duration, number, size, sparkline
from reconciler.report.layout import pad, widest
from reconciler.report.style import Span, status_style

_BAR = 16
_CURVE = 12
_POINTS = 240
_LONGEST_NAME = 32


@dataclass(slots=True)
class _Job:
    status: str
    step: int | None = None
    total: int | None = None
    loss: float | None = None
    eta: float | None = None
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=_POINTS))


class Board:
    """Remembers the latest of each job and upload, and lays it out."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Job] = {}
        self._uploads: dict[str, tuple[int, int]] = {}

    def job(
        self,
        name: str,
        status: str,
        step: int | None = None,
        total: int | None = None,
        loss: float | None = None,
        eta: float | None = None,
    ) -> None:
        """Remember where a job stands; a step and a loss stay as they were where they are not given."""
        job = self._jobs.setdefault(name, _Job(status))
        job.status, job.eta = status, eta
        if loss is not None and (loss, step) != (job.loss, job.step):
            job.loss = loss
            job.losses.append(loss)
        if step is not None:
            job.step, job.total = step, total
        if status == "succeeded":
            job.step = job.total  # the last steps may have passed between two looks

    def upload(self, path: str, sent: int, total: int) -> None:
        """Remember an upload until it ends."""
        if sent >= total:
            self._uploads.pop(path, None)
        else:
            self._uploads[path] = (sent, total)

    def lines(self, room: int, now: float) -> list[list[Span]]:
        """Lay out at most ``room`` lines: uploads, what moves first, and counts last. ``now`` is in Unix seconds.

        May run on another thread than the one that tells: it works on a copy.
        """
        jobs, uploads = dict(self._jobs), dict(self._uploads)
        room -= bool(jobs)
        lines = [_upload_line(path, *done) for path, done in list(uploads.items())[: max(room // 2, 1)]]
        shown = sorted(jobs.items(), key=lambda item: _rank(item[1].status))[: max(room - len(lines), 0)]
        name = widest((clean(n) for n, _ in shown), _LONGEST_NAME)
        status = widest(clean(j.status) for _, j in shown)
        lines += [_job_line(pad(clean(n), name), pad(clean(j.status), status), j, now) for n, j in shown]
        if jobs:
            lines.append([(_counts(jobs.values(), len(jobs) - len(shown)), "dim")])
        return lines


def _job_line(name: str, status: str, job: _Job, now: float) -> list[Span]:
    line: list[Span] = [(f"{name}  ", "title"), (f"{status}  ", status_style(job.status))]
    if job.step is not None and job.total:
        line += [(_bar(job.step / job.total), "calm"), (f"  {job.step}/{job.total}", "")]
    if job.loss is not None:
        line += [(f"  loss {number(job.loss):<7}", ""), (pad(sparkline(job.losses, _CURVE), _CURVE), "calm")]
    if job.status not in TERMINAL and (left := (job.eta or 0) - now) > 0:
        line.append((f"  {duration(left)} left", "dim"))
    return line


def _upload_line(path: str, sent: int, total: int) -> list[Span]:
    return [
        ("uploading ", "dim"),
        (f"{clean(path)}  ", "title"),
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
