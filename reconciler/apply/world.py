"""What applying needs of the outside, each effect an argument."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.api.types import CreateJob, Job, Page
from reconciler.apply.model import Outcome, Result
from reconciler.observe.made import Made
from reconciler.plan.model import Action, Change
from reconciler.spec.desired import DataFile, Desired


class JobsApi(Protocol):
    """The calls that applying makes; :class:`reconciler.api.client.Client` is the real one.

    ``create_job`` sends once: an error that is not permanent leaves its outcome unknown. The other three look before
    they repeat, so an error of theirs is final.
    """

    @property
    def request_ids(self) -> Mapping[str, str]:
        """By job: the server's id of the answer that made the job or changed it last."""

    async def create_job(self, body: CreateJob) -> Job: ...  # noqa: D102
    async def job(self, job_id: str) -> Job: ...  # noqa: D102
    async def cancel_job(self, job_id: str) -> Job: ...  # noqa: D102
    async def pause_job(self, job_id: str) -> Job: ...  # noqa: D102
    async def resume_job(self, job_id: str) -> Job: ...  # noqa: D102
    async def jobs_page(  # noqa: D102
        self, after: str | None = None, limit: int = 100, metadata: Mapping[str, str] | None = None
    ) -> Page[Job]: ...


class FileStore(Protocol):
    """Brings data files to the server."""

    async def ensure(self, file: DataFile) -> str:
        """Return the id of a file with this content, uploaded if it is not there yet."""


class Follower(Protocol):
    """Is told what happens while it happens."""

    def job(  # noqa: D102
        self,
        name: str,
        status: str,
        *,
        step: int | None = None,
        total: int | None = None,
        loss: float | None = None,
        eta: float | None = None,
    ) -> None: ...
    def note(self, text: str) -> None: ...  # noqa: D102


Key = tuple[str, str, str, str, int]
"""A change, whatever its words: :attr:`reconciler.plan.model.Change.key`."""


@dataclass
class Run:
    """What one command has tried so far: nothing is tried twice, and nothing destroyed after an error.

    ``outcomes`` are those of all rounds; ``seen`` holds name, revision and attempt of every job a listing has shown:
    jobs cannot be deleted, so one that is no longer shown is still there. ``halted`` says that every further change
    would meet the same error; ``lacking`` says by action why this server cannot do it at all.
    """

    results: dict[Key, Result] = field(default_factory=dict)
    seen: set[tuple[str, str, int]] = field(default_factory=set)
    halted: bool = False
    lacking: dict[Action, str] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether any change failed."""
        return "failed" in self.results.values()

    @property
    def paused(self) -> frozenset[str]:
        """The ids of the jobs that this run has paused."""
        return frozenset(key[2] for key, result in self.results.items() if (key[1], result) == (Action.PAUSE, "done"))

    @property
    def proven(self) -> bool:
        """Whether a job made by this run came back as ours."""
        return any(key[1] == Action.CREATE and result == "done" for key, result in self.results.items())

    def did(self, change: Change) -> bool:
        """Whether this run made a change already; a plan that wants it again was made from an older listing."""
        return self.results.get(change.key) == "done"

    def allows(self, change: Change, retries: int) -> bool:
        """Whether a change may be tried: nothing twice, and creates of a revision no oftener than ``retries`` allow."""
        if change.action is Action.CREATE:
            sent = sum(
                (key[0], key[1], key[3]) == (change.name, change.action, change.revision) for key in self.results
            )
            if sent > retries or (change.name, change.revision, change.attempt) in self.seen:
                return False
        return change.key not in self.results


@dataclass(frozen=True)
class World:
    """The server, the files, the clock, and who is told: made anew for every command or tick.

    ``lag`` is how long, in seconds, the server's listing may be behind a create; ``clock`` is monotonic, in seconds;
    ``proven`` says that this server is known to keep metadata; ``made`` is told of every job that is made.
    """

    api: JobsApi
    files: FileStore
    owner: str
    specs: Mapping[str, Desired]
    follower: Follower
    clock: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    lag: float = 0.0
    proven: bool = False
    concurrency: int = 8
    run: Run = field(default_factory=Run)
    made: Made = field(default_factory=Made)

    @property
    def visible_within(self) -> float:
        """Seconds within which a listing shows every job made before it; never none, whatever a server promises."""
        return max(self.lag, 1.0)

    @classmethod
    def index(cls, desired: Sequence[Desired]) -> dict[str, Desired]:
        """Return specs by name."""
        return {spec.name: spec for spec in desired}
