"""What the pages show, and who knows it: a source hands out jobs as they are on the wire.

Methods may raise :class:`reconciler.errors.ReconcilerError` or starlette's ``HTTPException``; the pages show the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Verb = Literal["pause", "resume", "cancel"]
Document = Mapping[str, Any]
UNOWNED = "-"
"""The owner that stands for none, in a query."""


@dataclass(frozen=True, slots=True)
class Query:
    """Which jobs: newest first, ``limit`` of those that match after the first ``offset``.

    ``statuses`` empty means any. ``text`` is looked for in ids, models, suffixes and the values of metadata, in any
    case. ``owner`` None means anybody's, :data:`UNOWNED` nobody's.
    """

    statuses: tuple[str, ...] = ()
    owner: str | None = None
    text: str = ""
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Entry:
    """A job as the API shows it, and the numbers of its newest step (``step``, ``total_steps``, ``train_loss``)."""

    job: Document
    progress: Document = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """A part of the jobs that match. ``counts`` are by status, whatever statuses were asked for."""

    entries: Sequence[Entry]
    counts: Mapping[str, int]
    owners: Sequence[str]


@dataclass(frozen=True, slots=True)
class Details:
    """All about a job but its events. ``steps`` are in order; ``verbs`` is what may be done to it now."""

    entry: Entry
    steps: Sequence[Document]
    checkpoints: Sequence[Document]
    verbs: Sequence[Verb]


@dataclass(frozen=True, slots=True)
class Events:
    """Some events of a job, newest first."""

    events: Sequence[Document]
    has_more: bool


class Source(Protocol):
    """Knows jobs."""

    @property
    def title(self) -> str:
        """What is shown, in words."""

    async def version(self) -> str:
        """Return another text once anything may have changed. Asked often, so it must be cheap."""

    async def jobs(self, query: Query) -> Listing:
        """Return jobs."""

    async def job(self, job_id: str) -> Details | None:
        """Return a job; None where there is none of this id."""

    async def events(self, job_id: str, *, after: str | None, limit: int, steps: bool) -> Events | None:
        """Return what happened to a job before the event ``after``; without ``steps``, only what is said in words."""

    async def act(self, job_id: str, verb: Verb) -> None:
        """Pause, resume or cancel a job."""


Run = tuple[str, str]
"""A spec's name and the revision that a new run of it is to train."""


class Desk(Source, Protocol):
    """Follows specs: knows also what they want, what is about to be done, and what was. Its documents are JSON."""

    async def overview(self) -> Document:
        """Return every spec with its job and what comes next, what waits for approval, and what is wrong."""

    async def spec(self, name: str) -> Document | None:
        """Return a spec as it is written, how its job differs, and its jobs; None where there is none of this name."""

    async def history(self) -> Document:
        """Return what was said and done, newest first."""

    async def approve(self, runs: Sequence[Run]) -> None:
        """Let new runs start that wait for approval."""

    async def edit(self, name: str, state: str, *, write: bool) -> str:
        """Return the diff that sets a spec's state where it is written; with ``write``, do it."""
