"""What applying needs of the outside, each effect an argument."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.api.types import CreateJob, Job, Page
from reconciler.spec.desired import DataFile, Desired


class JobsApi(Protocol):
    """The calls that applying makes; :class:`reconciler.api.client.Client` is the real one.

    ``create_job`` sends once: an error that is not permanent leaves its outcome unknown. The other three look before
    they repeat, so an error of theirs is final.
    """

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


@dataclass(frozen=True)
class World:
    """The server, the files, the clock, and who is told.

    ``lag`` is how long, in seconds, the server's listing may be behind a create; ``clock`` is monotonic, in seconds;
    ``proven`` says that this server is known to keep metadata.
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

    @classmethod
    def index(cls, desired: Sequence[Desired]) -> dict[str, Desired]:
        """Return specs by name."""
        return {spec.name: spec for spec in desired}
